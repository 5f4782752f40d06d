#!/usr/bin/env python3
"""Scores searches by the regret of the configurations that they would choose after a number of evaluations.

    scripts/benchmarks/run score_search --instances 20 --seeds 2                   generated families of spaces
    scripts/benchmarks/run score_search --families libraries,sawtooth --searchers autotune,random,tpe,gp,smac
    scripts/benchmarks/run score_search TABLE.csv --group machine --parameters threads,chunk --seconds seconds \
        --default threads=64,chunk=4096 --evaluations 5,10,20,40 --seeds 20        recorded spaces

Regret is the true time of the choice over the best true time, less 1: 0 is the optimum, 0.1 is ten per cent slower. A
score of 0 is what random search expects, 1 is the optimum.

Generated families (`search_families.py`) have known true times. For each family and number of evaluations the table
shows every searcher's 90th percentile of regret over instances and seeds, and autotune's over the better one of
random and tpe, with the 90 % interval of a bootstrap over instances. Instances from 10,000 on were never used to
develop the search (`--first 10000`). The ratio is noisy: random search against the better one of two other random
searches is at most 1 in 5 of 15 families, and its largest ratio after 20 evaluations is 5.6 with 10 instances, 2.4
with 40, and 1.3 with 400 (one seed each).

In a recorded table, which must have been measured in full, a row is one configuration and repeat; an empty or
non-numeric time is a failed trial; absent combinations are illegal. An evaluation sees one random repeat; the true
time is the median of all repeats.
"""

import argparse
import csv
import json
import math
import os
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from autotune.search.search_grid import Grid, Value
from benchmarks.search_families import FAMILIES, draw_instance
from benchmarks.searchers import SEARCHERS, Space, is_available

EQUAL = 0.002
"""Regret added to both sides of a ratio: two searches that both end within 0.2 % of the optimum are equally good."""
RESAMPLES = 400
"""Of the instances, for an interval of a ratio."""
CLOCK_SECONDS = 1e-9
"""Seconds that no clock of Python tells from zero."""
AGE_SECONDS = 1e10
"""Three hundred years: no trial took longer, and ratios of times stay numbers."""


@dataclass(frozen=True)
class Table:
    """One recorded space."""

    grid: Grid
    repeats: list[list[float | None]]
    """Per point its seconds; None for a failed trial."""
    default: int | None

    def visit(self, point: int, random: np.random.Generator) -> float | None:
        """Draw the logarithm of one random repeat."""
        repeats = self.repeats[point]
        seconds = repeats[int(random.integers(len(repeats)))]
        return None if seconds is None else math.log(seconds)

    @cached_property
    def seconds(self) -> npt.NDArray[np.float64]:
        """Median of every point; infinite where every repeat failed."""
        measured = ([value for value in repeats if value is not None] for repeats in self.repeats)
        return np.asarray([statistics.median(values) if values else math.inf for values in measured])


def main(argv: Sequence[str] | None = None) -> int:
    """Score on generated families, or on a recorded table."""
    arguments = parse(argv)
    for searcher in [name for name in arguments.searchers if not is_available(name)]:
        print(f"score_search: {searcher} is left out: it is not installed", file=sys.stderr)
        arguments.searchers.remove(searcher)
    return score_families(arguments) if arguments.table is None else score_table(arguments)


def score_table(arguments: argparse.Namespace) -> int:
    """Read, replay, score, print."""
    try:
        tables = read(arguments)
    except (OSError, ValueError, csv.Error) as problem:
        print(f"score_search: {problem}", file=sys.stderr)
        return 2
    results = [
        row
        for searcher in arguments.searchers
        for row in summary(searcher, [replay(space, searcher, arguments) for space in tables], arguments)
    ]
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


def score_families(arguments: argparse.Namespace) -> int:
    """Draw, search, score, print."""
    numbers = range(arguments.first, arguments.first + arguments.instances)
    jobs = [
        (family, number, searcher, arguments)
        for family in arguments.families
        for searcher in arguments.searchers
        for number in numbers
    ]
    with ProcessPoolExecutor(arguments.processes) as pool:
        replays = dict(zip([job[:3] for job in jobs], pool.map(replay_instance, jobs), strict=True))
    results = [
        {"family": family, **row}
        for family in arguments.families
        for searcher in arguments.searchers
        for row in summary(searcher, [replays[family, number, searcher] for number in numbers], arguments)
    ]
    ratios = compare(replays, arguments)
    if arguments.json:
        print(json.dumps({"results": results, "ratios": ratios, "worst": worst(ratios)}))
        return 0
    print(f"90th percentile of regret over {len(numbers)} instances of each family and {arguments.seeds} seeds")
    print(f"{'family':<11}{'evaluations':>11}" + "".join(f"{name:>10}" for name in arguments.searchers) + "     ratio")
    for family in arguments.families:
        for count in sorted(set(arguments.evaluations)):
            rows = [row for row in results if (row["family"], row["evaluations"]) == (family, count)]
            shown = "".join(f"{row['p90_regret']:>10.1%}" for row in rows)
            ratio = [
                f"{each['ratio']:10.2f} ({each['low']:.2f} to {each['high']:.2f})"
                for each in ratios
                if (each["family"], each["evaluations"]) == (family, count)
            ]
            print(f"{family:<11}{count:>11}{shown}{''.join(ratio)}")
    for row in worst(ratios):
        print(
            f"after {row['evaluations']} evaluations: ratio at most {row['largest']:.2f} ({row['family']}); "
            f"at most 1 in {row['at_most_1']} of {row['families']} families, "
            f"interval above 1 in {row['surely_above_1']}; geometric mean {row['mean']:.2f}"
        )
    return 0


Replays = dict[int, tuple[list[float], list[float]]]
"""For every number of evaluations the regrets, one for each seed, and what random search expects."""


def replay_instance(job: tuple[str, int, str, argparse.Namespace]) -> Replays:
    """Search one generated space; run in a process of its own."""
    family, number, searcher, arguments = job
    return replay(draw_instance(family, number), searcher, arguments, shift=1000 * number)


def compare(replays: Mapping[tuple[str, int, str], Replays], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Divide autotune's 90th percentile by that of the better one of random and tpe, with a bootstrap's interval."""
    if "autotune" not in arguments.searchers or not {"random", "tpe"} & {*arguments.searchers}:
        return []
    random = np.random.default_rng(0)
    numbers = range(arguments.first, arguments.first + arguments.instances)
    resamples = random.integers(len(numbers), size=(RESAMPLES, len(numbers)))
    compared = []
    for family, count in product(arguments.families, sorted(set(arguments.evaluations))):
        own, *rivals = (
            np.asarray([replays[family, number, name][count][0] for number in numbers])
            for name in ("autotune", "random", "tpe")
            if name in arguments.searchers
        )
        # percentile bootstrap (Efron, Bootstrap methods: another look at the jackknife, 1979)
        ratios = [_ratio(own[drawn], [each[drawn] for each in rivals]) for drawn in resamples]
        low, high = np.quantile(ratios, (0.05, 0.95)).tolist()
        compared.append(
            {"family": family, "evaluations": count, "ratio": _ratio(own, rivals), "low": low, "high": high}
        )
    return compared


def _ratio(own: npt.NDArray[np.float64], rivals: Sequence[npt.NDArray[np.float64]]) -> float:
    """Return the ratio of 90th percentiles of regrets (instances, seeds), against the better rival."""
    best = min(float(np.quantile(each, 0.9)) for each in rivals)
    return (float(np.quantile(own, 0.9)) + EQUAL) / (best + EQUAL)


def worst(ratios: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return for every number of evaluations the family with the largest ratio."""
    rows = []
    for count in dict.fromkeys(row["evaluations"] for row in ratios):
        group = [row for row in ratios if row["evaluations"] == count]
        largest = max(group, key=lambda row: row["ratio"])
        rows.append(
            {
                "evaluations": count,
                "family": largest["family"],
                "largest": largest["ratio"],
                "at_most_1": sum(row["ratio"] <= 1.0 for row in group),
                "surely_above_1": sum(row["low"] > 1.0 for row in group),
                "families": len(group),
                "mean": math.exp(statistics.fmean(math.log(row["ratio"]) for row in group)),
            }
        )
    return rows


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, nargs="?", help="recorded spaces; without it, generated families")
    parser.add_argument("--group", action="append", default=[], help="column(s) whose values make separate spaces")
    parser.add_argument("--parameters", type=words, help="columns of the table")
    parser.add_argument("--seconds", help="column of the times")
    parser.add_argument("--default", type=assignments, default={}, help="the default configuration, as a=1,b=2")
    parser.add_argument("--families", type=families, default=list(FAMILIES), help=", ".join(FAMILIES))
    parser.add_argument("--instances", type=positive, default=20, help="of each family")
    parser.add_argument("--first", type=int, default=0, help="number of the first instance")
    parser.add_argument("--processes", type=positive, default=os.cpu_count(), help="run at once, on families")
    parser.add_argument("--evaluations", type=counts, default=[5, 10, 20, 40])
    parser.add_argument("--seeds", type=positive, default=20, help="how many times each search is run")
    parser.add_argument("--searchers", type=searchers, default=["autotune", "random", "tpe"])
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(argv)
    if arguments.table and not (arguments.parameters and arguments.seconds):
        parser.error("a table needs --parameters and --seconds")
    return arguments


def words(text: str) -> list[str]:
    """Parse `a,b,c`, at least one, each once."""
    names = dict.fromkeys(word.strip() for word in text.split(",") if word.strip())
    if not names:
        raise argparse.ArgumentTypeError("nothing is named")
    return list(names)


def assignments(text: str) -> dict[str, str]:
    """Parse `a=1,b=2`."""
    pairs = [word.partition("=") for word in words(text)]
    if any(not middle for _, middle, _ in pairs):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form a=1,b=2")
    return {name.strip(): value.strip() for name, _, value in pairs}


def positive(text: str) -> int:
    """Parse a whole number of at least 1."""
    if not text.strip().isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def counts(text: str) -> list[int]:
    """Parse `5,10,20`."""
    return [positive(word) for word in words(text)]


def searchers(text: str) -> list[str]:
    """Parse names of searchers."""
    return _names(text, "searcher", SEARCHERS)


def families(text: str) -> list[str]:
    """Parse names of families."""
    return _names(text, "family", FAMILIES)


def _names(text: str, noun: str, nouns: Iterable[str]) -> list[str]:
    names = list(nouns)
    unknown = [word for word in words(text) if word not in names]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown {noun} {', '.join(unknown)}; there are {', '.join(names)}")
    return words(text)


def number(text: str) -> float | None:
    """Parse seconds, or None for a trial that failed: no number, or none that a clock can have shown."""
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if CLOCK_SECONDS <= seconds <= AGE_SECONDS else None


def cell(text: str) -> Value:
    """Parse a cell's value: numbers compare as numbers (1, 1.0 and 1e0 are the same), everything else as text."""
    stripped = text.strip()
    try:
        value = float(stripped)
    except ValueError:
        return stripped
    if not math.isfinite(value):
        return stripped
    return int(value) if value.is_integer() else value


def numeric(cells: Iterable[str]) -> bool:
    """Is everything that stands in a column a number? Empty cells are nothing there; next to words, a word."""
    return not any(isinstance(cell(text), str) for text in cells if text.strip())


def read(arguments: argparse.Namespace) -> list[Table]:
    """Read the spaces of the table; rows without a value of a parameter that is a number are left out, and counted.

    Spaces in which every trial failed are left out too. Raises ValueError for missing columns, no rows, or a
    default that no space has.
    """
    with arguments.table.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        columns, rows = reader.fieldnames or [], list(reader)
        missing = [name for name in (*arguments.group, *arguments.parameters, arguments.seconds) if name not in columns]
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
    usable = [space for space in tables if np.isfinite(space.seconds).any()]
    if len(usable) < len(tables):
        print(f"score_search: in {len(tables) - len(usable)} spaces every trial failed", file=sys.stderr)
    if usable and arguments.default and all(space.default is None for space in usable):
        raise ValueError("--default is in none of the spaces")
    return usable


def table(points: dict[tuple[Value, ...], list[float | None]], arguments: argparse.Namespace) -> Table:
    """Return one space; a parameter with any text in it is categorical."""
    textual = [any(isinstance(point[axis], str) for point in points) for axis in range(len(arguments.parameters))]
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
        if all(point[arguments.parameters.index(name)] in {value, str(value)} for name, value in wanted.items())
    ]
    return Table(
        grid=grid, repeats=[named[point] for point in grid.points], default=matching[0] if wanted and matching else None
    )


def replay(space: Space, searcher: str, arguments: argparse.Namespace, shift: int = 0) -> Replays:
    """Run one searcher on one space with every seed; a search without a result is charged the worst time."""
    finite = space.seconds[np.isfinite(space.seconds)]
    best, slowest = float(finite.min()), float(finite.max())
    wanted = sorted(set(arguments.evaluations))
    regrets: dict[int, list[float]] = {count: [] for count in wanted}
    for seed in range(shift, shift + arguments.seeds):
        for visits, point in enumerate(SEARCHERS[searcher](space, wanted[-1], seed), start=1):
            if visits in regrets:
                seconds = slowest if point is None else min(float(space.seconds[point]), slowest)
                regrets[visits].append(seconds / best - 1)
    times = np.minimum(space.seconds, slowest).tolist()
    return {count: (regrets[count], [expectation(times, count) / best - 1] * len(regrets[count])) for count in wanted}


def summary(searcher: str, replays: Sequence[Replays], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Pool regrets over spaces and seeds, for every number of evaluations."""
    rows = []
    for count in sorted(set(arguments.evaluations)):
        regrets = [regret for each in replays for regret in each[count][0]]
        chances = [chance for each in replays for chance in each[count][1]]
        rows.append(
            {
                "searcher": searcher,
                "evaluations": count,
                "median_regret": float(np.median(regrets)) if regrets else None,
                "p90_regret": float(np.quantile(regrets, 0.9)) if regrets else None,
                "max_regret": max(regrets, default=None),
                "score": 1 - sum(regrets) / sum(chances) if sum(chances) > 0 else None,
            }
        )
    return rows


def expectation(seconds: Sequence[float], visits: int) -> float:
    """Return the expected best of `visits` random points: the sum of the i-th best times its probability to be it."""
    times = sorted(seconds)
    size, drawn = len(times), min(visits, len(times))
    total = math.comb(size, drawn)
    return sum(
        value * math.comb(size - rank - 1, drawn - 1) / total for rank, value in enumerate(times[: size - drawn + 1])
    )


if __name__ == "__main__":
    sys.exit(main())
