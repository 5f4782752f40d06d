#!/usr/bin/env python3
"""Scores what is said of sizes that were never measured, and warm starts, on simulated machines.

    scripts/benchmarks/run warm_starts --machines 50                     every noise
    scripts/benchmarks/run warm_starts --noise none,common --json

On each machine three sizes of an operation are calibrated by the code that `autotune calibrate` runs, and two
halfway between them, by the logarithm, are not. Regret is the true time over the best true time there, less 1:

    between       of what the profile's rule says for such a size
    reduced       the same while half of the CPUs are missing: what is chosen then costs this much
    warm          of the best of the default and the first three trials that the profile suggests for it
    fewer CPUs    the same on a machine with half as many CPUs
    more CPUs     the same on a machine with twice as many

`reach 95 %` is the share of sizes at which at least 95 % of the best speed is reached, `slower` the share at which
the choice is more than 1 % slower than the default.
"""

import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from support.simulated_machines import WEATHERS, SimulatedBench, Task, draw_sizes

from autotune.model.configuration import DEFAULT, Configuration
from autotune.model.interpolation import choose
from autotune.model.operation import Operation
from autotune.model.profile import Key, Profile
from autotune.search.space import nearest, setting, with_chunks
from autotune.search.warm_starts import suggestions, warm_starts
from benchmarks.simulated_search import common_options, entries


@dataclass(frozen=True, kw_only=True)
class Score:
    """The value of a choice for one size."""

    regret: float
    against_default: float
    """True time over the default's, less 1."""


def main() -> int:
    """Draw machines, calibrate some sizes, score the others, print."""
    arguments = common_options(__doc__).parse_args()
    rows = []
    for noise in arguments.noise:
        scores: dict[str, list[Score]] = defaultdict(list)
        for seed in range(arguments.seed, arguments.seed + arguments.machines):
            for name, score in transferred(*draw_sizes(seed), noise, seed):
                scores[name].append(score)
        lines = [{"noise": noise, "what": name, **summary(scores[name])} for name in scores]
        rows += lines
        if not arguments.json:
            show(lines, head=noise == arguments.noise[0])
    if arguments.json:
        print(json.dumps({"machines": arguments.machines, "seed": arguments.seed, "results": rows}))
    return 0


def transferred(measured: Task, between: Task, noise: str, seed: int) -> Iterator[tuple[str, Score]]:
    """Return the scores at the sizes between those that were calibrated."""
    cpus = measured.computer.cpus
    decisions = entries(measured, SimulatedBench(measured.computer, measured.kind, WEATHERS[noise], seed=seed))
    taught = warm_starts([Profile(key=Key(usable_cpus=cpus), entries=tuple(decisions))])
    relatives = {"warm": cpus, "fewer CPUs": max(2, cpus // 2), "more CPUs": 2 * cpus}
    for operation in between.operations:
        entry = choose(decisions, operation)
        assert entry is not None
        yield "between", score(between, operation, [entry.choice])
        yield "reduced", score_without_capacity(between, operation, entry.choice)
        for name, count in relatives.items():
            task = replace(between, computer=replace(between.computer, cpus=count))
            yield name, score(task, operation, [DEFAULT, *first_trials(task, operation, taught)])


def first_trials(task: Task, operation: Operation, taught: Sequence[Profile]) -> list[Configuration]:
    """Return the first configurations that calibrate tries, as the exploration does."""
    suggested = suggestions(taught, operation, task.computer.cpus)
    grid = with_chunks(task.grid(operation), suggested)
    points = (nearest(grid, choice) for choice in suggested)
    return [setting(grid, point) for point in points if point is not None]


def score(task: Task, operation: Operation, tried: Sequence[Configuration]) -> Score:
    """Return the score of the best of what was tried."""

    def seconds(choice: Configuration) -> float:
        return task.computer.seconds(task.kind, operation, choice)

    best = min(map(seconds, tried))
    return Score(
        regret=best / min(map(seconds, task.allowed(operation))) - 1, against_default=best / seconds(DEFAULT) - 1
    )


def score_without_capacity(task: Task, operation: Operation, chosen: Configuration) -> Score:
    """Of a choice while half of the CPUs are missing."""
    bench = SimulatedBench(task.computer, task.kind, WEATHERS["none"])

    def seconds(choice: Configuration) -> float:
        return bench.truth_without_capacity(operation, choice)

    return Score(
        regret=seconds(chosen) / min(map(seconds, task.allowed(operation))) - 1,
        against_default=seconds(chosen) / seconds(DEFAULT) - 1,
    )


def summary(scores: Sequence[Score]) -> dict[str, float]:
    """Over all sizes of all machines; shares and regrets as fractions."""
    regrets = np.asarray([each.regret for each in scores])
    return {
        "sizes": len(scores),
        "median_regret": float(np.median(regrets)),
        "p90_regret": float(np.quantile(regrets, 0.9)),
        "max_regret": float(regrets.max()),
        "reach_95_percent": float((regrets <= 1 / 0.95 - 1).mean()),
        "slower_by_1_percent": float(np.mean([each.against_default > 0.01 for each in scores])),
    }


def show(rows: Sequence[dict[str, object]], *, head: bool) -> None:
    """Print a part of the table, as soon as it is known."""
    if head:
        print(
            f"{'noise':<14}{'what':<12}{'sizes':>7}{'median':>9}{'p90':>9}{'largest':>9}{'reach 95 %':>12}{'slower':>8}"
        )
    for row in rows:
        print(
            f"{row['noise']:<14}{row['what']:<12}{row['sizes']:>7}{row['median_regret']:>9.2%}"
            f"{row['p90_regret']:>9.2%}{row['max_regret']:>9.1%}{row['reach_95_percent']:>12.1%}"
            f"{row['slower_by_1_percent']:>8.1%}",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
