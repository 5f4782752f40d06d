"""`autotune calibrate`."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autotune.bench.inspect_workload import describe
from autotune.cli import messages
from autotune.cli.load_line import taken_by_others
from autotune.cli.program import FAILED, INTERRUPTED
from autotune.cli.progress import progress
from autotune.cli.request_options import interrupted_request, make_request
from autotune.cli.store_options import store_option
from autotune.cli.store_warm_starts import Log, relatives, summary
from autotune.cli.terminal import say
from autotune.cli.write_outcome import Kept, keep, place, tell
from autotune.controls.affinity import confined
from autotune.errors import BadWorkload, UsageError
from autotune.host import cgroup
from autotune.host.advice import noise
from autotune.host.detect import detect
from autotune.host.shares import PROCESSES
from autotune.model.catalogue import CATALOGUE
from autotune.model.entry import Status
from autotune.model.operation import DTYPES
from autotune.search.request import Effort, Request

if TYPE_CHECKING:
    from autotune.model.profile import Key, Profile
    from autotune.search.runner import Outcome


@click.command(epilog=messages.operations(CATALOGUE))
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
@click.option("--until-decided", is_flag=True, help="Go on until every entry is decided, without a budget.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Where the profile goes.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, metavar="N", help="Same timings and seed, same profile."
)
@click.option("--resume", is_flag=True, help="Go on where an interrupted calibration ended.")
@click.option(
    "--cpus",
    metavar="N,N,...",
    help="Measure for programs that are given so many CPUs, such as 1,2,4,all: a profile for each.",
)
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
    "--scheduler",
    metavar="ADDRESS",
    help="Measure the nodes of a Dask cluster, such as tcp://HOST:8786, and share the work among equal ones.",
)
@store_option
@click.option(
    "--json", "as_json", is_flag=True, help="Print the profile as JSON; progress goes to standard error."
)
def calibrate(
    operations: tuple[str, ...],
    sizes: tuple[str, ...],
    dtypes: tuple[str, ...],
    effort: str,
    budget: str | None,
    until_decided: bool,
    output: Path | None,
    seed: int,
    resume: bool,
    cpus: str | None,
    neighbours: int,
    copies: int,
    workload: str | None,
    scheduler: str | None,
    store: str | None,
    as_json: bool,
) -> int:
    """Measure this machine and write its profile.

    OPERATION is a name of the catalogue below, such as svd or log; without one all of it is measured. A choice is
    kept only if it was proved faster than plain NumPy in fresh processes. Entries of other operations in the
    same profile stay. Ctrl-C keeps what was decided. With --until-decided it goes on, without a budget, until it has
    decided every entry.

    Where a store is named, what it knows of this machine's relatives is tried first.

    With --cpus each profile is measured under an affinity mask of so many CPUs, the largest first, and what it
    finds is tried first for the smaller ones; a budget is for all of them together. --output then names a file
    for each: profile-2cpu.yaml.

    With --copies the profile is for one of K processes that share the CPUs: it applies where a launcher, or
    AUTOTUNE_PROCESSES=K, says so.

    With --scheduler the nodes are measured and this machine is not: equal ones share the operations and the
    budget, and two hosts confirm each choice. What they find is published to the store; without one, a profile
    for each kind of node is written here.

    \b
    Examples:
      autotune calibrate
      autotune calibrate svd qr --sizes m=1000,4000 n=50 --budget 5m
      autotune calibrate --workload simulate.py:step --sizes n=1000,4000
      autotune calibrate --cpus 1,2,4,all --budget 30m
      autotune calibrate --scheduler tcp://head:8786 --store /nfs/autotune
    """
    if scheduler is not None:
        refuse_on_nodes(resume=resume, cpus=cpus)
    elif copies > 1:
        os.environ[PROCESSES] = str(copies)  # the profile is for one of them, and for its share of the CPUs
    request = make_request(
        operations,
        sizes,
        dtypes=dtypes,
        effort=effort,
        budget=budget,
        until_decided=until_decided,
        seed=seed,
        cpus=cpus,
        neighbours=neighbours,
        copies=copies,
        workload=describe(workload) if workload is not None else None,
    )
    if scheduler is not None:
        return calibrate_nodes(scheduler, request, store=store, output=output, as_json=as_json)
    if resume:
        request = interrupted_request(journal_within(allocations_of(cpus)[0]), request)
    kept, finished = calibrate_allocations(request, output, resume=resume, store=store)
    tell(kept, finished=finished, as_json=as_json)
    return INTERRUPTED if not finished else FAILED if any(one.path != one.asked for one in kept) else 0


def calibrate_nodes(scheduler: str, request: Request, **options: Any) -> int:
    """Calibrate the nodes of a cluster. Loads Dask."""
    from autotune.cli import cluster_calibrate

    return cluster_calibrate.calibrate_nodes(scheduler, request, **options)


def calibrate_allocations(
    request: Request, output: Path | None, *, resume: bool, store: str | None
) -> tuple[list[Kept], bool]:
    """Calibrate one allocation after the other, and write each profile; False if it was interrupted."""
    turns = planned(request.cpus, output)
    forewarn(request)
    known = [] if resume else relatives(store, turns[0].key)
    if request.budget_seconds is not None:
        request = replace(request, budget_seconds=request.budget_seconds / len(turns))
    kept: list[Kept] = []
    for turn in turns:
        if len(turns) > 1:
            click.echo(messages.for_cpus(len(kept) + 1, len(turns), cpus=turn.key.usable_cpus), err=True)
        outcome, summed = measured(
            turn, request, resume=resume, stored=known, beside=[one.measured for one in kept]
        )
        if outcome.finished or outcome.profile.entries:
            written = keep(outcome.profile, turn.path, sizes_named=bool(request.sizes))
            kept.append(replace(written, outcome=outcome))
        if summed is not None:
            click.echo(summed, err=True)
        if not outcome.finished:
            return kept, False
    return kept, True


def forewarn(request: Request) -> None:
    """Say what will keep this machine from telling much, before time is spent on it."""
    quota = cgroup.quota(cgroup.folders())
    if quota is not None and quota < 1:
        say(messages.small_quota(quota))
    if not request.neighbours:
        for warning in noise(taken_by_others(detect()[1])):
            say(warning)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One allocation that is measured."""

    cpus: frozenset[int] | None
    """The CPUs to be held to; None: as it is."""
    key: "Key"
    path: Path
    """Where its profile goes."""


def refuse_on_nodes(*, resume: bool, cpus: str | None) -> None:
    """Raise UsageError for options that are about this machine only."""
    if resume:
        raise UsageError(
            messages.not_on_nodes("--resume", "what finished is saved; ask for the rest by name.")
        )
    if cpus is not None:
        raise UsageError(
            messages.not_on_nodes("--cpus", "each worker measures for the CPUs that it was given.")
        )


def planned(cpus: str | None, output: Path | None) -> list[Turn]:
    """The allocations to be measured, the largest first. Raises UsageError for what cannot be."""
    masks = allocations_of(cpus)
    turns = []
    for mask in masks:
        key = key_within(mask)
        named = output
        if output is not None and len(masks) > 1:
            named = output.with_name(f"{output.stem}-{key.usable_cpus}cpu{output.suffix}")
        turns.append(Turn(cpus=mask, key=key, path=place(key, named)))
    return turns


def allocations_of(cpus: str | None) -> list[frozenset[int] | None]:
    """The CPUs to be held to for each allocation; None: as it is."""
    if cpus is None:
        return [None]
    from autotune.search.cpu_subsets import allocations

    machine, allocation = detect()
    # what --copies divides is divided afterwards
    usable_cpus = len(allocation.cpus) if allocation.processes > 1 else allocation.usable_cpus
    return allocations(cpus, cpus=machine.cpus, allowed=allocation.cpus, usable_cpus=usable_cpus)


def key_within(cpus: frozenset[int] | None) -> "Key":
    """Key of a profile measured on these CPUs."""
    from autotune.search.runner import this_key

    with confined(cpus):
        return this_key()


def journal_within(cpus: frozenset[int] | None) -> Path:
    """Journal of the last calibration on these CPUs."""
    from autotune.search.runner import journal_path

    return journal_path(key_within(cpus))


def measured(
    turn: Turn, request: Request, *, resume: bool, stored: Sequence["Profile"], beside: Sequence["Profile"]
) -> tuple["Outcome", str | None]:
    """One allocation's calibration, and what the choices of the store's profiles saved it.

    `beside` is what this run measured for other allocations. Raises BadWorkload if the user's function cannot be
    measured at all.
    """
    from autotune.search.runner import calibrate_machine

    with confined(turn.cpus), progress() as report:
        log = Log(report)
        outcome = calibrate_machine(request, report=log, resume=resume, relatives=[*beside, *stored])
    failures = [one.reason for one in outcome.profile.entries if one.status is Status.FAILED]
    if request.workload is not None and failures and len(failures) == len(outcome.profile.entries):
        raise BadWorkload(messages.workload_failed(request.workload.name, failures[0]))
    return outcome, summary(outcome.profile, stored, log.tried)
