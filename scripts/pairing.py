"""Two programs side by side in fresh processes: the ratio of their times with its interval. For bench_*.

Each run starts both programs one after the other, in random order and only while the machine's capacity is
there. One run yields one log-ratio; the interval is Student's over runs, as processes differ more than calls.
"""

import argparse
import json
import math
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from statistics import median
from typing import Any

ENOUGH_SECONDS = 0.5
"""A process repeats its program for so long, and at least three times; a longer program runs once."""

CAPACITY = 0.95
"""Share of the usable CPUs that spinning processes must reach before anything is timed."""

Call = Callable[[], object]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A program, and the same with autotune."""

    plain: Call
    tuned: Call
    asks: tuple[str, Mapping[str, int]] | None = None
    """The operation and sizes that the profile is asked for."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """A row of the table."""

    title: str
    make: Callable[[bool], Pair]
    """Makes the inputs; True for small ones."""
    plain_environment: Mapping[str, str] = field(default_factory=dict)
    tuned_environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Row:
    """What came of it. The ratio is plain / tuned: above 1 the program with autotune is faster."""

    name: str
    title: str
    ratio: float | None
    low: float | None
    high: float | None
    runs: int
    plain_seconds: float | None
    tuned_seconds: float | None
    configuration: str | None
    """What the profile chose, "default" if nothing."""
    problem: str | None = None


def main(script: str, doc: str, programs: Mapping[str, Program]) -> int:
    """The command line of a script that compares programs."""
    options = _options(doc, programs)
    if options.side:
        print(json.dumps(_measure(programs[options.programs[0]], options)))
        return 0
    rows = []
    for name in options.programs or programs:
        program = programs[name]
        if options.quick:
            program = replace(program, title=f"(small) {program.title}")
        rows.append(_compare(script, name, program, options))
        print(_line(rows[-1]), file=sys.stderr if options.json else sys.stdout, flush=True)
    if options.json:
        print(json.dumps({"results": [asdict(row) for row in rows]}, indent=1))
    return 1 if any(row.problem for row in rows) else 0


def _options(doc: str, programs: Mapping[str, Program]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "programs", nargs="*", metavar="PROGRAM", help=f"of {', '.join(programs)}; all by default"
    )
    parser.add_argument("--profile", help="profile to apply; by default the one that autotune finds")
    parser.add_argument("--runs", type=int, default=8, help="pairs of processes for each program (default 8)")
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument(
        "--patience", type=float, default=600, help="seconds to wait for a quiet machine, per program"
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--side", choices=("plain", "tuned"), help="run one side of one program here and print its time"
    )
    options = parser.parse_args()
    unknown = set(options.programs) - set(programs)
    if unknown or options.runs < 2 or (options.side and len(options.programs) != 1):
        parser.error(
            f"unknown program {', '.join(unknown)}"
            if unknown
            else "give at least 2 runs, or one side of one program"
        )
    return options


# --- in the parent ----------------------------------------------------------------------


def _compare(script: str, name: str, program: Program, options: argparse.Namespace) -> Row:
    from autotune.bench.statistics import mean_interval

    times: dict[str, list[float]] = {"plain": [], "tuned": []}
    configuration = problem = None
    order = random.Random(name)
    deadline = time.monotonic() + options.patience
    for _ in range(options.runs):
        problem = _wait_for_capacity(deadline)
        if problem:
            break
        for side in order.sample(("plain", "tuned"), 2):
            outcome = _run(script, name, side, program, options)
            if "problem" in outcome:
                return _row(name, program, problem=outcome["problem"])
            times[side].append(outcome["seconds"])
            configuration = outcome.get("configuration") or configuration
    pairs = list(zip(times["plain"], times["tuned"], strict=True))
    if len(pairs) < 2:
        return _row(name, program, problem=problem)
    mean, low, high = (math.exp(value) for value in mean_interval([math.log(a / b) for a, b in pairs]))
    return _row(
        name,
        program,
        ratio=mean,
        low=low,
        high=high,
        runs=len(pairs),
        plain_seconds=median(times["plain"]),
        tuned_seconds=median(times["tuned"]),
        configuration=configuration,
        problem=problem,
    )


def _row(name: str, program: Program, *, runs: int = 0, problem: str | None = None, **values: Any) -> Row:
    unknown = dict.fromkeys(("ratio", "low", "high", "plain_seconds", "tuned_seconds", "configuration"))
    return Row(name=name, title=program.title, runs=runs, problem=problem, **{**unknown, **values})


def _run(script: str, name: str, side: str, program: Program, options: argparse.Namespace) -> dict[str, Any]:
    """One program in a fresh process, whose environment holds no thread variable but the program's own."""
    from autotune.controls.environment import scrub

    environment, _ = scrub(os.environ)
    environment.update(program.plain_environment if side == "plain" else program.tuned_environment)
    command = [sys.executable, script, name, "--side", side]
    command += ["--quick"] if options.quick else []
    command += ["--profile", options.profile] if options.profile else []
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        return {"problem": f"the {side} program failed: {last}"}
    outcome: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return outcome


def _wait_for_capacity(deadline: float) -> str | None:
    """None once as many spinning processes as there are CPUs get so many times the work of one done."""
    from autotune.bench.selftest import capacity
    from autotune.host.allocation import usable_cpus

    cpus, _ = usable_cpus()
    while True:
        reached = capacity(cpus)
        if reached is None or reached >= CAPACITY * cpus:
            return None
        if time.monotonic() > deadline:
            return (
                f"the machine was busy: {cpus} spinning processes reached {reached:.2f} times the work of one"
            )
        time.sleep(1)


def _line(row: Row) -> str:
    if row.ratio is None:
        return f"{row.title:<72}  not measured: {row.problem}"
    times = f"{_seconds(row.plain_seconds):>8} -> {_seconds(row.tuned_seconds):>8}"
    ratio = f"{row.ratio:5.2f}x [{row.low:.2f}, {row.high:.2f}]"
    remarks = (row.configuration, row.problem and f"({row.problem})")
    return "  ".join([f"{row.title:<72}", times, ratio, *filter(None, remarks)])


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    unit, scale = next((pair for pair in (("s", 1.0), ("ms", 1e-3)) if value >= pair[1]), ("us", 1e-6))
    return f"{value / scale:.3g} {unit}"


# --- in the fresh process ---------------------------------------------------------------


def _measure(program: Program, options: argparse.Namespace) -> dict[str, Any]:
    """Time one side here."""
    configuration = None
    if options.side == "tuned":
        import autotune

        autotune.apply(profile=options.profile, strict=options.profile is not None)
    pair = program.make(options.quick)
    call = pair.plain if options.side == "plain" else pair.tuned
    if options.side == "tuned" and pair.asks is not None:
        operation, sizes = pair.asks
        configuration = str(autotune.config(operation, **sizes) or "default")
    return {"seconds": median(_times(call)), "configuration": configuration}


def _times(call: Call) -> list[float]:
    """The first call warms up, unless it was so long that it needs no second."""
    first = _time(call)
    return [first] if first > 4 * ENOUGH_SECONDS else list(_repeats(call))


def _repeats(call: Call) -> Iterator[float]:
    spent, count = 0.0, 0
    while spent < ENOUGH_SECONDS or count < 3:
        seconds = _time(call)
        yield seconds
        spent, count = spent + seconds, count + 1


def _time(call: Call) -> float:
    start = time.perf_counter()
    result = call()
    seconds = time.perf_counter() - start
    del result
    return seconds
