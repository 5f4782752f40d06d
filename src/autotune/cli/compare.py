"""`autotune compare`."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from shlex import join
from statistics import median
from typing import TYPE_CHECKING, Any

import click

from autotune.cli import messages
from autotune.cli.options import PRESENT_FILE, parse_duration
from autotune.cli.program import FAILED
from autotune.cli.run import EFFECT, REPORT, RunOptions, run_options
from autotune.cli.terminal import json_option, print_json, print_lines
from autotune.model import units
from autotune.model.record import Record

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

    The command has to do the same work each time. Its input is empty; what it prints is compared and not
    shown. The exit status is 1 if the command failed, or if a run ended with another status or, where plain runs
    write the same, wrote something else. Options of `run` apply to the tuned runs.

    \b
    Examples:
      autotune compare -- python simulate.py --steps 100
      autotune compare --blas-threads 1 --pairs 10 -- python simulate.py
    """
    from autotune.cli.in_force import note_refusal
    from autotune.profiles.resolve import resolve
    from autotune.recording.run_recorded import temporary_folder

    options, seconds = RunOptions(**settings).words(), parse_duration(budget)
    named = {} if profile is None else {"AUTOTUNE_PROFILE": str(profile.absolute())}
    if profile is not None:
        note_refusal(profile, resolve(profile))
    with temporary_folder("autotune-compare-") as folder:
        runs = run_tuned_pairs(words, options, named | {REPORT: folder}, pairs=pairs, seconds=seconds, seed=seed)
        force = mean_report(Path(folder), len(runs.variant))
    if as_json:
        print_json("compare/1", {**document(words, options, runs), "in_force": asdict(force)})
    else:
        print_lines(lines(runs, force))
    return 0 if runs.same_status and not runs.failure and runs.same_output is not False else FAILED


def run_tuned_pairs(
    command: Sequence[str], options: list[str], variables: dict[str, str], *, pairs: int, seconds: float, seed: int = 0
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
        environ=os.environ,
        variant_environ={**os.environ, **variables},
    )


def lines(runs: "PairedRuns", force: "InForceThere") -> Iterator[str]:
    """Yield the speed-up, whether the runs did the same, and what was in force."""
    if runs.failure:
        yield messages.failed_in_every_run(runs.failure)
        return
    yield speedup_text(runs.speedup, runs.interval, len(runs.plain))
    output = {
        True: "They wrote the same.",
        False: "The tuned runs wrote something else than the plain ones.",
        None: "The output varies between plain runs, so that it cannot be compared.",
    }[runs.same_output]
    status = messages.SAME_STATUS if runs.same_status else messages.OTHER_STATUS
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
    yield (in_force if force.processes else "") + force.reason


def speedup_text(speedup: float, interval: tuple[float, float] | None, pairs: int) -> str:
    gain, runs = f"Speed-up {units.speedup(speedup)}", f"in {units.count_of(pairs, 'pair')} of runs"
    if interval is None:
        return f"{gain} {runs}; an interval needs 3 pairs: give a larger --pairs or --budget."
    said = f"{gain}, 95 % interval {units.interval(interval)}, {runs}."
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


def mean_report(folder: Path, runs: int) -> InForceThere:
    """Return the mean of the reports that the tuned runs left in a folder; without any, what `run` said."""
    reports = []
    for path in folder.glob("*.json"):
        with suppress(OSError, ValueError):
            reports.append(json.loads(path.read_text(encoding="utf-8")))
    reasons = [f"{report['reason']} {report['per_call']}".strip() for report in reports]
    effect = messages.NO_REPORT
    with suppress(OSError):
        effect = (folder / EFFECT).read_text(encoding="utf-8")
    reason = max(reasons, key=reasons.count, default=effect)
    means = {name: sum(report[name] for report in reports) / runs for name in ("calls", "tuned", "loops")}
    return InForceThere(processes=len(reports) / runs, reason=reason, **means)


def document(words: tuple[str, ...], options: list[str], runs: "PairedRuns") -> dict[str, object]:
    """Return the result as JSON values; times in seconds."""
    return {
        "command": join(words),
        "options": options,
        "speedup": runs.speedup,
        "interval": runs.interval,
        "pairs": len(runs.plain),
        "plain_seconds": [run.seconds for run in runs.plain],
        "tuned_seconds": [run.seconds for run in runs.variant],
        "plain_statuses": [run.status for run in runs.plain],
        "tuned_statuses": [run.status for run in runs.variant],
        "same_output": runs.same_output,
    }
