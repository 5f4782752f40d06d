"""Plan of a calibration: every operation and size to be measured. Computed once, from request and environment."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

from autotune.bench import ladder
from autotune.errors import BadBudget, BadSize
from autotune.model.catalogue import CATALOGUE, Family, Kind, Sizes
from autotune.model.entry import Entry
from autotune.model.operation import REAL_DTYPES, Operation
from autotune.model.policy import LEAST_BUDGET_SECONDS, memory_allowance
from autotune.search.environment import Environment
from autotune.search.request import Effort, Objective, Request
from autotune.search.search_grid import Grid


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One operation and dtype with all its sizes: explored together."""

    kind: Kind
    dtype: str
    operations: tuple[Operation, ...]
    """From small to large."""
    grid: Grid | None = None
    """Values to choose from; None for those that the kind suggests at each size."""
    weight: float = 1.0
    """Weight of its gain when time is shared out."""
    most_processes: int | None = None
    """Fresh processes after which a confirmation ends; None for the usual number."""
    pairs: int | None = None
    """In each process of a confirmation; None for the usual number."""


_Row = tuple[Kind, str, list[Operation]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that one calibration measures, in the catalogue's order."""

    items: tuple[Item, ...]
    objective: Objective = Objective.TIME

    @property
    def operations(self) -> tuple[Operation, ...]:
        """Every operation and size."""
        return tuple(operation for item in self.items for operation in item.operations)

    def item_of(self, operation: Operation) -> Item:
        """Return the item that an operation belongs to."""
        return next(item for item in self.items if operation in item.operations)

    def in_order(self, entries: Iterable[Entry]) -> tuple[Entry, ...]:
        """Return the entries in the order of the plan; the last one counts where an operation has several."""
        entry_of = {entry.operation: entry for entry in entries}
        return tuple(entry_of[operation] for operation in self.operations if operation in entry_of)


def make_plan(request: Request, environment: Environment) -> Plan:
    """Plan a calibration.

    Raises BadSize if a size that was asked for does not fit the memory, BadBudget if the time is too short for
    a single operation.
    """
    if request.seconds < LEAST_BUDGET_SECONDS:
        raise BadBudget(
            f"{request.seconds:.3g} s are too short to measure a single operation; "
            f"allow at least {LEAST_BUDGET_SECONDS:.0f} s."
        )
    most = memory_allowance(environment.memory_bytes)
    allowed = inf if most is None else most
    rows = _rows_of_program(request, allowed) if request.recorded else _rows_of_names(request, environment, allowed)
    items = (
        Item(kind=kind, dtype=dtype, operations=_in_order(kind, sizes), weight=request.weights.get(kind.name, 1.0))
        for kind, dtype, sizes in rows
        if sizes
    )
    return Plan(items=tuple(items), objective=request.objective)


def _in_order(kind: Kind, operations: Iterable[Operation]) -> tuple[Operation, ...]:
    """Return each size once, by the amount of work; those of a user's function, of which it is unknown, as they are."""
    return tuple(dict.fromkeys(operations if kind.family is Family.USER else sorted(operations, key=kind.work_of)))


def _rows_of_program(request: Request, allowed: float) -> list[_Row]:
    """Return the sizes of each operation and dtype that a program called, but for what does not fit the memory."""
    groups: dict[tuple[str, str], list[Operation]] = {}
    for operation in request.recorded:
        if CATALOGUE[operation.name].bytes_of(operation) <= allowed:
            groups.setdefault((operation.name, operation.dtype), []).append(operation)
    return [(CATALOGUE[name], dtype, operations) for (name, dtype), operations in groups.items()]


def _rows_of_names(request: Request, environment: Environment, allowed: float) -> list[_Row]:
    """Return the sizes of each operation and dtype that was asked for by name: those named, or its own ladder."""
    dtypes = request.dtypes or (REAL_DTYPES if request.effort is Effort.THOROUGH else REAL_DTYPES[:1])
    rows: list[_Row] = []
    for kind, dtype in ((kind, dtype) for kind in request.kinds for dtype in dtypes if dtype in kind.dtypes):
        if request.sizes or kind.family is Family.USER:
            sizes: Iterable[Sizes] = [kind.complete(size) for size in request.sizes or ({},)]
        else:
            sizes = ladder.sizes(
                kind,
                machine_l2=environment.l2_bytes,
                machine_l3=environment.l3_bytes,
                memory_bytes=environment.memory_bytes,
                effort=request.effort,
                dtype=dtype,
            )
        operations = [Operation(name=kind.name, dtype=dtype, sizes=tuple(size.items())) for size in sizes]
        for operation in operations:
            needed = kind.bytes_of(operation)
            if needed > allowed:  # never of a user's function, whose memory is unknown: NaN
                raise BadSize(
                    f"{operation} needs {needed / 2**30:.3g} GiB, and no workload may take more than "
                    f"{allowed / 2**30:.3g} GiB, a quarter of the memory; choose a smaller size."
                )
        rows.append((kind, dtype, operations))
    if not rows:
        raise BadSize(
            f"{', '.join(kind.name for kind in request.kinds)} {'is' if len(request.kinds) == 1 else 'are'} measured "
            f"with real numbers only: leave out --dtype, or name one of {', '.join(REAL_DTYPES)}."
        )
    return rows
