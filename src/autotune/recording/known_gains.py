"""Gains of recorded calls by the profiles: a speed-up and its interval, a range, or nothing. Pure."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from autotune.model.entry import Entry, Status
from autotune.model.operation import Operation
from autotune.recording.recording import Call


class GainSource(StrEnum):
    """Source of the speed-up of a call."""

    MEASURED = "measured"
    """An entry that `apply()` uses."""
    DEFAULT_KEPT = "default kept"
    """An entry: nothing beats plain NumPy here."""
    SIMILAR = "similar sizes"
    """Entries of the same operation at other sizes: a range, and no claim."""
    UNDECIDED = "measured, undecided so far"
    """An entry whose time ended first."""
    NOISY = "measured, too noisy so far"
    NOT_MEASURED = "not measured"
    TOO_SHORT = "too short to tune"
    NOT_TUNED = "not tuned"
    """No knob of autotune reaches this call while the program stays unchanged."""


_WITHOUT_RESULT = {Status.UNDECIDED: GainSource.UNDECIDED, Status.NOISY: GainSource.NOISY}


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownGain:
    """The speed-up of one call."""

    source: GainSource
    speedup: float | None = None
    low: float | None = None
    high: float | None = None
    """Ends of the 95 % interval; of similar sizes, the least and the largest speed-up."""
    choice: str = ""
    """The configuration, such as "blas_threads=1"."""


Find = Callable[[Operation], Entry | None]
"""Return the entry that covers an operation."""


def known_gain(call: Call, find: Find, measured: Callable[[str, str], Iterable[Operation]]) -> KnownGain:
    """Look a recorded call up as `apply()` does."""
    operation = call.operation
    if operation is None:
        return KnownGain(source=GainSource.NOT_TUNED)
    sizes = list(measured(operation.name, operation.dtype))
    entry = find(_within(operation, sizes))
    if entry is not None and entry.status is Status.TUNED:
        speedup, low, high = speedup_of(entry)
        if speedup is not None:
            return KnownGain(source=GainSource.MEASURED, speedup=speedup, low=low, high=high, choice=str(entry.choice))
    if entry is not None and entry.status is Status.DEFAULT_KEPT:
        return KnownGain(source=GainSource.DEFAULT_KEPT, speedup=1.0, low=1.0, high=1.0)
    if call.is_too_short:
        return KnownGain(source=GainSource.TOO_SHORT)
    if entry is not None and entry.status in _WITHOUT_RESULT:
        return KnownGain(source=_WITHOUT_RESULT[entry.status])
    speedups = [
        speedup
        for size in sizes
        if (neighbour := find(size)) is not None and neighbour.is_decided
        if (speedup := 1.0 if neighbour.choice.is_default else speedup_of(neighbour)[0]) is not None
    ]
    if speedups:
        return KnownGain(source=GainSource.SIMILAR, low=min(speedups), high=max(speedups))
    return KnownGain(source=GainSource.NOT_MEASURED)


def _within(operation: Operation, measured: Iterable[Operation]) -> Operation:
    """Limit a loop to the largest measured size, as which longer ones are computed (`profiles/loop_plan.py`)."""
    if not operation.name.startswith("loop_"):
        return operation
    largest = max((size.size["n"] for size in measured), default=operation.size["n"])
    return replace(operation, sizes=(("n", min(operation.size["n"], largest)),))


def speedup_of(entry: Entry) -> tuple[float | None, float | None, float | None]:
    """Return an entry's proved speed-up and the ends of its interval."""
    low, high = entry.evidence.interval or (None, None)
    return entry.evidence.speedup, low, high
