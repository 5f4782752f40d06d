"""Assignment of work to the nodes of a cluster. Pure: no clock, no network.

The unit of work is an operation with all its sizes, which are explored and confirmed together. Each class of nodes
measures the whole request: its units go to whichever of its hosts is idle, the longest first (Graham, SIAM J. Appl.
Math. 17, 1969: at most 4/3 of the shortest possible time). A choice that is faster is confirmed by a second host, and
by a third where the second disagrees; neither of them explores again.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from autotune.bench.selftest import SelfTest
from autotune.model.entry import OUT_OF_TIME, Entry, Status
from autotune.model.policy import AGREEING_HOSTS, LEAST_BUDGET_SECONDS
from autotune.model.profile import Key, Profile
from autotune.profiles.entry_merge import join_profiles

CONFIRMATION = 0.4
"""Budget of a confirmation as a share of an exploration's: both end with a proof of the same length."""
ASKED = 3
"""Hosts, at most, that measure an entry."""
ATTEMPTS = 3
"""Workers that may be lost over a unit before it is given up: the unit may be the cause."""
PAUSE_SECONDS = 5.0
"""Time until a host on which another calibration runs is tried again."""


class NodeTask(StrEnum):
    """The order for a node."""

    INTRODUCE = "introduce"
    """Say which host and class it is, and what can be measured."""
    EXAMINE = "examine"
    """The self-test, once for each host."""
    SEARCH = "search"
    CONFIRM = "confirm"


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchUnit:
    """An operation and dtype with all its sizes."""

    name: str
    dtype: str
    seconds: float
    """Estimated time of one call of each size, by which the longest unit is found."""

    def __str__(self) -> str:
        return self.name if self.dtype == "float64" else f"{self.name} {self.dtype}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One worker process of the cluster."""

    worker: str
    """Its address."""
    host: str
    """Identity of its computer, on which other workers may run too."""
    key: Key
    """Its class."""
    units: tuple[SearchUnit, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeJob:
    """One task of one node."""

    task: NodeTask
    node: Node
    unit: SearchUnit | None = None
    """None for the self-test."""
    seconds: float = 0.0
    """Its budget."""
    choices: tuple[Entry, ...] = ()
    """The entries to confirm."""
    self_test: SelfTest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingUnit:
    """A unit that no host of a class measured, or that only one confirms."""

    key: Key
    unit: SearchUnit
    reason: str
    """A sentence."""


@dataclass(kw_only=True)
class _UnitState:
    """The progress of one unit in one class."""

    unit: SearchUnit
    answers: dict[str, tuple[Entry, ...]] = field(default_factory=dict)
    """Entries by host, the one that explored first."""
    took: float = 0.0
    """Seconds of the exploration."""
    lost: int = 0
    """Workers that were lost while they measured it."""
    failed: dict[str, str] = field(default_factory=dict)
    """Hosts on which it could not be measured, with the reason."""

    @property
    def is_searched(self) -> bool:
        return bool(self.answers)

    @property
    def unconfirmed_entries(self) -> tuple[Entry, ...]:
        """Tuned entries of the first host that too few other hosts chose, too."""
        first, *rest = self.answers.values()
        agreed = [(entry.operation, entry.choice) for entries in rest for entry in entries]
        return tuple(
            entry
            for entry in first
            if entry.status is Status.TUNED and agreed.count((entry.operation, entry.choice)) + 1 < AGREEING_HOSTS
        )

    def open_to(self, hosts: Collection[str]) -> set[str]:
        """Select the hosts that may still measure it."""
        if self.lost >= ATTEMPTS:
            return set()
        fresh = set(hosts) - self.failed.keys()
        if not self.is_searched:
            return fresh
        return fresh - self.answers.keys() if self.unconfirmed_entries and len(self.answers) < ASKED else set()


@dataclass(kw_only=True)
class _ClassState:
    """The progress of one class of nodes."""

    key: Key
    units: list[_UnitState]
    """The longest first."""
    spent: float = 0.0
    """Seconds of the budget that all its hosts used."""
    tested: dict[str, SelfTest] = field(default_factory=dict)
    """Self-test by host."""
    broken: dict[str, str] = field(default_factory=dict)
    """Hosts whose self-test failed, with the reason."""


class ClusterPlan:
    """The state of a cluster's calibration. Its driver sends the jobs of `begin` and reports how they ended."""

    def __init__(self, budget: float) -> None:
        """`budget` is the seconds of each class on all its hosts together, self-tests not counted."""
        self.budget = budget
        self.nodes: dict[str, Node] = {}
        """By worker, in order of arrival."""
        self.running: dict[str, NodeJob] = {}
        """By worker."""
        self.profiles: dict[tuple[Key, str], Profile] = {}
        """By class and host: entries of two hosts are never in one profile."""
        self._classes: dict[Key, _ClassState] = {}
        self._paused: dict[str, float] = {}

    def join(self, node: Node) -> None:
        self.nodes[node.worker] = node
        if node.key not in self._classes:
            order = sorted(node.units, key=lambda unit: (-unit.seconds, unit.name, unit.dtype))
            self._classes[node.key] = _ClassState(key=node.key, units=[_UnitState(unit=unit) for unit in order])

    def leave(self, worker: str) -> NodeJob | None:
        """Remove a worker; return its unfinished job, which another worker takes over."""
        self.nodes.pop(worker, None)
        job = self.running.get(worker)
        if job is not None:
            state = self._end(job)
            if state is not None:
                state.lost += 1
        return job

    def record_self_test(self, job: NodeJob, tested: SelfTest) -> None:
        self._end(job)
        self._classes[job.node.key].tested[job.node.host] = tested

    def record_profile(self, job: NodeJob, profile: Profile, seconds: float) -> None:
        """Record an exploration or a confirmation, and the seconds that it took."""
        state = self._end(job, seconds)
        assert state is not None
        if job.task is NodeTask.CONFIRM and all(entry.reason.startswith(OUT_OF_TIME) for entry in profile.entries):
            return  # too little time to decide: it is repeated while there is time
        state.took = state.took or seconds
        state.answers[job.node.host] = profile.entries
        place = (job.node.key, job.node.host)
        earlier = self.profiles.get(place)
        self.profiles[place] = join_profiles(earlier, profile) if earlier else profile

    def record_failure(self, job: NodeJob, reason: str) -> None:
        """Record a job that this host cannot do; it is not repeated there."""
        state = self._end(job)
        failures = self._classes[job.node.key].broken if state is None else state.failed
        failures[job.node.host] = reason

    def postpone(self, job: NodeJob, now: float) -> None:
        """Record that another calibration runs on the host, which is left alone for a while."""
        self._end(job)
        self._paused[job.node.host] = now + PAUSE_SECONDS

    def begin(self, now: float, occupied: Collection[str] = ()) -> list[NodeJob]:
        """Start jobs on idle hosts, at most one on each.

        `occupied` are workers that run tasks of other clients: nothing is measured on their hosts.
        """
        taken = {job.node.host for job in self.running.values()}
        taken |= {self.nodes[worker].host for worker in occupied if worker in self.nodes}
        taken |= {host for host, until in self._paused.items() if now < until}
        started = []
        for node in self.nodes.values():
            job = None if node.host in taken else self._next(node)
            if job is not None:
                taken.add(node.host)
                self.running[node.worker] = job
                started.append(job)
        return started

    @property
    def is_over(self) -> bool:
        """Is everything done that the known hosts can do?

        A self-test whose host has nothing left to measure is not waited for: that host may hang.
        """
        measuring = any(job.task is not NodeTask.EXAMINE for job in self.running.values())
        return not measuring and next(self._open(), None) is None

    @property
    def is_deserted(self) -> bool:
        """Is there work left, and no host that could do it?"""
        present = {node.key for node in self.nodes.values()}
        left = {key for key, _ in self._open()}
        return not self.running and bool(left) and not left & present

    @property
    def standing(self) -> tuple[int, int, int]:
        """Count the units of all classes, those that were explored, and the confirmations to come."""
        states = [(group, state) for group in self._classes.values() for state in group.units]
        waiting = sum(state.is_searched and bool(state.open_to(self._hosts(group.key))) for group, state in states)
        return len(states), sum(state.is_searched for _, state in states), waiting

    @property
    def classes(self) -> list[Key]:
        """The classes, in order of arrival."""
        return list(self._classes)

    def hosts(self, key: Key) -> list[str]:
        """Return the hosts that measured something for a class."""
        return sorted(host for own, host in self.profiles if own == key)

    @property
    def missing(self) -> list[MissingUnit]:
        """The units that were not measured or not confirmed, each with its reason."""
        states = ((group, state) for group in self._classes.values() for state in group.units)
        gaps = ((group.key, state.unit, self._why_missing(group, state)) for group, state in states)
        return [MissingUnit(key=key, unit=unit, reason=reason) for key, unit, reason in gaps if reason is not None]

    def _next(self, node: Node) -> NodeJob | None:
        """Choose the next job of an idle node."""
        group = self._classes[node.key]
        if node.host in group.broken:
            return None
        if node.host not in group.tested:
            return NodeJob(task=NodeTask.EXAMINE, node=node)
        hosts, measured = self._hosts(group.key), self._measured_now(group.key)
        ready = [state for state in group.units if state.unit not in measured and node.host in state.open_to(hosts)]
        # explorations first; each kind in the order of the units
        state = min(ready, key=lambda state: state.is_searched, default=None)
        seconds = None if state is None else self._budget(group, state)
        if state is None or seconds is None:
            return None
        return NodeJob(
            task=NodeTask.CONFIRM if state.is_searched else NodeTask.SEARCH,
            node=node,
            unit=state.unit,
            seconds=seconds,
            choices=state.unconfirmed_entries if state.is_searched else (),
            self_test=group.tested[node.host],
        )

    def _budget(self, group: _ClassState, chosen: _UnitState) -> float | None:
        """Return the seconds of a job: its part of what the class has left; None if nothing is left."""
        left = self._remaining_seconds(group)
        if left <= 0:
            return None
        hosts, measured = self._hosts(group.key), self._measured_now(group.key)
        later = CONFIRMATION if len(hosts) >= AGREEING_HOSTS else 0.0
        parts = 0.0
        for state in group.units:
            if state.open_to(hosts) and state.unit not in measured:
                parts += CONFIRMATION if state.is_searched else 1.0 + later
            elif state.unit in measured and not state.is_searched:
                parts += later
        if chosen.is_searched:  # most confirmations need far less, and the next job gets the rest
            return max(LEAST_BUDGET_SECONDS, min(left, max(left * CONFIRMATION / parts, chosen.took)))
        return max(LEAST_BUDGET_SECONDS, left / parts)

    def _remaining_seconds(self, group: _ClassState) -> float:
        """Return the seconds of a class's budget that are neither spent nor promised to a running job."""
        promised = sum(job.seconds for job in self.running.values() if job.node.key == group.key)
        return self.budget - group.spent - promised

    def _open(self) -> Iterator[tuple[Key, _UnitState]]:
        """Yield the units that can still be measured, by hosts that are present or may come back."""
        for group in self._classes.values():
            if self._remaining_seconds(group) <= 0:
                continue
            hosts, gone = self._hosts(group.key), not self._present(group.key)
            for state in group.units:
                if state.open_to(hosts) or (gone and not state.is_searched and state.lost < ATTEMPTS):
                    yield group.key, state

    def _present(self, key: Key) -> set[str]:
        """Return the hosts of a class that have a worker."""
        return {node.host for node in self.nodes.values() if node.key == key}

    def _hosts(self, key: Key) -> set[str]:
        """Return the hosts of a class that are present and can measure."""
        return self._present(key) - self._classes[key].broken.keys()

    def _measured_now(self, key: Key) -> list[SearchUnit | None]:
        """Return the units of a class that hosts measure now."""
        return [job.unit for job in self.running.values() if job.node.key == key]

    def _why_missing(self, group: _ClassState, state: _UnitState) -> str | None:
        """Say why a unit was not measured or not confirmed; None if it was."""
        reason = next(iter({**state.failed, **group.broken}.values()), None)
        if state.lost >= ATTEMPTS:
            reason = f"{state.lost} workers were lost while they measured it."
        several = len(self._present(group.key)) > 1
        if state.is_searched and (not state.unconfirmed_entries or not several or len(state.answers) >= ASKED):
            return None
        end = "The time allowed" if group.spent >= self.budget else "The calibration"
        return reason or f"{end} ended before a host {'confirmed' if state.is_searched else 'measured'} it."

    def _end(self, job: NodeJob, seconds: float = 0.0) -> _UnitState | None:
        """End a job and book its seconds; return the state of its unit, None for a self-test."""
        del self.running[job.node.worker]
        group = self._classes[job.node.key]
        group.spent += seconds
        return next((state for state in group.units if state.unit == job.unit), None)
