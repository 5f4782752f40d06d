"""The job of a trial process, and what comes back from it.

The codec (`model/codec.py`) takes a TrialJob there as text. It is literal: its arms are measured as they stand, the
first as the reference. Nothing here loads NumPy, since the process that reads it sets its limits first.
"""

import json
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import monotonic

from autotune.bench.user_workload import UserWorkload
from autotune.model.configuration import Configuration
from autotune.model.measurement import Pair
from autotune.model.operation import Operation

MARK = struct.Struct("=iidd")
"""Task and arm that run, the monotonic clock at the begin of the step, and the seconds that it may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One side of a comparison."""

    index: int
    """Identifies the arm in messages."""
    configuration: Configuration
    call_seconds: float | None = None
    """Of one call in a process before, where its result passed the check; None if there was none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One operation and the arms to compare on it."""

    operation: Operation
    arms: tuple[Arm, ...]
    """The first is the reference: without it the others say nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialJob:
    """All that one trial process measures, task after task."""

    tasks: tuple[Task, ...]
    rounds: int
    """Undisturbed pairs of each candidate."""
    seed: int = 0
    seconds: float | None = None
    """Once this much time has passed no further pair begins, but each candidate gets at least one."""
    usable_cpus: int = 1
    certain_cpus: float = 1.0
    """CPUs' worth of time that affinity and quota leave to it, before other processes take their share."""
    has_background_load: bool = False
    """Whether other processes of its parent run next to it: neighbours, or copies."""
    copies: int = 1
    """Processes that run the trial at once."""
    parent: int = 0
    """Process id of the process that asked."""
    spin_rate: float | None = None
    """Of `capacity.CapacityProbe`."""
    memory_bytes: int | None = None
    """The most that one workload may take."""
    patience: float = 60.0
    """Seconds that any step of the reference may take."""
    workloads: Mapping[str, UserWorkload] = field(default_factory=dict)

    def thread_limit(self, chosen: Configuration) -> int:
        """Return the most threads that an arm may use: as in a program, one for each usable CPU.

        But where each of as many workers has as many BLAS threads, which people write and which should be seen
        to fail, it is measured as it stands.
        """
        crowd = chosen.blas_threads == chosen.workers == self.usable_cpus
        return chosen.cpus if crowd else self.usable_cpus


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedPair:
    """A pair as it travels to the parent, which adds its capacity."""

    arm: int
    pair: Pair
    began: float
    ended: float
    """Moments by the clock of the probes, which all processes of a machine share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskReport:
    """The results of a task."""

    pairs: tuple[TimedPair, ...] = ()
    alone: tuple[float, ...] = ()
    """Timings of the default that belong to no pair."""
    call_seconds: tuple[tuple[int, float], ...] = ()
    """Arms with the seconds of one call."""
    resident_bytes: tuple[tuple[int, int], ...] = ()
    """Arms with the memory that the process held under each, where one sets the allocator."""
    sampled_seconds: float = 0.0
    """Of all timed samples."""


class Post:
    """Line from a trial to its parent.

    Marks go into a file that the parent reads only when a deadline has passed or the process has ended: writing one
    wakes no process, so that the parent does not run during a sample.
    """

    def __init__(self, results: int, mark: int, began: float) -> None:
        """Take two file descriptors, and the monotonic clock at the start of the trial."""
        self._results = results
        self._mark = mark
        self.began = began

    def mark(self, task: int, arm: int, seconds: float) -> None:
        """Name the arm that runs from now on, and promise the next mark within this time."""
        os.pwrite(self._mark, MARK.pack(task, arm, monotonic(), seconds), 0)

    def send(self, **message: object) -> None:
        """Send one message."""
        text = json.dumps(message).encode() + b"\n"
        while text:
            text = text[os.write(self._results, text) :]

    def close(self) -> None:
        """Leave the line to the processes that still have it."""
        os.close(self._results)
