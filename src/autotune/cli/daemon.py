"""`autotune daemon`."""

import json
from pathlib import Path
from typing import Any

import click

from autotune.cli import messages, units
from autotune.cli.size_options import parse_size
from autotune.cli.terminal import printable
from autotune.model.catalogue import kind
from autotune.model.operation import DTYPES

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print the daemon's answer as JSON.")


@click.group(invoke_without_command=True)
@click.option("--system", is_flag=True, help="The daemon of all users, below /etc, /var/lib and /run.")
@click.pass_context
def daemon(ctx: click.Context, system: bool) -> None:
    """Keep the profile true: measure in idle time what programs ask for and what has changed.

    Without a verb of its own it runs, in the foreground, until it is told to stop: under systemd, in a
    container, or from a shell. Programs keep working the same when it stops. Its configuration is explained
    in docs/daemon.md.

    \b
    Examples:
      autotune daemon
      autotune daemon status
      autotune daemon pause --for 2h
      autotune daemon tune svd n=500
    """
    ctx.obj = system
    if ctx.invoked_subcommand is None:
        ctx.invoke(run)


@daemon.command()
@click.pass_obj
def run(system: bool) -> None:
    """Run in the foreground, as without a verb.

    \b
    Examples:
      autotune daemon run
      autotune daemon --system run
    """
    from autotune.daemon import paths, service

    service.run(paths.system() if system else paths.user())


@daemon.command()
@AS_JSON
@click.pass_obj
def status(system: bool, as_json: bool) -> None:
    """Say what it does, and why.

    \b
    Examples:
      autotune daemon status
      autotune daemon --system status --json
    """
    _show(_asked(system, "status"), messages.daemon_status, as_json=as_json)


@daemon.command()
@AS_JSON
@click.pass_obj
def explain(system: bool, as_json: bool) -> None:
    """Say what it will measure next, and why.

    \b
    Examples:
      autotune daemon explain
      autotune daemon explain --json
    """
    _show(_asked(system, "explain"), messages.daemon_queue, as_json=as_json)


@daemon.command()
@click.option("--for", "span", metavar="TIME", help="Such as 90s, 30m or 2h; until `resume` if left out.")
@click.pass_obj
def pause(system: bool, span: str | None) -> None:
    """Measure nothing for a while.

    \b
    Examples:
      autotune daemon pause
      autotune daemon pause --for 2h
    """
    words = {} if span is None else {"seconds": units.budget(span)}
    _asked(system, "pause", **words)
    click.echo(messages.daemon_paused(span), err=True)


@daemon.command()
@click.pass_obj
def resume(system: bool) -> None:
    """Measure again after a pause.

    \b
    Examples:
      autotune daemon resume
      autotune daemon --system resume
    """
    _asked(system, "resume")
    click.echo(messages.DAEMON_RESUMED, err=True)


@daemon.command()
@click.argument("operation")
@click.argument("sizes", nargs=-1, metavar="[NAME=N]...")
@click.option("--dtype", type=click.Choice(DTYPES), default=DTYPES[0], show_default=True)
@click.pass_obj
def tune(system: bool, operation: str, sizes: tuple[str, ...], dtype: str) -> None:
    """Measure OPERATION as soon as the machine is idle.

    \b
    Examples:
      autotune daemon tune svd
      autotune daemon tune svd n=500 --dtype float32
    """
    name = kind(operation).name
    _asked(system, "tune", operation=name, dtype=dtype, sizes=parse_size(sizes))
    click.echo(messages.daemon_ordered(name), err=True)


@daemon.command(short_help="Read the configuration again.")
@click.pass_obj
def reload(system: bool) -> None:
    """Read the configuration again; a broken one leaves the old one in force.

    \b
    Examples:
      autotune daemon reload
      autotune daemon --system reload
    """
    _asked(system, "reload")
    click.echo(messages.DAEMON_RELOADED, err=True)


@daemon.command(short_help="Install the systemd unit.")
@click.option("--user", is_flag=True, help="For you alone, below ~/.config; needs no root.")
@click.option("--store", is_flag=True, help="Leave it the network, for a cluster's store.")
@click.option("--print", "shown", is_flag=True, help="Print the unit instead.")
def install(user: bool, store: bool, shown: bool) -> None:
    """Install the systemd unit, hardened: for all users, or with --user for you.

    \b
    Examples:
      sudo "$(command -v autotune)" daemon install
      autotune daemon install --user --print
    """
    from autotune.daemon import systemd

    if shown:
        click.echo(systemd.user_unit() if user else systemd.system_unit(store=store), nl=False)
        return
    files, following = systemd.install(user=user, store=store)
    click.echo(messages.daemon_installed(files, following), err=True)


def _asked(system: bool, verb: str, **words: Any) -> dict[str, Any]:
    """The answer of the system's daemon, or of the user's own if there is one and nobody said which."""
    from autotune.daemon import paths
    from autotune.daemon.client import ask

    sockets: list[Path] = [paths.system().socket] if system else [paths.user().socket, paths.system().socket]
    return ask(sockets, verb, **words)


def _show(answer: dict[str, Any], words: Any, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    for line in words(answer):
        click.echo(printable(line))
