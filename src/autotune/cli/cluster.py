"""`autotune cluster`: calibration of all nodes of a cluster."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autotune.cli import messages
from autotune.cli.cluster_progress import show_progress
from autotune.cli.entry_table import print_profile
from autotune.cli.options import FILE, parse_duration, store_option
from autotune.cli.program import FAILED, INTERRUPTED, NOT_ALLOWED
from autotune.cli.request_options import budget_option, effort_option, make_request, request_options
from autotune.cli.store import no_store
from autotune.cli.store_warm_starts import relatives
from autotune.cli.terminal import json_option, note, print_json, print_lines, report_error, write_error
from autotune.cli.write_outcome import Kept, keep
from autotune.cluster.batch_script import BatchRequest, BatchSystem, batch_script
from autotune.cluster.calibrate_cluster import ClusterCalibration, ClusterResult, class_profile
from autotune.cluster.dask_workers import connect
from autotune.errors import ProfileError, StoreProblem, UsageError
from autotune.model.profile import Key, Profile
from autotune.model.units import count_of
from autotune.profiles import folders

if TYPE_CHECKING:
    from autotune.share.publish import PublishResult
    from autotune.share.store import Store

START_MINUTES = 10
"""Time for the self-test, the start of the programs, and a slow file system."""


@click.group()
def cluster() -> None:
    """Calibrate every kind of node of a cluster.

    \b
    Examples:
      autotune cluster calibrate tcp://head:8786 --store /nfs/autotune
      autotune cluster script --slurm --store /nfs/autotune > calibrate.sh
    """


@cluster.command(short_help="Measure the nodes of a Dask cluster.")
@click.argument("scheduler", metavar="ADDRESS")
@request_options
@click.option("--output", type=FILE, help="Where the profiles go.")
@store_option
@json_option
def calibrate(
    scheduler: str, output: Path | None, store: str | None, as_json: bool, words: tuple[str, ...], **options: Any
) -> int:
    """Measure every kind of node that a Dask scheduler has; ADDRESS is such as tcp://HOST:8786.

    Equal nodes share the operations and the budget, and two hosts confirm each choice. The profiles are published to
    the store; without one, a profile for each kind of node is written here.

    \b
    Examples:
      autotune cluster calibrate tcp://head:8786 --store /nfs/autotune
      autotune cluster calibrate tcp://head:8786 svd qr n=500,1000 --budget 5m
    """
    from autotune.share.store_settings import open_named_store

    request = make_request(words, **options)
    opened = open_named_store(store)
    writer = ResultWriter(store=None if opened is None else opened[0], output=output)
    with connect(scheduler) as workers, show_progress() as report:
        result = ClusterCalibration(
            workers=workers,
            request=request,
            report=report,
            save=writer.save,
            relatives=lambda key: relatives(store, key),
        ).run()
    print_result(result, writer, as_json=as_json)
    if result.interrupted:
        return INTERRUPTED
    if result.problem is not None:
        return NOT_ALLOWED
    return FAILED if result.missing or writer.went_elsewhere else 0


@cluster.command(short_help="Print a batch file that measures one kind of node.")
@click.argument("words", nargs=-1, metavar="[OPERATION]... [NAME=N,N]...")
@click.option("--slurm", "system", flag_value=str(BatchSystem.SLURM), help="For sbatch.")
@click.option("--pbs", "system", flag_value=str(BatchSystem.PBS), help="For qsub of PBS Professional or OpenPBS.")
@click.option("--lsf", "system", flag_value=str(BatchSystem.LSF), help="For bsub.")
@click.option("--sge", "system", flag_value=str(BatchSystem.SGE), help="For qsub of Grid Engine.")
@click.option("--partition", metavar="NAME", help="The partition, or queue.")
@click.option("--constraint", metavar="TEXT", help="What the nodes of one kind share, in the system's syntax.")
@click.option("--account", metavar="NAME", help="The account or project that is charged.")
@click.option("--qos", metavar="NAME", help="Slurm's quality of service.")
@click.option("--directive", "directives", multiple=True, metavar="TEXT", help="One more directive, as it is.")
@click.option(
    "--nodes", type=click.IntRange(1, 4096), default=2, show_default=True, metavar="N", help="Two confirm each other."
)
@click.option("--cpus", type=click.IntRange(1, 65536), metavar="N", help="CPUs of a node, for PBS and Grid Engine.")
@click.option("--shapes", metavar="N,N", help="CPUs that jobs are given, such as 1,4,all: a profile for each.")
@click.option("--sign", is_flag=True, help="Sign the profiles with your key: one node is enough then.")
@effort_option
@budget_option
@store_option
def script(
    words: tuple[str, ...],
    system: str | None,
    shapes: str | None,
    sign: bool,
    effort: str,
    budget: str | None,
    store: str | None,
    **resources: Any,
) -> int:
    """Print a batch file that measures one kind of node, on whole nodes, and publishes the profiles.

    Submit it once for each kind. It calls this Python, which must be at the same place on the nodes.

    \b
    Examples:
      autotune cluster script --slurm --partition long --store /nfs/autotune > calibrate.sh
      sbatch --constraint=icelake calibrate.sh
      autotune cluster script --pbs --cpus 64 --account physics --shapes 1,4,all > calibrate.sh
    """
    from autotune.share.store_settings import read_store_settings

    if system is None:
        raise UsageError("Say which batch system the file is for: --slurm, --pbs, --lsf or --sge.")
    address = read_store_settings(store).store
    if address is None:
        raise no_store()
    request = make_request(words, effort=effort, budget=budget)
    arguments = [*words, "--effort", effort]
    arguments += ["--budget", f"{parse_duration(budget):.0f}s"] if budget is not None else []
    arguments += ["--cpus", shapes] if shapes is not None else []
    resources["minutes"] = ceil(request.seconds / 60) + START_MINUTES
    resources |= {"program": (sys.executable, "-m", "autotune"), "calibrate": arguments, "store": address, "sign": sign}
    click.echo(batch_script(BatchSystem(system), BatchRequest(**resources)), nl=False)
    if resources["nodes"] == 1 and not sign:
        note(messages.ONE_NODE)
    return 0


@dataclass(kw_only=True)
class ResultWriter:
    """Publishes results to the store as they arrive or, without one, writes a file for each class."""

    store: "Store | None"
    output: Path | None
    published: dict[tuple[Key, str], "PublishResult"] = field(default_factory=dict)
    """By class and host."""
    kept: dict[Key, Kept] = field(default_factory=dict)
    problem: StoreProblem | ProfileError | None = None
    """Why the store did not take a profile: files hold them."""
    _last: dict[tuple[Key, str], Profile] = field(default_factory=dict)

    @property
    def went_elsewhere(self) -> bool:
        return self.problem is not None or any(kept.path != kept.output for kept in self.kept.values())

    def save(self, key: Key, profiles: dict[str, Profile]) -> None:
        if self.store is not None and self.problem is None:
            try:
                self._publish(self.store, key, profiles)
            except (StoreProblem, ProfileError) as problem:
                self.problem = problem
                report_error(f"{problem} The profiles are written to files instead.")
        if self.store is None or self.problem is not None:
            self.kept[key] = keep(class_profile(key, profiles), self._path(key))

    def _publish(self, store: "Store", key: Key, profiles: dict[str, Profile]) -> None:
        from autotune.share.publication import is_measured
        from autotune.share.publish import publish

        for host, profile in profiles.items():
            place = (key, host)
            if self._last.get(place) != profile and any(map(is_measured, profile.entries)):
                self.published[place] = publish(profile, store)
                self._last[place] = profile

    def _path(self, key: Key) -> Path:
        """Return the file of a class; its name differs from that of this machine's own profile."""
        if key in self.kept:
            return self.kept[key].output
        if self.output is None:
            return folders.user_profiles() / f"cluster-{key.slug}.yaml"
        if not self.kept:
            return self.output
        return self.output.with_name(f"{self.output.stem}-{key.digest}{self.output.suffix}")


def print_result(result: ClusterResult, writer: ResultWriter, *, as_json: bool) -> None:
    """Print the profile of each class, where it is, and what is missing."""
    classes = [(key, profiles, class_profile(key, profiles)) for key, profiles in result.classes if profiles]
    if as_json:
        print_json("cluster.calibrate/1", document(result, writer, classes))
    for key, profiles, profile in classes:
        if not as_json:
            print_lines(["", f"Class {key.slug}, measured by {count_of(len(profiles), 'host')}:"])
            print_profile(profile)
        if key in writer.kept:
            note(messages.cluster_written(writer.kept[key].path))
        published = [file for (own, _), file in writer.published.items() if own == key]
        if published and writer.store is not None:
            note(messages.cluster_published(len(published), writer.store.address))
    for missing in result.missing:
        write_error(f"{missing.unit} of class {missing.key.slug}: {missing.reason}")
    if result.interrupted:
        note(messages.CLUSTER_INTERRUPTED)
    elif result.problem is not None:
        report_error(f"{result.problem} Results that finished before are kept.")


def document(
    result: ClusterResult, writer: ResultWriter, classes: Sequence[tuple[Key, dict[str, Profile], Profile]]
) -> dict[str, Any]:
    from autotune.profiles.profile_document import encode_profile

    return {
        "classes": [
            {
                "class": key.slug,
                "hosts": sorted(profiles),
                "path": str(writer.kept[key].path) if key in writer.kept else None,
                "published": [file.name for (own, _), file in writer.published.items() if own == key],
                "profile": encode_profile(profile),
            }
            for key, profiles, profile in classes
        ],
        "missing": [{"class": gap.key.slug, "unit": str(gap.unit), "reason": gap.reason} for gap in result.missing],
        "interrupted": result.interrupted,
        "problem": result.problem,
    }
