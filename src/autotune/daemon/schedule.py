"""Schedule: the next measurement and its reason. Pure.

The causes come in the order of what they are worth to people: an order, a profile that may be slowing programs down,
unfinished work, entries in doubt, calls that no entry covers (by calls times expected gain), stale or missing
operations, disagreement between hosts, undecided sizes, age.
"""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from autotune.daemon.daemon_settings import DaemonSettings
from autotune.daemon.inventory import Inventory, is_measured_by_size, unmeasured_operations
from autotune.daemon.state import DaemonState
from autotune.model.catalogue import CATALOGUE, WorkUnit
from autotune.model.operation import Operation

FLOPS_PER_SECOND = 1e10
BYTES_PER_SECOND = 1e10
"""Of one CPU, to an order of magnitude: enough to rank calls."""
EXPECTED_SPEEDUP = 1.25
"""Speed-up of a choice where no size of the operation has been measured yet."""


class JobCause(IntEnum):
    """Why something is measured. Smaller causes come first."""

    ORDER = 0
    TRIAL = 1
    RESUME = 2
    DOUBT = 3
    DEMAND = 4
    MISSING = 5
    CONTESTED = 6
    UNDECIDED = 7
    AGE = 8


CLASS_WIDE = frozenset({JobCause.MISSING, JobCause.UNDECIDED})
"""A gap of all hosts of a class, which one host measures for all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledJob:
    """Something to measure: an operation, or for a trial a profile."""

    cause: JobCause
    interpreter: str
    """Name of the interpreter that measures it."""
    reason: str
    """A sentence."""
    operation: Operation | None = None
    """Without sizes: at all sizes of its ladder."""
    path: str = ""
    gain: float = 0.0
    """Seconds that programs may save; orders the jobs of one cause."""

    @property
    def subject(self) -> str:
        """Its subject. Jobs with one subject share their failures."""
        return self.path or str(self.operation)

    def as_dict(self) -> dict[str, Any]:
        """Return what `explain` shows."""
        return {
            "subject": self.subject,
            "cause": self.cause.name.lower(),
            "interpreter": self.interpreter,
            "reason": self.reason,
            "gain": self.gain,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleInput:
    """Everything that the decision depends on."""

    settings: DaemonSettings
    state: DaemonState
    inventories: Mapping[str, Inventory]
    """By interpreter."""
    untested: Mapping[str, str]
    """Path of a profile in use that no canary has tested -> the interpreter that tests it."""
    now: float
    """Wall-clock seconds."""


def queue(given: ScheduleInput) -> list[ScheduledJob]:
    """Return all jobs that may begin now, the next first. Each subject is there once, with its first cause."""
    best: dict[tuple[str, str], ScheduledJob] = {}
    for job in sorted(_all_jobs(given), key=lambda job: (job.cause, -job.gain)):
        best.setdefault((job.interpreter, job.subject), job)
    return [job for job in best.values() if not _has_to_wait(job, given)]


def _all_jobs(given: ScheduleInput) -> Iterator[ScheduledJob]:
    state, unfinished = given.state, given.state.unfinished
    for path, interpreter in given.untested.items():
        reason = "It is new, and its choices have not been timed here."
        yield ScheduledJob(cause=JobCause.TRIAL, interpreter=interpreter, path=path, reason=reason)
    if unfinished is not None and unfinished.interpreter in given.inventories:
        reason = "It was begun, and what it measured is kept."
        yield _job(JobCause.RESUME, unfinished.interpreter, unfinished.operation, reason)
    for name, inventory in given.inventories.items():
        for operation, served in state.orders.items():
            if name not in served:
                yield _job(JobCause.ORDER, name, operation, "It was ordered.")
        for operation, why in state.doubts.items():
            yield _job(JobCause.DOUBT, name, operation, f"In doubt: {why}")
        yield from _demand_jobs(name, inventory, state)
        yield from _missing_jobs(name, inventory, given)
        yield from _undecided_jobs(name, inventory, given)
        yield from _recheck_jobs(name, inventory, given)


def _job(cause: JobCause, interpreter: str, operation: Operation, reason: str, gain: float = 0.0) -> ScheduledJob:
    return ScheduledJob(cause=cause, interpreter=interpreter, operation=operation, reason=reason, gain=gain)


def _demand_jobs(name: str, inventory: Inventory, state: DaemonState) -> Iterator[ScheduledJob]:
    for operation, calls in state.demand.items():
        if operation.sizes and operation not in inventory.settled_operations:
            gain = calls * expected_gain(operation, inventory)
            reason = f"Programs called it about {calls:.0f} times, and no entry covers it: {gain:.3g} s to gain."
            yield _job(JobCause.DEMAND, name, operation, reason, gain)


def expected_gain(operation: Operation, inventory: Inventory) -> float:
    """Return the seconds that a call may save.

    Its time is estimated from its work, and the part of it that is saved from other sizes of the operation.
    """
    row = CATALOGUE[operation.name]
    rate = FLOPS_PER_SECOND if row.unit is WorkUnit.FLOPS else BYTES_PER_SECOND
    speedup = inventory.speedups.get((operation.name, operation.dtype), EXPECTED_SPEEDUP)
    return row.work_of(operation) / rate * max(0.0, 1.0 - 1.0 / speedup)


def _missing_jobs(name: str, inventory: Inventory, given: ScheduleInput) -> Iterator[ScheduledJob]:
    stale = given.state.stale.get(name)
    called = [operation.name for operation in given.state.demand]
    places = {operation: place for place, operation in enumerate(CATALOGUE)}
    for operation in unmeasured_operations(inventory, calibrate=given.settings.calibrate, is_stale=stale is not None):
        entries = inventory.of(operation, "float64")
        if stale is not None:
            reason = f"Stale: {stale}"
        elif entries:
            reason = f"Its entries were measured elsewhere or are undecided ({entries[0].level})."
        else:
            reason = "It was never measured on this machine and allocation."
        gain = called.count(operation) - places[operation] / 1000
        yield _job(JobCause.MISSING, name, Operation(name=operation), reason, gain)


def _undecided_jobs(name: str, inventory: Inventory, given: ScheduleInput) -> Iterator[ScheduledJob]:
    """Yield contested and undecided sizes of operations of which another size is settled."""
    for (operation, _), entries in inventory.by_operation.items():
        if operation not in CATALOGUE or not is_measured_by_size(entries):
            continue
        for entry in entries:
            if not entry.is_own or entry.operation in inventory.settled_operations:
                continue
            calls = given.state.used.get(entry.operation, 0.0)
            gain = calls * expected_gain(entry.operation, inventory)
            if entry.contested:
                reason = "Hosts of this class disagree about it; a measurement here decides for this host."
                yield _job(JobCause.CONTESTED, name, entry.operation, reason, gain)
            elif calls or given.settings.calibrate:
                reason = f"Its measurement was undecided: {entry.undecided}"
                yield _job(JobCause.UNDECIDED, name, entry.operation, reason, gain)


def _recheck_jobs(name: str, inventory: Inventory, given: ScheduleInput) -> Iterator[ScheduledJob]:
    """Yield operations whose entries of this daemon's own profile were last checked long ago."""
    checked = given.state.checked.get(inventory.key, {})
    for (operation, dtype), entries in sorted(inventory.by_operation.items()):
        if operation not in CATALOGUE or not any(
            entry.path == inventory.profile and entry.status == "tuned" for entry in entries
        ):
            continue
        whole = Operation(name=operation, dtype=dtype)
        days = (given.now - checked.get(whole, given.now)) / 86400
        if days >= given.settings.recheck_days:
            yield _job(JobCause.AGE, name, whole, f"Its entries were last checked {days:.0f} days ago.", days)


def _has_to_wait(job: ScheduledJob, given: ScheduleInput) -> bool:
    """Has it failed lately, or is it another host's turn?"""
    state, operation = given.state, job.operation
    if job.cause is not JobCause.ORDER and state.is_delayed(job.subject, given.now):
        return True
    if operation is None:
        return False
    whole = Operation(name=operation.name, dtype=operation.dtype)
    if job.cause is JobCause.UNDECIDED and state.is_delayed(str(whole), given.now):
        return True  # all its sizes were measured together a moment ago
    if job.cause in CLASS_WIDE and given.settings.store is not None:
        inventory = given.inventories[job.interpreter]
        first_seen = state.first_seen.get(inventory.key, given.now)
        spread = 2 * given.settings.pull_seconds
        return given.now < turn_of(inventory.host, job.subject, first_seen, spread=spread)
    return False


def turn_of(host: str, subject: str, first_seen: float, *, spread: float) -> float:
    """Return when this host may measure what its class has lacked since `first_seen`.

    Hosts of a class take turns, so that later ones find the result, or the claim, of the first one in the store.
    """
    return first_seen + stable_fraction(host, subject) * spread


def stable_fraction(*words: str) -> float:
    """Hash words to a number from 0 to 1."""
    return zlib.crc32("\0".join(words).encode()) / 2**32
