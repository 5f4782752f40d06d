"""The sentences about the daemon."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from autotune.cli.profile_messages import summary
from autotune.model import units

DAEMON_RESUMED = "The daemon measures again as soon as the machine is idle."
DAEMON_RELOADED = "The daemon has read its configuration again."


def daemon_paused(span: str | None) -> str:
    end = "until `autotune daemon resume`" if span is None else f"for {span}"
    return f"The daemon measures nothing {end}."


def daemon_ordered(operation: str) -> str:
    return f"{operation} is measured next, once the machine is idle; `autotune daemon status` says what it waits for."


def daemon_stopped(pid: int) -> str:
    return f"The daemon (process {pid}) has ended. Profiles stay in force."


def daemon_installed(files: Iterable[object], following: str) -> str:
    return f"Written: {', '.join(map(str, files))}. Start it with `{following}`."


def daemon_status(status: Mapping[str, Any]) -> Iterator[str]:
    yield f"autotune {status['version']} runs as process {status['pid']}, configured by {status['configuration']}."
    running = status["running"]
    if running:
        yield f"Now: {running['what']}, for {units.clock(running['seconds'])}. {running['why']}"
    else:
        yield f"Now: nothing. {status['waiting'] or status['why']}"
    daily = status["daily_cpu_seconds"]
    limit = "" if daily is None else f" of {units.clock(daily)}"
    yield f"CPU time spent today: {units.clock(status['spent_cpu_seconds'])}{limit}"
    for interpreter in status["interpreters"]:
        entries = summary(interpreter["entries"]) if interpreter["entries"] else "none."
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


def daemon_queue(answer: Mapping[str, Any]) -> Iterator[str]:
    yield answer["waiting"] or "The machine is idle."
    for number, job in enumerate(answer["queue"], 1):
        yield f"{number}. {job['subject']} [{job['cause']}] {job['reason']}"
    if not answer["queue"]:
        yield "Nothing waits to be measured."
