#!/usr/bin/env python3
"""How often is a difference accepted that is not there, and how often is one found that is?

    scripts/benchmarks/run false_positives              simulated: identical ones, and planted effects both ways
    scripts/benchmarks/run false_positives --real 100   identical configurations in real processes on this machine

Every run is a confirmation by the very code that `autotune calibrate` decides with: fresh processes, planned
looks, margin max(1 %, R), where R is the resolution that the self-test finds. An effect of -5 % is a
configuration that takes 5 % less time than the default. Noise is normal in the log-ratio: one value for each
process, one for each pair of timings. Exits with 1 if a figure that the project promises is missed.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product
from math import log1p

import numpy as np
from scipy.stats import beta

from autotune.bench.process_bench import ProcessBench
from autotune.bench.protocol import Bench
from autotune.bench.selftest import GROUPS, PAIRS, half_width, resolution
from autotune.bench.trial_job import Arm, Task
from autotune.model.catalogue import operation
from autotune.model.configuration import DEFAULT, Configuration
from autotune.model.measurement import Measurement, Pair, Session, TrialPlan
from autotune.model.operation import Operation
from autotune.search.confirmation import prove
from autotune.search.sequential_test import MARGIN
from autotune.search.time_budget import Clock

EFFECTS = (0.0, -0.01, -0.02, -0.05, 0.01, 0.02, 0.05)
NOISES = ((0.003, 0.01), (0.01, 0.03), (0.02, 0.06), (0.05, 0.1))
"""Standard deviations of processes and of pairs."""

PROMISED = (0.01, 0.03)
"""Up to this noise a gain of 5 % is found 95 times in 100."""

PROCESS_SECONDS = 0.3


@dataclass(frozen=True, kw_only=True)
class Row:
    """What came of some runs with the same effect and noise."""

    effect: float
    """Time of the choice over the default's, minus 1."""
    processes: float | None
    """Standard deviation between processes, None on a real machine."""
    pairs: float | None
    runs: int
    accepted: int
    rate: float
    low: float
    high: float
    """95 % interval of the rate (Clopper and Pearson, Biometrika 26, 1934)."""
    mean_processes: float
    """That a confirmation took."""
    promise: str | None = None
    """What the project promises of this row."""
    kept: bool = True


@dataclass
class NormalBench:
    """A Bench whose every pair has a known ratio, and normal noise of two levels."""

    effect: float
    processes: float
    pairs: float
    random: np.random.Generator

    def run(self, plan: TrialPlan) -> Session:
        """Measure a plan."""
        measurements: list[Measurement] = []
        for case in plan.cases:
            luck = log1p(self.effect) + self.random.normal(0.0, self.processes)
            default = self._times(plan.rounds)
            ratios = np.exp(luck + self.random.normal(0.0, self.pairs, plan.rounds))
            measurements += [
                Measurement(operation=case.operation, configuration=DEFAULT, seconds=tuple(default)),
                Measurement(
                    operation=case.operation,
                    configuration=case.configurations[0],
                    pairs=tuple(
                        Pair(default_seconds=float(plain), candidate_seconds=float(plain * ratio))
                        for plain, ratio in zip(default, ratios, strict=True)
                    ),
                    seconds=tuple(default * ratios),
                ),
            ]
        return Session(measurements=tuple(measurements), wall_seconds=PROCESS_SECONDS)

    def _times(self, rounds: int) -> np.ndarray:
        """What both sides of a pair have in common."""
        return 0.01 * np.exp(self.random.normal(0.0, self.pairs, rounds))


@dataclass
class SameBench:
    """A Bench on this machine that measures the default in the place of every choice."""

    bench: ProcessBench

    def run(self, plan: TrialPlan) -> Session:
        """Measure a plan."""
        same = (Arm(index=0, configuration=DEFAULT), Arm(index=1, configuration=DEFAULT))
        return self.bench.compare([Task(operation=case.operation, arms=same) for case in plan.cases], plan)


def main() -> int:
    """Run, count, print."""
    options = _options()
    rows = _real(options) if options.real else _simulated(options)
    if not options.json:
        print(
            f"{'effect':>7} {'processes':>9} {'pairs':>6} {'runs':>5} {'accepted':>9}  95 % interval   looked at"
        )
    found = []
    for row in rows:
        found.append(row)
        if not options.json:
            print(_line(row), flush=True)
    if options.json:
        print(json.dumps({"results": [asdict(row) for row in found]}, indent=1))
    return 0 if all(row.kept for row in found) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=400, help="simulated runs for each row (default 400)")
    parser.add_argument("--real", type=int, default=0, metavar="N", help="N runs on this machine instead")
    parser.add_argument("--operation", default="sqrt", help="for --real (default sqrt)")
    parser.add_argument("--n", type=int, default=100_000, help="its size (default 100000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.runs < 1 or options.real < 0 or options.n < 1 or options.seed < 0:
        parser.error("runs and sizes are whole numbers of at least 1")
    return options


def _simulated(options: argparse.Namespace) -> Iterator[Row]:
    asked = operation("sqrt", n=1000)
    for place, ((processes, pairs), effect) in enumerate(product(NOISES, EFFECTS)):
        random = np.random.default_rng([options.seed, place])
        counts = []
        for run in range(options.runs):
            found = half_width(list(random.normal(0.0, pairs, GROUPS * PAIRS))) or 0.0
            bench = NormalBench(effect, processes, pairs, random)
            counts.append(_accepted(bench, asked, max(MARGIN, found), run))
        yield _row(counts, effect, processes, pairs)


def _real(options: argparse.Namespace) -> Iterator[Row]:
    bench = ProcessBench()
    asked = operation(options.operation, n=options.n)
    margin = max(MARGIN, resolution(bench, seed=options.seed) or 0.0)
    runs = range(options.seed, options.seed + options.real)
    yield _row([_accepted(SameBench(bench), asked, margin, run) for run in runs], 0.0, None, None)


def _accepted(bench: Bench, asked: Operation, margin: float, seed: int) -> tuple[bool, int]:
    """Is a choice accepted, and after how many processes?"""
    clock = Clock(budget=3600.0, seed=seed)
    choice = Configuration(workers=2)  # its name: what runs under it is the bench's business
    proof = prove({asked: choice}, margin=margin, bench=bench, clock=clock)
    return asked in proof.accepted, clock.plans


def _row(counts: list[tuple[bool, int]], effect: float, processes: float | None, pairs: float | None) -> Row:
    runs, accepted = len(counts), sum(yes for yes, _ in counts)
    promise, kept = _promise(effect, processes, pairs, accepted / runs)
    return Row(
        effect=effect,
        processes=processes,
        pairs=pairs,
        runs=runs,
        accepted=accepted,
        rate=accepted / runs,
        low=float(beta.ppf(0.025, accepted, runs - accepted + 1)) if accepted else 0.0,
        high=float(beta.ppf(0.975, accepted + 1, runs - accepted)) if accepted < runs else 1.0,
        mean_processes=sum(plans for _, plans in counts) / runs,
        promise=promise,
        kept=kept,
    )


def _promise(
    effect: float, processes: float | None, pairs: float | None, rate: float
) -> tuple[str | None, bool]:
    if effect == 0:
        return "at most 2.5 %", rate <= 0.025
    if effect > 0:
        return "never", rate == 0
    known = processes is not None and pairs is not None
    if known and effect <= -0.05 and processes <= PROMISED[0] and pairs <= PROMISED[1]:
        return "at least 95 %", rate >= 0.95
    return None, True


def _line(row: Row) -> str:
    noise = [f"{value:.1%}" if value is not None else "real" for value in (row.processes, row.pairs)]
    promise = f"  promised: {row.promise}{'' if row.kept else ', MISSED'}" if row.promise else ""
    return (
        f"{row.effect:>+7.0%} {noise[0]:>9} {noise[1]:>6} {row.runs:>5} {row.rate:>9.2%}"
        f"  {row.low:6.2%} to {row.high:7.2%}  {row.mean_processes:4.1f} processes{promise}"
    )


if __name__ == "__main__":
    sys.exit(main())
