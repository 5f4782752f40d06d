"""`autotune cluster`."""

import sys
from math import ceil

import click

from autotune.cli import messages, units
from autotune.cli.request_options import make_request
from autotune.cli.store_options import store_option
from autotune.cluster.batch_script import Batch, Wanted
from autotune.cluster.batch_script import script as batch_file
from autotune.errors import BadSettings, UsageError
from autotune.search.request import Effort

START_MINUTES = 10
"""For the self-test, the start of the programs, and a file system that is slow."""


@click.group()
def cluster() -> None:
    """Calibrate a cluster whose batch system is all there is.

    Where Dask runs, `autotune calibrate --scheduler` shares the work among the nodes.

    \b
    Examples:
      autotune cluster script --slurm --store /nfs/autotune > calibrate.sh
      autotune cluster script --pbs --cpus 64 --store s3://bucket/autotune > calibrate.sh
    """


@cluster.command(short_help="Print a batch file that measures one kind of node.")
@click.option("--slurm", "batch", flag_value=str(Batch.SLURM), help="For sbatch.")
@click.option("--pbs", "batch", flag_value=str(Batch.PBS), help="For qsub of PBS Professional or OpenPBS.")
@click.option("--lsf", "batch", flag_value=str(Batch.LSF), help="For bsub.")
@click.option("--sge", "batch", flag_value=str(Batch.SGE), help="For qsub of Grid Engine.")
@click.option("--partition", metavar="NAME", help="The partition, or queue.")
@click.option(
    "--constraint", metavar="TEXT", help="What the nodes of one kind have, as the batch system says it."
)
@click.option(
    "--nodes",
    type=click.IntRange(1, 4096),
    default=2,
    show_default=True,
    metavar="N",
    help="Two confirm each other.",
)
@click.option(
    "--cpus", type=click.IntRange(1, 65536), metavar="N", help="CPUs of a node, for PBS and Grid Engine."
)
@click.option(
    "--effort",
    type=click.Choice([str(effort) for effort in Effort]),
    default=str(Effort.NORMAL),
    show_default=True,
    help="As of `autotune calibrate`.",
)
@click.option("--budget", metavar="TIME", help="Time allowed on each node, such as 5m or 1h30m.")
@click.argument("operations", nargs=-1, metavar="[OPERATION]...")
@store_option
def script(
    batch: str | None,
    partition: str | None,
    constraint: str | None,
    nodes: int,
    cpus: int | None,
    effort: str,
    budget: str | None,
    operations: tuple[str, ...],
    store: str | None,
) -> int:
    """Print a batch file that measures one kind of node, on whole nodes, and publishes what they find.

    Submit it once for each kind. It calls this Python, which must be at the same place on the nodes.

    \b
    Examples:
      autotune cluster script --slurm --partition long --store /nfs/autotune > calibrate.sh
      sbatch --constraint=icelake calibrate.sh
      sbatch --constraint=rome calibrate.sh
    """
    from autotune.share.store_settings import read_store_settings, settings_files

    if batch is None:
        raise UsageError(messages.WHICH_BATCH_SYSTEM)
    address = read_store_settings(store).store
    if address is None:
        raise BadSettings(messages.no_store(settings_files()[0]))
    request = make_request(operations, effort=effort, budget=budget)
    words = [*request.operations, "--effort", effort]
    if budget is not None:
        words += ["--budget", f"{units.budget(budget):.0f}s"]
    wanted = Wanted(
        nodes=nodes,
        partition=partition,
        constraint=constraint,
        minutes=ceil(request.seconds / 60) + START_MINUTES,
        cpus=cpus,
    )
    program = (sys.executable, "-m", "autotune")
    click.echo(batch_file(Batch(batch), wanted, program=program, words=words, store=address), nl=False)
    return 0
