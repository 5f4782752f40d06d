"""`autotune compare`."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from shlex import join
from statistics import median
from typing import TYPE_CHECKING, Any

import click

from autotune.cli import messages
from autotune.cli.env import note_unused_profiles
from autotune.cli.options import PRESENT_FILE, parse_duration
from autotune.cli.program import FAILED
from autotune.cli.run import EFFECT, REPORT, RunOptions, run_options
from autotune.cli.terminal import json_option, note, print_json, print_lines
from autotune.model import units
from autotune.model.record import Record
from autotune.runtime.process_settings import is_disabled

if TYPE_CHECKING:
    from autotune.bench.command_pairs import PairedRuns

SHORT_SECONDS = 1.0
"""Time of a plain run below which the start of `autotune run` is much of the tuned one."""


@click.command(context_settings={"allow_interspersed_args": False})
@click.option("--pairs", type=click.IntRange(min=1), default=5, show_default=True, metavar="N", help="Pairs of runs.")
@click.option("--budget", metavar="TIME", default="5m", show_default=True, help="Time allowed, such as 90s.")
@run_options
@click.option("--profile", type=PRESENT_FILE, help="What if: this profile.")
@click.option("--seed", type=click.IntRange(min=0), default=0, metavar="N", help="Seed of the order within pairs.")
@json_option
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- CMD [ARG]...")
def compare(
    *, pairs: int, budget: str, profile: Path | None, seed: int, as_json: bool, words: tuple[str, ...], **settings: Any
) -> int:
    """Run a command plain and as `autotune run` starts it, in pairs of fresh runs, and print the speed-up.

    In plain runs AUTOTUNE_DISABLE=1 switches autotune off, also for a program that calls it itself. The command has to
    do the same work each time. Its input is empty; what it prints is compared and not shown. The exit status is 1 if
    the command failed, or if a run ended with another status or, where plain runs write the same, wrote something else.
    Options of `run` apply to the tuned runs.

    \b
    Examples:
      autotune compare -- python simulate.py --steps 100
      autotune compare --blas-threads 1 --pairs 10 -- python simulate.py
    """
    from autotune.profiles.resolve import resolve, resolve_before_numpy
    from autotune.recording.temporary_folder import temporary_folder

    chosen, seconds = RunOptions(**settings), parse_duration(budget)
    options = chosen.words()
    named = {} if profile is None else {"AUTOTUNE_PROFILE": str(profile.absolute())}
    if chosen.blas_threads is None and not is_disabled():  # else no profile is used
        note_unused_profiles(resolve_before_numpy(profile) or resolve(profile), outdated=True)
    with temporary_folder("autotune-compare-") as folder:
        variables, foresee = named | {REPORT: folder}, partial(note_pairs, pairs)
        runs = run_tuned_pairs(words, options, variables, pairs=pairs, seconds=seconds, seed=seed, foresee=foresee)
        force = mean_report(Path(folder), len(runs.variant))
    if as_json:
        in_force = {**asdict(force), "is_plain": force.is_plain}
        print_json("compare/1", {**document(words, options, runs, force), "in_force": in_force})
    else:
        print_lines(lines(runs, force))
    return 0 if runs.same_status and not runs.failure and runs.same_output is not False else FAILED


def note_pairs(pairs: int, first_seconds: float, fitting: int) -> None:
    """Say before the pairs begin how many the budget allows, how long they take, and what a speed-up needs."""
    from autotune.bench.command_pairs import FEWEST_FOR_INTERVAL

    run = first_seconds + messages.RUN_START_SECONDS
    note(messages.pairs_foreseen(first_seconds, pairs, fitting, seconds=units.SPARE_TIME * 2 * fitting * run))
    if fitting < FEWEST_FOR_INTERVAL:
        more = [f"--pairs {FEWEST_FOR_INTERVAL}"] if pairs < FEWEST_FOR_INTERVAL else []
        more += [f"--budget {units.budget((2 * FEWEST_FOR_INTERVAL + 1) * run)}"] if fitting < pairs else []
        note(messages.too_few_pairs(" ".join(more), fewest=FEWEST_FOR_INTERVAL))


def run_tuned_pairs(
    command: Sequence[str],
    options: list[str],
    variables: dict[str, str],
    *,
    pairs: int,
    seconds: float,
    seed: int = 0,
    foresee: Callable[[float, int], object] | None = None,
) -> "PairedRuns":
    """Run a command in pairs, plain and by `autotune run` with these options and environment variables."""
    from autotune.bench.command_pairs import run_pairs

    return run_pairs(
        command,
        # not -q, for which click loads difflib, to look among the long options first
        [sys.executable, "-m", "autotune", "run", "--quiet", *options, "--", *command],
        pairs=pairs,
        seconds=seconds,
        seed=seed,
        foresee=foresee,
        environ={**os.environ, "AUTOTUNE_DISABLE": "1"},  # a program may call apply() itself
        variant_environ={**os.environ, **variables},
    )


def lines(runs: "PairedRuns", force: "InForceThere") -> Iterator[str]:
    """Yield the speed-up, whether the runs did the same, and what was in force."""
    if runs.failure:
        yield messages.failed_in_every_run(runs.failure)
        return
    if force.is_plain:
        yield nothing_in_force(runs.interval, may_gain=force.may_gain)
    else:
        yield speedup_text(runs.speedup, runs.interval, len(runs.plain))
    output = {
        True: "They wrote the same.",
        False: "The tuned runs wrote something else than the plain ones.",
        None: "The output varies between plain runs, so that it cannot be compared.",
    }[runs.same_output]
    status = {
        True: "All runs ended with the same exit status.",
        False: "The exit statuses of the runs differ (--json lists them).",
    }[runs.same_status]
    yield f"{status} {output}"
    seconds = median(run.seconds for run in runs.plain)
    if seconds < SHORT_SECONDS:
        yield (
            f"A plain run takes {seconds:.2g} s, and the start of `autotune run`, some "
            f"{messages.RUN_START_SECONDS} s, is part of each tuned one: give the command more to do."
        )
    in_force = (
        f"In force in a run: {force.tuned:.0f} of {force.calls:.0f} calls of linear algebra had a thread count of "
        f"their own, and {units.count_of(round(force.loops), 'loop')} ran on several CPUs. "
    )
    yield (in_force if force.processes and not force.is_plain else "") + force.reason


def nothing_in_force(interval: tuple[float, float] | None, *, may_gain: bool) -> str:
    """Describe pairs whose sides were equal: the ratio of their times, in this interval, is no gain."""
    said = "Nothing was in force: both sides of each pair ran plain NumPy, and there is no speed-up to state."
    if interval is not None:
        ratio = f"{units.interval(interval)} (95 % interval)"
        said += f" The ratio of their times, {ratio}, comes from scatter and the start of `autotune run`."
    return f"{said} {messages.CALIBRATE_FOR_COMMAND}" if may_gain else said


def speedup_text(speedup: float, interval: tuple[float, float] | None, pairs: int) -> str:
    """State a speed-up with its interval; without one, that the pairs are too few for either."""
    if interval is None:
        return f"{units.count_of(pairs, 'pair')} of runs: too few for a speed-up. Give a larger --pairs or --budget."
    said = f"Speed-up {units.speedup(speedup)}, 95 % interval {units.interval(interval)}, in {pairs} pairs of runs."
    if units.cannot_tell(interval):
        said += (
            " These runs cannot tell whether tuned ones are faster: the interval is wide and contains 1. Repeat it on "
            "a quieter machine, or with more --pairs and --budget."
        )
    return said


class InForceThere(Record, kw_only=True):
    """State of a tuned run while choices were in force; counts are those of the mean run."""

    processes: float
    """That called NumPy and reported at their end."""
    calls: float
    """Calls of linear algebra that were met."""
    tuned: float
    """Those of them that had a thread count of their own."""
    loops: float
    """Loops of ufuncs that ran on several CPUs."""
    reason: str
    """A sentence: what was set, or why nothing was."""
    sets: bool
    """Whether thread counts, or the time for which idle threads spin, were set for the whole process."""
    reports: bool
    """Whether its Pythons were to report."""
    may_gain: bool
    """Whether a profile could change how their calls or loops run."""

    @property
    def is_plain(self) -> bool:
        """Whether the tuned runs are known to have run plain NumPy, too."""
        is_known = self.processes > 0 or not self.reports
        return is_known and not (self.sets or self.tuned or self.loops)


def mean_report(folder: Path, runs: int) -> InForceThere:
    """Return the mean of the reports that the tuned runs left in a folder; without any, what `run` said."""
    reports = []
    for path in folder.glob("*.json"):
        with suppress(OSError, ValueError):
            reports.append(json.loads(path.read_text(encoding="utf-8")))
    reasons = [f"{report['reason']} {report['per_call']}".strip() for report in reports]
    effect: dict[str, Any] = {"sentence": "", "sets": True, "reports": True, "may_gain": False}  # where `run` failed
    with suppress(OSError, ValueError):
        effect = json.loads((folder / EFFECT).read_text(encoding="utf-8"))
    unreported = f"{effect['sentence']} {messages.NO_REPORT if effect['reports'] else ''}".strip()
    reason = max(reasons, key=reasons.count, default=unreported)
    sets = effect["sets"] or any(report["blas_threads"] is not None for report in reports)
    means = {name: sum(report[name] for report in reports) / runs for name in ("calls", "tuned", "loops")}
    return InForceThere(
        processes=len(reports) / runs,
        reason=reason,
        sets=sets,
        reports=effect["reports"],
        may_gain=effect["may_gain"],
        **means,
    )


def document(words: tuple[str, ...], options: list[str], runs: "PairedRuns", force: InForceThere) -> dict[str, object]:
    """Return the result as JSON values; times in seconds."""
    interval = None if force.is_plain else runs.interval
    return {
        "command": join(words),
        "options": options,
        "speedup": None if interval is None else runs.speedup,
        "interval": interval,
        "pairs": len(runs.plain),
        "plain_seconds": [run.seconds for run in runs.plain],
        "tuned_seconds": [run.seconds for run in runs.variant],
        "plain_statuses": [run.status for run in runs.plain],
        "tuned_statuses": [run.status for run in runs.variant],
        "same_output": runs.same_output,
    }
