"""Measures plans in fresh processes."""

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from math import inf
from time import monotonic
from typing import Any, NamedTuple
from weakref import finalize

from autotune.bench.failure_text import last_words, shorten
from autotune.bench.trial_job import Arm, Task, TaskReport, TimedPair, TrialJob
from autotune.bench.trial_process import GARBLED, OVER, TrialProcess, TrialServer
from autotune.bench.trial_server import data_bytes
from autotune.bench.user_workload import PRESUMED, UserWorkload
from autotune.controls.thread_variables import scrub
from autotune.controls.wait_policy import VARIABLE, variables
from autotune.errors import BadDocument, BadWorkload
from autotune.host import cgroup
from autotune.host.memory_limit import available_bytes
from autotune.host.usable_cpus import schedulable_cpus, usable_cpus
from autotune.model.codec import decode, encode
from autotune.model.configuration import DEFAULT, Configuration
from autotune.model.measurement import Case, Failure, FailureKind, Measurement, Pair, Session, TrialPlan
from autotune.model.operation import Operation
from autotune.model.policy import memory_allowance

MOST_DEATHS = 8
"""Processes that one plan may lose before what is left of it is given up."""


class ProcessBench:
    """A Bench: one fresh process for a plan, and another for the rest of it where one ends early.

    Scope of effect: none on this process. Trials start from `environ` without its thread, placement and allocator
    variables; `scrubbed` says which those were. Idle BLAS threads spin as `wait` says. A server of trials runs until
    the bench is closed, forgotten, or this process ends. Only a KeyboardInterrupt passes through `run`, after all
    trials are gone; UnsupportedPlatform is raised where there are no POSIX process groups. One plan at a time:
    `host_lock.host_lock` keeps other benches off the host.

    Parameters
    ----------
    memory_bytes
        The most that one workload may take; by default a quarter of what is available.
    workloads
        The user's functions by name.
    environ
        The environment to start from; by default this process's.
    patience
        Seconds that any step of a default may take: preparing its inputs, one call, a warm-up. Other configurations
        may take 20 times as long as the default, and a sixth of the patience in any case.
    copies
        Number of copies of each trial that run at once. Each may take its part of the memory and all of the CPUs.
    neighbours
        Busy processes that this process keeps next to the trials, and that do not count as interference.

    """

    def __init__(
        self,
        *,
        memory_bytes: int | None = None,
        workloads: Mapping[str, UserWorkload] | None = None,
        environ: Mapping[str, str] | None = None,
        patience: float = 60.0,
        copies: int = 1,
        neighbours: int = 0,
    ) -> None:
        self._usable_cpus = usable_cpus()[0]
        self._schedulable_cpus = schedulable_cpus()
        self._quota = cgroup.quota(cgroup.folders())
        self._copies = copies
        self._neighbours = neighbours
        most = memory_allowance(available_bytes()) if memory_bytes is None else memory_bytes
        self._memory_bytes = None if most is None else most // copies
        self._workloads = dict(workloads or {})
        clean, self.scrubbed = scrub(os.environ if environ is None else environ)
        self.environ = clean
        """Of the trials."""
        self._patience = patience
        self._servers: dict[bool, TrialServer] = {}
        self._call_seconds: dict[tuple[Operation, Configuration], float] = {}
        self._spin_rate: float | None = None
        self.costs: dict[str, float] = defaultdict(float)
        """Seconds of each part of all trials so far; `scripts/benchmarks/trial_costs.py` prints them."""
        self.close = finalize(self, _close, self._servers)
        """End the servers of trials."""

    def wait(self, exponent: int | None) -> None:
        """Set the spin time of idle BLAS threads in later trials, unless the user has set it."""
        if VARIABLE not in self.environ and variables(exponent):
            self.environ = {**self.environ, **variables(exponent)}
            _close(self._servers)
            self._servers.clear()

    def run(self, plan: TrialPlan) -> Session:
        """Measure a plan."""
        return self.compare([self._task(case) for case in plan.cases], plan)

    def compare(self, tasks: Sequence[Task], plan: TrialPlan) -> Session:
        """Measure exactly these tasks, with the plan's rounds, seed and time.

        For the self-test, which compares the default with itself.
        """
        began = monotonic()
        records = [_TaskRecord(task=task) for task in tasks]
        probes: list[_Probe] = []
        for _ in range(MOST_DEATHS):
            left = None if plan.seconds is None else max(0.0, plan.seconds - (monotonic() - began))
            until = began + (inf if plan.longest is None else plan.longest)
            waiting = [record for record in records if not record.finished]
            if not waiting or monotonic() >= until:
                break
            probes += self._trial(waiting, replace(plan, seconds=left), until)
        arms = [(record, arm) for record in records for arm in record.task.arms]
        for record, arm in arms:
            seconds = dict(record.report.call_seconds).get(arm.index)
            if seconds is not None and arm.index not in record.failures:
                self._call_seconds[record.task.operation, arm.configuration] = seconds
        wall, sampled = monotonic() - began, sum(record.report.sampled_seconds for record in records)
        self.costs["samples"] += sampled
        self.costs["all"] += wall
        return Session(
            measurements=tuple(record.measurement(arm, probes) for record, arm in arms),
            wall_seconds=wall,
            sampled_seconds=sampled,
            best_capacity=max((probe.capacity for probe in probes), default=None),
        )

    def pools_at_work(self, operation: Operation, seconds: float = inf) -> tuple[str, ...]:
        """Call a user's function twice; name the thread pools that were at work: BLAS if it failed, or took longer."""
        tasks, until = (self._task(Case(operation=operation, configurations=())),), monotonic() + seconds
        with (
            suppress(OSError),  # it cannot be started: the trials that follow say why
            self._process("pools", tasks, until, rounds=0) as process,
        ):
            for message in process.messages():
                match message:
                    case {"pools": list(names)}:
                        return tuple(map(str, names))
        return PRESUMED

    def _task(self, case: Case) -> Task:
        """Make a task of a case, with the default as the first arm."""
        candidates = (configuration for configuration in case.configurations if not configuration.is_default)
        arms = (
            Arm(index=index, configuration=chosen, call_seconds=self._call_seconds.get((case.operation, chosen)))
            for index, chosen in enumerate((DEFAULT, *candidates))
        )
        return Task(operation=case.operation, arms=tuple(arms))

    def _server(self, *, preload: bool) -> TrialServer:
        if preload not in self._servers:
            # plain NumPy starts a thread for every CPU that it may run on, whatever a quota or a cap says; the probe
            # of capacity has as many
            limit = data_bytes(self._memory_bytes, 2 * self._schedulable_cpus)
            self._servers[preload] = TrialServer(environ=self.environ, data_bytes=limit, preload=preload)
        return self._servers[preload]

    def _process(self, request: str, tasks: tuple[Task, ...], until: float, **job: Any) -> TrialProcess:
        """Return a process for a request, with more fields of its job."""
        used = {task.operation.name for task in tasks}
        workloads = {name: workload for name, workload in self._workloads.items() if name in used}
        job |= {"usable_cpus": self._usable_cpus, "patience": self._patience, "workloads": workloads}
        words = {"request": request, "job": encode(TrialJob(tasks=tasks, **job))}
        return TrialProcess(self._server(preload=not workloads), words, patience=self._patience, until=until)

    def _trial(self, records: Sequence["_TaskRecord"], plan: TrialPlan, until: float) -> list["_Probe"]:
        """Run one process over the remaining tasks, and record its results. Returns its probes."""
        began = monotonic()
        probes: list[_Probe] = []
        try:
            with self._process(
                "measure",
                tuple(record.rest for record in records),
                until,
                rounds=plan.rounds,
                seed=plan.seed,
                seconds=plan.seconds,
                certain_cpus=min(self._schedulable_cpus, self._quota or self._schedulable_cpus),
                has_background_load=self._copies > 1 or (self._neighbours > 0 and not plan.quiet),
                copies=self._copies,
                parent=os.getpid(),
                spin_rate=self._spin_rate,
                memory_bytes=self._memory_bytes,
            ) as process:
                self.costs["process start"] += monotonic() - began
                failure = self._follow(process, records, probes)
                mark = process.mark
        except OSError as problem:  # no memory, process or file descriptor left to start one
            reason = f"The trial process cannot be started: {problem}."
            _blame(records, None, Failure(kind=FailureKind.PROTOCOL, reason=reason))
            return []
        if failure is not None:
            _blame(records, mark, failure)
        return probes

    def _follow(
        self, process: TrialProcess, records: Sequence["_TaskRecord"], probes: list["_Probe"]
    ) -> Failure | None:
        """Record all messages of a trial process, to its end. Returns why that came early."""
        try:
            for message in process.messages():
                match message:
                    case {"probed": float(moment), "capacity": float(capacity)}:
                        probes.append(_Probe(moment, capacity))
                    case {"costs": dict(costs), "spin_rate": spin_rate}:
                        for part, seconds in costs.items():
                            self.costs[str(part)] += float(seconds)
                        self._spin_rate = self._spin_rate if spin_rate is None else float(spin_rate)
                    case {"failed": int(place), "arm": int(arm), "kind": str(kind), "reason": str(reason)}:
                        records[place].fail(arm, Failure(kind=FailureKind(kind), reason=shorten(reason)))
                    case {"finished": int(place), "report": report}:
                        records[place].finish(decode(TaskReport, report))
                        process.output = b""  # last words are those of the task that ended the process
                    case _:
                        return GARBLED
        except (BadDocument, IndexError, TypeError, ValueError):  # whatever the work wrote into our pipe
            return GARBLED
        return process.failure


def _close(servers: Mapping[bool, TrialServer]) -> None:
    for server in servers.values():
        server.close()


class _Probe(NamedTuple):
    """A probe of capacity."""

    moment: float
    """Time on the clock of the pairs, which all processes of a machine share."""
    capacity: float


@dataclass(slots=True, kw_only=True)
class _TaskRecord:
    """The state of one task."""

    task: Task
    report: TaskReport = field(default_factory=TaskReport)
    failures: dict[int, Failure] = field(default_factory=dict)
    finished: bool = False

    @property
    def rest(self) -> Task:
        """The task without the arms that have failed."""
        return replace(self.task, arms=tuple(arm for arm in self.task.arms if arm.index not in self.failures))

    def fail(self, arm: int, failure: Failure) -> None:
        """Record an arm's failure; without its reference the task is over."""
        self.failures.setdefault(arm, failure)
        self.finished = self.finished or arm == self.task.arms[0].index

    def finish(self, report: TaskReport) -> None:
        """Record the results of the task. Raises ValueError for a pair of an unknown arm."""
        if not {pair.arm for pair in report.pairs} <= {arm.index for arm in self.task.arms[1:]}:
            raise ValueError("a pair of an unknown arm")
        self.report = report
        self.finished = True

    def measurement(self, arm: Arm, probes: Sequence[_Probe]) -> Measurement:
        """Return the measurement of an arm."""
        is_reference = arm is self.task.arms[0]
        own = [] if is_reference else [timed for timed in self.report.pairs if timed.arm == arm.index]
        seconds = (
            (*self.report.alone, *(timed.pair.default_seconds for timed in self.report.pairs))
            if is_reference
            else tuple(timed.pair.candidate_seconds for timed in own)
        )
        failure = self._failure(arm, timed=bool(seconds))
        return Measurement(
            operation=self.task.operation,
            configuration=arm.configuration,
            pairs=() if failure else tuple(_with_capacity(timed, probes) for timed in own),
            seconds=() if failure else seconds,
            failure=failure,
            resident_bytes=dict(self.report.resident_bytes).get(arm.index),
        )

    def _failure(self, arm: Arm, *, timed: bool) -> Failure | None:
        """Return the reason why an arm has no timings; None if it has some."""
        reference = self.failures.get(self.task.arms[0].index)
        if arm.index in self.failures:
            return self.failures[arm.index]
        if reference is not None:
            reason = f"The default failed: {reference.reason}"
        elif timed:
            return None
        elif OVER in self.failures.values():
            return OVER
        else:
            reason = "Too many trial processes of its plan died."
        return Failure(kind=FailureKind.NOT_REACHED, reason=reason)


def _with_capacity(timed: TimedPair, probes: Sequence[_Probe]) -> Pair:
    """Return the pair with the average capacity of the last probe before it and the first one after it."""
    before = [probe.capacity for probe in probes if probe.moment <= timed.began][-1:]
    after = [probe.capacity for probe in probes if probe.moment >= timed.ended][:1]
    values = before + after
    return replace(timed.pair, capacity=sum(values) / len(values) if values else None)


def _blame(records: Sequence[_TaskRecord], mark: tuple[int, int] | None, failure: Failure) -> None:
    """Record the early end of a process. Without a mark it ended before any work, as the next one would."""
    if mark is None or not 0 <= mark[0] < len(records) or records[mark[0]].finished:
        for record in records:
            if not record.finished:
                record.fail(record.task.arms[0].index, failure)
        return
    records[mark[0]].fail(mark[1], failure)


def inspect_workload(source: str, *, patience: float = 60.0) -> UserWorkload:
    """Describe the workload of FILE.py:function or package.module:function, which is imported in a fresh process.

    Importing it may take `patience` seconds. Raises BadWorkload, with file, line and cause, if it cannot be imported,
    ends the process, takes longer, or is no function that can be tuned. Scope of effect: none on this process.
    """
    server = TrialServer(environ=scrub(os.environ)[0], preload=False)
    try:
        with TrialProcess(server, {"request": "describe", "source": source}, patience=patience) as process:
            messages = list(process.messages())
            failure, printed = process.failure, process.output.decode(errors="replace")
    finally:
        server.close()
    for message in messages:
        if "refused" in message:
            raise BadWorkload(str(message["refused"]))
        if "workload" in message:
            return decode(UserWorkload, message["workload"])
    if failure is not None and failure.kind is FailureKind.TIME_OUT:
        raise BadWorkload(f"{source} cannot be imported: that took longer than {patience:.3g} s.")
    raise BadWorkload(f"{source} cannot be imported: the process that tried it died.{last_words(printed)}")
