"""The progress of a cluster's calibration: a live line on a terminal, plain lines in a log."""

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from time import monotonic

from autotune.cli.messages import summary
from autotune.cli.terminal import show_events
from autotune.cluster.calibrate_cluster import (
    ClusterEvent,
    JobDone,
    JobFailed,
    JobStarted,
    WorkerJoined,
    WorkerLeft,
    WorkerRejected,
)
from autotune.cluster.cluster_plan import NodeJob
from autotune.model import units
from autotune.model.units import STATUSES
from autotune.runtime.text_table import printable

TASKS = {"examine": "self-test", "search": "search of {}", "confirm": "confirmation of {}"}


class ClusterBoard:
    def __init__(self) -> None:
        self._running: dict[str, NodeJob] = {}
        self._standing = (0, 0, 0)
        self._repeated: set[str] = set()

    def take(self, event: ClusterEvent) -> str | None:
        """Record an event; return a line to keep, if there is one. A host that stays busy is reported once."""
        line = self._line(event)
        if line is None or (isinstance(event, JobFailed) and event.busy and line in self._repeated):
            return None
        self._repeated.add(line)
        return printable(line)

    def _line(self, event: ClusterEvent) -> str | None:
        match event:
            case WorkerJoined(node=node):
                return f"Host {node.host} ({node.worker}) takes part" + (
                    f", class {node.key.slug}." if event.is_first else "."
                )
            case WorkerRejected():
                return f"Worker {event.worker} is left out: {event.reason}"
            case WorkerLeft():
                left = self._running.pop(event.worker, None)
                return f"Worker {event.worker} is gone." + (f" Its {job_name(left)} goes to another." if left else "")
            case JobStarted(job=job):
                self._running[job.node.worker] = job
                return None
            case JobDone(job=job):
                self._running.pop(job.node.worker, None)
                self._standing = total, searched, waiting = event.standing
                counts = Counter(STATUSES[entry.status] for entry in event.entries)
                entries = f": {summary(counts)}" if counts else "."
                return f"[{searched}/{total}, {waiting} to confirm] Host {job.node.host}: {job_name(job)}{entries}"
            case JobFailed(job=job):
                self._running.pop(job.node.worker, None)
                following = "It is asked again." if event.busy else "Another host is asked, if there is one."
                return f"Host {job.node.host}: {job_name(job)}: {event.reason} {following}"

    def live_line(self, elapsed: float) -> str:
        """Return the line that each event replaces: what each node does now."""
        total, searched, waiting = self._standing
        done = f"{searched}/{total} searched, {waiting} to confirm, {units.clock(elapsed)}"
        jobs = [f"{job.node.host}: {job_name(job)}" for job in self._running.values()]
        return printable(f"{done} | {' | '.join(jobs)}")


def job_name(job: NodeJob) -> str:
    """Name a job, such as `search of svd`."""
    return TASKS[str(job.task)].format("" if job.unit is None else job.unit)


def show_progress() -> AbstractContextManager[Callable[[ClusterEvent], None]]:
    board, began = ClusterBoard(), monotonic()
    return show_events(board.take, lambda _: board.live_line(monotonic() - began))
