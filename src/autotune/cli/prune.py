"""`autotune prune`."""

import json
from dataclasses import asdict
from datetime import timedelta

import click

from autotune.cli import messages
from autotune.cli.program import FAILED
from autotune.cli.store_options import reached, store_option
from autotune.cli.terminal import printable
from autotune.errors import StoreProblem


@click.command()
@store_option
@click.option("--class", "folders", multiple=True, metavar="CLASS", help="This class only; all without it.")
@click.option("--host", "hosts", multiple=True, metavar="HOST", help="Everything that this host published.")
@click.option(
    "--older-than",
    type=click.IntRange(1, 36_500),
    metavar="DAYS",
    help="What was measured longer ago, by the publishers' clocks.",
)
@click.option("--dry-run", is_flag=True, help="Say what would go; remove nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print what goes as JSON.")
def prune(
    store: str | None,
    folders: tuple[str, ...],
    hosts: tuple[str, ...],
    older_than: int | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Remove from the cluster's store what nobody needs.

    That is what a later publication of the same host covers, signatures of nothing, and what a writer that
    was killed left behind. What cannot be read stays: a newer autotune may have written it. Exits with 1 if the
    store keeps something, as it does with other users' files in a folder of mode 1777.

    \b
    Examples:
      autotune prune --store /nfs/autotune --dry-run
      autotune prune --older-than 365 --host 6d90b715326a8e69
    """
    from autotune.share.prune import removable_files
    from autotune.share.publication import CLASS

    for folder in folders:
        if CLASS.fullmatch(folder) is None:
            raise click.UsageError(messages.not_a_class(folder))
    place, policy = reached(store)
    older = None if older_than is None else timedelta(days=older_than)
    going = [*removable_files(place, policy, folders=folders, hosts=hosts, older=older)]
    gone = []
    for one in going:
        name = printable(f"{one.folder}/{one.name}")
        try:
            if not dry_run:
                place.remove(one.folder, one.name)
        except StoreProblem as problem:
            if not isinstance(problem.__cause__, OSError):  # it is not this file alone: the store is away
                raise
            click.echo(messages.error(printable(f"{name}: {problem}")), err=True)
            continue
        gone.append(one)
        click.echo(messages.pruned(name, printable(one.reason), gone=not dry_run), err=as_json)
    if as_json:
        click.echo(json.dumps({"store": place.address, "removed": [asdict(one) for one in gone]}, indent=2))
    click.echo(messages.pruned_all(len(gone), gone=not dry_run), err=True)
    return 0 if gone == going else FAILED
