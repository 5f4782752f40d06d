"""`autotune list`."""

import json

import click

from autotune.cli import messages
from autotune.cli.program import FAILED
from autotune.cli.store_options import plain_refused, reached, store_option, tell_refused
from autotune.cli.terminal import printable


@click.command("list")
@click.argument("folder", metavar="[CLASS]", required=False)
@store_option
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
def list(folder: str | None, store: str | None, as_json: bool) -> int:  # noqa: A001 - the verb
    """Say which classes the cluster's store holds; of one class, who published what and who is believed.

    \b
    Examples:
      autotune list --store /nfs/autotune
      autotune list genuineintel-6-143-8cpu-openblas-0.3.31-1a2b3c4d5e6f --json
    """
    from autotune.share.fetch import read_class
    from autotune.share.prune import list_classes
    from autotune.share.publication import CLASS, is_measured

    place, policy = reached(store)
    if folder is None:
        found = list_classes(place)
        for row in () if as_json else found:
            click.echo(messages.listed_class(row.folder, hosts=len(row.hosts), files=row.publications))
        if as_json:
            rows = [
                {
                    "class": one.folder,
                    "hosts": one.hosts,
                    "publications": one.publications,
                    "signatures": one.signatures,
                }
                for one in found
            ]
            click.echo(json.dumps({"store": place.address, "classes": rows}, indent=2))
        if not found:
            click.echo(messages.empty_store(place.address), err=True)
        return 0
    if CLASS.fullmatch(folder) is None:
        raise click.UsageError(messages.not_a_class(folder))
    reading = read_class(place, folder, policy)
    publications = reading.publications
    if as_json:
        shown = {
            "store": place.address,
            "class": folder,
            "publications": [
                {
                    "name": one.name,
                    "host": one.host,
                    "created": one.profile.provenance.created,
                    "entries": sum(map(is_measured, one.profile.entries)),
                    "signer": one.signer,
                }
                for one in publications
            ],
            "refused": plain_refused(reading.rejected),
        }
        click.echo(json.dumps(shown, indent=2))
    else:
        for one in publications:
            line = messages.listed_publication(
                one.host,
                created=one.profile.provenance.created,
                entries=sum(map(is_measured, one.profile.entries)),
                signer=one.signer,
            )
            click.echo(printable(line))
        tell_refused(reading.rejected)
    if not publications:
        click.echo(messages.empty_class(folder, place.address), err=True)
        return FAILED
    return 0
