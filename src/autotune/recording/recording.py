"""A recording: what one run of a command did, by process and by call. Pure; JSON to keep it, and to read it again."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from types import UnionType
from typing import Any, Self, TypeVar, get_args, get_origin

from autotune.errors import UsageError
from autotune.model.catalogue import row_of
from autotune.model.constraints import LARGEST_SIZE
from autotune.model.operation import Operation

SCHEMA = "autotune.recording/1"
_LARGEST = 1e18
"""Larger than any number of a recording."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Calls of one function with one dtype and size."""

    name: str
    """As people know it: "qr", "add", "sum", "scipy fft.c2c"."""
    group: str
    """One of GROUPS."""
    dtype: str
    """Names of the operands' dtypes, such as "float64" or "float32+float64"; "" if no operand was an array."""
    size: str
    """ "m=1000 n=50", or about how many elements: "n~1.2e+06"; "" if unknown."""
    elements: float | None
    """Mean of the largest operand; None if unknown."""
    contiguous: bool | None
    calls: int
    seconds: float
    operation: Operation | None = None
    """Its operation, as `apply()` asks for it; None: no operation of the catalogue."""
    needs_reductions: bool = False
    """Does it gain only with `--reductions`?"""


LINALG, ARRAYS, REDUCTIONS, OTHERS = "linear algebra", "whole-array", "reduction", "other NumPy and SciPy"
GROUPS = (LINALG, ARRAYS, REDUCTIONS, OTHERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadPool:
    """A library with threads of its own."""

    library: str
    kind: str
    """ "blas", "openmp"."""
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedProcess:
    """One process that called NumPy."""

    pid: int
    parent: int
    words: tuple[str, ...]
    """Its command line; of a forked child its parent's."""
    is_fork: bool
    start: float
    """Seconds since the command was started."""
    end: float
    """When it was last seen at work."""
    cpu_seconds: float
    threads: int
    """Threads that called NumPy."""
    most_at_once: int
    """Threads in a call at once, at most."""
    pools: tuple[ThreadPool, ...]
    others: tuple[str, ...]
    """Libraries with thread pools that were imported: "torch", ..."""
    environment: Mapping[str, str]
    """Variables of thread counts and pinning that it saw."""
    usable_cpus: int | None
    unseen: tuple[str, ...]
    """Sentences: what could not be recorded."""
    calls: tuple[Call, ...]

    @property
    def call_seconds(self) -> float:
        """Seconds inside recorded calls, over all threads."""
        return sum(call.seconds for call in self.calls)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One run of a command."""

    command: tuple[str, ...]
    status: int | None
    """Exit status; negative: the signal that ended it; None: it still runs."""
    wall_seconds: float
    cpu_seconds: float
    """Of the command and all its children that it waited for."""
    processes: tuple[RecordedProcess, ...]
    without_autotune: tuple[str, ...] = ()
    """Interpreters that loaded NumPy and have no autotune."""
    throttled_seconds: float = 0.0
    """For how long a CPU quota paused it."""
    usable_cpus: int = 1
    limit: str = "none"
    is_complete: bool = True
    """Was it recorded to its end? False where the recording stopped before."""

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain values, as JSON takes them."""
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """The recording that `as_dict` made these of. Raises UsageError for anything else."""
        if not isinstance(values, dict) or values.get("schema") != SCHEMA:
            raise UsageError(f"This is no recording: its schema is not {SCHEMA!r}.")
        try:
            given = {name: value for name, value in values.items() if name != "schema"}
            processes = tuple(map(_process, given.pop("processes")))
            return _checked(
                cls(
                    **{
                        **given,
                        "command": tuple(given["command"]),
                        "without_autotune": tuple(given["without_autotune"]),
                        "processes": processes,
                    }
                )
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as problem:
            raise UsageError(f"This recording cannot be read: {problem!r}.") from None


def _process(values: Mapping[str, Any]) -> RecordedProcess:
    return _checked(
        RecordedProcess(
            **{
                **values,
                "words": tuple(values["words"]),
                "others": tuple(values["others"]),
                "unseen": tuple(values["unseen"]),
                "pools": tuple(_checked(ThreadPool(**pool)) for pool in values["pools"]),
                "calls": tuple(map(_call, values["calls"])),
            }
        )
    )


def _call(values: Mapping[str, Any]) -> Call:
    operation = values["operation"]
    return _checked(Call(**{**values, "operation": None if operation is None else _operation(operation)}))


def _operation(values: Mapping[str, Any]) -> Operation | None:
    """The operation; None for one that this version's catalogue does not have in this form."""
    name, dtype = values["name"], values["dtype"]
    sizes = tuple((str(size), int(value)) for size, value in values["sizes"])
    if not (isinstance(name, str) and isinstance(dtype, str)):
        raise TypeError("the name or dtype of an operation is no text")
    kind = row_of(name)
    if kind is None or sorted(size for size, _ in sizes) != sorted(kind.size_names):
        return None
    is_possible = all(1 <= value <= LARGEST_SIZE for _, value in sizes)
    return Operation(name=name, dtype=dtype, sizes=sizes) if is_possible else None


_Part = TypeVar("_Part", bound="Recording | RecordedProcess | ThreadPool | Call")


def _checked(part: _Part) -> _Part:
    """Return it. Raises TypeError for a field whose value is not of its type."""
    for field in fields(part):
        if not _is(getattr(part, field.name), field.type):
            raise TypeError(f"{field.name} cannot be {str(getattr(part, field.name))[:50]!r}")
    return part


def _is(value: object, kind: Any) -> bool:
    if kind in {int, float}:  # NaN is less than nothing
        types = (int,) if kind is int else (int, float)
        return isinstance(value, types) and not isinstance(value, bool) and abs(value) < _LARGEST
    if isinstance(kind, UnionType):
        return any(_is(value, one) for one in get_args(kind))
    if get_origin(kind) is tuple:
        return isinstance(value, tuple) and all(_is(one, get_args(kind)[0]) for one in value)
    if get_origin(kind) is Mapping:
        return isinstance(value, Mapping) and all(isinstance(one, str) for one in (*value, *value.values()))
    return isinstance(value, kind)
