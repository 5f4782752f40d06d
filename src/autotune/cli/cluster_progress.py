"""The progress of a cluster's calibration: a live line on a terminal, plain lines in a log."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from autotune.cli import cluster_messages, profile_messages
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
from autotune.runtime.text_table import printable


class ClusterBoard:
    """The state of the calibration in words."""

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
            case WorkerJoined(node=node, is_first=is_first):
                return cluster_messages.worker_joined(node.host, node.worker, node.key.slug if is_first else None)
            case WorkerRejected():
                return cluster_messages.worker_rejected(event.worker, event.reason)
            case WorkerLeft():
                left = self._running.pop(event.worker, None)
                return cluster_messages.worker_left(event.worker, None if left is None else job_name(left))
            case JobStarted(job=job):
                self._running[job.node.worker] = job
                return None
            case JobDone(job=job):
                self._running.pop(job.node.worker, None)
                self._standing = event.standing
                counts = Counter(profile_messages.STATUSES[entry.status] for entry in event.entries)
                return cluster_messages.job_done(job_name(job), job.node.host, counts, event.standing)
            case JobFailed(job=job):
                self._running.pop(job.node.worker, None)
                return cluster_messages.job_failed(job_name(job), job.node.host, event.reason, busy=event.busy)

    def live_line(self, elapsed: float) -> str:
        """Return the line that each event replaces: what each node does now."""
        jobs = [f"{job.node.host}: {job_name(job)}" for job in self._running.values()]
        return printable(cluster_messages.cluster_now(jobs, standing=self._standing, elapsed=elapsed))


def job_name(job: NodeJob) -> str:
    """Name a job, such as `search of svd`."""
    return cluster_messages.TASKS[str(job.task)].format("" if job.unit is None else job.unit)


@contextmanager
def show_progress() -> Iterator[Callable[[ClusterEvent], None]]:
    """Show events on standard error."""
    board, began = ClusterBoard(), monotonic()
    with show_events(board.take, lambda _: board.live_line(monotonic() - began)) as show:
        yield show
