"""Gain of a whole program from faster calls: Amdahl's law (1967) over the time of all its processes. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from autotune.recording.known_gains import GainSource, KnownGain
from autotune.recording.recording import Call, RecordedProcess, Recording


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramGain:
    """The speed-up of a whole run, over the states in which its machine was during the calibration."""

    speedup: float
    low: float
    high: float
    """Speed-ups with all calls at the lower, and at the upper, ends of their intervals: wider than 95 %."""
    decided_share: float
    """Part of the run's time in calls that were measured here."""
    open_share: float
    """Part of it in calls that autotune tunes, and of which no measurement has decided."""
    inferred_share: float = 0.0
    """Part of the decided one in calls whose figures are those of other sizes, or of other machines."""
    undecided_share: float = 0.0
    """Part of it in those of them that were measured without a result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedGain:
    """The speed-up of a whole program, as its entries predict it and as pairs of its runs show it."""

    predicted: float
    """Speed-up by the entries and the recording (Amdahl's law)."""
    predicted_low: float
    predicted_high: float
    start_seconds: float | None = None
    """Time that `autotune run` adds to the start of a Python that loads NumPy; None if no pairs were run."""
    predicted_with_start: float | None = None
    """Speed-up by the entries of a run that `autotune run` starts."""
    measured: float | None = None
    """Speed-up of pairs of runs; None if none were run."""
    interval: tuple[float, float] | None = None
    pairs: int = 0
    same_output: bool | None = None
    why_not: str | None = None
    """Why no pairs were run."""


def total_seconds(recording: Recording) -> float:
    """Return the total that shares are parts of: the time for which all processes were active.

    A process that other recorded processes work for counts with its CPU time, since it waits for them; threads that
    call at once count each. Nothing is less than the run's wall time.
    """
    return max(recording.wall_seconds, sum(spans(recording.processes)), 1e-9)


def spans(processes: Sequence[RecordedProcess]) -> list[float]:
    """Return the seconds for which each process was active."""
    parents = {process.parent for process in processes}
    return [
        max(process.cpu_seconds if process.pid in parents else process.end - process.start, process.call_seconds)
        for process in processes
    ]


def program_gain(gains: Iterable[tuple[Call, KnownGain]], total: float) -> ProgramGain:
    """Return the speed-up of a run of `total` seconds if all measured choices were applied."""
    saved = least = most = decided_share = inferred = undecided = unmeasured = 0.0
    for call, gain in gains:
        share = call.seconds / total
        if gain.source in {GainSource.MEASURED, GainSource.DEFAULT_KEPT}:
            decided_share += share
            inferred += share if gain.is_inferred else 0.0
            if gain.speedup is None or gain.source is GainSource.DEFAULT_KEPT:  # it runs as plain NumPy
                continue
            share *= 1 - gain.waiting
            expected = gain.expected_speedup or gain.speedup
            shift = expected / gain.speedup  # of the interval, too
            saved += share * (1 - 1 / expected)
            least += share * (1 - 1 / ((gain.low or gain.speedup) * shift))
            most += share * (1 - 1 / ((gain.high or gain.speedup) * shift))
        elif gain.source in {GainSource.UNDECIDED, GainSource.NOISY}:
            undecided += share
        elif gain.source in {GainSource.NOT_MEASURED, GainSource.SIMILAR}:
            unmeasured += share
    return ProgramGain(
        speedup=1 / max(1e-9, 1 - saved),
        low=1 / max(1e-9, 1 - least),
        high=1 / max(1e-9, 1 - most),
        decided_share=decided_share,
        open_share=unmeasured + undecided,
        inferred_share=inferred,
        undecided_share=undecided,
    )
