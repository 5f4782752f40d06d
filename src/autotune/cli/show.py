"""`autotune show`."""

import json
from pathlib import Path

import click

from autotune.cli import messages
from autotune.cli.fitting_profile import applying
from autotune.profiles import profile_files


@click.command()
@click.argument("profile", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print the profile as JSON.")
def show(profile: Path | None, as_json: bool) -> int:
    """Show a profile: every choice, its gain over plain NumPy with the 95 % interval, and its reason.

    Without PROFILE, the one that applies on this machine. Times are for one unit of work.

    \b
    Examples:
      autotune show
      autotune show profiles/cluster-node.yaml --json
    """
    path = profile or applying()
    if path is None:
        click.echo(messages.NO_PROFILE, err=True)
        return 1
    shown = profile_files.read(path)
    if as_json:
        from autotune.profiles.schema import document_of

        click.echo(json.dumps({"path": str(path), **document_of(shown)}, indent=2))
        return 0
    from autotune.cli.profile_table import render
    from autotune.cli.terminal import console

    screen = console()
    screen.print(messages.profile_at(path), soft_wrap=True)
    render(shown, screen)
    return 0
