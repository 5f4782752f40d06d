"""`autotune publish`."""

import json
from collections.abc import Iterator
from pathlib import Path

import click

from autotune.cli import messages
from autotune.cli.program import FAILED
from autotune.cli.store_options import reached, store_option
from autotune.errors import ProfileError
from autotune.model.profile import Profile
from autotune.profiles import folders, profile_files


@click.command()
@click.argument("profile", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@store_option
@click.option("--sign", is_flag=True, help="Sign with the key that `autotune keys --new` made.")
@click.option(
    "--key", type=click.Path(path_type=Path, dir_okay=False), help="Sign with the private key in this file."
)
@click.option("--json", "as_json", is_flag=True, help="Print what was published as JSON.")
def publish(profile: Path | None, store: str | None, sign: bool, key: Path | None, as_json: bool) -> int:
    """Give a profile to the cluster's store, for every host of the same class.

    Without PROFILE, all that were measured on this host. Others use an entry once a second host, or a trusted
    signature, confirms it.

    \b
    Examples:
      autotune publish --store /nfs/autotune
      autotune publish node.yaml --store s3://bucket/autotune --sign
    """
    from autotune.share.publish import publish as give
    from autotune.share.signing_keys import private_key
    from autotune.share.store_settings import signing_key

    place, _ = reached(store)
    secret = private_key(key or signing_key()) if sign or key is not None else None
    chosen = [(profile, profile_files.read(profile))] if profile is not None else list(measured_here())
    if not chosen:
        click.echo(messages.NOTHING_TO_PUBLISH, err=True)
        return FAILED
    done = []
    for path, shown in chosen:
        try:
            published = give(shown, place, key=secret)
        except ProfileError as problem:
            raise ProfileError(problem.reason, path) from None
        click.echo(
            messages.published(path, f"{published.folder}/{published.name}", new=published.new), err=True
        )
        done.append(
            {
                "profile": str(path),
                "class": published.folder,
                "name": published.name,
                "new": published.new,
                "signer": published.signer,
                "replaced": list(published.replaced),
            }
        )
    if as_json:
        click.echo(json.dumps({"store": place.address, "published": done}, indent=2))
    return 0


def measured_here() -> Iterator[tuple[Path, Profile]]:
    """The user's profiles that this host measured."""
    from autotune.host.identity import host_id

    here = host_id()
    for path in sorted(folders.user_profiles().glob("*.y*ml")):
        try:
            profile = profile_files.read(path)
        except ProfileError as problem:
            click.echo(messages.error(str(problem)), err=True)
            continue
        if profile.provenance.host == here:
            yield path, profile
