"""A calibration of a whole cluster: every class of its nodes, shared out over the nodes of the class."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any, Protocol

from autotune.bench.selftest import SelfTest
from autotune.cluster.messages import Order, dumps, units, versions
from autotune.cluster.plan import LEAST_SECONDS, Errand, Job, Missed, Node, Plan
from autotune.errors import EnvironmentProblem, ProfileError, UsageError
from autotune.model.entry import Entry
from autotune.model.profile import Key, Profile
from autotune.profiles.schema import profile_of
from autotune.search.request import Request
from autotune.share.merge import collect_votes, merge_votes
from autotune.share.publication import Publication

TICK_SECONDS = 1.0
"""After which workers that came or went are looked for."""
PATIENCE_SECONDS = 60.0
"""How long to wait for workers where there are none: a batch system takes its time to start one."""

Answer = dict[str, Any]


class Gone(EnvironmentProblem):
    """The scheduler does not answer any more."""


class Crew(Protocol):
    """Workers that follow orders. A recalled order has no answer; one whose worker died has none, or a late one."""

    def workers(self) -> Iterable[str]:
        """Who is there."""
        ...

    def occupied(self) -> set[str]:
        """Who does something else."""
        ...

    def send(self, worker: str, order: str, name: str) -> int:
        """Have a worker follow an order; returns a ticket for the answer."""
        ...

    def answers(self) -> Iterable[tuple[int, Answer]]:
        """What came back since: by ticket, each once."""
        ...

    def recall(self, ticket: int) -> None:
        """Take an order back."""
        ...

    def wait(self, seconds: float) -> None:
        """Until something came back, or so long."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Came:
    """A worker is there, and which class it belongs to."""

    node: Node
    known: bool
    """Is its class one that was there before?"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A worker cannot take part."""

    worker: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """A worker is gone; its job, if it had one, goes to another."""

    worker: str
    job: Job | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Began:
    """A node has something to do."""

    job: Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A node has done it."""

    job: Job
    entries: tuple[Entry, ...] = ()
    standing: tuple[int, int, int] = (0, 0, 0)
    """Units; how many were searched; how many confirmations are to come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A node could not do it."""

    job: Job
    reason: str
    busy: bool = False
    """Is it only that somebody else measures there now?"""


Event = Came | Refused | Left | Began | Ended | Failed
Save = Callable[[Key, dict[str, Profile]], None]
"""Takes what each host of a class has said so far, whenever one of them has said more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it."""

    classes: tuple[tuple[Key, dict[str, Profile]], ...]
    """For each class the profile of each of its hosts."""
    missed: tuple[Missed, ...]
    interrupted: bool = False
    problem: str | None = None
    """Why it ended early, if not by an interruption."""


@dataclass(kw_only=True)
class Cluster:
    """A calibration of a cluster, and its state. `run` is the whole story."""

    crew: Crew
    request: Request
    report: Callable[[Event], None]
    save: Save
    relatives: Callable[[Key], Sequence[Profile]] = lambda _: ()
    """What is known of a class's kin, to be tried first."""
    now: Callable[[], float] = monotonic
    plan: Plan = field(init=False)
    _sent: dict[int, tuple[str, Job | None]] = field(init=False, default_factory=dict)
    """By ticket the worker, and its job; None for an introduction."""
    _seen: set[str] = field(init=False, default_factory=set)
    _refused: dict[str, Answer] = field(init=False, default_factory=dict)
    _alone_since: float | None = field(init=False, default=None)
    _kin: dict[Key, Sequence[Profile]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.plan = Plan(self.request.seconds)

    def run(self) -> Outcome:
        """Measure until all is done, the time has ended, or nobody is left.

        Scope of effect: sends orders to workers, on each host one at a time; each result is saved when it
        arrives. Ctrl-C ends it, and so does a scheduler that goes away: what finished stands. Raises UsageError
        if what is asked cannot be done on any node, and EnvironmentProblem if no node can do anything.
        """
        interrupted, problem = False, None
        try:
            while not self._done():
                self._look()
                for ticket, answer in self.crew.answers():
                    if ticket in self._sent:
                        self._take(*self._sent.pop(ticket), answer)
                for job in self.plan.begin(self.now(), self.crew.occupied()):
                    self._send(job)
                self.crew.wait(TICK_SECONDS)
        except KeyboardInterrupt:
            interrupted = True
        except Gone as gone:
            problem = str(gone)
        finally:
            for ticket in self._sent:
                self.crew.recall(ticket)
        if problem is None and not interrupted and self.plan.deserted:
            problem = "No worker is left that could go on."
        return Outcome(
            classes=tuple((key, self._said(key)) for key in self.plan.classes),
            missed=tuple(self.plan.missed),
            interrupted=interrupted,
            problem=problem,
        )

    def _done(self) -> bool:
        """Is there nothing more to do, or nobody to do it?"""
        if any(job is None for _, job in self._sent.values()):
            return False
        if self.plan.classes and self.plan.over:
            return True
        if not self.plan.classes and self._refused:
            self._give_up()
        if self.plan.classes and not self.plan.deserted:
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
        """Nobody who came can take part."""
        first = next(iter(self._refused.values()))
        text = (
            f"None of the {len(self._refused)} workers can take part. The first one says: {first['problem']}"
        )
        raise UsageError(text) if first["kind"] == "usage" else EnvironmentProblem(text)

    def _look(self) -> None:
        """Who came, and who went?"""
        here = dict.fromkeys(self.crew.workers())
        for worker in [one for one in self._seen if one not in here]:
            self._lose(worker)
        for worker in here:
            if worker not in self._seen:
                self._seen.add(worker)
                order = dumps(Order(errand=None, request=self.request))
                self._sent[self.crew.send(worker, order, "introduce")] = (worker, None)

    def _lose(self, worker: str) -> None:
        self._seen.discard(worker)
        self._refused.pop(worker, None)
        known = worker in self.plan.nodes
        job = self.plan.leave(worker)
        for ticket in [one for one, (who, _) in self._sent.items() if who == worker]:
            del self._sent[ticket]
            self.crew.recall(ticket)
        if known:
            self.report(Left(worker=worker, job=job))

    def _take(self, worker: str, job: Job | None, answer: Answer) -> None:
        """An answer has come."""
        if answer.get("kind") == "lost":
            self._lose(worker)
        elif job is None:
            self._introduced(worker, answer)
        elif "problem" in answer:
            self._fail(job, answer["problem"], busy=answer["kind"] == "busy")
        elif job.errand is Errand.EXAMINE:
            self.plan.examined(job, SelfTest(**answer["self_test"]))
            self.report(Ended(job=job, standing=self.plan.standing))
        else:
            self._measured(job, answer)

    def _introduced(self, worker: str, answer: Answer) -> None:
        problem = answer.get("problem") or _other(answer["versions"])
        if problem is not None:
            self._refused[worker] = {"kind": "other", **answer, "problem": problem}
            self.report(Refused(worker=worker, reason=problem))
            return
        key = profile_of(answer["profile"]).key
        node = Node(worker=worker, host=answer["host"], key=key, units=units(answer["units"]))
        known = key in self.plan.classes
        self.plan.join(node)
        self.report(Came(node=node, known=known))

    def _measured(self, job: Job, answer: Answer) -> None:
        try:
            profile = profile_of(answer["profile"])
        except ProfileError as problem:
            self._fail(job, f"What it measured cannot be used: {problem}")
            return
        if profile.key != job.node.key:
            self._fail(job, "Its class changed while it measured: CPUs were given to it, or taken away.")
            return
        self.plan.measured(job, profile, answer["seconds"])
        self.save(job.node.key, self._said(job.node.key))
        self.report(Ended(job=job, entries=profile.entries, standing=self.plan.standing))

    def _fail(self, job: Job, reason: str, *, busy: bool = False) -> None:
        if busy:
            self.plan.busy(job, self.now())
        else:
            self.plan.failed(job, reason)
        self.report(Failed(job=job, reason=reason, busy=busy))

    def _send(self, job: Job) -> None:
        name = f"{job.errand}-{job.unit.name}" if job.unit is not None else str(job.errand)
        self._sent[self.crew.send(job.node.worker, dumps(self._order(job)), name)] = (job.node.worker, job)
        self.report(Began(job=job))

    def _order(self, job: Job) -> Order:
        key = job.node.key
        if job.unit is None:
            hosts = {node.host for node in self.plan.nodes.values() if node.key == key}
            seconds = max(LEAST_SECONDS, self.request.seconds / len(hosts))
            return Order(errand=job.errand, request=replace(self.request, budget_seconds=seconds))
        request = replace(
            self.request,
            operations=() if self.request.workload is not None else (job.unit.name,),
            dtypes=(job.unit.dtype,),
            budget_seconds=job.seconds,
        )
        order = Order(errand=job.errand, request=request, self_test=self.plan.tested(job.node))
        if job.errand is Errand.CONFIRM:
            return replace(order, choices=Profile(key=key, entries=job.choices))
        return replace(order, relatives=self._known(key, job.unit.name))

    def _known(self, key: Key, name: str) -> list[Profile]:
        """What was measured of an operation elsewhere, and here with another dtype."""
        if key not in self._kin:
            self._kin[key] = self.relatives(key)
        known = [*self._said(key).values(), *self._kin[key]]
        about = (tuple(one for one in profile.entries if one.operation.name == name) for profile in known)
        return [replace(profile, entries=some) for profile, some in zip(known, about, strict=True) if some]

    def _said(self, key: Key) -> dict[str, Profile]:
        """What each host of a class said."""
        return {host: self.plan.profiles[key, host] for host in self.plan.hosts(key)}


def _other(theirs: dict[str, str]) -> str | None:
    """Which version is another one there."""
    for name, ours in versions().items():
        if theirs.get(name) != ours:
            return f"{name} is {theirs.get(name)} there and {ours} here; it must be the same."
    return None


def class_profile(key: Key, said: dict[str, Profile]) -> Profile:
    """What the hosts of a class say together; where there is one only, what it says of itself."""
    if len(said) == 1:
        return next(iter(said.values()))
    publications = [Publication(name=host, profile=profile) for host, profile in said.items()]
    cpus = sorted({profile.provenance.cpu or "" for profile in said.values()})
    return merge_votes(collect_votes(publications), key, cpu=cpus[-1] or None)
