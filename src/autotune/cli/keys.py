"""`autotune keys`."""

import json
from pathlib import Path

import click

from autotune.cli import messages


@click.command()
@click.option("--new", is_flag=True, help="Make a pair; a key that is there is never replaced.")
@click.option(
    "--file",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The private key's file, instead of signing.key beside config.yaml.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the key as JSON.")
def keys(new: bool, path: Path | None, as_json: bool) -> int:
    """Make or show the key that signs what you publish.

    The private key stays in its file, for your eyes only (mode 0600). The public key is what others write
    into `trusted_keys` of their config.yaml; during a change of keys they list both.

    \b
    Examples:
      autotune keys --new
      autotune keys --file site.key --json
    """
    from autotune.share.signing_keys import key_id, make_key_pair, private_key, public_text
    from autotune.share.store_settings import signing_key

    place = path or signing_key()
    public = make_key_pair(place) if new else public_text(private_key(place))
    if as_json:
        click.echo(json.dumps({"path": str(place), "public": public, "id": key_id(public)}, indent=2))
    else:
        click.echo(public)
        click.echo(messages.key_use(place, key_id(public)), err=True)
    return 0
