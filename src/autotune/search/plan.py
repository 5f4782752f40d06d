"""Plan of a calibration: every operation and size to be measured. Computed once, from request and environment."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import inf

from autotune.bench import ladder
from autotune.errors import BadBudget, BadSize
from autotune.model.catalogue import CATALOGUE, Family, Kind, Sizes
from autotune.model.entry import Entry
from autotune.model.operation import REAL_DTYPES, Operation
from autotune.model.policy import LEAST_BUDGET_SECONDS, MEMORY_SHARE
from autotune.search.environment import Environment
from autotune.search.request import Objective, Request
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
    if request.recorded:
        return Plan(items=tuple(_recorded_items(request, environment)), objective=request.objective)
    items = tuple(
        _item(kind, dtype, request, environment)
        for kind in request.kinds
        for dtype in request.all_dtypes
        if dtype in kind.dtypes
    )
    if not items:
        raise BadSize(
            f"{', '.join(kind.name for kind in request.kinds)} {'is' if len(request.kinds) == 1 else 'are'} measured "
            f"with real numbers only: leave out --dtype, or name one of {', '.join(REAL_DTYPES)}."
        )
    return Plan(items=tuple(item for item in items if item.operations), objective=request.objective)


def _item(kind: Kind, dtype: str, request: Request, environment: Environment) -> Item:
    if request.sizes or kind.family is Family.USER:
        sizes: tuple[Sizes, ...] = tuple(kind.complete(size) for size in request.sizes or ({},))
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
        _refuse_too_large(kind, operation, environment)
    if kind.family is not Family.USER:
        operations.sort(key=kind.work_of)
    return Item(
        kind=kind,
        dtype=dtype,
        operations=tuple(dict.fromkeys(operations)),
        weight=request.weights.get(kind.name, 1.0),
    )


def _recorded_items(request: Request, environment: Environment) -> Iterator[Item]:
    """Yield an item for each operation and dtype that a program called; what does not fit the memory is left out."""
    allowed = inf if environment.memory_bytes is None else environment.memory_bytes * MEMORY_SHARE
    groups: dict[tuple[str, str], list[Operation]] = {}
    for operation in dict.fromkeys(request.recorded):
        if CATALOGUE[operation.name].bytes_of(operation) <= allowed:
            groups.setdefault((operation.name, operation.dtype), []).append(operation)
    for (name, dtype), operations in groups.items():
        kind = CATALOGUE[name]
        yield Item(
            kind=kind,
            dtype=dtype,
            operations=tuple(sorted(operations, key=kind.work_of)),
            weight=request.weights.get(name, 1.0),
        )


def _refuse_too_large(kind: Kind, operation: Operation, environment: Environment) -> None:
    if kind.family is Family.USER or environment.memory_bytes is None:
        return
    needed, allowed = kind.bytes_of(operation), environment.memory_bytes * MEMORY_SHARE
    if needed > allowed:
        raise BadSize(
            f"{operation} needs {needed / 2**30:.3g} GiB, and no workload may take more than "
            f"{allowed / 2**30:.3g} GiB, a quarter of the memory; choose a smaller size."
        )
