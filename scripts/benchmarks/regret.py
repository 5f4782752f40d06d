#!/usr/bin/env python3
"""Distance of the profile's choice from the best configuration on this machine.

    scripts/benchmarks/run regret svd --sizes n=300
    scripts/benchmarks/run regret sqrt --sizes n=1000000 --profile mine.yaml --json

Measures every configuration of an operation twice, each time in several fresh processes whose rounds are
shuffled. The first pass picks the oracle; the second scores it, the profile's choice and plain NumPy, all on the
same fresh data, so that the oracle owes nothing to luck. Regret is the time of a choice over that of the oracle,
minus 1, with its 95 % interval over processes; below zero the choice was the better one. A word of caution is
printed where others took more of the CPUs than timings can bear.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import exp
from statistics import mean
from typing import Any

import numpy as np  # noqa: F401 - its BLAS is part of what a profile has to fit

from autotune.bench.host_lock import host_lock
from autotune.bench.process_bench import ProcessBench
from autotune.bench.statistics import hodges_lehmann, mean_interval, pair_log_ratios
from autotune.cli.options import parse_sizes
from autotune.errors import AutotuneError, BadSize, EnvironmentProblem
from autotune.host.usable_cpus import affinity
from autotune.model.catalogue import kind, operation
from autotune.model.configuration import DEFAULT, Configuration
from autotune.model.measurement import Case, Measurement, Session, TrialPlan
from autotune.model.operation import Operation
from autotune.profiles.resolve import resolve
from autotune.search.machine_states import Capacity
from autotune.search.space import setting, space

Estimates = dict[Configuration, list[float]]
"""For each configuration its log-ratio to the default, one for each process."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A choice, and what the second pass says of it."""

    choice: str
    configuration: str
    seconds: float
    regret: float
    """0 for the oracle itself."""
    low: float
    high: float


def main() -> int:
    """Measure twice, pick, score, print."""
    options = _options()
    try:
        row = kind(options.operation)
        sizes, *more = parse_sizes(options.sizes, row) or [{}]
        if more:
            raise BadSize("One size at a time: give one value for each of them.")
        size = operation(row.name, dtype=options.dtype, **sizes)
        with host_lock():
            report = _compare(size, options)
    except AutotuneError as problem:
        print(f"regret: {problem}", file=sys.stderr)
        return 3 if isinstance(problem, EnvironmentProblem) else 2
    if options.json:
        print(json.dumps(report, indent=1))
    else:
        _print(report)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("operation", help="of the catalogue")
    parser.add_argument("--sizes", nargs="+", default=[], metavar="NAME=N", help="one value for each size")
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float64")
    parser.add_argument("--profile", help="profile to score; by default the one that autotune finds")
    parser.add_argument("--processes", type=int, default=6, help="in each pass (default 6)")
    parser.add_argument("--rounds", type=int, default=6, help="in each process (default 6)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.processes < 2 or options.rounds < 1 or options.seed < 0:
        parser.error("a pass needs at least 2 processes, and a process at least 1 round")
    return options


def _compare(size: Operation, options: argparse.Namespace) -> dict[str, object]:
    resolution = resolve(options.profile)
    match = resolution.find(size)
    chosen = DEFAULT if match is None else match.entry.choice
    cpus = resolution.usable_cpus
    grid = space(kind(size.name), size, cpus, len(affinity() or ()) or cpus)
    points = [] if grid is None else [setting(grid, point) for point in range(len(grid.points))]
    candidates = list(dict.fromkeys([*points, chosen]))
    first, _ = _pass(size, candidates, options, 0)
    second, sessions = _pass(size, candidates, options, 1)
    sound = [choice for choice in first if choice in second]
    oracle = min(sound, key=lambda choice: (mean(first[choice]), str(choice)))
    default = [value for session in sessions for value in _default_of(session).seconds]
    if not default:
        raise EnvironmentProblem(f"{size}: plain NumPy could not be measured.")
    choices = {"oracle": oracle, "profile": chosen, "plain NumPy": DEFAULT}
    kept = {name: choice for name, choice in choices.items() if choice in second}
    rows = [_row(name, choice, oracle, second, mean(default)) for name, choice in kept.items()]
    return {
        "operation": str(size),
        "configurations": len(candidates),
        "failed": [str(choice) for choice in candidates if choice not in sound],
        "profile": None if match is None else match.path,
        "disturbance": str(_capacity(sessions)),
        "results": [asdict(row) for row in rows],
    }


def _pass(
    size: Operation, candidates: Sequence[Configuration], options: argparse.Namespace, number: int
) -> tuple[Estimates, list[Session]]:
    """Time every configuration in every one of the pass's processes; those that failed in one are left out."""
    bench = ProcessBench()
    case = Case(operation=size, configurations=tuple(candidates))
    first = options.seed + number * options.processes
    seeds = range(first, first + options.processes)
    sessions = [bench.run(TrialPlan(cases=(case,), rounds=options.rounds, seed=seed)) for seed in seeds]
    estimates: Estimates = {DEFAULT: [0.0] * len(sessions)}
    for session in sessions:
        default = _default_of(session)
        for measurement in session.measurements[1:]:
            if measurement.failure is None and default.failure is None:
                ratio = hodges_lehmann(pair_log_ratios(measurement.pairs))
                estimates.setdefault(measurement.configuration, []).append(ratio)
    return {choice: values for choice, values in estimates.items() if len(values) == len(sessions)}, sessions


def _capacity(sessions: Sequence[Session]) -> Capacity:
    """Describe the machine's state meanwhile."""
    capacity = Capacity(usable_cpus=len(affinity() or ()) or 1)
    for session in sessions:
        capacity.add(session)
    return capacity


def _default_of(session: Session) -> Measurement:
    return session.measurements[0]


def _row(name: str, choice: Configuration, oracle: Configuration, second: Estimates, default: float) -> Row:
    seconds = default * exp(mean(second[choice]))
    if choice == oracle:
        return Row(choice=name, configuration=str(choice), seconds=seconds, regret=0.0, low=0.0, high=0.0)
    apart = [this - best for this, best in zip(second[choice], second[oracle], strict=True)]
    regret, low, high = (exp(value) - 1 for value in mean_interval(apart))
    return Row(choice=name, configuration=str(choice), seconds=seconds, regret=regret, low=low, high=high)


def _print(report: dict[str, Any]) -> None:
    profile = f"profile {report['profile'] or 'none'}"
    print(f"{report['operation']}: {report['configurations']} configurations other than plain NumPy, {profile}")
    print(f"{'choice':<12} {'configuration':<36} {'seconds':>10} {'regret':>8}  95 % interval")
    for row in report["results"]:
        print(
            f"{row['choice']:<12} {row['configuration']:<36} {row['seconds']:>10.3g} {row['regret']:>8.1%}"
            f"  {row['low']:.1%} to {row['high']:.1%}"
        )
    for line in filter(None, (report["disturbance"], *(f"failed: {choice}" for choice in report["failed"]))):
        print(line)


if __name__ == "__main__":
    sys.exit(main())
