"""Calibration of every class of nodes of a cluster, whose work is shared among the nodes of the class."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from time import monotonic

from autotune.bench.selftest import SelfTest
from autotune.cluster.cluster_plan import ClusterPlan, MissingUnit, Node, NodeJob, NodeTask, SearchUnit
from autotune.cluster.dask_workers import Answer, DaskWorkers, SchedulerLost
from autotune.cluster.node import Order, encode_order, versions
from autotune.errors import BadDocument, EnvironmentProblem, ProfileError, UsageError
from autotune.model.codec import decode
from autotune.model.entry import Entry
from autotune.model.policy import LEAST_BUDGET_SECONDS
from autotune.model.profile import Key, Profile
from autotune.profiles.profile_document import decode_profile
from autotune.search.request import Request
from autotune.share.merge import merge_publications
from autotune.share.publication import Publication

TICK_SECONDS = 1.0
"""Interval at which arrived and lost workers are looked for."""
PATIENCE_SECONDS = 60.0
"""Time to wait for the first workers: a batch system needs time to start one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerJoined:
    """A worker takes part."""

    node: Node
    is_first: bool
    """Is it the first worker of its class?"""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRejected:
    """A worker cannot take part."""

    worker: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerLeft:
    """A worker is gone; its job, if it had one, goes to another."""

    worker: str
    job: NodeJob | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStarted:
    """A node has begun a job."""

    job: NodeJob


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDone:
    """A node has finished a job."""

    job: NodeJob
    entries: tuple[Entry, ...] = ()
    standing: tuple[int, int, int] = (0, 0, 0)
    """Units, explored units, and confirmations to come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFailed:
    """A node could not do a job."""

    job: NodeJob
    reason: str
    busy: bool = False
    """Is it only that another calibration runs there?"""


ClusterEvent = WorkerJoined | WorkerRejected | WorkerLeft | JobStarted | JobDone | JobFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterResult:
    """The result of a cluster's calibration."""

    classes: tuple[tuple[Key, dict[str, Profile]], ...]
    """For each class the profile of each of its hosts."""
    missing: tuple[MissingUnit, ...]
    interrupted: bool = False
    problem: str | None = None
    """Why it ended early, other than by an interruption."""


@dataclass(kw_only=True)
class ClusterCalibration:
    """A calibration of a cluster and its state. `run` is the only entry point."""

    workers: DaskWorkers
    request: Request
    report: Callable[[ClusterEvent], None]
    save: Callable[[Key, dict[str, Profile]], None]
    """Takes the profiles of all hosts of a class, whenever one of them has grown."""
    relatives: Callable[[Key], Sequence[Profile]] = lambda _: ()
    """Profiles of similar machines, whose choices are tried first."""
    now: Callable[[], float] = monotonic
    plan: ClusterPlan = field(init=False)
    _sent: dict[int, tuple[str, NodeJob | None]] = field(init=False, default_factory=dict)
    """Worker and job by ticket; no job for an introduction."""
    _seen: set[str] = field(init=False, default_factory=set)
    _rejected: dict[str, Answer] = field(init=False, default_factory=dict)
    _alone_since: float | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.plan = ClusterPlan(self.request.seconds)
        self.relatives = cache(self.relatives)

    def run(self) -> ClusterResult:
        """Measure until all is done, the time has ended, or no worker is left.

        Scope of effect: sends orders to workers, on each host one at a time; each result is saved when it arrives.
        Ctrl-C ends it, and so does a scheduler that goes away: finished results stay. Raises UsageError if no node can
        do what is asked, and EnvironmentProblem if no node can do anything.
        """
        interrupted, problem = False, None
        try:
            while not self._is_done():
                self._update_workers()
                for ticket, answer in self.workers.answers():
                    if ticket in self._sent:
                        self._receive(*self._sent.pop(ticket), answer)
                for job in self.plan.begin(self.now(), self.workers.occupied_workers()):
                    self._send(job)
                self.workers.wait(TICK_SECONDS)
        except KeyboardInterrupt:
            interrupted = True
        except SchedulerLost as lost:
            problem = str(lost)
        finally:
            for ticket in self._sent:
                self.workers.cancel(ticket)
        if problem is None and not interrupted and self.plan.is_deserted:
            problem = "No worker is left that could go on."
        return ClusterResult(
            classes=tuple((key, self._profiles(key)) for key in self.plan.classes),
            missing=tuple(self.plan.missing),
            interrupted=interrupted,
            problem=problem,
        )

    def _is_done(self) -> bool:
        """Is there nothing more to do, or no worker to do it?"""
        if any(job is None for _, job in self._sent.values()):
            return False
        if self.plan.is_over and self.plan.classes:
            return True
        if self._rejected and not self.plan.classes:
            self._give_up()
        if self.plan.classes and not self.plan.is_deserted:
            self._alone_since = None
            return False
        if self._alone_since is None:
            self._alone_since = self.now()
        if self.now() - self._alone_since < PATIENCE_SECONDS:
            return False
        if not self.plan.classes:
            raise EnvironmentProblem(
                f"The scheduler had no workers for {PATIENCE_SECONDS:.0f} s. Start some, one on each node."
            )
        return True

    def _give_up(self) -> None:
        """Raise the first worker's reason: none of them can take part."""
        first = next(iter(self._rejected.values()))
        text = f"None of the {len(self._rejected)} workers can take part. The first one says: {first['problem']}"
        raise UsageError(text) if first["kind"] == "usage" else EnvironmentProblem(text)

    def _update_workers(self) -> None:
        """Ask new workers to introduce themselves, and drop those that are gone."""
        present = dict.fromkeys(self.workers.addresses())
        for worker in self._seen - present.keys():
            self._lose(worker)
        for worker in present:
            if worker not in self._seen:
                self._seen.add(worker)
                order = encode_order(Order(task=NodeTask.INTRODUCE, request=self.request))
                self._sent[self.workers.send(worker, order, NodeTask.INTRODUCE)] = (worker, None)

    def _lose(self, worker: str) -> None:
        self._seen.discard(worker)
        self._rejected.pop(worker, None)
        took_part = worker in self.plan.nodes
        job = self.plan.leave(worker)
        for ticket in [ticket for ticket, (sent_to, _) in self._sent.items() if sent_to == worker]:
            del self._sent[ticket]
            self.workers.cancel(ticket)
        if took_part:
            self.report(WorkerLeft(worker=worker, job=job))

    def _receive(self, worker: str, job: NodeJob | None, answer: Answer) -> None:
        if answer.get("kind") == "lost":
            self._lose(worker)
        elif job is None:
            self._introduce(worker, answer)
        elif "problem" in answer:
            self._fail(job, answer["problem"], busy=answer["kind"] == "busy")
        else:
            self._take_result(job, answer)

    def _introduce(self, worker: str, answer: Answer) -> None:
        there = answer.get("versions", {})
        differing = (
            f"{name} is {there.get(name)} there and {version} here; it must be the same."
            for name, version in versions().items()
            if there.get(name) != version
        )
        problem = answer.get("problem") or next(differing, None)
        if problem is not None:
            self._rejected[worker] = {"kind": "other", **answer, "problem": problem}
            self.report(WorkerRejected(worker=worker, reason=problem))
            return
        key = decode_profile(answer["profile"]).key
        units: tuple[SearchUnit, ...] = decode(tuple[SearchUnit, ...], answer["units"], "units")
        node = Node(worker=worker, host=answer["host"], key=key, units=units)
        is_first = key not in self.plan.classes
        self.plan.join(node)
        self.report(WorkerJoined(node=node, is_first=is_first))

    def _take_result(self, job: NodeJob, answer: Answer) -> None:
        key = job.node.key
        try:
            if job.task is NodeTask.EXAMINE:
                result: SelfTest | Profile = decode(SelfTest, answer.get("self_test"), "self_test")
            else:
                result = decode_profile(answer.get("profile"))
        except (BadDocument, ProfileError) as problem:
            self._fail(job, f"What it measured cannot be used: {problem}")
            return
        if isinstance(result, SelfTest):
            self.plan.record_self_test(job, result)
            self.report(JobDone(job=job, standing=self.plan.standing))
            return
        if result.key != key:
            self._fail(job, "Its class changed while it measured: CPUs were given to it, or taken away.")
            return
        self.plan.record_profile(job, result, answer["seconds"])
        self.save(key, self._profiles(key))
        self.report(JobDone(job=job, entries=result.entries, standing=self.plan.standing))

    def _fail(self, job: NodeJob, reason: str, *, busy: bool = False) -> None:
        if busy:
            self.plan.postpone(job, self.now())
        else:
            self.plan.record_failure(job, reason)
        self.report(JobFailed(job=job, reason=reason, busy=busy))

    def _send(self, job: NodeJob) -> None:
        name = f"{job.task}-{job.unit.name}" if job.unit is not None else str(job.task)
        ticket = self.workers.send(job.node.worker, encode_order(self._order(job)), name)
        self._sent[ticket] = (job.node.worker, job)
        self.report(JobStarted(job=job))

    def _order(self, job: NodeJob) -> Order:
        key = job.node.key
        if job.unit is None:
            hosts = {node.host for node in self.plan.nodes.values() if node.key == key}
            seconds = max(LEAST_BUDGET_SECONDS, self.request.seconds / len(hosts))
            return Order(task=job.task, request=replace(self.request, budget_seconds=seconds))
        request = replace(
            self.request,
            operations=() if self.request.workload is not None else (job.unit.name,),
            dtypes=(job.unit.dtype,),
            budget_seconds=job.seconds,
        )
        order = Order(task=job.task, request=request, self_test=job.self_test)
        if job.task is NodeTask.CONFIRM:
            return replace(order, choices=Profile(key=key, entries=job.choices))
        return replace(order, relatives=self._warm_starts(key, job.unit.name))

    def _warm_starts(self, key: Key, name: str) -> tuple[Profile, ...]:
        """Return the entries of an operation from similar machines, and from this class with another dtype."""
        profiles = (*self._profiles(key).values(), *self.relatives(key))
        chosen = (
            replace(profile, entries=tuple(entry for entry in profile.entries if entry.operation.name == name))
            for profile in profiles
        )
        return tuple(profile for profile in chosen if profile.entries)

    def _profiles(self, key: Key) -> dict[str, Profile]:
        return {host: self.plan.profiles[key, host] for host in self.plan.hosts(key)}


def class_profile(key: Key, profiles: dict[str, Profile]) -> Profile:
    """Merge the profiles of the hosts of a class; that of a single host stays as it is."""
    if len(profiles) == 1:
        return next(iter(profiles.values()))
    return merge_publications([Publication(name=host, profile=each) for host, each in profiles.items()], key)
