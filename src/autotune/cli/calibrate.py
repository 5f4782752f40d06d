"""`autotune calibrate`."""

import os
from pathlib import Path

import click

from autotune.bench.describe import describe
from autotune.bench.user import UserWorkload
from autotune.cli import messages
from autotune.cli.outcome import keep, place, tell
from autotune.cli.program import FAILED, INTERRUPTED
from autotune.cli.progress import progress
from autotune.cli.request import asked
from autotune.model.operation import DTYPES
from autotune.model.profile import Key, Profile
from autotune.search.events import Listener
from autotune.search.request import Effort, Request


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
    workload: str | None,
    as_json: bool,
) -> int:
    r"""Measure this machine and write its profile.

    OPERATION is a name of the catalogue, such as svd or log; without one all of it is measured. A choice is
    kept only if it was proved faster than plain NumPy in fresh processes. Entries of other operations in the
    same profile stay. Ctrl-C keeps what was decided.

    \b
    Examples:
      autotune calibrate
      autotune calibrate svd qr --sizes m=1000,4000 n=50 --budget 5m
      autotune calibrate --workload simulate.py:step --sizes n=1000,4000
    """
    if cpus is not None:
        os.environ["AUTOTUNE_CPUS"] = str(cpus)  # for this process and its trials, before either counts CPUs
    own = describe(workload) if workload is not None else None
    request = asked(
        operations,
        sizes,
        dtypes=dtypes,
        effort=effort,
        budget=budget,
        seed=seed,
        workload=None if own is None else own.kind,
    )
    path = place(this_machine(), output)
    with progress() as listen:
        profile, finished = measured(request, own, resume=resume, on_event=listen)
    if profile is None:
        click.echo(messages.INTERRUPTED_EARLY, err=True)
        return INTERRUPTED
    kept = keep(profile, path, sizes_named=bool(request.sizes))
    tell(kept, finished=finished, as_json=as_json)
    return INTERRUPTED if not finished else FAILED if kept.path != path else 0


def this_machine() -> Key:
    """What a profile of this machine is for."""
    import numpy as np  # noqa: F401 - its BLAS is part of the key

    from autotune.host.allocation import usable_cpus
    from autotune.store.resolve import here

    return here(*usable_cpus()).key


def measured(
    request: Request, own: UserWorkload | None, *, resume: bool, on_event: Listener
) -> tuple[Profile | None, bool]:
    """The profile that a request leads to, and whether it is complete: Ctrl-C ends a calibration early."""
    from autotune.bench.lock import host_lock
    from autotune.bench.process import ProcessBench
    from autotune.search.calibrate import Interrupted
    from autotune.search.calibrate import calibrate as search

    bench = ProcessBench(workloads={} if own is None else {own.name: own})
    try:
        with host_lock():
            return search(request, bench=bench, resume=resume, on_event=on_event), True
    except Interrupted as interruption:
        return interruption.profile, False
