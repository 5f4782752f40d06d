"""Which node of a cluster measures what next, and who confirms it. Pure: knows no clock and no network.

The unit is an operation with all its sizes, since these are searched and proved together. Each class of nodes has
the whole request to itself: its units go to whichever of its hosts is idle, the longest first (Graham, SIAM J.
Appl. Math. 17, 1969: at most 4/3 of the shortest time there is). What was found faster is proved once more by a
second host, and by a third one where the second disagrees; neither of them searches again.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from autotune.bench.selftest import SelfTest
from autotune.model.entry import Entry, Status
from autotune.model.profile import Key, Profile
from autotune.profiles.entry_merge import joined
from autotune.search.decide import OUT_OF_TIME

LEAST_SECONDS = 3.0
"""That a unit is given: two processes and a few timings of the default."""
CONFIRMATION = 0.4
"""A confirmation's part of a unit's time, the search being 1: both end with a proof of the same length."""
AGREEING = 2
"""Hosts that must choose the same for an entry to count in its class."""
ASKED = 3
"""Hosts that are asked about an entry at most."""
ATTEMPTS = 3
"""Workers that may be lost over a unit before it is given up: it may be what kills them."""
PAUSE_SECONDS = 5.0
"""Until a host that somebody else measures on is asked again."""


class Errand(StrEnum):
    """What a node is sent to do."""

    EXAMINE = "examine"
    """The self-test, once for each host."""
    SEARCH = "search"
    CONFIRM = "confirm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """An operation with all its sizes."""

    name: str
    dtype: str
    seconds: float
    """How long one call of each size takes, about: which unit is the longest."""

    def __str__(self) -> str:
        return self.name if self.dtype == "float64" else f"{self.name} {self.dtype}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One worker process of the cluster."""

    worker: str
    """Its address."""
    host: str
    """The identity of the computer that it runs on; other workers may run there too."""
    key: Key
    """Its class."""
    units: tuple[Unit, ...]
    """What there is to measure for the class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One errand of one node."""

    errand: Errand
    node: Node
    unit: Unit | None = None
    """None for the self-test."""
    seconds: float = 0.0
    """Its budget."""
    choices: tuple[Entry, ...] = ()
    """The entries to be confirmed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed:
    """A unit that a class has no word on, or only one host's."""

    key: Key
    unit: Unit
    reason: str
    """A sentence."""


@dataclass(kw_only=True)
class _Task:
    """What became of one unit so far."""

    unit: Unit
    words: dict[str, tuple[Entry, ...]] = field(default_factory=dict)
    """What each host said, the one that searched first."""
    took: float = 0.0
    """Seconds of the search."""
    running: bool = False
    lost: int = 0
    """Workers that went while they measured it."""
    failed: dict[str, str] = field(default_factory=dict)
    """Hosts on which it could not be measured, with the reason."""

    @property
    def searched(self) -> bool:
        return bool(self.words)

    @property
    def unconfirmed(self) -> tuple[Entry, ...]:
        """What the first host chose and too few others agree to."""
        first, *others = self.words.values()
        agreed = [(one.operation, one.choice) for word in others for one in word]
        return tuple(
            one
            for one in first
            if one.status is Status.TUNED and agreed.count((one.operation, one.choice)) + 1 < AGREEING
        )

    def open_to(self, hosts: Collection[str]) -> set[str]:
        """Those of a class's hosts that may still measure it."""
        if self.lost >= ATTEMPTS:
            return set()
        fresh = set(hosts) - self.failed.keys()
        if not self.searched:
            return fresh
        return fresh - self.words.keys() if self.unconfirmed and len(self.words) < ASKED else set()


@dataclass(kw_only=True)
class _Class:
    """The nodes that answer alike."""

    key: Key
    tasks: list[_Task]
    spent: float = 0.0
    """Seconds of the budget, over all its hosts."""
    tested: dict[str, SelfTest] = field(default_factory=dict)
    """What each host's self-test found."""
    broken: dict[str, str] = field(default_factory=dict)
    """Hosts whose self-test failed."""


class Plan:
    """Who does what. Whoever drives it sends the jobs of `begin` and tells how they ended."""

    def __init__(self, budget: float) -> None:
        """`budget` is how many seconds each class may spend, on all its hosts together, self-tests aside."""
        self.budget = budget
        self.nodes: dict[str, Node] = {}
        """By worker, in the order in which they came."""
        self.running: dict[str, Job] = {}
        """By worker."""
        self.profiles: dict[tuple[Key, str], Profile] = {}
        """What each host said of each class: never of two hosts in one."""
        self._classes: dict[Key, _Class] = {}
        self._paused: dict[str, float] = {}

    # --- what happens ---

    def join(self, node: Node) -> None:
        """A worker has come."""
        self.nodes[node.worker] = node
        if node.key not in self._classes:
            order = sorted(node.units, key=lambda unit: (-unit.seconds, unit.name, unit.dtype))
            self._classes[node.key] = _Class(key=node.key, tasks=[_Task(unit=unit) for unit in order])

    def leave(self, worker: str) -> Job | None:
        """A worker has gone, or died. Returns the job that it leaves behind, which goes to another."""
        self.nodes.pop(worker, None)
        job = self.running.pop(worker, None)
        if job is not None and job.unit is not None:
            task = self._task(job)
            task.running = False
            task.lost += 1
        return job

    def examined(self, job: Job, tested: SelfTest) -> None:
        """A host's self-test is over."""
        del self.running[job.node.worker]
        self._classes[job.node.key].tested[job.node.host] = tested

    def tested(self, node: Node) -> SelfTest:
        """What the self-test of a node's host found."""
        return self._classes[node.key].tested[node.host]

    def measured(self, job: Job, profile: Profile, seconds: float) -> None:
        """A search or a confirmation is over, after so many seconds."""
        task = self._ended(job, seconds)
        if job.errand is Errand.CONFIRM and all(
            one.reason.startswith(OUT_OF_TIME) for one in profile.entries
        ):
            return  # too little time to say anything: it is asked again, as long as there is time
        task.took = task.took or seconds
        task.words[job.node.host] = profile.entries
        place = (job.node.key, job.node.host)
        known = self.profiles.get(place)
        # entries that a user named stand for themselves, and so does each size that is confirmed
        self.profiles[place] = joined(known, profile, sizes_named=True) if known else profile

    def failed(self, job: Job, reason: str, seconds: float = 0.0) -> None:
        """A job could not be done on this host: it is not asked for it again."""
        if job.unit is None:
            del self.running[job.node.worker]
            self._classes[job.node.key].broken[job.node.host] = reason
        else:
            self._ended(job, seconds).failed[job.node.host] = reason

    def busy(self, job: Job, now: float) -> None:
        """Somebody else measures on the host: it is left alone for a while."""
        if job.unit is None:
            del self.running[job.node.worker]
        else:
            self._ended(job, 0.0)
        self._paused[job.node.host] = now + PAUSE_SECONDS

    # --- what follows ---

    def begin(self, now: float, occupied: Collection[str] = ()) -> list[Job]:
        """The jobs that begin now: at most one on each host, and none beside an occupied worker.

        `occupied` are workers that do something else for somebody else.
        """
        taken = {job.node.host for job in self.running.values()}
        taken |= {self.nodes[worker].host for worker in occupied if worker in self.nodes}
        taken |= {host for host, until in self._paused.items() if now < until}
        begun = []
        for node in self.nodes.values():
            job = None if node.host in taken else self._next(node)
            if job is not None:
                taken.add(node.host)
                self.running[node.worker] = job
                if job.unit is not None:
                    self._task(job).running = True
                begun.append(job)
        return begun

    @property
    def over(self) -> bool:
        """Is everything done that can be done with the hosts that were seen?

        A self-test whose host has nothing left to measure is not waited for: that host may hang.
        """
        measuring = any(job.errand is not Errand.EXAMINE for job in self.running.values())
        return not measuring and not any(True for _ in self._open())

    @property
    def deserted(self) -> bool:
        """Is there something to do, and nobody left who could?"""
        here = {node.key for node in self.nodes.values()}
        left = {key for key, _ in self._open()}
        return not self.running and bool(left) and not left & here

    @property
    def standing(self) -> tuple[int, int, int]:
        """Units of all classes; how many were searched; how many confirmations are still to come."""
        tasks = [(one, task) for one in self._classes.values() for task in one.tasks]
        waiting = sum(task.searched and bool(task.open_to(self._hosts(one.key))) for one, task in tasks)
        return len(tasks), sum(task.searched for _, task in tasks), waiting

    @property
    def classes(self) -> list[Key]:
        """The classes that were seen, in their order."""
        return list(self._classes)

    def hosts(self, key: Key) -> list[str]:
        """The hosts that had a word on a class."""
        return sorted(host for theirs, host in self.profiles if theirs == key)

    @property
    def missed(self) -> list[Missed]:
        """What is not as it should be, each with its reason."""
        found = []
        for one in self._classes.values():
            several = len({node.host for node in self.nodes.values() if node.key == one.key}) > 1
            for task in one.tasks:
                reason = self._why(one, task, several=several)
                if reason is not None:
                    found.append(Missed(key=one.key, unit=task.unit, reason=reason))
        return found

    def _next(self, node: Node) -> Job | None:
        """What this idle node does next; None if there is nothing for it."""
        mine = self._classes[node.key]
        if node.host in mine.broken:
            return None
        if node.host not in mine.tested:
            return Job(errand=Errand.EXAMINE, node=node) if self._wants_another(mine) else None
        hosts = self._hosts(mine.key)
        ready = [task for task in mine.tasks if not task.running and node.host in task.open_to(hosts)]
        ready.sort(key=lambda task: task.searched)  # searches first; each kind in the order of the tasks
        seconds = self._share(mine, ready[0]) if ready else None
        if seconds is None:
            return None
        task = ready[0]
        return Job(
            errand=Errand.CONFIRM if task.searched else Errand.SEARCH,
            node=node,
            unit=task.unit,
            seconds=seconds,
            choices=task.unconfirmed if task.searched else (),
        )

    def _wants_another(self, mine: _Class) -> bool:
        """Is there more to do than the hosts that were tested, or are being tested, will take?"""
        hosts = self._hosts(mine.key)
        at_work = hosts & mine.tested.keys()
        at_work |= {
            job.node.host
            for job in self.running.values()
            if job.errand is Errand.EXAMINE and job.node.key == mine.key
        }
        units = [task for task in mine.tasks if task.open_to(hosts) or task.running]
        if not units or self._left(mine) <= 0:
            return False
        return len(at_work) < max(AGREEING, len(units)) or any(
            task.open_to(hosts) and not task.running and not task.open_to(at_work) for task in units
        )

    def _share(self, mine: _Class, chosen: _Task) -> float | None:
        """Seconds for a task: its part of what the class has left; None if that is nothing."""
        left = self._left(mine)
        if left <= 0:
            return None
        hosts = self._hosts(mine.key)
        later = CONFIRMATION if len(hosts) >= AGREEING else 0.0
        parts = 0.0
        for task in mine.tasks:
            if task.open_to(hosts) and not task.running:
                parts += CONFIRMATION if task.searched else 1.0 + later
            elif task.running and not task.searched:
                parts += later
        if chosen.searched:  # most need far less, and what they leave goes to the next
            return max(LEAST_SECONDS, min(left, max(left * CONFIRMATION / parts, chosen.took)))
        return max(LEAST_SECONDS, left / parts)

    def _left(self, mine: _Class) -> float:
        """Seconds of a class's budget that nobody has spent or was promised."""
        promised = sum(job.seconds for job in self.running.values() if job.node.key == mine.key)
        return self.budget - mine.spent - promised

    def _open(self) -> Iterator[tuple[Key, _Task]]:
        """What could be done yet, by hosts that are there or may come back."""
        for mine in self._classes.values():
            if self._left(mine) <= 0:
                continue
            hosts = self._hosts(mine.key)
            gone = not any(node.key == mine.key for node in self.nodes.values())
            for task in mine.tasks:
                if task.open_to(hosts) or (gone and not task.searched and task.lost < ATTEMPTS):
                    yield mine.key, task

    def _hosts(self, key: Key) -> set[str]:
        """The hosts of a class that are there and can measure."""
        broken = self._classes[key].broken
        return {node.host for node in self.nodes.values() if node.key == key} - broken.keys()

    def _why(self, mine: _Class, task: _Task, *, several: bool) -> str | None:
        """Why a unit is not as it should be; None if it is."""
        trouble = next(iter({**task.failed, **mine.broken}.values()), None)
        if task.lost >= ATTEMPTS:
            trouble = f"{task.lost} workers were lost while they measured it."
        if task.searched:
            if not task.unconfirmed or not several or len(task.words) >= ASKED:
                return None
            return trouble or _unreached(self.budget - mine.spent, "confirmed it")
        return trouble or _unreached(self.budget - mine.spent, "measured it")

    def _task(self, job: Job) -> _Task:
        return next(task for task in self._classes[job.node.key].tasks if task.unit == job.unit)

    def _ended(self, job: Job, seconds: float) -> _Task:
        del self.running[job.node.worker]
        self._classes[job.node.key].spent += seconds
        task = self._task(job)
        task.running = False
        return task


def _unreached(left: float, done: str) -> str:
    return (
        f"The time allowed ended before a host {done}."
        if left <= 0
        else f"The calibration ended before a host {done}."
    )
