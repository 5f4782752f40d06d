#!/usr/bin/env python3
"""Proves the search on simulated machines of 2 to 256 CPUs, whose optimum is known, under noise of several kinds.

    scripts/benchmarks/run simulated_search --machines 100                   every noise, every searcher
    scripts/benchmarks/run simulated_search --noise tails --searchers autotune,round-robin --json

`autotune` is the code that `autotune calibrate` runs, from the request to the entry. `round-robin` measures
every configuration 30 times in shuffled rounds and takes the best median; `random` and `tpe` (plain Optuna) get
as many samples as autotune took there, ten a trial, and take the best value. A sample is one timing of one
configuration in one round. Regret is the true time over the best true time, less 1; the claim is the speed-up
that the search states for its choice, and its bias is claimed minus true, in percentage points.
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from math import exp

import numpy as np
import optuna
from support.simulated_machines import WEATHERS, SimulatedBench, Task, draw

from autotune.bench.statistics import log_ratios
from autotune.model.configuration import DEFAULT, Configuration
from autotune.model.entry import Entry
from autotune.model.measurement import Bench, Case, TrialPlan
from autotune.model.profile import Profile
from autotune.search.environment import Environment
from autotune.search.events import ignore
from autotune.search.machine_states import Capacity
from autotune.search.pipeline import Calibration
from autotune.search.plan import make_plan
from autotune.search.request import Request
from autotune.search.space import setting
from autotune.search.time_budget import Clock

REPEATS = 30
"""Of every configuration by round-robin."""
TRIAL_ROUNDS = 10
"""Of every trial by random search and plain Optuna."""
AMPLE_SECONDS = 1e7
"""Time is no limit here; samples are counted."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """Result of one search on one machine."""

    regret: float
    against_default: float
    """True time of the choice over the default's, less 1."""
    bias: float | None
    """Claimed minus true speed-up; None where nothing was claimed."""
    samples: int
    share: float
    """Samples over those of round-robin."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A search's choice, and its claimed time over the default's."""

    choice: Configuration
    ratio: float


Searcher = Callable[[Task, SimulatedBench, int], Claim]
"""(task, bench, samples allowed) -> claim."""


def main() -> int:
    """Draw machines, search, score, print."""
    arguments = parse()
    rows = []
    for noise in arguments.noise:
        results: dict[str, list[Result]] = defaultdict(list)
        for seed in range(arguments.seed, arguments.seed + arguments.machines):
            task = draw(seed, least=arguments.least, most=arguments.most)
            for searcher, result in compared(task, noise, seed, arguments.searchers):
                results[searcher].append(result)
        rows += [{"noise": noise, "searcher": name, **scored(trials)} for name, trials in results.items()]
        if not arguments.json:
            show(rows[-len(results) :], head=noise == arguments.noise[0])
    if arguments.json:
        print(json.dumps({"machines": arguments.machines, "seed": arguments.seed, "results": rows}))
    return 0


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = common_options(__doc__)
    parser.add_argument("--searchers", type=names(SEARCHERS), default=list(SEARCHERS), help=", ".join(SEARCHERS))
    parser.add_argument("--least", type=positive, default=75, help="configurations a space must have")
    parser.add_argument("--most", type=positive, default=10_000, help="configurations it may have")
    return parser.parse_args()


def common_options(description: str | None) -> argparse.ArgumentParser:
    """Make the options of every benchmark on simulated machines."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--machines", type=positive, default=50, help="machines for each kind of noise")
    parser.add_argument("--seed", type=int, default=0, help="of the first machine")
    parser.add_argument("--noise", type=names(WEATHERS), default=list(WEATHERS), help=", ".join(WEATHERS))
    parser.add_argument("--json", action="store_true")
    return parser


def positive(text: str) -> int:
    """Parse a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def names(choices: Collection[str]) -> Callable[[str], list[str]]:
    """Parse `a,b`, each of them known."""

    def parsed(text: str) -> list[str]:
        words = [word.strip() for word in text.split(",") if word.strip()]
        unknown = [word for word in words if word not in choices]
        if unknown or not words:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; there are {', '.join(choices)}")
        return words

    return parsed


def compared(task: Task, noise: str, seed: int, searchers: Sequence[str]) -> list[tuple[str, Result]]:
    """Run the searchers on one machine. autotune goes first: its samples are what random and tpe are allowed."""
    whole = REPEATS * len(task.configurations())
    allowed, claims = whole // 4, []
    for name in sorted(searchers, key=list(SEARCHERS).index):
        bench = SimulatedBench(task.computer, task.kind, WEATHERS[noise], seed=seed)
        claim = SEARCHERS[name](task, bench, allowed)
        if name == "autotune":
            allowed = bench.samples
        true = {choice: bench.truth(task.operation, choice) for choice in task.allowed()}
        chosen = bench.truth(task.operation, claim.choice)  # which may leave a knob alone that the space sets
        ratio = chosen / true[DEFAULT]
        claims.append(
            (
                name,
                Result(
                    regret=chosen / min(true.values()) - 1,
                    against_default=ratio - 1,
                    bias=None if claim.choice.is_default else 100 * (ratio - claim.ratio),
                    samples=bench.samples,
                    share=bench.samples / whole,
                ),
            )
        )
    return claims


def entries(task: Task, bench: Bench, seed: int = 0, profiles: Sequence[Profile] = ()) -> list[Entry]:
    """Return the decisions of `autotune calibrate` for the task's operations."""
    request = Request(
        operations=(task.kind.name,),
        sizes=tuple(operation.size for operation in task.operations),
        budget_seconds=AMPLE_SECONDS,
        seed=seed,
        workload=task.user,
    )
    environment = Environment(usable_cpus=task.computer.cpus, default_threads=task.default_threads)
    plan = make_plan(request, environment)
    capacity = Capacity(usable_cpus=task.computer.cpus)
    calibration = Calibration(
        plan=plan,
        environment=environment,
        clock=Clock(bench=bench, capacity=capacity, budget=AMPLE_SECONDS, seed=seed),
        report=ignore,
        warm_starts=profiles,
    )
    return list(plan.in_order(calibration.entries()))


def search_autotune(task: Task, bench: SimulatedBench, allowed: int) -> Claim:
    """The search of `autotune calibrate`."""
    del allowed
    entry = entries(task, bench)[0]
    return Claim(choice=entry.choice, ratio=1.0 if entry.choice.is_default else 1 / (entry.evidence.speedup or 1.0))


def search_round_robin(task: Task, bench: SimulatedBench, allowed: int) -> Claim:
    """Everything, round after round, in six processes."""
    del allowed
    seconds_of: dict[Configuration, list[float]] = defaultdict(list)
    for process in range(6):
        session = visited(task, bench, task.allowed(), rounds=REPEATS // 6, seed=process)
        for choice, seconds in session.items():
            seconds_of[choice] += seconds
    medians = {choice: float(np.median(seconds)) for choice, seconds in seconds_of.items()}
    return best(medians)


def search_random(task: Task, bench: SimulatedBench, allowed: int) -> Claim:
    """Configurations in random order, a process each, against the default in the same process."""
    points = np.random.default_rng(bench.seed).permutation(len(task.allowed()))
    values = {DEFAULT: 1.0}
    for point in points:
        if bench.samples + 2 * TRIAL_ROUNDS > allowed:
            break
        choice = task.allowed()[int(point)]
        values[choice] = ratio(task, bench, choice)
    return best(values)


def search_tpe(task: Task, bench: SimulatedBench, allowed: int) -> Claim:
    """Plain Optuna: its default sampler over the positions of the values, best value wins."""
    grid = task.grid()
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=bench.seed))
    distributions: dict[str, optuna.distributions.BaseDistribution] = {
        name: optuna.distributions.CategoricalDistribution(range(len(values)))
        if isinstance(values[0], str)
        else optuna.distributions.IntDistribution(0, len(values) - 1)
        for name, values in grid.parameters.items()
    }
    values = {DEFAULT: 1.0}
    count = 0
    while bench.samples + 2 * TRIAL_ROUNDS <= allowed and count < allowed:
        trial = study.ask(distributions)
        count += 1
        drawn = tuple(grid.parameters[name][trial.params[name]] for name in distributions)
        point = grid.index.get(drawn)
        if point is None or setting(grid, point).cpus > task.computer.cpus:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            continue
        choice = setting(grid, point)
        value = ratio(task, bench, choice)
        study.tell(trial, value)
        values[choice] = min(value, values.get(choice, value))
    return best(values)


SEARCHERS: dict[str, Searcher] = {
    "autotune": search_autotune,
    "round-robin": search_round_robin,
    "random": search_random,
    "tpe": search_tpe,
}


def visited(
    task: Task, bench: Bench, configurations: Sequence[Configuration], *, rounds: int, seed: int
) -> dict[Configuration, tuple[float, ...]]:
    """Return the seconds of configurations in one process."""
    case = Case(operation=task.operation, configurations=tuple(configurations))
    session = bench.run(TrialPlan(cases=(case,), rounds=rounds, seed=seed))
    return {measurement.configuration: measurement.seconds for measurement in session.measurements}


def ratio(task: Task, bench: Bench, choice: Configuration) -> float:
    """Return the median of a configuration's time over the default's, in one process."""
    if choice.is_default:
        return 1.0
    seconds = visited(task, bench, [choice], rounds=TRIAL_ROUNDS, seed=0)
    return exp(float(np.median(log_ratios(seconds[choice], seconds[DEFAULT]))))


def best(values: dict[Configuration, float]) -> Claim:
    """Return the configuration of the smallest value."""
    choice = min(values, key=values.__getitem__)
    return Claim(choice=choice, ratio=values[choice] / values[DEFAULT])


def scored(results: Sequence[Result]) -> dict[str, float]:
    """Over all machines; shares and regrets as fractions, bias in percentage points."""
    regrets = np.asarray([result.regret for result in results])
    slower = np.asarray([result.against_default for result in results])
    biases = [result.bias for result in results if result.bias is not None]
    return {
        "machines": len(results),
        "within_2_percent": float((regrets <= 0.02).mean()),
        "median_regret": float(np.median(regrets)),
        "p95_regret": float(np.quantile(regrets, 0.95)),
        "slower_by_0.1_percent": float((slower > 0.001).mean()),
        "slower_by_1_percent": float((slower > 0.01).mean()),
        "bias": float(np.mean(biases)) if biases else 0.0,
        "samples": float(np.median([result.samples for result in results])),
        "share_of_round_robin": float(np.median([result.share for result in results])),
        "largest_share": max(result.share for result in results),
    }


def show(rows: Sequence[dict[str, object]], *, head: bool) -> None:
    """Print a part of the table, as soon as it is known."""
    if head:
        print(
            f"{'noise':<13}{'searcher':<12}{'<= 2 %':>8}{'median':>8}{'p95':>8}"
            f"{'>0.1% slower':>14}{'>1% slower':>12}{'bias, pp':>10}{'samples':>9}{'share':>8}{'largest':>9}"
        )
    for row in rows:
        print(
            f"{row['noise']:<13}{row['searcher']:<12}{row['within_2_percent']:>8.1%}{row['median_regret']:>8.2%}"
            f"{row['p95_regret']:>8.2%}{row['slower_by_0.1_percent']:>14.1%}{row['slower_by_1_percent']:>12.1%}"
            f"{row['bias']:>10.2f}{row['samples']:>9.0f}{row['share_of_round_robin']:>8.1%}"
            f"{row['largest_share']:>9.1%}",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
