"""Measurement inside the trial process: check results, warm up, time pairs.

Tasks follow each other; the inputs of a task are freed before those of the next are made. Messages on each task:
`failed` (task, arm, kind, reason), and once it is over `finished` with its TaskReport; of the whole trial `costs` and
`spin_rate`; and `probed` (moment, capacity) after each probe.
"""

import gc
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import repeat
from math import inf
from time import monotonic, perf_counter

from autotune.bench import noise, sampling, workloads
from autotune.bench.capacity import CapacityProbe
from autotune.bench.failure_text import cause
from autotune.bench.thread_activity import REST_SECONDS, await_rest
from autotune.bench.trial_copies import Copies
from autotune.bench.trial_job import Arm, Post, TaskReport, TimedPair, TrialJob
from autotune.bench.workloads.workload import Work, Workload
from autotune.controls import blas
from autotune.controls.apply_configuration import ConfigurationScope
from autotune.host import memory_limit, pressure
from autotune.host.usable_cpus import affinity, schedulable_cpus
from autotune.model.catalogue import Family, kind, row_of
from autotune.model.codec import encode
from autotune.model.configuration import Configuration
from autotune.model.measurement import FailureKind, Pair

WARM_UP_SECONDS = 0.03
LATER_WARM_UP_SECONDS = 0.01
"""For the tasks after the first of a process, whose CPUs and pools are warm by then; and for work whose length is known
from an earlier process: it is only the CPUs' clocks that have to rise. Where both hold the first calls are enough."""
WARM_UP_CALLS = 3
LONG_CALL_SECONDS = 0.25
"""A call longer than this is warm after the one that is checked. Starting threads and touching memory, which only the
first one does, costs some milliseconds."""
DISCARD_SECONDS = 0.02
"""The first call after a switch of the configuration is not timed, unless it takes this long: what the other
configuration left in caches and queues, and waking threads, cost 0.1 to 0.3 ms."""
REST_SAMPLES = 5
"""Samples for which idle threads are waited for at most: a catalogue of hundreds of entries has minutes. What is left
then slows down the arm with fewer threads, so that the error is on the side of the default."""
PROBE_REST_SECONDS = 0.005
"""Seconds that a probe of capacity between pairs waits for spinning threads to rest. If they do not, there is no probe,
nor another in this task; the first one of the process and the last one tell."""
FACTOR_OF_REFERENCE = 20
"""An arm that takes this many times as long as the reference, and a sixth of the patience, is a time-out."""


@dataclass(slots=True, eq=False)
class _Side:
    """An arm that is ready to run."""

    arm: Arm
    calls: dict[str, Callable[[], object]] = field(default_factory=dict)
    """For each layout that was used so far."""
    seconds: float = 0.0
    """Of one call; 0 before the first."""
    resident_bytes: int | None = None
    """Memory that the process held after the last sample, what the call returned not included."""

    @property
    def configuration(self) -> Configuration:
        return self.arm.configuration


class _Refusal(Exception):
    """Failure of an arm that is detected before an exception: its kind, and a sentence."""


class _ReferenceFailed(Exception):
    """The reference of a task cannot be measured."""


class _Costs(defaultdict[str, float]):
    """Seconds of each part of a trial."""

    @contextmanager
    def of(self, part: str) -> Iterator[None]:
        """Add the time that passes within the `with` to a part."""
        begin = perf_counter()
        try:
            yield
        finally:
            self[part] += perf_counter() - begin


def measure(job: TrialJob, post: Post, copies: Copies) -> None:
    """Measure all tasks of the job next to its copies."""
    end = post.began + (inf if job.seconds is None else job.seconds)
    gc.disable()
    costs = _Costs(float, start=monotonic() - post.began)
    probe = CapacityProbe(1 if job.has_background_load else job.usable_cpus, job.spin_rate)
    for place in range(len(job.tasks)):
        until = sampling.share(monotonic(), end, len(job.tasks) - place)
        task = _TaskRun(job, place, post, copies, probe, costs)
        task.run(until)
        post.send(finished=place, report=encode(task.report))
    post.send(costs=costs, spin_rate=probe.spin_rate)


class _TaskRun:
    """One task, with the arms that have not failed."""

    def __init__(
        self, job: TrialJob, place: int, post: Post, copies: Copies, probe: CapacityProbe, costs: _Costs
    ) -> None:
        self._job = job
        self._place = place
        self._task = job.tasks[place]
        self._post = post
        self._copies = copies
        self._probe = probe
        self._costs = costs
        self._works: dict[str, Work] = {}
        self._sides: list[_Side] = []
        self._last: Configuration | None = None
        self._threads = self._most_threads = self._most_workers = 1
        self._sampled = 0.0
        self._spins = False
        """Do own threads spin between the pairs, so that no probe can be made?"""
        self._own = job.workloads.get(self._task.operation.name)
        row = row_of(self._task.operation.name)
        self._family = Family.USER if self._own or row is None else row.family
        self.report = TaskReport()

    def run(self, until: float) -> None:
        """Measure until the pairs are done, or no further one may begin."""
        try:
            self._prepare()
            self._check()
            loops = self._warm_up(until)
            if len(self._sides) > 1:
                self._time_pairs(loops, until)
            else:
                self._time_default(loops, until)
            rows = ((side.arm.index, side.resident_bytes) for side in self._sides)
            resident = tuple((arm, size) for arm, size in rows if size is not None)
            self.report = replace(self.report, resident_bytes=resident, sampled_seconds=self._sampled)
        except _ReferenceFailed:
            pass  # the parent has the reason; without a reference the other arms say nothing
        finally:
            with self._costs.of("clean-up"):
                self._copies.rest()
                self._sides.clear()
                for work in self._works.values():
                    work.close()
                self._works.clear()
                if self._place + 1 < len(self._job.tasks):  # else the process ends
                    gc.unfreeze()
                    gc.collect()

    @contextmanager
    def _turn(self, arm: Arm, seconds: float) -> Iterator[None]:
        """Run a step of an arm that may take `seconds`; an exception is recorded as the arm's failure."""
        self._post.mark(self._place, arm.index, seconds)
        try:
            yield
        except BaseException as problem:  # the user's code may raise anything, SystemExit included
            self._sides = [side for side in self._sides if side.arm is not arm]
            failure = FailureKind.OUT_OF_MEMORY if isinstance(problem, MemoryError) else FailureKind.ERROR
            failure, reason = problem.args if isinstance(problem, _Refusal) else (failure, cause(problem))
            self._post.send(failed=self._place, arm=arm.index, kind=failure, reason=reason)
            if arm is self._task.arms[0]:
                raise _ReferenceFailed from problem

    def _prepare(self) -> None:
        """Make the inputs in their first layout, and the threads of the probe."""
        operation, reference = self._task.operation, self._task.arms[0]
        with self._turn(reference, self._job.patience):
            self._workload: Workload = self._own or workloads.find(operation.name)
            self._layouts = self._workload.layouts
            if self._own is None:
                needed = kind(operation.name).bytes_of(operation)
                self._layouts = self._layouts[: _fitting(needed, self._job.memory_bytes)]
            self._copies.prepare(self._place)
            with self._costs.of("inputs"):
                self._work(self._layouts[0])
        with self._costs.of("probe"):
            self._probe.settle()
        if not self._place:  # nothing spins yet
            self._probe_capacity(PROBE_REST_SECONDS)

    def _work(self, layout: str) -> Work:
        """Return the work on inputs of a layout; made at the first use."""
        if layout not in self._works:
            self._works[layout] = self._workload.prepare(self._task.operation, layout, self._job.seed)
        return self._works[layout]

    def _call(self, side: _Side, layout: str) -> Callable[[], object]:
        if layout not in side.calls:
            with self._costs.of("inputs"):
                work, chosen = self._work(layout), side.configuration
                side.calls[layout] = work.plain if chosen.is_default else work.tuned(chosen)
        return side.calls[layout]

    def _check(self) -> None:
        """Call every arm once, and check its result where no process has checked all arms; that call is no timing.

        A long call whose result was checked before is left out: a cold start costs a small part of it.
        """
        checked = all(arm.call_seconds is not None for arm in self._task.arms)
        for arm in self._task.arms:
            patience = self._patience(self._sides[0].seconds) if self._sides else self._job.patience
            with self._turn(arm, patience):
                side = _Side(arm)
                earlier = (arm.call_seconds or 0.0) if checked else 0.0
                side.seconds = earlier if earlier >= LONG_CALL_SECONDS else self._first_call(side, checked=checked)
                self._sides.append(side)

    def _first_call(self, side: _Side, *, checked: bool) -> float:
        """Time an arm's first call, whose result is checked unless one was before. Raises _Refusal."""
        layout = self._layouts[0]
        call = self._call(side, layout)
        with (
            self._costs.of("first calls"),
            ConfigurationScope(side.configuration, usable_cpus=self._job.thread_limit(side.configuration)),
        ):
            begin = perf_counter()
            result = call()
            seconds = perf_counter() - begin
        with self._costs.of("checks"):
            if not checked and (wrong := self._works[layout].check(result)):
                raise _Refusal(FailureKind.WRONG_RESULT, wrong)
        return seconds

    def _warm_up(self, until: float) -> int:
        """Measure how long a call takes, and choose how many calls make a sample.

        Once the time is over, what the first calls took has to do. Where an earlier process has told how long, a first
        call as long as a sample was warm-up enough, and in a process that has measured before any first call.
        """
        reference, *candidates = self._sides
        warm = self._place > 0 and all(side.arm.call_seconds is not None for side in self._sides)
        calls, spent, sample = 0, 0.0, 0.0
        earlier = reference.arm.call_seconds
        loops, least_calls = 1, WARM_UP_CALLS
        if earlier is not None:
            spent = sample = reference.seconds
            reference.seconds, least_calls = earlier, 0
            loops = sampling.loops(earlier, earlier)
        enough = WARM_UP_SECONDS if earlier is None and not self._place else LATER_WARM_UP_SECONDS
        with self._costs.of("warm-up"):
            with self._turn(reference.arm, self._patience(reference.seconds * WARM_UP_CALLS)):
                while (
                    not warm
                    and reference.seconds < LONG_CALL_SECONDS
                    and not (calls >= least_calls and spent >= enough and sample >= sampling.SAMPLE_SECONDS)
                ):
                    if monotonic() >= until and sample >= sampling.SAMPLE_SECONDS:
                        break
                    sample = self._sample(reference, self._layouts[0], loops)
                    reference.seconds, calls, spent = sample / loops, calls + loops, spent + sample
                    loops = loops if sample >= sampling.SAMPLE_SECONDS else 2 * loops
            for side in candidates:
                if side.arm.call_seconds is not None:
                    side.seconds = side.arm.call_seconds
                elif side.seconds < LONG_CALL_SECONDS and monotonic() < until:
                    with self._turn(side.arm, self._patience(reference.seconds)):
                        few = loops if side.seconds * loops < LONG_CALL_SECONDS else 1
                        side.seconds = self._sample(side, self._layouts[0], few) / few
        self._sampled = 0.0
        return sampling.loops(reference.seconds, min(side.seconds for side in self._sides))

    def _time_pairs(self, loops: int, until: float) -> None:
        """Time pairs, and disturbed ones again, until enough were undisturbed or the time is over."""
        seed = sampling.order_seed(self._job.seed, self._task.operation)
        reference, *candidates = self._sides
        agenda = sampling.Agenda(sampling.pair_order(len(candidates), self._job.rounds, seed))
        records: list[TimedPair] = []
        self._rest(candidates)
        gc.freeze()
        for number, turn in enumerate(agenda):
            if number >= len(candidates) and monotonic() >= until:  # each has had its first pair
                break
            if not self._spins:
                self._spins = not self._probe_capacity(PROBE_REST_SECONDS)
            record = self._pair(reference, candidates[turn.candidate], turn, loops)
            if record is None:
                agenda.drop(turn.candidate)
                continue
            records.append(record)
            agenda.note(turn, disturbed=not noise.is_undisturbed(record.pair))
            gc.collect()
        if not records:
            self._time_default(loops, until)
            return
        is_last = self._place + 1 == len(self._job.tasks)
        self._probe_capacity(REST_SECONDS if is_last else PROBE_REST_SECONDS)
        calls = tuple((side.arm.index, side.seconds) for side in self._sides)
        self.report = TaskReport(pairs=tuple(records), call_seconds=calls)

    def _pair(self, reference: _Side, side: _Side, turn: sampling.Turn, loops: int) -> TimedPair | None:
        """Time one pair; None if its candidate failed."""
        layout = self._layouts[turn.round // 2 % len(self._layouts)]
        order = (reference, side) if turn.default_first else (side, reference)
        seconds: dict[int, float] = {}
        likely = (reference.seconds + side.seconds) * loops * (REST_SAMPLES + 1)
        begin: list[tuple[pressure.Load, float]] = []
        for each in order:
            with self._turn(each.arm, self._patience(likely)):
                work = self._work(layout)
                ready = None if begin else lambda: begin.append((self._load(), perf_counter()))
                sample = self._sample(each, layout, loops, ready)
                seconds[each.arm.index] = sample / loops / work.share + work.once(each.configuration)
        wall = perf_counter()
        if len(seconds) < 2:
            return None
        ((load, began),) = begin
        cpus, crowded = schedulable_cpus(), self._is_crowded
        interference = noise.interference(load, self._load(), wall - began, cpus, crowded=crowded)
        pair = Pair(
            default_seconds=seconds[reference.arm.index],
            candidate_seconds=seconds[side.arm.index],
            interference=interference,
        )
        return TimedPair(arm=side.arm.index, pair=pair, began=began, ended=wall)

    def _time_default(self, loops: int, until: float) -> None:
        """Time the default alone, where there is no candidate."""
        reference = self._sides[0]
        seconds: list[float] = []
        layout = self._layouts[0]
        gc.freeze()
        for number in range(self._job.rounds):
            if number and monotonic() >= until:
                break
            with self._turn(reference.arm, self._patience(reference.seconds * loops * (REST_SAMPLES + 1))):
                sample = self._sample(reference, layout, loops)
                seconds.append(sample / loops / self._work(layout).share)
        self.report = TaskReport(alone=tuple(seconds))

    def _rest(self, candidates: Sequence[_Side]) -> None:
        """Wait for threads that spin after earlier work, or after their start, before workers have their first pair.

        In the first pairs after a task that calls BLAS two workers took 1.3 times as long as in those that followed.
        """
        if any((side.configuration.workers or 1) > 1 for side in candidates):
            with self._costs.of("rests"):
                await_rest(REST_SECONDS)

    def _probe_capacity(self, patience: float) -> bool:
        """Probe the capacity unless the last probe was a moment ago; False if own threads do not stop spinning."""
        if self._probe.due:
            with self._costs.of("probe"):
                if not await_rest(patience):
                    return False
                capacity = self._probe.probe()
                if capacity is not None:
                    self._post.send(probed=perf_counter(), capacity=capacity)
        return True

    def _load(self) -> pressure.Load:
        """Read the load. With copies and neighbours, all processes of the parent count as own."""
        with self._costs.of("readings"):
            if self._job.has_background_load:
                return pressure.read(pid=self._job.parent, cpus=affinity())
            # the work of these families may have child processes that use the CPUs
            if self._family in {Family.USER, Family.SHARING, Family.TASKS}:
                return pressure.read(cpus=affinity())
            return pressure.read_own(cpus=affinity())

    @property
    def _is_crowded(self) -> bool:
        """Whether own threads may have waited for each other; idle BLAS threads still spin after their arm."""
        calls_blas = self._family in {Family.USER, Family.LINALG, Family.STACK, Family.TASKS}
        threads = self._most_workers + (self._most_threads - 1 if calls_blas else 0)
        return self._job.has_background_load or threads > self._job.certain_cpus

    def _sample(self, side: _Side, layout: str, loops: int, ready: Callable[[], None] | None = None) -> float:
        """Put an arm into force and time `loops` calls; `ready` is called just before them. Returns seconds."""
        call = self._call(side, layout)
        self._copies.join(self._place, side.arm.index)
        with ConfigurationScope(side.configuration, usable_cpus=self._job.thread_limit(side.configuration)):
            threads = blas.current() or 1
            self._most_threads = max(self._most_threads, threads)
            self._most_workers = max(self._most_workers, side.configuration.workers or 1)
            if threads < self._threads and (side.configuration.workers or 1) > 1:
                with self._costs.of("rests"):
                    await_rest(min(REST_SECONDS, REST_SAMPLES * loops * side.seconds))
            if side.configuration != self._last and side.seconds < DISCARD_SECONDS:
                with self._costs.of("discarded calls"):
                    call()
            self._last, self._threads = side.configuration, threads
            if ready is not None:
                ready()
            calls = repeat(None, loops)
            begin = perf_counter()
            for _ in calls:
                call()
            seconds = perf_counter() - begin
            if any(arm.configuration.allocator is not None for arm in self._task.arms):
                side.resident_bytes = memory_limit.resident_bytes()
            self._sampled += seconds
            return seconds

    def _patience(self, seconds: float) -> float:
        """Return the time limit of a step of a likely length: slow steps pass, stuck ones do not."""
        return max(self._job.patience / 6, FACTOR_OF_REFERENCE * seconds)


def _fitting(needed: float, allowed: int | None) -> int | None:
    """Count the layouts that fit into memory side by side; None if that is unknown."""
    if allowed is None:
        return None
    if needed > allowed:
        reason = f"It needs {needed / 2**20:.0f} MiB, and a trial may take {allowed / 2**20:.0f} MiB."
        raise _Refusal(FailureKind.OUT_OF_MEMORY, reason)
    return int(allowed // needed)
