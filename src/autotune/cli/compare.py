"""`autotune compare`."""

import os
import sys
from pathlib import Path
from shlex import join
from typing import TYPE_CHECKING

import click

from autotune.cli import messages
from autotune.cli.options import json_option, parse_duration
from autotune.cli.program import FAILED
from autotune.cli.terminal import print_json

if TYPE_CHECKING:
    from autotune.bench.command_pairs import PairedRuns


@click.command(context_settings={"allow_interspersed_args": False})
@click.option("--pairs", type=click.IntRange(min=1), default=5, show_default=True, help="Pairs of runs.")
@click.option("--budget", metavar="TIME", default="5m", show_default=True, help="Time allowed, such as 90s.")
@click.option(
    "--blas-threads", type=click.IntRange(min=1), metavar="N", help="What if: this count of BLAS threads."
)
@click.option("--environment-only", is_flag=True, help="What if: environment variables only.")
@click.option("--reductions", is_flag=True, help="As for `run`: also compute sums on several CPUs.")
@click.option(
    "--children", is_flag=True, help="As for `run`: in the Pythons that the command's Pythons start, too."
)
@click.option("--profile", type=click.Path(path_type=Path, dir_okay=False), help="What if: this profile.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, metavar="N", help="Seed of the order within pairs."
)
@json_option
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- CMD [ARG]...")
def compare(
    pairs: int,
    budget: str,
    blas_threads: int | None,
    environment_only: bool,
    reductions: bool,
    children: bool,
    profile: Path | None,
    seed: int,
    as_json: bool,
    words: tuple[str, ...],
) -> int:
    """Run a command plain and as `autotune run` starts it, in pairs of fresh runs, and print the speed-up.

    The command has to do the same work each time. Its input is empty; what it prints is compared and not
    shown. The exit status is 1 if a run ended with another status or wrote something else than the others.

    \b
    Examples:
      autotune compare -- python simulate.py --steps 100
      autotune compare --blas-threads 1 --pairs 10 -- python simulate.py
    """
    from autotune.bench.command_pairs import run_pairs

    options = [
        *(["--blas-threads", str(blas_threads)] if blas_threads else []),
        *(["--environment-only"] if environment_only else []),
        *(["--reductions"] if reductions else []),
        *(["--children"] if children else []),
    ]
    variables = {} if profile is None else {"AUTOTUNE_PROFILE": str(profile.absolute())}
    runs = run_pairs(
        words,
        [sys.executable, "-m", "autotune", "run", "-q", *options, "--", *words],
        pairs=pairs,
        seconds=parse_duration(budget),
        seed=seed,
        environ=os.environ,
        variant_environ={**os.environ, **variables},
    )
    if as_json:
        print_json("compare/1", document(words, options, runs))
    else:
        click.echo(messages.compared(runs.speedup, runs.interval, len(runs.plain)))
        click.echo(messages.compared_runs(same_status=runs.same_status, same_output=runs.same_output))
    return 0 if runs.same_status and runs.same_output is not False else FAILED


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
