"""`autotune compare`."""

import json
import os
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from shlex import join
from statistics import median
from typing import TYPE_CHECKING, Any

import click

from autotune.cli import messages
from autotune.cli.options import PRESENT_FILE, json_option, parse_duration
from autotune.cli.program import FAILED
from autotune.cli.run import EFFECT, REPORT, RunOptions, run_options
from autotune.cli.terminal import print_json

if TYPE_CHECKING:
    from autotune.bench.command_pairs import PairedRuns

SHORT_SECONDS = 1.0
"""Time of a plain run below which the start of `autotune run` is much of the tuned one."""
COUNTS = ("calls", "tuned", "loops")
"""Fields of a report that are counts."""


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
    shown. The exit status is 1 if the command failed, or if a run ended with another status or wrote something
    else than the others. Options of `run` apply to the tuned runs.

    \b
    Examples:
      autotune compare -- python simulate.py --steps 100
      autotune compare --blas-threads 1 --pairs 10 -- python simulate.py
    """
    from autotune.bench.command_pairs import run_pairs
    from autotune.recording.run_recorded import temporary_folder

    options = RunOptions(**settings).words()
    variables = {} if profile is None else {"AUTOTUNE_PROFILE": str(profile.absolute())}
    with temporary_folder("autotune-compare-") as folder:
        runs = run_pairs(
            words,
            [sys.executable, "-m", "autotune", "run", "-q", *options, "--", *words],
            pairs=pairs,
            seconds=parse_duration(budget),
            seed=seed,
            environ=os.environ,
            variant_environ={**os.environ, **variables, REPORT: folder},
        )
        force = mean_report(Path(folder), len(runs.variant))
    show(words, options, runs, force, as_json=as_json)
    return 0 if runs.same_status and not runs.failure and runs.same_output is not False else FAILED


def show(
    words: tuple[str, ...], options: list[str], runs: "PairedRuns", force: "InForceThere", *, as_json: bool
) -> None:
    if as_json:
        print_json("compare/1", {**document(words, options, runs), "in_force": asdict(force)})
        return
    if runs.failure:
        click.echo(messages.compared_failures(runs.failure))
        return
    click.echo(messages.compared(runs.speedup, runs.interval, len(runs.plain)))
    click.echo(messages.compared_runs(same_status=runs.same_status, same_output=runs.same_output))
    plain_seconds = median(run.seconds for run in runs.plain)
    if plain_seconds < SHORT_SECONDS:
        click.echo(messages.compared_short_runs(plain_seconds))
    counts = {name: getattr(force, name) for name in COUNTS}
    click.echo(messages.compared_in_force(force.reason, **counts) if force.processes else force.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class InForceThere:
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
    means = {name: sum(report[name] for report in reports) / runs for name in COUNTS}
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
