"""Self-test of the machine: timing resolution and CPU capacity."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import ClassVar

from autotune.bench.process_bench import ProcessBench
from autotune.bench.statistics import hodges_lehmann, mean_interval, pair_log_ratios
from autotune.bench.trial_job import Arm, Task
from autotune.model.catalogue import operation
from autotune.model.configuration import DEFAULT
from autotune.model.measurement import Session, TrialPlan

GROUPS = 6
PAIRS = 4
"""Pairs of a group. Groups stand for the processes of a confirmation."""
REFERENCES = (operation("matmul", n=450), operation("sqrt", n=1_000_000))
"""Work of a few milliseconds: one with BLAS threads, one without."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTest:
    """Findings of the self-test on this machine. None where they could not be measured."""

    STRICT: ClassVar[bool] = True

    resolution: float | None = None
    """Half-width of the 95 % interval of the log-ratio between the default and itself, in a fresh process. Differences
    below it cannot be told from noise."""
    capacity: float | None = None
    """The highest capacity that was probed meanwhile, in units of one CPU's work; None with one usable CPU."""
    blas_wait: int | None = None
    """Exponent of the cycles that idle BLAS threads spin for (`blas_wait`)."""
    loops_after_blas: Mapping[str, int] = field(default_factory=dict)
    """Classes of loops that gain right after a call of BLAS, with the elements from which on they do."""
    seconds: float = 0.0
    """Wall time of the self-test."""


def run_selftest(bench: ProcessBench, *, seconds: float = 6.0, seed: int = 0) -> SelfTest:
    """Test the machine: the bench compares the default with itself, for so many seconds."""
    began = monotonic()
    same = (Arm(index=0, configuration=DEFAULT), Arm(index=1, configuration=DEFAULT))
    tasks = [Task(operation=reference, arms=same) for reference in REFERENCES]
    session = bench.compare(tasks, TrialPlan(cases=(), rounds=GROUPS * PAIRS, seed=seed, seconds=seconds))
    return SelfTest(resolution=resolution(session), capacity=session.best_capacity, seconds=monotonic() - began)


def resolution(session: Session) -> float | None:
    """Return the larger half-width of a session's comparisons of the default with itself; None if one failed."""
    widths = [half_width(pair_log_ratios(second.pairs)) for second in session.measurements[1::2]]
    measured = [width for width in widths if width is not None]
    return max(measured) if measured and len(measured) == len(widths) else None


def half_width(ratios: Sequence[float]) -> float | None:
    """Compute half the 95 % interval that groups of pairs give for their log-ratio; None below two groups."""
    groups = [ratios[start : start + PAIRS] for start in range(0, len(ratios) - PAIRS + 1, PAIRS)]
    if len(groups) < 2:
        return None
    _, low, high = mean_interval([hodges_lehmann(group) for group in groups])
    return (high - low) / 2
