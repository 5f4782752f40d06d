"""`autotune pull`."""

import json

import click

from autotune.cli import messages
from autotune.cli.program import FAILED
from autotune.cli.store_options import plain_pulled, reached, store_option, tell_refused
from autotune.errors import EnvironmentProblem


@click.command()
@store_option
@click.option("--fresh", is_flag=True, help="Forget local copies: what was withdrawn is gone at once.")
@click.option("--json", "as_json", is_flag=True, help="Print what the mirror holds now as JSON.")
def pull(store: str | None, fresh: bool, as_json: bool) -> int:
    """Bring what the cluster's store holds for this machine to where its programs look.

    Only this machine's class is read, and a few of the same CPU. Programs never open a connection: they read
    the local mirror that this leaves. A store that is away changes nothing. Exits with 1 if the store has
    nothing for this machine.

    \b
    Examples:
      autotune pull --store /nfs/autotune
      AUTOTUNE_STORE=s3://bucket/autotune autotune pull --json
    """
    from autotune.host.usable_cpus import usable_cpus
    from autotune.profiles.resolve import here, resolve
    from autotune.share.mirror import pull as bring

    place, policy = reached(store)
    try:
        pulled = bring(place, policy, here(*usable_cpus()).key, fresh=fresh)
    except OSError as problem:
        raise EnvironmentProblem(messages.no_mirror(problem)) from problem
    resolve()  # compiles what was pulled, a fifth of a second that the next program need not spend
    tell_refused(pulled.rejected)
    for one in pulled.mirrored:
        click.echo(
            messages.mirrored(
                one.key.slug,
                entries=one.entries,
                hosts=one.hosts,
                confirmed=one.confirmed,
                contested=one.contested,
            ),
            err=as_json,
        )
    if as_json:
        click.echo(json.dumps(plain_pulled(pulled), indent=2))
    if not pulled.mirrored:
        click.echo(messages.nothing_pulled(place.address), err=True)
        return FAILED
    return 0
