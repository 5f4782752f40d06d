"""Two programs side by side in fresh processes: the ratio of their times with its interval. For the other benchmarks.

Each run starts both programs one after the other, in random order. Before it the capacity of the CPUs is probed until
it is full, or until the patience for the row is over. One run yields one log-ratio; the figure is that of the runs at
full capacity, with Student's interval over runs, as processes differ more than calls; next to it stands the figure of
all runs. A row that full capacity never reached says so, and has the second figure only. Of calls too short for that,
both take turns in one fresh process, which yields what they differ by.
"""

import argparse
import gc
import json
import math
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from itertools import repeat
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autotune.model.configuration import Configuration

ENOUGH_SECONDS = 0.5
"""A process repeats its program for so long, and at least three times; a longer program runs once."""

PROBES = 20
"""Of capacity, of which the median counts."""
CAPACITY = 0.85
"""Share of the usable CPUs from which a run counts as one at full capacity."""

INTERRUPTED = 130
"""Exit status after Ctrl-C."""

SHORT_CALLS, SHORT_TIMINGS = 100, 40
"""Short calls that are timed at once, and how often: the least counts, which the work of others has not touched."""

SHORT_ROUNDS = (40, 5)
"""Rounds of two such series in a process; with --quick."""

Call = Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class After:
    """A call that is timed right after another one, which is not."""

    before: Call
    call: Call

    def __call__(self) -> object:
        self.before()
        return self.call()


class NotHere(Exception):
    """A program cannot be measured here, for the reason that it gives: a package or an entry is missing."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A program, and the same with autotune."""

    plain: Call
    tuned: Call
    asks: tuple[str, Mapping[str, int]] | None = None
    """The operation and sizes that the profile is asked for."""
    around_plain: Callable[[], AbstractContextManager[object]] = nullcontext
    """Context of the calls. Entering and leaving it is not timed."""
    around_tuned: Callable[[], AbstractContextManager[object]] = nullcontext
    share: float = 1.0
    """Work that the tuned call does, in units of the plain one's."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """A row of the table."""

    title: str
    make: Callable[[bool], Pair]
    """Makes the inputs; True for small ones. Raises NotHere."""
    short: bool = False
    """Are calls so short that what they differ by is the figure?"""
    plain_environment: Mapping[str, str] = field(default_factory=dict)
    tuned_environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Row:
    """The result of a row. The ratio is plain / tuned: above 1 the program with autotune is faster. Of short calls
    it is tuned - plain that counts."""

    name: str
    title: str
    ratio: float | None
    microseconds: float | None
    """That a short call takes longer."""
    low: float | None
    high: float | None
    runs: int
    plain_seconds: float | None
    tuned_seconds: float | None
    configuration: str | None
    """The profile's choice, "default" if nothing."""
    full_runs: int = 0
    """Runs at full capacity, on which the figure rests if there are two."""
    all_states: float | None = None
    """The same figure over all runs, whatever the capacity was."""
    problem: str | None = None
    skipped: str | None = None
    """Why it cannot be measured here."""


def covered(operation: str, **sizes: int) -> "Configuration":
    """Return the profile's choice, plain NumPy included. Raises NotHere if nothing in it speaks for this size."""
    import autotune
    from autotune.model import catalogue
    from autotune.model.configuration import DEFAULT
    from autotune.runtime.process_state import state

    resolution = state.resolution()
    if resolution is None or resolution.find(catalogue.operation(operation, dtype="float64", **sizes)) is None:
        size = " ".join(f"{name}={value}" for name, value in sizes.items())
        raise NotHere(f"no profile covers {operation} {size} here; calibrate it, or name a profile with --profile")
    return autotune.config(operation, **sizes) or DEFAULT


def main(module: str, doc: str, programs: Mapping[str, Program], *, ask: bool = False) -> int:
    """Read the command line of a script that compares programs.

    With `ask` each is asked first if it can be measured here, before the wait for the machine.
    """
    options = _options(doc, programs)
    if options.side:
        print(json.dumps(_measure(programs[options.programs[0]], options)))
        return 0
    rows: list[Row] = []
    status = 0
    try:
        for name in options.programs or programs:
            program = programs[name]
            if options.quick:
                program = replace(program, title=f"(small) {program.title}")
            answer = _run(module, name, "neither", program, options) if ask else {"seconds": 0}
            measured = "seconds" in answer
            rows.append(_compare(module, name, program, options) if measured else _row(name, program, **answer))
            print(_line(rows[-1]), file=sys.stderr if options.json else sys.stdout, flush=True)
    except KeyboardInterrupt:  # the rows that there are stay
        status = INTERRUPTED
    if options.json:
        print(json.dumps({"results": [_plain_values(row) for row in rows]}, indent=1))
    return status or int(any(row.problem for row in rows))


def _options(doc: str, programs: Mapping[str, Program]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", nargs="*", metavar="PROGRAM", help=f"of {', '.join(programs)}; all by default")
    parser.add_argument("--rows", type=_names, default=[], metavar="NAME,..", help="the same, separated by commas")
    parser.add_argument("--profile", help="profile to apply; by default the one that autotune finds")
    parser.add_argument("--runs", type=int, default=8, help="pairs of processes for each program (default 8)")
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--patience", type=float, default=120, help="seconds to wait for full capacity, per program")
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--side",
        choices=("plain", "tuned", "both", "neither"),
        help="run one side of one program here and print its time",
    )
    options = parser.parse_args()
    options.programs += options.rows
    unknown = set(options.programs) - set(programs)
    if unknown or options.runs < 2 or (options.side and len(options.programs) != 1):
        parser.error(
            f"unknown program {', '.join(unknown)}" if unknown else "give at least 2 runs, or one side of one program"
        )
    return options


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


# --- in the parent ----------------------------------------------------------------------


def _compare(module: str, name: str, program: Program, options: argparse.Namespace) -> Row:

    sides = ("both",) if program.short else ("plain", "tuned")
    times: dict[str, list[float]] = {side: [] for side in sides}
    full: list[bool] = []
    configuration = None
    order = random.Random(name)
    deadline = time.monotonic() + options.patience
    for _ in range(options.runs):
        full.append(_await_capacity(deadline))
        for side in order.sample(sides, len(sides)):
            outcome = _run(module, name, side, program, options)
            if "seconds" not in outcome:
                return _row(name, program, **outcome)
            times[side].append(outcome["seconds"])
            configuration = outcome.get("configuration") or configuration
    said: dict[str, Any] = {"runs": len(full), "full_runs": sum(full), "configuration": configuration}
    if program.short:
        values = [1e6 * value for value in times["both"]]
        mean, low, high, everywhere = _figures(values, full)
        return _row(name, program, microseconds=mean, low=low, high=high, all_states=everywhere, **said)
    ratios = [math.log(a / b) for a, b in zip(times["plain"], times["tuned"], strict=True)]
    mean, low, high, everywhere = (math.exp(value) for value in _figures(ratios, full))
    medians: dict[str, Any] = {f"{side}_seconds": median(times[side]) for side in sides}
    return _row(name, program, ratio=mean, low=low, high=high, all_states=everywhere, **medians, **said)


def _figures(values: Sequence[float], full: Sequence[bool]) -> tuple[float, float, float, float]:
    """Return (mean, low, high) of the runs at full capacity, of all if fewer than two are; and the mean of all."""
    from autotune.bench.statistics import mean_interval

    quiet = [value for value, is_full in zip(values, full, strict=True) if is_full]
    return (*mean_interval(quiet if len(quiet) > 1 else values), sum(values) / len(values))


def _row(name: str, program: Program, *, runs: int = 0, **values: Any) -> Row:
    figures = ("ratio", "microseconds", "low", "high", "plain_seconds", "tuned_seconds", "configuration")
    return Row(name=name, title=program.title, runs=runs, **{**dict.fromkeys(figures), **values})


def _plain_values(row: Row) -> dict[str, Any]:
    """Return what a row has: a ratio or microseconds, never both."""
    unused = "ratio" if row.microseconds is not None else "microseconds"
    return {name: value for name, value in asdict(row).items() if name != unused}


def _run(module: str, name: str, side: str, program: Program, options: argparse.Namespace) -> dict[str, Any]:
    """Run one program in a fresh process, whose environment holds no thread variable but the program's own."""
    from autotune.controls.thread_variables import scrub

    environment, _ = scrub(os.environ)
    environment.update(program.plain_environment if side == "plain" else program.tuned_environment)
    command = [sys.executable, "-m", module, name, "--side", side]
    command += ["--quick"] if options.quick else []
    command += ["--profile", options.profile] if options.profile else []
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        which = f"{side} program" if side in {"plain", "tuned"} else "program"
        return {"problem": f"the {which} failed: {last}"}
    outcome: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return outcome


def _await_capacity(deadline: float) -> bool:
    """Wait for full capacity: a spinning thread for each CPU does nearly as much work as one alone. False if not.

    True as well where there is nothing to probe, on one CPU.
    """
    from autotune.bench.capacity import CapacityProbe
    from autotune.host.usable_cpus import usable_cpus

    cpus, _ = usable_cpus()
    probe = CapacityProbe(cpus)
    probe.settle()
    try:
        while True:
            capacities = [capacity for _ in range(PROBES) if (capacity := probe.probe()) is not None]
            if not capacities or median(capacities) >= CAPACITY * cpus:
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(0.5)
    finally:
        probe.close()


def _line(row: Row) -> str:
    remarks = (row.configuration, _states(row), row.problem and f"({row.problem})")
    if row.microseconds is not None:
        figure = f"{row.microseconds:+.2f} us [{row.low:+.2f}, {row.high:+.2f}]"
        return "  ".join([f"{row.title:<72}", figure, *filter(None, remarks)])
    if row.ratio is None:
        return f"{row.title:<72}  not measured: {row.problem or row.skipped}"
    times = f"{_seconds(row.plain_seconds):>8} -> {_seconds(row.tuned_seconds):>8}"
    ratio = f"{row.ratio:5.2f}x [{row.low:.2f}, {row.high:.2f}]"
    return "  ".join([f"{row.title:<72}", times, ratio, *filter(None, remarks)])


def _states(row: Row) -> str | None:
    """Say how often the machine was at full capacity, and the figure over all states, unless it always was."""
    if row.all_states is None or row.full_runs == row.runs:
        return None
    if row.full_runs < 2:
        return f"(over all states: full capacity in {row.full_runs} of {row.runs} runs)"
    everywhere = f"{row.all_states:.2f}x" if row.ratio is not None else f"{row.all_states:+.2f} us"
    return f"(full capacity in {row.full_runs} of {row.runs} runs; over all states {everywhere})"


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    unit, scale = next((pair for pair in (("s", 1.0), ("ms", 1e-3)) if value >= pair[1]), ("us", 1e-6))
    return f"{value / scale:.3g} {unit}"


# --- in the fresh process ---------------------------------------------------------------


def _measure(program: Program, options: argparse.Namespace) -> dict[str, Any]:
    """Time one side here, or what both differ by. Without "seconds" in the answer there was no time."""
    import autotune

    if options.profile:
        os.environ["AUTOTUNE_PROFILE"] = options.profile
    if options.side in {"tuned", "neither"}:
        autotune.apply(profile=options.profile, strict=options.profile is not None)
    try:
        pair = program.make(options.quick)
        match options.side:
            case "neither":
                seconds = 0.0
            case "both":
                seconds = _difference(pair, options)
            case _:
                seconds = _side(pair, options.side)
    except NotHere as error:
        return {"skipped": str(error)}
    configuration = None
    if options.side == "tuned" and pair.asks is not None:
        operation, sizes = pair.asks
        configuration = str(autotune.config(operation, **sizes) or "default")
    return {"seconds": seconds, "configuration": configuration}


def _side(pair: Pair, side: str) -> float:
    """Return the time of a call; that of the tuned one for as much work as the plain one does."""
    if side == "plain":
        with pair.around_plain():
            return median(_times(pair.plain))
    with pair.around_tuned():
        return median(_times(pair.tuned)) / pair.share


def _difference(pair: Pair, options: argparse.Namespace) -> float:
    """Measure the added time of a tuned call over a plain one. The first call in each surrounding is not timed."""
    from autotune.bench.statistics import hodges_lehmann

    sides = {"plain": (pair.plain, pair.around_plain), "tuned": (pair.tuned, pair.around_tuned)}
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    order = random.Random(os.getpid())
    gc.disable()
    for _ in range(SHORT_ROUNDS[options.quick]):
        for side in order.sample(tuple(sides), 2):
            call, around = sides[side]
            with around():
                call()
                seconds[side].append(min(_time_many(call) for _ in range(SHORT_TIMINGS)))
    return hodges_lehmann([b - a for a, b in zip(seconds["plain"], seconds["tuned"], strict=True)])


def _time_many(call: Call) -> float:
    start = time.perf_counter()
    for _ in repeat(None, SHORT_CALLS):
        call()
    return (time.perf_counter() - start) / SHORT_CALLS


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
    if isinstance(call, After):
        call.before()
        call = call.call
    start = time.perf_counter()
    result = call()
    seconds = time.perf_counter() - start
    del result
    return seconds
