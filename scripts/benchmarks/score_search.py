#!/usr/bin/env python3
"""Replays recorded, fully measured spaces and scores what searches would have chosen after so many evaluations.

    scripts/benchmarks/run score_search TABLE.csv --group machine --parameters threads,chunk --seconds seconds \
        --default threads=64,chunk=4096 --evaluations 5,10,20,40 --seeds 20 --searchers autotune,random,tpe

One row of the table is one configuration and repeat; an empty or non-numeric time is a failed trial; combinations
that are absent are illegal. One evaluation is one visited row, and a visit sees one random repeat. Scored is the
regret of the configuration that the search would choose then, on the median of all its repeats: 0 is the
optimum, 0.1 is ten per cent slower. A score of 0 is what random search expects, 1 is the optimum.
"""

import argparse
import csv
import json
import math
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna

from autotune.search.search_grid import Grid, Value
from autotune.search.study import Study

ATTEMPTS = 50
"""Illegal combinations that TPE may suggest in a row before a legal one is drawn for it."""
CLOCK_SECONDS = 1e-9
"""What no clock of Python tells from nothing."""
AGE_SECONDS = 1e10
"""Three hundred years: no trial took longer, and ratios of times stay numbers."""


@dataclass(frozen=True)
class Table:
    """One recorded space."""

    grid: Grid
    seconds: list[list[float | None]]
    """Per point its repeats; None for a failed trial."""
    default: int | None

    def visit(self, point: int, random: np.random.Generator) -> float | None:
        """Logarithm of one random repeat."""
        repeats = self.seconds[point]
        seconds = repeats[int(random.integers(len(repeats)))]
        return None if seconds is None else math.log(seconds)

    def truth(self) -> list[float]:
        """Median seconds of every point; infinite where every repeat failed."""
        known = ([value for value in repeats if value is not None] for repeats in self.seconds)
        return [statistics.median(values) if values else math.inf for values in known]


Searcher = Callable[[Table, int, int], Iterator[int | None]]
"""(table, evaluations, seed) -> after each evaluation the point that would be chosen then."""


def main() -> int:
    """Read, replay, score, print."""
    arguments = parse()
    try:
        tables = read(arguments)
    except (OSError, ValueError, csv.Error) as problem:
        print(f"score_search: {problem}", file=sys.stderr)
        return 2
    results = [row for searcher in arguments.searchers for row in score(tables, searcher, arguments)]
    if arguments.json:
        print(json.dumps({"results": results}))
        return 0
    print(f"regret over {len(tables)} spaces and {arguments.seeds} seeds")
    print(f"{'searcher':<10}{'evaluations':>12}{'median':>9}{'p90':>9}{'max':>9}{'score':>8}")
    for row in results:
        regrets = (row["median_regret"], row["p90_regret"], row["max_regret"])
        shown = "".join(f"{'-' if regret is None else f'{regret:.2%}':>9}" for regret in regrets)
        scored = "-" if row["score"] is None else f"{row['score']:.3f}"
        print(f"{row['searcher']:<10}{row['evaluations']:>12}{shown}{scored:>8}")
    return 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", type=Path)
    parser.add_argument(
        "--group", action="append", default=[], help="column(s) whose values make separate spaces"
    )
    parser.add_argument("--parameters", required=True, type=words)
    parser.add_argument("--seconds", required=True, help="column of the times")
    parser.add_argument(
        "--default", type=assignments, default={}, help="the default configuration, as a=1,b=2"
    )
    parser.add_argument("--evaluations", type=counts, default=[5, 10, 20, 40])
    parser.add_argument("--seeds", type=positive, default=20, help="how many times each search is run")
    parser.add_argument("--searchers", type=searchers, default=list(SEARCHERS))
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def words(text: str) -> list[str]:
    """`a,b,c`, at least one, each once."""
    found = dict.fromkeys(word.strip() for word in text.split(",") if word.strip())
    if not found:
        raise argparse.ArgumentTypeError("nothing is named")
    return list(found)


def assignments(text: str) -> dict[str, str]:
    """`a=1,b=2`"""
    pairs = [word.partition("=") for word in words(text)]
    if any(not middle for _, middle, _ in pairs):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form a=1,b=2")
    return {name.strip(): value.strip() for name, _, value in pairs}


def positive(text: str) -> int:
    """A whole number of at least 1."""
    if not text.strip().isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def counts(text: str) -> list[int]:
    """`5,10,20`"""
    return [positive(word) for word in words(text)]


def searchers(text: str) -> list[str]:
    """Names of searchers."""
    unknown = [word for word in words(text) if word not in SEARCHERS]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"unknown searcher {', '.join(unknown)}; there are {', '.join(SEARCHERS)}"
        )
    return words(text)


def number(text: str) -> float | None:
    """Seconds, or None for a trial that failed: no number, or none that a clock can have shown."""
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if CLOCK_SECONDS <= seconds <= AGE_SECONDS else None


def cell(text: str) -> Value:
    """A cell's value: numbers compare as numbers (1, 1.0 and 1e0 are the same), everything else as text."""
    stripped = text.strip()
    try:
        value = float(stripped)
    except ValueError:
        return stripped
    if not math.isfinite(value):
        return stripped
    return int(value) if value.is_integer() else value


def numeric(cells: Iterable[str]) -> bool:
    """Is everything that stands in a column a number? Empty cells are nothing there; beside words, a word."""
    return not any(isinstance(cell(text), str) for text in cells if text.strip())


def read(arguments: argparse.Namespace) -> list[Table]:
    """The spaces of the table; rows without a value of a parameter that is a number are left out, and counted.

    Spaces in which every trial failed are left out too. Raises ValueError for missing columns, no rows, or a
    default that no space has.
    """
    with arguments.table.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        columns, rows = reader.fieldnames or [], list(reader)
        missing = [
            name
            for name in (*arguments.group, *arguments.parameters, arguments.seconds)
            if name not in columns
        ]
        if missing:
            raise ValueError(
                f"{arguments.table} has no column {', '.join(missing)}; it has {', '.join(columns) or 'none'}"
            )
        spaces: dict[tuple[str, ...], dict[tuple[Value, ...], list[float | None]]] = defaultdict(
            lambda: defaultdict(list)
        )
        incomplete = 0
        numbers = [name for name in arguments.parameters if numeric(row[name] or "" for row in rows)]
        for row in rows:
            if not all((row[name] or "").strip() for name in numbers):
                incomplete += 1
                continue
            group = tuple((row[name] or "").strip() for name in arguments.group)
            point = tuple(cell(row[name] or "") for name in arguments.parameters)
            spaces[group][point].append(number(row[arguments.seconds] or ""))
    if incomplete:
        print(f"score_search: left out {incomplete} rows that lack a parameter", file=sys.stderr)
    if not spaces:
        raise ValueError(f"{arguments.table} has no rows")
    tables = [table(points, arguments) for points in spaces.values()]
    usable = [one for one in tables if any(map(math.isfinite, one.truth()))]
    if len(usable) < len(tables):
        print(f"score_search: in {len(tables) - len(usable)} spaces every trial failed", file=sys.stderr)
    if usable and arguments.default and all(one.default is None for one in usable):
        raise ValueError("--default is in none of the spaces")
    return usable


def table(points: dict[tuple[Value, ...], list[float | None]], arguments: argparse.Namespace) -> Table:
    """One space; a parameter with any text in it is categorical."""
    textual = [
        any(isinstance(point[axis], str) for point in points) for axis in range(len(arguments.parameters))
    ]
    named = {
        tuple(str(value) if text else value for value, text in zip(point, textual, strict=True)): seconds
        for point, seconds in points.items()
    }
    grid = Grid.of(arguments.parameters, list(named))
    unknown = set(arguments.default) - set(arguments.parameters)
    if unknown:
        raise ValueError(f"--default names {', '.join(sorted(unknown))}, which is no parameter")
    wanted = {name: cell(value) for name, value in arguments.default.items()}
    matching = [
        position
        for position, point in enumerate(grid.points)
        if all(
            point[arguments.parameters.index(name)] in {value, str(value)} for name, value in wanted.items()
        )
    ]
    return Table(
        grid=grid,
        seconds=[named[point] for point in grid.points],
        default=matching[0] if wanted and matching else None,
    )


def search_autotune(space: Table, evaluations: int, seed: int) -> Iterator[int | None]:
    """The engine that calibrate uses."""
    random = np.random.default_rng([1, seed])
    first = [] if space.default is None else [space.default]
    study = Study(space.grid, seed=seed, first=first)
    for _ in range(evaluations):
        trial, point = study.ask()
        study.tell(trial, space.visit(point, random))
        yield study.choose()


def search_random(space: Table, evaluations: int, seed: int) -> Iterator[int | None]:
    """Points in random order, none twice until all were visited."""
    random = np.random.default_rng([2, seed])
    size = len(space.grid.points)
    order = (point for _ in range(evaluations // size + 1) for point in random.permutation(size))
    seen: dict[int, list[float]] = defaultdict(list)
    for _, point in zip(range(evaluations), order, strict=False):
        value = space.visit(int(point), random)
        if value is not None:
            seen[int(point)].append(value)
        yield best(seen)


def search_tpe(space: Table, evaluations: int, seed: int) -> Iterator[int | None]:
    """Plain Optuna: its default sampler over the parameters, best value wins."""
    random = np.random.default_rng([3, seed])
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    distributions = {name: distribution(values) for name, values in space.grid.parameters.items()}
    seen: dict[int, list[float]] = defaultdict(list)
    for _ in range(evaluations):
        for _ in range(ATTEMPTS):
            trial = study.ask(distributions)
            point = space.grid.index.get(
                tuple(decode(space.grid, name, trial.params[name]) for name in distributions)
            )
            if point is not None:
                break
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            point = int(random.integers(len(space.grid.points)))
            values = zip(space.grid.parameters, space.grid.points[point], strict=True)
            study.enqueue_trial({name: encode(space.grid, name, value) for name, value in values})
            trial = study.ask(distributions)
        value = space.visit(point, random)
        if value is None:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(trial, value)
            seen[point].append(value)
        yield best(seen)


def best(seen: dict[int, list[float]]) -> int | None:
    """The point with the best value seen, as Optuna's best_trial has it."""
    return min(seen, key=lambda point: min(seen[point]), default=None)


def distribution(values: tuple[Value, ...]) -> optuna.distributions.BaseDistribution:
    """Numbers as positions in their order, everything else as categories."""
    if isinstance(values[0], str):
        return optuna.distributions.CategoricalDistribution(values)
    return optuna.distributions.IntDistribution(0, len(values) - 1)


def decode(grid: Grid, name: str, drawn: int | str) -> Value:
    """The value that a drawn position stands for."""
    values = grid.parameters[name]
    return drawn if isinstance(values[0], str) else values[int(drawn)]


def encode(grid: Grid, name: str, value: Value) -> Value:
    """The position that stands for a value."""
    values = grid.parameters[name]
    return value if isinstance(values[0], str) else values.index(value)


SEARCHERS: dict[str, Searcher] = {"autotune": search_autotune, "random": search_random, "tpe": search_tpe}


def score(tables: list[Table], searcher: str, arguments: argparse.Namespace) -> list[dict[str, object]]:
    """Regrets pooled over spaces and seeds, for every number of evaluations."""
    wanted = sorted(set(arguments.evaluations))
    regrets: dict[int, list[float]] = {count: [] for count in wanted}
    chances: dict[int, list[float]] = {count: [] for count in wanted}
    for space in tables:
        truth = space.truth()
        finite = sorted(value for value in truth if math.isfinite(value))
        worst = finite[-1]
        expected = {count: expectation(truth, worst, count) for count in wanted}
        for seed in range(arguments.seeds):
            for visits, point in enumerate(SEARCHERS[searcher](space, wanted[-1], seed), start=1):
                if visits in regrets:
                    seconds = worst if point is None else min(truth[point], worst)
                    regrets[visits].append(seconds / finite[0] - 1)
                    chances[visits].append(expected[visits] / finite[0] - 1)
    return [
        {
            "searcher": searcher,
            "evaluations": count,
            "median_regret": float(np.median(regrets[count])) if regrets[count] else None,
            "p90_regret": float(np.quantile(regrets[count], 0.9)) if regrets[count] else None,
            "max_regret": max(regrets[count], default=None),
            "score": 1 - sum(regrets[count]) / sum(chances[count]) if sum(chances[count]) > 0 else None,
        }
        for count in wanted
    ]


def expectation(truth: list[float], worst: float, visits: int) -> float:
    """Expected best of so many different random points: the sum of the i-th best times its chance to be it.

    A point that always failed counts as the worst, which is what a search without a result is charged.
    """
    times = sorted(min(value, worst) for value in truth)
    size, drawn = len(times), min(visits, len(times))
    total = math.comb(size, drawn)
    return sum(
        value * math.comb(size - rank - 1, drawn - 1) / total
        for rank, value in enumerate(times[: size - drawn + 1])
    )


if __name__ == "__main__":
    sys.exit(main())
