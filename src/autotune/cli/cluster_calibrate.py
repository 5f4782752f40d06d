"""`autotune calibrate --scheduler`: the nodes of a cluster instead of this machine."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import click

from autotune.cli import messages
from autotune.cli.profile_table import render
from autotune.cli.program import FAILED, INTERRUPTED, NOT_ALLOWED
from autotune.cli.store_warm_starts import relatives
from autotune.cli.terminal import console, printable
from autotune.cli.write_outcome import Kept, keep
from autotune.cluster.calibrate_cluster import (
    Began,
    Came,
    Cluster,
    Ended,
    Event,
    Failed,
    Left,
    Outcome,
    Refused,
    class_profile,
)
from autotune.cluster.dask_workers import crew
from autotune.cluster.plan import Job
from autotune.errors import ProfileError, StoreProblem
from autotune.model.profile import Key, Profile
from autotune.profiles import folders

if TYPE_CHECKING:
    from autotune.search.request import Request
    from autotune.share.publish import PublishResult
    from autotune.share.store import Store


def calibrate_nodes(
    scheduler: str,
    request: "Request",
    *,
    store: str | None,
    output: Path | None,
    as_json: bool,
) -> int:
    """Calibrate every class of nodes that a scheduler has; give away, or write, what was found."""
    given = Given(store=_store(store), output=output)
    with crew(scheduler) as workers, progress() as report:
        outcome = Cluster(
            crew=workers,
            request=request,
            report=report,
            save=given.save,
            relatives=lambda key: relatives(store, key),
        ).run()
    _tell(outcome, given, as_json=as_json)
    if outcome.interrupted:
        return INTERRUPTED
    if outcome.problem is not None:
        return NOT_ALLOWED
    return FAILED if outcome.missed or given.elsewhere else 0


@dataclass(kw_only=True)
class Given:
    """What was found goes to the store as it comes or, without one, into a file for each class."""

    store: "Store | None"
    output: Path | None
    published: dict[tuple[Key, str], "PublishResult"] = field(default_factory=dict)
    """By class and host."""
    kept: dict[Key, Kept] = field(default_factory=dict)
    problem: StoreProblem | ProfileError | None = None
    """Why the store did not take it: files have it."""
    _last: dict[tuple[Key, str], Profile] = field(default_factory=dict)

    @property
    def elsewhere(self) -> bool:
        """Did something go elsewhere than asked?"""
        return self.problem is not None or any(one.path != one.asked for one in self.kept.values())

    def save(self, key: Key, said: dict[str, Profile]) -> None:
        """Take what the hosts of a class have said so far."""
        if self.store is not None and self.problem is None:
            try:
                self._publish(self.store, key, said)
            except (StoreProblem, ProfileError) as problem:
                self.problem = problem
                click.echo(messages.error(messages.not_published(problem)), err=True)
        if self.store is None or self.problem is not None:
            self.kept[key] = keep(class_profile(key, said), self._path(key))

    def _publish(self, store: "Store", key: Key, said: dict[str, Profile]) -> None:
        from autotune.share.publication import is_measured
        from autotune.share.publish import publish

        for host, profile in said.items():
            place = (key, host)
            if self._last.get(place) != profile and any(map(is_measured, profile.entries)):
                self.published[place] = publish(profile, store)
                self._last[place] = profile

    def _path(self, key: Key) -> Path:
        """Where the profile of a class goes: a name of its own, beside what was measured on one's own machine."""
        if key in self.kept:
            return self.kept[key].asked
        if self.output is None:
            return folders.user_profiles() / f"cluster-{key.slug}.yaml"
        if not self.kept:
            return self.output
        return self.output.with_name(f"{self.output.stem}-{key.digest}{self.output.suffix}")


def _store(url: str | None) -> "Store | None":
    """The store that was named, here or in the configuration. Raises BadSettings for one that makes no sense."""
    from autotune.share.store import open_store
    from autotune.share.store_settings import read_store_settings

    found = read_store_settings(url)
    return None if found.store is None else open_store(found.store)


def _tell(outcome: Outcome, given: Given, *, as_json: bool) -> None:
    """Print what the hosts of each class say together, where it is, and what is missing."""
    classes = [(key, said, class_profile(key, said)) for key, said in outcome.classes if said]
    if as_json:
        click.echo(json.dumps(_document(outcome, given, classes), indent=2))
    for key, said, profile in classes:
        if not as_json:
            click.echo(messages.cluster_class(key.slug, hosts=len(said)))
            render(profile, console())
        if key in given.kept:
            click.echo(messages.cluster_written(given.kept[key].path), err=True)
        published = [one for (theirs, _), one in given.published.items() if theirs == key]
        if published and given.store is not None:
            click.echo(messages.cluster_published(len(published), given.store.address), err=True)
    for missed in outcome.missed:
        line = messages.cluster_missed(missed.key.slug, str(missed.unit), missed.reason)
        click.echo(printable(line), err=True)
    if outcome.interrupted:
        click.echo(messages.CLUSTER_INTERRUPTED, err=True)
    elif outcome.problem is not None:
        click.echo(messages.error(messages.cluster_ended(printable(outcome.problem))), err=True)


def _document(
    outcome: Outcome, given: Given, classes: list[tuple[Key, dict[str, Profile], Profile]]
) -> dict[str, Any]:
    """For programs."""
    from autotune.profiles.schema import document_of

    return {
        "classes": [
            {
                "class": key.slug,
                "hosts": sorted(said),
                "path": str(given.kept[key].path) if key in given.kept else None,
                "published": [one.name for (theirs, _), one in given.published.items() if theirs == key],
                **document_of(profile),
            }
            for key, said, profile in classes
        ],
        "missed": [
            {"class": one.key.slug, "unit": str(one.unit), "reason": one.reason} for one in outcome.missed
        ],
        "interrupted": outcome.interrupted,
        "problem": outcome.problem,
    }


class Board:
    """Where the calibration of a cluster stands, in words."""

    def __init__(self) -> None:
        self._running: dict[str, Job] = {}
        self._standing = (0, 0, 0)

    def take(self, event: Event) -> str | None:
        """Note an event. Returns a line if it is one to keep."""
        match event:
            case Came(node=node, known=known):
                return messages.worker_came(node.host, node.worker, None if known else node.key.slug)
            case Refused():
                return messages.worker_refused(event.worker, event.reason)
            case Left():
                left = self._running.pop(event.worker, None)
                return messages.worker_left(event.worker, None if left is None else _name(left))
            case Began(job=job):
                self._running[job.node.worker] = job
                return None
            case Ended(job=job):
                self._running.pop(job.node.worker, None)
                self._standing = event.standing
                counts = Counter(entry.status for entry in event.entries)
                told = {messages.STATUSES[status]: number for status, number in counts.items()}
                return messages.job_done(_name(job), job.node.host, told, event.standing)
            case Failed(job=job):
                self._running.pop(job.node.worker, None)
                return messages.job_failed(_name(job), job.node.host, event.reason, busy=event.busy)

    def line(self, elapsed: float) -> str:
        """The line that is replaced at every event: what each node does now."""
        doing = [messages.job_running(_name(job), job.node.host) for job in self._running.values()]
        return messages.cluster_now(doing, standing=self._standing, elapsed=elapsed)


def _name(job: Job) -> str:
    return messages.job_name(str(job.errand), "" if job.unit is None else str(job.unit))


@contextmanager
def progress() -> Iterator[Callable[[Event], None]]:
    """Show events of all nodes on standard error: live if it is a terminal, as plain lines otherwise."""
    screen = console(stderr=True)
    board, began = Board(), monotonic()
    said: set[str] = set()
    if not screen.is_terminal:

        def write(event: Event) -> None:
            line = board.take(event)
            if line is not None and not (isinstance(event, Failed) and event.busy and line in said):
                said.add(line)
                with suppress(OSError):  # a log on a full disk must not cost the measurements
                    screen.print(printable(line), soft_wrap=True)

        yield write
        return

    from rich.live import Live
    from rich.text import Text

    with Live(console=screen, auto_refresh=False, transient=True) as live:

        def show(event: Event) -> None:
            line = board.take(event)
            if line is not None and not (isinstance(event, Failed) and event.busy and line in said):
                said.add(line)
                screen.print(printable(line))
            now = printable(board.line(monotonic() - began))
            live.update(Text(now, no_wrap=True, overflow="ellipsis"), refresh=True)

        yield show
