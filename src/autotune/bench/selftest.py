"""Self-test of the machine: timing resolution, CPU capacity, and the rates that it reaches at most."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from subprocess import PIPE
from time import monotonic
from typing import ClassVar

from autotune.bench.process_bench import ProcessBench
from autotune.bench.statistics import hodges_lehmann, mean_interval, pair_log_ratios
from autotune.bench.trial_job import Arm, Task
from autotune.controls.supervise import Supervised
from autotune.model.catalogue import operation
from autotune.model.configuration import DEFAULT
from autotune.model.measurement import Session, TrialPlan

GROUPS = 6
PAIRS = 4
"""Pairs of a group. Groups stand for the processes of a confirmation."""
COPIED_BYTES = 128 * 2**20
"""Size of each of the two arrays that are copied: STREAM asks for four times the cache, and no more than 32 MiB of a
cloud's L3 are one program's."""
RATES_SECONDS = 60.0
"""Time limit of the process that measures the rates."""
REFERENCES = (operation("matmul", n=450), operation("sqrt", n=1_000_000))
"""Work of a few milliseconds: one with BLAS threads, one without."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTest:
    """Findings of the self-test on this machine. None where they could not be measured."""

    STRICT: ClassVar[bool] = True

    resolution: float | None = None
    """Half-width of the 95 % interval of the log-ratio between the default and itself, in a fresh process. Differences
    below it cannot be distinguished from noise."""
    capacity: float | None = None
    """The highest capacity that was probed meanwhile, in units of one CPU's work; None with one usable CPU."""
    memory_bandwidth: float | None = None
    """Bytes that all usable CPUs together read and wrote in a second."""
    peak_flops: float | None = None
    """float64 operations that all usable CPUs together did in a second."""
    blas_wait: int | None = None
    """Exponent of the cycles that idle BLAS threads spin for (`blas_wait`)."""
    loops_after_blas: Mapping[str, int] = field(default_factory=dict)
    """Classes of loops that gain right after a call of BLAS, with the elements from which on they do."""
    seconds: float = 0.0
    """Wall time of the self-test."""


def run_selftest(
    bench: ProcessBench,
    *,
    usable_cpus: int,
    memory_bytes: int | None = None,
    seconds: float = 6.0,
    seed: int = 0,
    rates: bool = True,
) -> SelfTest:
    """Test the machine: the bench compares the default with itself.

    The rates, on `usable_cpus` threads and with an eighth of `memory_bytes` at most, take one or two seconds more. They
    are for reports: nothing is decided by them.
    """
    began = monotonic()
    same = (Arm(index=0, configuration=DEFAULT), Arm(index=1, configuration=DEFAULT))
    tasks = [Task(operation=reference, arms=same) for reference in REFERENCES]
    session = bench.compare(tasks, TrialPlan(cases=(), rounds=GROUPS * PAIRS, seed=seed, seconds=seconds))
    peak = measure_peak_rates(usable_cpus, memory_bytes) if rates else {}
    return SelfTest(
        resolution=resolution(session),
        capacity=session.best_capacity,
        memory_bandwidth=peak.get("memory_bandwidth"),
        peak_flops=peak.get("peak_flops"),
        seconds=monotonic() - began,
    )


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


def measure_peak_rates(cpus: int, memory_bytes: int | None) -> dict[str, float]:
    """Measure the rates of a SelfTest in a fresh process, by `peak_rates`; empty if they could not be measured."""
    size = COPIED_BYTES if memory_bytes is None else min(COPIED_BYTES, memory_bytes // 16)
    command = [sys.executable, "-P", "-m", "autotune.bench.peak_rates", str(cpus), str(size)]
    try:
        with Supervised(command, stdout=PIPE) as process:
            ending = process.wait(RATES_SECONDS)
            if ending is None or ending.status or process.stdout is None:
                return {}
            rates = json.loads(process.stdout.read())
        return {name: float(rates[name]) for name in ("memory_bandwidth", "peak_flops")}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
