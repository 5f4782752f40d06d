"""Recording of one run of a command, by process and by call. Pure; JSON to keep it, and to read it again."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from autotune.errors import UsageError
from autotune.model.catalogue import row_of
from autotune.model.codec import decode, encode
from autotune.model.constraints import Quantity
from autotune.model.operation import Operation

SCHEMA = "autotune.recording/4"
AfterBlas = tuple[float, float, float]
"""Parts of a call's time in calls that began while idle BLAS threads spin, when most loops are not cut: one for each
exponent of `controls/wait_policy.EXPONENTS`."""
NOT_AFTER_BLAS: AfterBlas = (0.0, 0.0, 0.0)


SHORT_LOOP = 10_000
"""Elements of a loop of NumPy's below which no second CPU pays: the C core shares loops, not the calls around them."""
SHORT_REDUCTION = 98_304
"""Elements of a reduction below which it is not divided: one and a half blocks (`native/loops.c`)."""
TUNABLE_FROM_SECONDS = 5e-6
"""Mean of a call below which no count of threads pays for its switch (0.3 us)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """Inner loops of a call that the C core can share, as `profiles.loop_plan` looks them up."""

    kind: str
    """One of `intercept.operations.LOOP_KINDS`."""
    dtype: str
    """The dtype whose measurements decide about them."""
    layout: int
    """One of `intercept.array_loops.Layout`."""
    elements: Quantity
    """Of a loop, in elements of that dtype."""


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
    """Mean of what the operands are broadcast to; None if unknown."""
    contiguous: bool | None
    calls: int
    seconds: float
    operation: Operation | None = None
    """Its operation, as `apply()` asks for it; None: no operation of the catalogue."""
    needs_reductions: bool = False
    """Does it gain only with `--reductions`?"""
    loop: Loop | None = None
    """Its inner loops if it is a ufunc's with long ones, or all of them as one if it is in rows."""
    inner: Loop | None = None
    """Its long inner loops if it is in rows, which are shared one by one where rows are not."""
    after_blas: AfterBlas = NOT_AFTER_BLAS
    is_in_short_loops: bool = False
    """Does NumPy run it, on a large array, in inner loops that are too short to be shared?"""

    @property
    def is_too_short(self) -> bool:
        """Whether a call takes too little time for any count of threads to pay for its switch."""
        return self.seconds < TUNABLE_FROM_SECONDS * max(1, self.calls)


def join_calls(calls: Iterable[Call]) -> tuple[Call, ...]:
    """Add up calls of one name, dtype, size and layout; the longest first."""
    joined: dict[tuple[object, ...], Call] = {}
    for call in calls:
        loop = call.loop and (call.loop.kind, call.loop.layout, call.loop.dtype)
        key = (call.name, call.group, call.dtype, call.size, call.contiguous, call.needs_reductions, loop)
        before = joined.get(key)
        joined[key] = (
            call
            if before is None
            else replace(
                before,
                calls=before.calls + call.calls,
                seconds=before.seconds + call.seconds,
                after_blas=_mean_after_blas(before, call),
            )
        )
    return tuple(sorted(joined.values(), key=lambda call: -call.seconds))


def _mean_after_blas(first: Call, second: Call) -> AfterBlas:
    """Average the parts after BLAS, weighted by the seconds of both calls."""
    share = first.seconds / max(1e-12, first.seconds + second.seconds)
    short, medium, default = (
        share * part + (1 - share) * of_second
        for part, of_second in zip(first.after_blas, second.after_blas, strict=True)
    )
    return short, medium, default


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
    """Calls in progress at once, at most."""
    turns: int
    """Times that a thread called again after another one had."""
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
    def is_unrecorded(self) -> bool:
        """Whether it has no call, and a reason why calls of it may not have been recorded."""
        return bool(self.unseen) and not self.calls

    @property
    def call_seconds(self) -> float:
        """Seconds inside recorded calls, over all threads."""
        return sum(call.seconds for call in self.calls)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One run of a command."""

    STRICT: ClassVar[bool] = True

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

    def joined_calls(self) -> tuple[Call, ...]:
        """Add up calls of one name, dtype and size of all processes, whatever their layout; the longest first."""
        calls = (call for process in self.processes for call in process.calls)
        return join_calls(replace(call, contiguous=None) for call in calls)

    def as_dict(self) -> dict[str, Any]:
        return {"schema": SCHEMA, **encode(self)}

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """Return the recording that `as_dict` made these of. Raises UsageError for anything else."""
        if not isinstance(values, dict) or values.get("schema") != SCHEMA:
            raise UsageError(f"This is no recording that this version of autotune reads: its schema is not {SCHEMA!r}.")
        recorded: Self = decode(cls, {name: value for name, value in values.items() if name != "schema"}, "recording")
        processes = (
            replace(process, calls=tuple(map(_within_catalogue, process.calls))) for process in recorded.processes
        )
        return replace(recorded, processes=tuple(processes))


def _within_catalogue(call: Call) -> Call:
    """Return the call, without an operation that this version's catalogue does not have in this form."""
    operation = call.operation
    if operation is None:
        return call
    row = row_of(operation.name)
    is_in = row is not None and sorted(operation.size) == sorted(row.size_names)
    return call if is_in else replace(call, operation=None)
