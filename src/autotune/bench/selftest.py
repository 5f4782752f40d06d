"""What this machine can tell apart, and how much of its CPUs is really there."""

import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from time import monotonic

from autotune.bench.process_bench import ProcessBench
from autotune.bench.statistics import hodges_lehmann, mean_interval, pair_log_ratios
from autotune.bench.trial_job import Arm, Task
from autotune.model.catalogue import operation
from autotune.model.configuration import DEFAULT
from autotune.model.measurement import TrialPlan

GROUPS = 6
PAIRS = 4
"""In each group. Group by group as a confirmation does process by process."""

SPIN_SECONDS = 0.3
SPAN_SECONDS = 0.35
"""From the beginning of one span to that of the next."""

START_SECONDS = 0.4
START_SECONDS_PER_PROCESS = 0.05
"""Time for so many interpreters to start on busy CPUs, before the first span begins."""

COPIED_BYTES = 128 * 2**20
"""Of each of the two arrays of `ceilings`: STREAM asks for four times the cache, and no more than 32 MiB of a cloud's
L3 are one program's."""

REFERENCES = (operation("matmul", n=450), operation("sqrt", n=1_000_000))
"""Work of a few milliseconds: one with BLAS threads, one without."""


def resolution(bench: ProcessBench, *, seed: int = 0, seconds: float = 6.0) -> float | None:
    """Half-width of the 95 % interval of the log-ratio between the default and itself, in a fresh process.

    Differences below it cannot be told from noise. Of two operations, the larger; None if one could not be
    measured. 24 pairs in groups of 4, each of which yields its Hodges-Lehmann estimate.
    """
    same = (Arm(index=0, configuration=DEFAULT), Arm(index=1, configuration=DEFAULT))
    tasks = [Task(operation=reference, arms=same) for reference in REFERENCES]
    session = bench.compare(tasks, TrialPlan(cases=(), rounds=GROUPS * PAIRS, seed=seed, seconds=seconds))
    widths = [half_width(pair_log_ratios(second.pairs)) for second in session.measurements[1::2]]
    known = [width for width in widths if width is not None]
    return max(known) if len(known) == len(REFERENCES) else None


def half_width(ratios: Sequence[float]) -> float | None:
    """Half the 95 % interval that groups of pairs give for their log-ratio; None below two groups."""
    groups = [ratios[start : start + PAIRS] for start in range(0, len(ratios) - PAIRS + 1, PAIRS)]
    if len(groups) < 2:
        return None
    _, low, high = mean_interval([hodges_lehmann(group) for group in groups])
    return (high - low) / 2


def capacity(processes: int) -> float | None:
    """Work that so many spinning processes get done at once, in units of what one gets done alone.

    Below `processes`, CPUs are shared with somebody: other programs, other guests, a quota, hardware threads
    of one core. The one is timed before and after the many, and its better time counts, since a neighbour
    could only slow it down. Takes one and a half seconds. None if they could not be run.
    """
    begin = monotonic() + START_SECONDS + START_SECONDS_PER_PROCESS * processes
    before, together, after = (
        (begin + place * SPAN_SECONDS, begin + place * SPAN_SECONDS + SPIN_SECONDS) for place in range(3)
    )
    counts = _spun([(*before, *together, *after), *[together] * (processes - 1)])
    if counts is None or not all(counts):
        return None
    first, *others = counts
    alone = max(first[0], first[2])
    return (first[1] + sum(count[0] for count in others)) / alone if alone else None


def ceilings(cpus: int, memory_bytes: int | None) -> tuple[float | None, float | None]:
    """(bytes of memory moved, float64 operations) a second that all usable CPUs together reach.

    For reports: nothing is decided by them. Takes one or two seconds, and an eighth of `memory_bytes` at most.
    (None, None) if they could not be measured; see `bench.ceiling` for the method.
    """
    size = COPIED_BYTES if memory_bytes is None else min(COPIED_BYTES, memory_bytes // 16)
    command = [sys.executable, "-P", "-m", "autotune.bench.peak_rates", str(cpus), str(size)]
    try:
        done = subprocess.run(  # noqa: S603  # our own module
            command, capture_output=True, timeout=60, check=True, start_new_session=True
        )
        found = json.loads(done.stdout)
        return found["memory_bandwidth"], found["peak_flops"]
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return None, None


def _spun(spans: Sequence[tuple[float, ...]]) -> list[list[int]] | None:
    with ExitStack() as stack:
        running = []
        for moments in spans:
            command = [sys.executable, "-P", "-m", "autotune.bench.spin", *map(repr, moments)]
            # in a session of its own, so that a terminal's Ctrl-C leaves it to us
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)  # noqa: S603  # our own module
            stack.enter_context(process)
            stack.callback(process.kill)
            running.append(process)
        try:
            printed = [process.communicate(timeout=60)[0] for process in running]
            return [[int(line) for line in text.split()] for text in printed]
        except (subprocess.TimeoutExpired, ValueError):
            return None
