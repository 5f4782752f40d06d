"""The measuring itself, inside the trial process: check, warm up, then round after round.

Task after task: the inputs of one are gone before the next one's are made. What the parent is told: `failed`
(task, arm, kind, reason), `round` (task), `busy`, `seconds` (by arm), and `finished` (task).
"""

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat
from time import perf_counter, process_time, thread_time
from typing import Protocol

from autotune.bench import noise, rounds, workloads
from autotune.bench.failure_text import cause
from autotune.bench.trial_copies import Copies
from autotune.bench.trial_job import Arm, Job, Task
from autotune.bench.workloads.workload import Work, Workload
from autotune.controls import blas
from autotune.controls.apply_configuration import configured
from autotune.host import memory_limit, pressure
from autotune.host.usable_cpus import affinity, schedulable_cpus
from autotune.model.catalogue import Family, kind
from autotune.model.measurement import FailureKind

WARM_UP_SECONDS = 0.1
LATER_WARM_UP_SECONDS = 0.02
"""Of the tasks after a process's first, whose CPUs and pools are warm: only their own code and data are not."""
WARM_UP_CALLS = 3
SLOW_CALL_SECONDS = 0.5
"""A call longer than this is warm after the one that is checked."""

DISCARD_SECONDS = 0.1
"""The first call after a switch is not timed, unless it takes this long: then what the arm before it left in
caches and queues is small against it."""

REST_SECONDS = 0.12
"""OpenBLAS's idle threads spin for 0.105 to 0.12 s after a call (measured with 0.3.31), during which whatever
runs next shares the CPUs with them: a pool of two workers took 1.4 to 1.9 times as long."""

REST_SAMPLES = 5
"""No longer than so many samples, though: a catalogue of hundreds of entries has minutes. What is left then
slows down the arm with fewer threads, so that the error is on the side of the default. Only arms with workers
wait: a single BLAS thread hardly suffers (2.12 to 2.31 ms against 2.10 to 2.15), and a program that changes the
count does not wait either."""

REST_SLICE_SECONDS = 0.01
"""CPU time of other threads is charged by the tick, up to 4 ms: shorter slices can read as idle."""

RESTING = 0.1
"""CPUs' worth of other threads' work below which they rest."""

FACTOR_OF_REFERENCE = 20
"""An arm that takes this many times as long as the reference, and a sixth of the patience, is a time-out."""


class Listener(Protocol):
    """Whom the measuring tells: `worker.Post` in a trial."""

    def mark(self, task: int, arm: int) -> None:
        """Say which arm runs from now on."""

    def expect(self, seconds: float) -> None:
        """Promise the next message within this time."""

    def send(self, **message: object) -> None:
        """Send one message."""


@dataclass(slots=True, eq=False)
class _Side:
    """An arm that is ready to run."""

    arm: Arm
    calls: tuple[Callable[[], object], ...]
    """One for each layout."""
    seconds: float = 0.0
    """Of one call; 0 before the first."""
    resident_bytes: int | None = None
    """Memory that the process held after the last sample, what the call returned not included."""


class _WrongResult(Exception):
    """The result of an arm does not pass its check."""


class _TooLarge(MemoryError):
    """The inputs would take more memory than a trial may."""


class _ReferenceFailed(Exception):
    """The reference of a task cannot be measured."""


def measure(job: Job, post: Listener, began: float, copies: Copies) -> None:
    """Measure all tasks of the job beside its copies; its time began at `began` by perf_counter."""
    end = None if job.seconds is None else began + job.seconds
    gc.disable()
    for place, task in enumerate(job.tasks):
        until = None if end is None else rounds.share(perf_counter(), end, len(job.tasks) - place)
        _Trial(job, place, task, post, copies).run(until)
        post.send(finished=place)


class _Trial:
    """One task, and which of its arms are still in it."""

    def __init__(self, job: Job, place: int, task: Task, post: Listener, copies: Copies) -> None:
        self._job = job
        self._place = place
        self._task = task
        self._post = post
        self._copies = copies
        self._sides: list[_Side] = []
        self._last: _Side | None = None
        self._threads = 1
        self._most_threads = self._most_workers = 1

    def run(self, until: float | None) -> None:
        """Measure until the rounds are done, or no further one may begin."""
        works: list[Work] = []
        try:
            self._prepare(works)
            self._check(works)
            loops = self._warm_up(until)
            self._repeat(loops, until, works)
            self._weigh()
        except _ReferenceFailed:
            pass  # the parent was told, and without a reference the others say nothing
        finally:
            self._copies.rest()
            self._sides.clear()
            for work in works:
                work.close()
            gc.unfreeze()
            gc.collect()

    @contextmanager
    def _turn(self, arm: Arm) -> Iterator[None]:
        """An arm's turn: whatever it raises is its own failure."""
        self._post.mark(self._place, arm.index)
        try:
            yield
        except BaseException as problem:  # the user's code may raise anything, SystemExit included
            self._sides = [side for side in self._sides if side.arm is not arm]
            failure = _failure_kind(problem)
            reason = str(problem) if isinstance(problem, _WrongResult | _TooLarge) else cause(problem)
            self._post.send(failed=self._place, arm=arm.index, kind=failure, reason=reason)
            if arm is self._task.arms[0]:
                raise _ReferenceFailed from problem

    def _prepare(self, works: list[Work]) -> None:
        operation, reference = self._task.operation, self._task.arms[0]
        self._post.expect(self._job.patience)
        with self._turn(reference):
            workload: Workload = self._job.workloads.get(operation.name) or workloads.find(operation.name)
            layouts = workload.layouts
            if operation.name not in self._job.workloads:
                needed = kind(operation.name).bytes_of(operation)
                layouts = layouts[: _fitting(needed, self._job.memory_bytes)]
            self._copies.prepare(self._place)
            for layout in layouts:
                works.append(workload.prepare(operation, layout, self._job.seed))  # noqa: PERF401  # all are closed

    def _check(self, works: list[Work]) -> None:
        """Call every arm once, and look at its result; that first call is never a timing."""
        for arm in self._task.arms:
            self._post.expect(self._patience(self._sides[0].seconds) if self._sides else self._job.patience)
            with self._turn(arm):
                chosen = arm.configuration
                calls = tuple(work.plain if chosen.is_default else work.tuned(chosen) for work in works)
                side = _Side(arm, calls)
                side.seconds = self._first_call(side, works[0])
                self._sides.append(side)

    def _first_call(self, side: _Side, work: Work) -> float:
        """Seconds of an arm's first call. Raises _WrongResult."""
        with configured(side.arm.configuration, usable_cpus=self._job.allowed(side.arm.configuration)):
            begin = perf_counter()
            result = side.calls[0]()
            seconds = perf_counter() - begin
        if wrong := work.check(result):
            raise _WrongResult(wrong)
        return seconds

    def _warm_up(self, until: float | None) -> int:
        """Learn how long a call takes, and choose how many calls make a sample.

        Once the time is over, what the first calls took has to do.
        """
        reference, *others = self._sides
        loops, calls, spent, sample = 1, 0, 0.0, 0.0
        enough = LATER_WARM_UP_SECONDS if self._place else WARM_UP_SECONDS
        with self._turn(reference.arm):
            self._post.expect(self._patience(reference.seconds * WARM_UP_CALLS))
            while reference.seconds < SLOW_CALL_SECONDS and not (
                calls >= WARM_UP_CALLS and spent >= enough and sample >= rounds.SAMPLE_SECONDS
            ):
                if _over(until) and sample >= rounds.SAMPLE_SECONDS:
                    break
                sample = self._sample(reference, 0, loops)
                reference.seconds, calls, spent = sample / loops, calls + loops, spent + sample
                loops = loops if sample >= rounds.SAMPLE_SECONDS else 2 * loops
        for side in others:
            if side.seconds < SLOW_CALL_SECONDS and not _over(until):
                with self._turn(side.arm):
                    self._post.expect(self._patience(reference.seconds))
                    few = loops if side.seconds * loops < SLOW_CALL_SECONDS else 1
                    side.seconds = self._sample(side, 0, few) / few
        return rounds.loops(reference.seconds, min(side.seconds for side in self._sides))

    def _repeat(self, loops: int, until: float | None, works: list[Work]) -> None:
        """Time rounds, and disturbed ones again, until enough were quiet or the time is over."""
        seed = rounds.order_seed(self._job.seed, self._task.operation)
        orders = rounds.orders(len(self._sides), self._job.rounds, seed)
        sides = tuple(self._sides)
        likely = sum(side.seconds for side in sides) * loops * (REST_SAMPLES + 1)
        agenda = rounds.Agenda(self._job.rounds)
        gc.freeze()
        while (number := agenda.next()) is not None:
            self._post.expect(self._patience(likely))
            seconds: dict[int, float] = {}
            sampled = 0.0
            load, begin = self._load(), perf_counter()
            for turn in orders[number]:
                side = sides[turn]
                if side in self._sides:
                    with self._turn(side.arm):
                        sample = self._sample(side, number, loops)
                        sampled += sample
                        once = works[0].once(side.arm.configuration)
                        seconds[side.arm.index] = sample / loops / works[0].share + once
            wall, now = perf_counter() - begin, self._load()
            busy = noise.busy(load, now, wall, schedulable_cpus(), crowded=self._crowded)
            interference = noise.interference(load, now, wall, schedulable_cpus(), disturbed=busy)
            self._post.send(
                round=self._place,
                busy=busy,
                interference=interference,
                sampled=sampled,
                seconds=list(seconds.items()),
            )
            agenda.note(number, busy=busy)
            gc.collect()
            if _over(until):
                return

    def _weigh(self) -> None:
        """Tell what each arm left in memory, where it is what they differ in."""
        held = [
            (side.arm.index, side.resident_bytes) for side in self._sides if side.resident_bytes is not None
        ]
        if held:
            self._post.send(resident=self._place, bytes=held)

    def _load(self) -> pressure.Load:
        """The load now. In company all that the parent started is one's own: the other processes are, too."""
        return pressure.read(pid=os.getppid() if self._job.company else None, cpus=affinity())

    @property
    def _crowded(self) -> bool:
        """May own threads have had to wait for each other? Idle BLAS threads still spin after their arm."""
        threads = self._most_workers + (self._most_threads - 1 if self._uses_blas else 0)
        return self._job.company or threads > self._job.certain_cpus

    @property
    def _uses_blas(self) -> bool:
        """Does this work call BLAS, as far as is known?"""
        return self._task.operation.name in self._job.workloads or kind(self._task.operation.name).family in {
            Family.LINALG,
            Family.STACK,
            Family.TASKS,
        }

    @property
    def _retains(self) -> bool:
        """Does some arm keep memory, at a cost that has to be known?"""
        return any(arm.configuration.allocator is not None for arm in self._task.arms)

    def _sample(self, side: _Side, layout: int, loops: int) -> float:
        """Seconds of so many calls of one arm, after it was put into force."""
        call = side.calls[layout % len(side.calls)]
        self._copies.join(self._place, side.arm.index)
        with configured(side.arm.configuration, usable_cpus=self._job.allowed(side.arm.configuration)):
            threads = blas.current() or 1
            self._most_threads = max(self._most_threads, threads)
            self._most_workers = max(self._most_workers, side.arm.configuration.workers or 1)
            if threads < self._threads and (side.arm.configuration.workers or 1) > 1:
                _rest(min(REST_SECONDS, REST_SAMPLES * loops * side.seconds))
            if side is not self._last and side.seconds < DISCARD_SECONDS:
                call()
            self._last, self._threads = side, threads
            calls = repeat(None, loops)
            begin = perf_counter()
            for _ in calls:
                call()
            seconds = perf_counter() - begin
            if self._retains:
                side.resident_bytes = memory_limit.resident_bytes()
            return seconds

    def _patience(self, seconds: float) -> float:
        """How long a step may take whose likely length is known. Being slow is no failure, being stuck is."""
        return max(self._job.patience / 6, FACTOR_OF_REFERENCE * seconds)


def _over(until: float | None) -> bool:
    return until is not None and perf_counter() >= until


def _failure_kind(problem: BaseException) -> FailureKind:
    if isinstance(problem, MemoryError):
        return FailureKind.OUT_OF_MEMORY
    return FailureKind.WRONG_RESULT if isinstance(problem, _WrongResult) else FailureKind.ERROR


def _fitting(needed: float, allowed: int | None) -> int | None:
    """How many layouts fit into memory side by side; None if that is unknown."""
    if allowed is None:
        return None
    if needed > allowed:
        raise _TooLarge(f"It needs {needed / 2**20:.0f} MiB, and a trial may take {allowed / 2**20:.0f} MiB.")
    return int(allowed // needed)


def _rest(limit: float) -> None:
    """Keep this thread busy until the process's other threads rest, but no longer than `limit` seconds.

    Sleeping instead would leave cold CPUs behind (measured: 2.9 to 3.8 ms for work of 1.1 to 1.4 ms).
    """
    end = perf_counter() + limit
    while (begin := perf_counter()) < end:
        others = process_time() - thread_time()
        while perf_counter() < begin + REST_SLICE_SECONDS:
            pass
        if process_time() - thread_time() - others < RESTING * REST_SLICE_SECONDS:
            return
