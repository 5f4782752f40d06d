"""`autotune nproc`."""

import os
from dataclasses import asdict
from math import ceil

import click

from autotune.cli.terminal import json_option, print_json, print_lines
from autotune.controls.thread_variables import worker_limit
from autotune.host.limit_sources import CpuLimit, cpu_limits
from autotune.host.usable_cpus import online_cpus, usable_cpus
from autotune.model.allocation import Limit
from autotune.runtime.text_table import printable


@click.command()
@click.option("--all", "every", is_flag=True, help="All CPUs that are switched on, as nproc --all.")
@click.option("--ignore", type=click.IntRange(min=0), default=0, metavar="N", help="N CPUs less, at least 1.")
@click.option("--why", is_flag=True, help="Print every limit, its source, and which one decides.")
@json_option
def nproc(every: bool, ignore: int, why: bool, as_json: bool) -> None:
    """Print the number of CPUs that a program may keep busy: nproc with every limit counted.

    Counted are affinity mask and cpuset, the tightest CPU quota of all control groups, AUTOTUNE_CPUS, and the processes
    that share the CPUs. As for nproc, OMP_NUM_THREADS and OMP_THREAD_LIMIT ask for fewer, but never for more.

    \b
    Examples:
      make -j "$(autotune nproc)"
      autotune nproc --why
    """
    threads = worker_limit(os.environ)
    usable, limit = (online_cpus(), "none") if every else usable_cpus()
    if not every and threads is not None and threads < usable:
        usable, limit = threads, "openmp"
    count = max(1, usable - ignore)
    openmp = CpuLimit(name="OpenMP threads", limit="openmp", value=threads, source="OMP_NUM_THREADS, OMP_THREAD_LIMIT")
    limits = (*cpu_limits(), openmp) if why or as_json else ()
    if as_json:
        print_json("nproc/1", {"cpus": count, "limit": str(limit), "limits": [asdict(each) for each in limits]})
        return
    for each in limits:
        print_lines([printable(describe(each) + (" <- decides" if decides(each, limit, usable) else ""))])
    click.echo(count)


def describe(limit: CpuLimit) -> str:
    """Describe a limit with its source, such as `CPU quota: 1.5, rounded up to 2 (/sys/fs/cgroup)`."""
    value = "not set" if limit.value is None else f"{limit.value:g}"
    if limit.value is not None and limit.value != ceil(limit.value):
        value += f", rounded up to {ceil(limit.value)}"
    return f"{limit.name}: {value} ({limit.source})"


def decides(limit: CpuLimit, kind: str, usable: int) -> bool:
    """Does it make the number of usable CPUs? Of two caps it is the one with that number."""
    return limit.limit == kind and (limit.limit != Limit.CAP or limit.value == usable)
