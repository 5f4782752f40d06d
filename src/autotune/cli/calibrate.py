"""`autotune calibrate`."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from autotune.bench.describe import describe
from autotune.cli import messages
from autotune.cli.outcome import keep, place, tell
from autotune.cli.program import FAILED, INTERRUPTED
from autotune.cli.progress import progress
from autotune.cli.request import asked
from autotune.errors import BadWorkload, UsageError
from autotune.host import cgroup
from autotune.host.shares import PROCESSES
from autotune.model.operation import DTYPES
from autotune.model.tuning import Status
from autotune.search.request import Effort


@click.command()
@click.argument("operations", nargs=-1, metavar="[OPERATION]...")
@click.option(
    "--sizes", multiple=True, metavar="NAME=N,N ...", help="Sizes to measure; several form the product."
)
@click.option(
    "--dtype", "dtypes", multiple=True, type=click.Choice(DTYPES), help="float64 unless said otherwise."
)
@click.option(
    "--effort",
    type=click.Choice([str(effort) for effort in Effort]),
    default=str(Effort.NORMAL),
    show_default=True,
    help="quick: one size each; thorough: more sizes, both dtypes.",
)
@click.option("--budget", metavar="TIME", help="Time allowed, such as 90s, 5m or 1h30m.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Where the profile goes.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Same timings and seed, same profile.")
@click.option("--resume", is_flag=True, help="Go on where an interrupted calibration ended.")
@click.option("--cpus", type=click.IntRange(min=1), help="Use so many CPUs at most, as AUTOTUNE_CPUS does.")
@click.option(
    "--neighbours",
    type=click.IntRange(0, 4096),
    default=0,
    metavar="K",
    help="Measure beside K busy processes, for a machine that is never one's own.",
)
@click.option(
    "--copies",
    type=click.IntRange(1, 4096),
    default=1,
    metavar="K",
    help="Run K copies of each trial at once, for K ranks or web workers that share the CPUs.",
)
@click.option(
    "--workload", metavar="FILE.py:FUNCTION", help="Tune a function of yours (or package.module:function)."
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print the profile as JSON; progress goes to standard error."
)
def calibrate(
    operations: tuple[str, ...],
    sizes: tuple[str, ...],
    dtypes: tuple[str, ...],
    effort: str,
    budget: str | None,
    output: Path | None,
    seed: int,
    resume: bool,
    cpus: int | None,
    neighbours: int,
    copies: int,
    workload: str | None,
    as_json: bool,
) -> int:
    """Measure this machine and write its profile.

    OPERATION is a name of the catalogue, such as svd or log; without one all of it is measured. A choice is
    kept only if it was proved faster than plain NumPy in fresh processes. Entries of other operations in the
    same profile stay. Ctrl-C keeps what was decided.

    With --copies the profile is for one of K processes that share the CPUs: it applies where a launcher, or
    AUTOTUNE_PROCESSES=K, says so.

    \b
    Examples:
      autotune calibrate
      autotune calibrate svd qr --sizes m=1000,4000 n=50 --budget 5m
      autotune calibrate --workload simulate.py:step --sizes n=1000,4000
    """  # noqa: D301 - click's mark for lines that are not to be filled is the character itself
    if cpus is not None:
        os.environ["AUTOTUNE_CPUS"] = str(cpus)  # for this process and its trials, before either counts CPUs
    if copies > 1:
        os.environ[PROCESSES] = str(copies)  # the profile is for one of them, and for its share of the CPUs
    words: dict[str, Any] = {
        "operations": operations,
        "sizes": sizes,
        "dtypes": dtypes,
        "effort": effort,
        "budget": budget,
        "seed": seed,
        "neighbours": neighbours,
        "copies": copies,
        "workload": workload,
    }
    from autotune.search.campaign import campaign, journal_path, this_key

    key = this_key()
    if resume:
        source = click.get_current_context().get_parameter_source
        given = {name: words[name] for name in words if source(name) is ParameterSource.COMMANDLINE}
        words = recorded(journal_path(key), set(words), given)
    own = describe(words["workload"]) if words["workload"] is not None else None
    request = asked(**{**words, "workload": own and own.kind})
    path = place(key, output)
    quota = cgroup.quota(cgroup.folders())
    if quota is not None and quota < 1:
        click.echo(messages.small_quota(quota), err=True)
    with progress() as report:
        outcome = campaign(request, report=report, own=own, asked=words, resume=resume)
    failures = [one.reason for one in outcome.profile.tunings if one.status is Status.FAILED]
    if own is not None and failures and len(failures) == len(outcome.profile.tunings):
        raise BadWorkload(messages.workload_failed(own.name, failures[0]))
    kept = keep(outcome.profile, path, sizes_named=bool(request.sizes))
    tell(kept, finished=outcome.finished, as_json=as_json)
    return INTERRUPTED if not outcome.finished else FAILED if kept.path != path else 0


def recorded(journal: Path, names: set[str], given: Mapping[str, Any]) -> dict[str, Any]:
    """What the interrupted calibration was asked, under these names.

    Raises UsageError if there is none, or if what is given asks for something else: its sessions would
    answer another question.
    """
    from autotune.search.journal import header

    head = header(journal)
    if head is None or head["asked"].keys() != names:  # or it was asked from a program, not from here
        raise UsageError(messages.NOTHING_TO_RESUME)
    known = {
        name: tuple(value) if isinstance(value, list) else value for name, value in head["asked"].items()
    }
    differing = [name for name, value in given.items() if value not in {(), known[name]}]
    if differing:
        raise UsageError(messages.resumed_differs(differing))
    return known
