"""Which store a verb speaks to, and what it prints of files there."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from autotune.cli import messages
from autotune.cli.terminal import printable
from autotune.errors import BadSettings

if TYPE_CHECKING:
    from autotune.share.fetch import RejectedFile
    from autotune.share.mirror import PullResult
    from autotune.share.store import Store
    from autotune.share.trust import TrustPolicy

SHOWN = 5
"""Refusals that are printed; the rest is counted."""

store_option = click.option(
    "--store",
    metavar="URL",
    help="A folder, or s3://, gs://, https:// ...; else $AUTOTUNE_STORE, else `store:` in config.yaml.",
)


def reached(url: str | None) -> "tuple[Store, TrustPolicy]":
    """The store, and whom to believe. Raises BadSettings if nobody named one."""
    from autotune.share.store import open_store
    from autotune.share.store_settings import read_store_settings, settings_files

    found = read_store_settings(url)
    if found.store is None:
        raise BadSettings(messages.no_store(settings_files()[0]))
    return open_store(found.store), found.policy


def tell_refused(refused: "Sequence[RejectedFile]") -> None:
    """The first few, each with its reason."""
    for one in refused[:SHOWN]:
        click.echo(
            messages.refused_file(printable(f"{one.folder}/{one.name}"), printable(one.reason)), err=True
        )
    if len(refused) > SHOWN:
        click.echo(messages.more_refused(len(refused) - SHOWN), err=True)


def plain_refused(refused: "Iterable[RejectedFile]") -> list[dict[str, str]]:
    """For programs."""
    return [{"class": one.folder, "name": one.name, "reason": one.reason} for one in refused]


def plain_pulled(pulled: "PullResult") -> dict[str, Any]:
    """What came of a pull, for programs."""
    return {
        "store": pulled.store,
        "mirrored": [
            {
                "class": one.key.slug,
                "path": str(one.path),
                "publications": one.publications,
                "hosts": one.hosts,
                "entries": one.entries,
                "confirmed": one.confirmed,
                "contested": one.contested,
                "changed": one.changed,
            }
            for one in pulled.mirrored
        ],
        "refused": plain_refused(pulled.rejected),
        "removed": [str(path) for path in pulled.removed],
    }
