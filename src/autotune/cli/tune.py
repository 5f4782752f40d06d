"""`autotune tune`."""

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from autotune.bench.command_bench import Command, Metric
from autotune.cli import messages
from autotune.cli.command_name import command_name
from autotune.cli.options import FILE, parse_duration
from autotune.cli.program import FAILED
from autotune.cli.progress import progress
from autotune.cli.request_options import objective_option
from autotune.cli.terminal import json_option, note, print_json
from autotune.cli.write_outcome import Kept, keep, place
from autotune.controls import wait_policy
from autotune.errors import UsageError
from autotune.host.usable_cpus import usable_cpus
from autotune.model.entry import Entry, Status
from autotune.search.request import Objective


@click.command(context_settings={"allow_interspersed_args": False})
@click.option("--budget", metavar="TIME", default="5m", show_default=True, help="Time allowed, such as 90s.")
@click.option(
    "--runs",
    type=click.IntRange(min=6),
    default=16,
    show_default=True,
    metavar="N",
    help="Pairs of runs after which the proof ends; clear gains need fewer.",
)
@click.option("--workers", metavar="N,N", help="Values for {workers}, the usual one first; else 1 to all CPUs.")
@click.option("--chunk", metavar="N,N", help="Values for {chunk}, the usual one first.")
@click.option("--separate", is_flag=True, help="Tune BLAS threads apart from other libraries' threads.")
@click.option("--metric", metavar="REGEX", help="Tune by a number that it prints: first group, last match.")
@click.option("--maximize", is_flag=True, help="The larger that number the better.")
@objective_option
@click.option("--timeout", metavar="TIME", help="Time for one run; else the budget.")
@click.option("--name", metavar="NAME", help="Its name in the profile; else the script's.")
@click.option("--output", type=FILE, help="Where the profile goes.")
@click.option("--seed", type=click.IntRange(min=0), default=0, metavar="N", help="Of the order of the runs.")
@json_option
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- CMD [ARG]...")
def tune(
    budget: str,
    runs: int,
    workers: str | None,
    chunk: str | None,
    separate: bool,
    metric: str | None,
    maximize: bool,
    objective: str,
    timeout: str | None,
    name: str | None,
    output: Path | None,
    seed: int,
    as_json: bool,
    words: tuple[str, ...],
) -> int:
    """Find the thread counts at which a whole command runs fastest, and print it with these.

    The command is run many times, so it must do the same work each time: as it stands, and with the thread
    variables of every known library set; where its first run loads OpenBLAS, MKL or OpenMP, idle threads also
    sleep soon or spin on. {workers} and {chunk} in its arguments are tuned with them. What wins is proved against the
    command as it stands in this shell, on fresh pairs of runs; without a proof it is printed as it stands. This
    machine's profile gets the counts, not the command, under the script's name, by which `autotune run -- CMD` uses
    them: give --name to both where two scripts share one.

    \b
    Examples:
      autotune tune -- python simulate.py --steps 100
      autotune tune --workers 1,2 -- ./solve -j {workers}
      autotune tune --metric 'rate: ([0-9.]+)' --maximize -- python train.py
    """
    counts, chunks = values("workers", workers, words), values("chunk", chunk, words)
    from autotune.search.runner import profile_with, this_key, tune_command
    from autotune.search.tune_command import CommandRequest

    command = Command(words=words, workers=next(iter(counts), None), chunk=next(iter(chunks), None), separate=separate)
    request = CommandRequest(
        command=command,
        name=command_name(name, words),
        workers=counts if workers else (),
        chunks=chunks,
        metric=asked_metric(metric, maximize=maximize),
        runs=runs,
        seconds=parse_duration(budget),
        patience=None if timeout is None else parse_duration(timeout),
        seed=seed,
        objective=Objective(objective),
    )
    path = place(this_key(), output)
    with progress() as report:
        entry = tune_command(request, report=report)
    kept = keep(profile_with(entry, path), path)
    as_run = replace(command, runtimes=wait_policy.adjustable_runtimes(os.environ))  # whose variables `run` sets
    tell(as_run, entry, kept, by_metric=metric is not None, own_name=name is not None, as_json=as_json)
    return FAILED if entry.status is Status.FAILED or kept.path != path else 0


def values(name: str, text: str | None, words: Sequence[str]) -> tuple[int, ...]:
    """Return the values for a place in the command, the usual one first; none if it has no such place.

    Raises UsageError where there are values without a place, or the other way round.
    """
    mark, option = f"{{{name}}}", f"--{name}"
    has_place = any(mark in word for word in words)
    if text is None:
        if has_place and name == "chunk":
            raise UsageError(
                f"The command has {mark}: give the values to try, its usual one first, as {option} 10000,100000."
            )
        return (1,) if has_place else ()
    if not has_place:
        raise UsageError(f"{option} needs a place to put its values: write {mark} into the command's arguments.")
    if not re.fullmatch(r"0*[1-9]\d{0,14}(,0*[1-9]\d{0,14})*", text, re.ASCII):
        raise UsageError(f"{option} {text!r} is not a list of whole numbers of at least 1, such as 1,2,4.")
    numbers = tuple(dict.fromkeys(int(part) for part in text.split(",")))
    usable = usable_cpus()[0]
    if name == "workers" and max(numbers) > usable:
        raise UsageError(f"{max(numbers)} workers do not fit the {usable} CPUs that may be used here; leave them out.")
    return numbers


def asked_metric(pattern: str | None, *, maximize: bool) -> Metric | None:
    """Return the number to tune by; None for the time. Raises UsageError."""
    if pattern is None:
        if maximize:
            raise UsageError("--maximize says what to do with a number; name the number with --metric.")
        return None
    try:
        return Metric(pattern=re.compile(pattern, re.MULTILINE), maximize=maximize)
    except re.error as problem:
        raise UsageError(f"--metric {pattern!r} is not a regular expression: {problem}.") from problem


def tell(command: Command, entry: Entry, kept: Kept, *, by_metric: bool, own_name: bool, as_json: bool) -> None:
    """Print the best command line alone on standard output, and its evidence on standard error."""
    if as_json:
        document = {
            "command": command.line(entry.choice),
            "arguments": command.arguments(entry.choice),
            "environment": command.variables(entry.choice),
            "name": entry.operation.name,
            "status": str(entry.status),
            "reason": entry.reason,
            "choice": entry.choice.as_dict(),
            "speedup": entry.evidence.speedup,
            "interval": entry.evidence.interval,
            "pairs": entry.evidence.pairs,
            "default_seconds": entry.evidence.default_seconds,
            "tuned_seconds": entry.evidence.tuned_seconds,
            "profile": str(kept.path),
        }
        print_json("tune/1", document)
    else:
        click.echo(command.line(entry.choice))
    note(messages.command_tuned(entry, by_metric=by_metric))
    if kept.why is not None:
        note(messages.written_elsewhere(kept.output, kept.path, kept.why))
    is_tuned = entry.status is Status.TUNED
    note(messages.entry_written(kept.path, entry.operation.name, own_name=own_name, is_tuned=is_tuned))
