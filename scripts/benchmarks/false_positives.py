#!/usr/bin/env python3
"""Error rate and power of a confirmation: differences accepted that are not there, and gains found that are.

    scripts/benchmarks/run false_positives                identical configurations and planted effects, simulated
    scripts/benchmarks/run false_positives --real 100     identical configurations in real processes on this machine

Every run is a confirmation by the code that `autotune calibrate` decides with, of one candidate, with a budget of 20 s
of trials. An effect of -5 % is a configuration that takes 5 % less time than the default. A candidate of `workers`
uses as many CPUs as there are, the default one; a candidate of `threads` uses one CPU, the default all, so that lost
capacity speaks for it. Exits with 1 if a figure that the project promises is missed.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import sqrt

from scipy.stats import beta
from support.simulated_machines import WEATHERS, Planted, SimulatedBench, Weather

from autotune.bench.process_bench import ProcessBench
from autotune.bench.trial_job import Arm, Task
from autotune.model.catalogue import operation
from autotune.model.configuration import DEFAULT, Configuration
from autotune.model.measurement import Bench, Session, TrialPlan
from autotune.model.operation import Operation
from autotune.search.candidate import Candidate, Verdict
from autotune.search.confirmation import Confirmation
from autotune.search.machine_states import Capacity
from autotune.search.sequential_test import candidate_error
from autotune.search.time_budget import Clock

EFFECTS = (0.0, 0.02, -0.05)
SECONDS = 20.0
"""Of trials, for one confirmation."""
SCATTERS = {"scatter-1/3": (0.01, 0.03), "scatter-2/6": (0.02, 0.06), "scatter-5/10": (0.05, 0.10)}
"""Standard deviations between processes and of pairs, normal."""
POWERFUL = ("none", "scatter-1/3", "scatter-2/6")
"""Noise under which a gain of 5 % is promised to be found nine times in ten."""
CANDIDATES = {
    "workers": (operation("sqrt", n=1_000_000), Configuration(workers=2), False),
    "threads": (operation("qr", n=256), Configuration(blas_threads=1), True),
}
"""Operation, choice, and whether it uses fewer CPUs than the default."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """Outcome of some runs with the same effect and noise."""

    noise: str
    candidate: str
    effect: float
    """Time of the choice over the default's at full capacity, minus 1."""
    runs: int
    accepted: int
    rate: float
    low: float
    high: float
    """95 % interval of the rate (Clopper and Pearson, Biometrika 26, 1934)."""
    mean_processes: float
    """That a confirmation took."""
    promise: str | None = None
    """The project's promise about this row."""
    kept: bool = True


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
        print(f"{'noise':<13} {'candidate':<9} {'effect':>7} {'runs':>5} {'accepted':>9}  95 % interval   looked at")
    judged = []
    for row in rows:
        judged.append(row)
        if not options.json:
            print(_line(row), flush=True)
    if options.json:
        print(json.dumps({"results": [asdict(row) for row in judged]}, indent=1))
    return 0 if all(row.kept for row in judged) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=400, help="simulated runs for each row (default 400)")
    parser.add_argument("--noise", default="", help="only these kinds, such as states,bursts-15")
    parser.add_argument(
        "--effects",
        type=lambda text: [float(word) for word in text.split(",")],
        default=EFFECTS,
        help="true effects, such as 0,0.02,-0.05: 0 is an identical configuration, -0.05 takes 5 %% less time",
    )
    parser.add_argument("--real", type=int, default=0, metavar="N", help="N runs on this machine instead")
    parser.add_argument("--operation", default="sqrt", help="for --real (default sqrt)")
    parser.add_argument("--n", type=int, default=100_000, help="its size (default 100000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.runs < 1 or options.real < 0 or options.n < 1 or options.seed < 0:
        parser.error("runs and sizes are whole numbers of at least 1")
    return options


def noises() -> dict[str, Weather]:
    """List every kind of noise: those of the simulated machines, and normal scatter."""
    normal = {
        name: Weather(layouts=processes / sqrt(2), jitter=pairs / sqrt(2))
        for name, (processes, pairs) in SCATTERS.items()
    }
    return {**WEATHERS, **normal}


def _simulated(options: argparse.Namespace) -> Iterator[Row]:
    wanted = [word for word in options.noise.split(",") if word] or list(noises())
    for name in wanted:
        for candidate, (size, choice, fewer_cpus) in CANDIDATES.items():
            for effect in options.effects:
                counts = []
                for run in range(options.seed, options.seed + options.runs):
                    machine = Planted(ratio=1.0 + effect)
                    bench = SimulatedBench(machine, None, noises()[name], seed=run)
                    counts.append(_accepted(bench, size, choice, fewer_cpus=fewer_cpus, seed=run))
                yield _row(counts, name, candidate, effect)


def _real(options: argparse.Namespace) -> Iterator[Row]:
    bench = SameBench(ProcessBench())
    size = operation(options.operation, n=options.n)
    runs = range(options.seed, options.seed + options.real)
    choice = Configuration(workers=2)  # its name: what runs under it is the bench's business
    counts = [_accepted(bench, size, choice, fewer_cpus=False, seed=run) for run in runs]
    yield _row(counts, "this machine", "default", 0.0)


def _accepted(bench: Bench, size: Operation, choice: Configuration, *, fewer_cpus: bool, seed: int) -> tuple[bool, int]:
    """Is a choice accepted, and after how many processes?"""
    clock = Clock(bench=bench, capacity=Capacity(usable_cpus=2), budget=SECONDS, seed=seed)
    confirmation = Confirmation(clock)
    confirmation.add(
        Candidate(
            operation=size,
            choice=choice,
            capacity=clock.capacity,
            fewer_cpus=fewer_cpus,
            error=candidate_error(0),
            seemed=-0.05,
        )
    )
    list(confirmation.rounds())
    (candidate,) = confirmation.candidates
    return candidate.verdict is Verdict.ACCEPTED, clock.plans


def _row(counts: list[tuple[bool, int]], noise: str, candidate: str, effect: float) -> Row:
    runs, accepted = len(counts), sum(yes for yes, _ in counts)
    promise, kept = _promise(noise, effect, accepted / runs)
    return Row(
        noise=noise,
        candidate=candidate,
        effect=effect,
        runs=runs,
        accepted=accepted,
        rate=accepted / runs,
        low=float(beta.ppf(0.025, accepted, runs - accepted + 1)) if accepted else 0.0,
        high=float(beta.ppf(0.975, accepted + 1, runs - accepted)) if accepted < runs else 1.0,
        mean_processes=sum(plans for _, plans in counts) / runs,
        promise=promise,
        kept=kept,
    )


def _promise(noise: str, effect: float, rate: float) -> tuple[str | None, bool]:
    if effect == 0:
        return "at most 2.5 %", rate <= 0.025
    if effect > 0:
        return "never", rate == 0
    if noise in POWERFUL:
        return "at least 90 %", rate >= 0.9
    return None, True


def _line(row: Row) -> str:
    promise = f"  promised: {row.promise}{'' if row.kept else ', MISSED'}" if row.promise else ""
    return (
        f"{row.noise:<13} {row.candidate:<9} {row.effect:>+7.0%} {row.runs:>5} {row.rate:>9.2%}"
        f"  {row.low:6.2%} to {row.high:7.2%}  {row.mean_processes:4.1f} processes{promise}"
    )


if __name__ == "__main__":
    sys.exit(main())
