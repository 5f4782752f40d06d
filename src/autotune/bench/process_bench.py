"""Measures plans in fresh processes."""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic
from types import MappingProxyType

from autotune.bench import noise, resource_limits, trial_job
from autotune.bench.failure_text import by_signal, last_words, noted, shortened
from autotune.bench.trial_job import Arm, Job, Task
from autotune.bench.trial_process import Child, End, Ending
from autotune.bench.user_workload import UserWorkload
from autotune.controls.thread_variables import scrub
from autotune.host import cgroup
from autotune.host.usable_cpus import schedulable_cpus, usable_cpus
from autotune.model.configuration import DEFAULT
from autotune.model.measurement import Case, Failure, FailureKind, Measurement, Pair, Session, TrialPlan

MOST_DEATHS = 8
"""Processes that one plan may lose before what is left of it is given up."""

NO_WORKLOADS: Mapping[str, UserWorkload] = MappingProxyType({})


class ProcessBench:
    """A Bench: one fresh process for a plan, and another for the rest of it where one ends early.

    Scope of effect: none on this process. Children start from `environ` without its thread, placement and
    allocator variables; `scrubbed` says which those were. Only a KeyboardInterrupt passes through `run`,
    after all children are gone; UnsupportedPlatform is raised where there are no POSIX process groups. One
    plan at a time: `lock.host_lock` keeps other benches off the host.
    """

    def __init__(
        self,
        *,
        cpus: Collection[int] = (),
        memory_bytes: int | None = None,
        workloads: Mapping[str, UserWorkload] = NO_WORKLOADS,
        environ: Mapping[str, str] | None = None,
        patience: float = 60.0,
        copies: int = 1,
        neighbours: int = 0,
    ) -> None:
        """Say how plans are to be measured.

        `cpus` are the numbers of the CPUs that trials may run on, by default all that this process may use.
        `memory_bytes` is the most that one workload may take, by default a quarter of what is available.
        `workloads` are the user's functions by name. `patience` is how many seconds any step of a default may
        take: preparing its inputs, one call, a warm-up. Other configurations may take 20 times as long as the
        default, and a sixth of the patience in any case. `copies` of each trial run at once, each of which may
        take its part of the memory and all of the CPUs. `neighbours` says how many busy processes this process
        keeps beside them, lest these be taken for a disturbance.
        """
        self._cpus = tuple(cpus)
        self._usable_cpus = len(self._cpus) or usable_cpus()[0]
        self._schedulable_cpus = len(self._cpus) or schedulable_cpus()
        self._quota = cgroup.quota(cgroup.folders())
        self._copies = copies
        self._neighbours = neighbours
        available = resource_limits.available_bytes()
        quarter = None if available is None else available // 4
        most = quarter if memory_bytes is None else memory_bytes
        self._memory_bytes = None if most is None else most // copies
        self._workloads = dict(workloads)
        self._environ, self.scrubbed = scrub(os.environ if environ is None else environ)
        self._patience = patience

    def run(self, plan: TrialPlan) -> Session:
        """Measure a plan."""
        return self.compare([_literal(case) for case in plan.cases], plan)

    def compare(self, tasks: Sequence[Task], plan: TrialPlan) -> Session:
        """Measure these tasks to the letter, with the plan's rounds, seed and time.

        For the self-test, which compares the default with itself.
        """
        began = monotonic()
        records = [_Record(task=task) for task in tasks]
        for _ in range(MOST_DEATHS):
            left = None if plan.seconds is None else max(0.0, plan.seconds - (monotonic() - began))
            waiting = [record for record in records if not record.finished]
            if not waiting:
                break
            self._trial(waiting, replace(plan, seconds=left))
        return Session(
            measurements=tuple(one for record in records for one in record.measurements(plan.rounds)),
            wall_seconds=monotonic() - began,
            sampled_seconds=sum(record.sampled_seconds for record in records),
        )

    def _trial(self, records: Sequence["_Record"], plan: TrialPlan) -> None:
        """Run one process over what is left; whatever comes of it stands in the records."""
        used = {record.task.operation.name for record in records}
        errand = trial_job.dumps(
            "measure",
            job=trial_job.dump(
                Job(
                    tasks=tuple(record.rest for record in records),
                    rounds=plan.rounds,
                    seed=plan.seed,
                    seconds=plan.seconds,
                    usable_cpus=self._usable_cpus,
                    certain_cpus=min(self._schedulable_cpus, self._quota or self._schedulable_cpus),
                    company=self._copies > 1 or (self._neighbours > 0 and not plan.quiet),
                    memory_bytes=self._memory_bytes,
                    patience=self._patience,
                    workloads={name: one for name, one in self._workloads.items() if name in used},
                )
            ),
            cpus=self._cpus,
            copies=self._copies,
            # plain NumPy starts a thread for every CPU that it may run on, whatever a quota or a cap says
            address_space=resource_limits.address_space(self._memory_bytes, self._schedulable_cpus),
        )
        kills = resource_limits.oom_kills()
        try:
            with Child(errand, environ=self._environ, patience=self._patience) as child:
                ending = _follow(child, records)
                mark, printed = child.mark, child.output.take()
        except OSError as problem:  # no memory, process or file descriptor left to start one
            reason = f"The trial process cannot be started: {problem}."
            _blame(records, None, Failure(kind=FailureKind.PROTOCOL, reason=reason), "")
            return
        if ending.end is not End.DONE:
            failure = _failure(ending, printed, out_of_memory=resource_limits.oom_kills() != kills)
            _blame(records, mark, failure, printed)


@dataclass(slots=True, kw_only=True)
class _Record:
    """What is known of one task so far."""

    task: Task
    rounds: list[tuple[bool, float, dict[int, float]]] = field(default_factory=list)
    """(was the machine busy, interference, seconds by arm)"""
    sampled_seconds: float = 0.0
    """Of all timed samples."""
    failures: dict[int, Failure] = field(default_factory=dict)
    resident: dict[int, int] = field(default_factory=dict)
    """Memory in bytes that the process held, by arm."""
    printed: str = ""
    finished: bool = False

    @property
    def rest(self) -> Task:
        """The task without the arms that have failed."""
        return replace(self.task, arms=tuple(arm for arm in self.task.arms if arm.index not in self.failures))

    def fail(self, arm: int, failure: Failure) -> None:
        """An arm has failed; without its reference, the task is over."""
        self.failures.setdefault(arm, failure)
        self.finished = self.finished or arm == self.task.arms[0].index

    def measurements(self, wanted: int) -> tuple[Measurement, ...]:
        """One for each arm."""
        kept = [self.rounds[place][1:] for place in noise.kept([busy for busy, *_ in self.rounds], wanted)]
        return tuple(self._measurement(arm, kept) for arm in self.task.arms)

    def _measurement(self, arm: Arm, rounds: Sequence[tuple[float, Mapping[int, float]]]) -> Measurement:
        reference = self.failures.get(self.task.arms[0].index)
        failure = self.failures.get(arm.index)
        if failure is None and reference is not None:
            failure = Failure(kind=FailureKind.NOT_REACHED, reason=f"The default failed: {reference.reason}")
        if failure is None and not rounds:
            failure = Failure(
                kind=FailureKind.NOT_REACHED, reason="Too many trial processes of its plan died."
            )
        return Measurement(
            operation=self.task.operation,
            configuration=arm.configuration,
            pairs=() if failure or arm is self.task.arms[0] else self._pairs(arm, rounds),
            seconds=() if failure else tuple(times[arm.index] for _, times in rounds),
            failure=failure,
            note=noted(self.printed),
            resident_bytes=self.resident.get(arm.index),
        )

    def _pairs(self, arm: Arm, rounds: Sequence[tuple[float, Mapping[int, float]]]) -> tuple[Pair, ...]:
        reference = self.task.arms[0].index
        return tuple(
            Pair(
                default_seconds=times[reference],
                candidate_seconds=times[arm.index],
                interference=interference,
            )
            for interference, times in rounds
        )


def _literal(case: Case) -> Task:
    """The case with its default as the first arm."""
    others = (configuration for configuration in case.configurations if not configuration.is_default)
    arms = (Arm(index=index, configuration=one) for index, one in enumerate((DEFAULT, *others)))
    return Task(operation=case.operation, arms=tuple(arms))


def _follow(child: Child, records: Sequence[_Record]) -> Ending:
    """Note down all that a trial process says, to its end."""
    try:
        for message in child.messages():
            _take(message, records, child)
    except (KeyError, IndexError, TypeError, ValueError):  # whatever the work wrote into our pipe
        return Ending(end=End.GARBLED)
    assert child.ending is not None
    return child.ending


def _take(message: Mapping[str, object], records: Sequence[_Record], child: Child) -> None:
    """Note down what a trial process says. Raises one of the four errors of a malformed message."""
    match message:
        case {"failed": int(place), "arm": int(arm), "kind": str(kind), "reason": str(reason)}:
            records[place].fail(arm, Failure(kind=FailureKind(kind), reason=shortened(reason)))
        case {
            "round": int(place),
            "busy": bool(busy),
            "interference": taken,
            "sampled": sampled,
            "seconds": list(pairs),
        }:
            times = {int(arm): float(seconds) for arm, seconds in pairs}
            records[place].rounds.append((busy, float(taken), times))  # type: ignore[arg-type]  # a TypeError is caught
            records[place].sampled_seconds += float(sampled)  # type: ignore[arg-type]
        case {"resident": int(place), "bytes": list(pairs)}:
            records[place].resident = {int(arm): int(held) for arm, held in pairs}
        case {"finished": int(place)}:
            records[place].finished = True
            records[place].printed += child.output.take()
        case _:
            raise ValueError(f"unknown message {message!r}")


def _blame(records: Sequence[_Record], mark: tuple[int, int] | None, failure: Failure, printed: str) -> None:
    """Note down the end of a process. Without a mark it ended before any work: so would the next one."""
    if mark is None or not 0 <= mark[0] < len(records) or records[mark[0]].finished:
        for record in records:
            if not record.finished:
                record.fail(record.task.arms[0].index, failure)
        return
    record = records[mark[0]]
    record.rounds.clear()  # one measurement is of one process
    record.printed += printed
    record.fail(mark[1], failure)


def _failure(ending: Ending, printed: str, *, out_of_memory: bool) -> Failure:
    """Why a process ended before it was done."""
    words = last_words(printed)
    match ending.end:
        case End.TIME_OUT:
            return Failure(
                kind=FailureKind.TIME_OUT,
                reason=f"It did not get on within {ending.waited:.3g} s; it was ended with all its children.",
            )
        case End.GARBLED:
            return Failure(
                kind=FailureKind.PROTOCOL, reason="The trial process wrote what cannot be understood."
            )
    status = ending.status or 0
    if status >= 0:
        return Failure(
            kind=FailureKind.PROTOCOL,
            reason=f"The trial process ended by itself with exit status {status}.{words}",
        )
    return by_signal(-status, words, out_of_memory=out_of_memory)
