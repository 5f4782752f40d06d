"""`autotune daemon`."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import click

from autotune.cli import messages
from autotune.cli.options import dtype_option, parse_duration, parse_sizes
from autotune.cli.terminal import json_option, note, print_json, print_lines
from autotune.model import units
from autotune.model.catalogue import kind
from autotune.runtime.text_table import printable


@click.group(invoke_without_command=True)
@click.option("--system", is_flag=True, help="The daemon for all users, below /etc, /var/lib and /run.")
@click.pass_context
def daemon(ctx: click.Context, system: bool) -> None:
    """Keep profiles up to date: measure in idle time what programs call and what has changed.

    Without a verb it runs in the foreground until it is told to stop: under systemd, in a container, or in a shell.
    Profiles stay in force when it stops. docs/daemon.md explains its configuration.

    \b
    Examples:
      autotune daemon
      autotune daemon status
      autotune daemon pause --for 2h
      autotune daemon tune svd n=500
    """
    ctx.obj = system
    if ctx.invoked_subcommand is not None:
        return
    from autotune.daemon.daemon_settings import system_paths, user_paths
    from autotune.daemon.service import DaemonService

    DaemonService(system_paths() if system else user_paths()).run()


@daemon.command()
@json_option
@click.pass_obj
def status(system: bool, as_json: bool) -> None:
    """Show what the daemon does, and why.

    \b
    Examples:
      autotune daemon status
      autotune daemon --system status --json
    """
    _show(_ask(system, "status"), status_lines, as_json=as_json)


@daemon.command()
@json_option
@click.pass_obj
def explain(system: bool, as_json: bool) -> None:
    """Show what the daemon will measure next, and why.

    \b
    Examples:
      autotune daemon explain
      autotune daemon explain --json
    """
    _show(_ask(system, "explain"), queue_lines, as_json=as_json)


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
    words = {} if span is None else {"seconds": parse_duration(span)}
    _ask(system, "pause", **words)
    note(messages.daemon_paused(span))


@daemon.command()
@click.pass_obj
def resume(system: bool) -> None:
    """Measure again after a pause.

    \b
    Examples:
      autotune daemon resume
      autotune daemon --system resume
    """
    _ask(system, "resume")
    note(messages.DAEMON_RESUMED)


@daemon.command(short_help="Measure an operation before all other work.")
@click.argument("operation")
@click.argument("sizes", nargs=-1, metavar="[NAME=N,N...]...")
@dtype_option
@click.pass_obj
def tune(system: bool, operation: str, sizes: tuple[str, ...], dtype: str) -> None:
    """Measure OPERATION before all other work, as soon as the machine is idle.

    \b
    Examples:
      autotune daemon tune svd
      autotune daemon tune svd n=500,1000 --dtype float32
    """
    row = kind(operation)
    orders = ({"operation": row.name, "dtype": dtype, "sizes": values} for values in parse_sizes(sizes, row) or ({},))
    note(messages.daemon_ordered([_ask(system, "tune", **order)["operation"] for order in orders]))


@daemon.command(short_help="Read the configuration again.")
@click.pass_obj
def reload(system: bool) -> None:
    """Read the configuration again; a broken one leaves the old one in force.

    \b
    Examples:
      autotune daemon reload
      autotune daemon --system reload
    """
    _ask(system, "reload")
    note(messages.DAEMON_RELOADED)


@daemon.command(short_help="End the daemon.")
@click.pass_obj
def stop(system: bool) -> None:
    """End the daemon and what it measures; profiles stay in force.

    \b
    Examples:
      autotune daemon stop
      autotune daemon --system stop
    """
    note(messages.daemon_stopped(_ask(system, "stop")["pid"]))


@daemon.command(short_help="Install the systemd unit.")
@click.option("--user", is_flag=True, help="For you alone, below ~/.config; without root.")
@click.option("--store", is_flag=True, help="Allow it the network, for a cluster's store.")
@click.option("--print", "shown", is_flag=True, help="Print the unit instead.")
def install(user: bool, store: bool, shown: bool) -> None:
    """Install the systemd unit, for all users or with --user for you.

    \b
    Examples:
      sudo "$(command -v autotune)" daemon install
      autotune daemon install --user --print
    """
    from autotune.daemon import systemd

    if shown:
        click.echo(systemd.user_unit() if user else systemd.system_unit(store=store), nl=False)
        return
    files, following = systemd.install_unit(user=user, store=store)
    note(messages.daemon_installed(files, following))


def _ask(system: bool, verb: str, **words: Any) -> dict[str, Any]:
    """Ask the system's daemon, or without `--system` the user's own if there is one."""
    from autotune.daemon.control_socket import ask_daemon
    from autotune.daemon.daemon_settings import system_paths, user_paths

    paths = [system_paths()] if system else [user_paths(), system_paths()]
    return ask_daemon([each.socket for each in paths], verb, **words)


def _show(answer: dict[str, Any], lines: Callable[[dict[str, Any]], Iterable[str]], *, as_json: bool) -> None:
    if as_json:
        print_json("daemon/1", answer)
    else:
        print_lines(map(printable, lines(answer)))


def status_lines(status: Mapping[str, Any]) -> Iterator[str]:
    path = status["configuration"]
    configured = "with default settings, without a configuration file" if path is None else f"configured by {path}"
    yield f"autotune {status['version']} runs as process {status['pid']}, {configured}."
    running = status["running"]
    if running:
        yield f"Now: {running['what']}, for {units.clock(running['seconds'])}. {running['why']}"
    else:
        yield f"Now: nothing. {status['waiting'] or status['why']}"
    daily = status["daily_cpu_seconds"]
    limit = "" if daily is None else f" of {units.clock(daily)}"
    yield f"CPU time spent today: {units.clock(status['spent_cpu_seconds'])}{limit}"
    for interpreter in status["interpreters"]:
        entries = messages.summary(interpreter["entries"]) if interpreter["entries"] else "none."
        yield f"{interpreter['name']}: entries: {entries}"
        stale = interpreter["stale"] and f"Stale: {interpreter['stale']}"
        yield from (f"    {text}" for text in (interpreter["problem"], stale) if text)
    if status["store"]:
        store = status["store"]
        pulled = units.moment(store["pulled"]) if store["pulled"] else "never"
        yield (
            f"Store {store['url']}: last pulled: {pulled}; failures in a row: {store['failures']}; "
            f"pulled profiles to be tested: {store['staged']}; profiles to be published: {store['unpublished']}"
        )
    yield f"Operations called without a profile entry: {status['demand']}; ordered: {status['orders']}"
    yield from (f"In doubt: {why}" for why in status["doubts"])
    for event in status["recent"]:
        yield f"  {units.moment(event['wall'])} {event['event']}: {event['job']}: {event['why']}"


def queue_lines(answer: Mapping[str, Any]) -> Iterator[str]:
    yield answer["waiting"] or "The machine is idle."
    for number, job in enumerate(answer["queue"], 1):
        yield f"{number}. {job['subject']} [{job['cause']}] {job['reason']}"
    if not answer["queue"]:
        yield "Nothing waits to be measured."
