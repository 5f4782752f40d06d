"""What to measure next, and why. Pure.

In the order of what it may be worth to those who run programs now: a profile that may be slowing them down, an
order, work that was begun, entries in doubt, calls that nothing covers (by how often they are made times what
tuning may save), what is stale or was never measured, what hosts disagree about, what could not be told, what has
become old.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any

from autotune.daemon import stagger
from autotune.daemon.daemon_settings import Settings
from autotune.daemon.inventory import InventoryEntry, Survey
from autotune.daemon.remembered import Memory, subject_of
from autotune.model.catalogue import CATALOGUE, WorkUnit
from autotune.model.operation import Operation

FLOPS_PER_SECOND = 1e10
BYTES_PER_SECOND = 1e10
"""Of one CPU, to an order of magnitude: enough to rank calls by."""

LIKELY_RATIO = 0.8
"""Time of a choice over the default's, where nothing is known of the operation yet."""


class Cause(IntEnum):
    """Why something is measured; the smaller the sooner."""

    TRIAL = 0
    ORDER = 1
    RESUME = 2
    DOUBT = 3
    DEMAND = 4
    MISSING = 5
    CONTESTED = 6
    UNDECIDED = 7
    AGE = 8


SHARED = frozenset({Cause.MISSING, Cause.UNDECIDED})
"""What all nodes of a class lack, so that one measures it for all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Something to measure."""

    cause: Cause
    interpreter: str
    """Name of the interpreter that it is measured with."""
    reason: str
    """A sentence."""
    operation: str = ""
    dtype: str = "float64"
    sizes: tuple[tuple[str, int], ...] = ()
    """Empty: the operation's own ladder of sizes."""
    path: str = ""
    """The profile that is put to the test; of trials."""
    gain: float = 0.0
    """Seconds that programs may save, by what is known; orders jobs of one cause."""

    @property
    def subject(self) -> str:
        """What it is about; jobs about the same thing share their failures."""
        return self.path or subject_of(self.operation, self.dtype, dict(self.sizes))

    def as_dict(self) -> dict[str, Any]:
        """As plain values."""
        plain = {**asdict(self), "cause": self.cause.name.lower(), "sizes": dict(self.sizes)}
        return {"subject": self.subject, **plain}


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """What the decision is made of."""

    settings: Settings
    memory: Memory
    surveys: Mapping[str, Survey]
    """By interpreter."""
    untried: Mapping[str, str]
    """Profiles in use that nobody has put to the test -> the interpreter whose survey found them."""
    now: float
    """Wall-clock seconds."""


def queue(knowledge: Knowledge) -> list[Job]:
    """Everything that may be measured now, the next first. Each subject is there once, by its best cause."""
    best: dict[tuple[str, str], Job] = {}
    for job in sorted(_all(knowledge), key=lambda one: (one.cause, -one.gain)):
        best.setdefault((job.interpreter, job.subject), job)
    return [job for job in best.values() if not _waits(job, knowledge)]


def _all(knowledge: Knowledge) -> Iterator[Job]:
    memory = knowledge.memory
    for path, interpreter in knowledge.untried.items():
        reason = "It is new, and nobody has timed its choices here."
        yield Job(cause=Cause.TRIAL, interpreter=interpreter, path=path, reason=reason)
    if memory.interrupted is not None:
        resumed = job_of(memory.interrupted)
        if resumed.interpreter in knowledge.surveys:
            yield resumed
    for name, survey in knowledge.surveys.items():
        for operation, dtype, sizes in memory.wishes:
            if name not in memory.served.get(subject_of(operation, dtype, sizes), ()):
                yield _job(Cause.ORDER, name, operation, dtype, sizes, "It was ordered.")
        for operation, dtype, sizes, why in memory.doubts.values():
            yield _job(Cause.DOUBT, name, operation, dtype, sizes, f"In doubt: {why}.")
        yield from _demanded(name, survey, memory)
        yield from _missing(name, survey, knowledge)
        yield from _open(name, survey, knowledge)
        yield from _old(name, survey, knowledge)


def _job(
    cause: Cause,
    interpreter: str,
    operation: str,
    dtype: str,
    sizes: Mapping[str, int],
    reason: str,
    gain: float = 0.0,
) -> Job:
    return Job(
        cause=cause,
        interpreter=interpreter,
        operation=operation,
        dtype=dtype,
        sizes=tuple(sizes.items()),
        reason=reason,
        gain=gain,
    )


def job_of(values: Mapping[str, Any]) -> Job:
    """A calibration that was ended before its time, to be gone on with."""
    sizes = values["sizes"]
    reason = "It was begun, and what it measured is kept."
    return _job(Cause.RESUME, values["interpreter"], values["operation"], values["dtype"], sizes, reason)


def _demanded(name: str, survey: Survey, memory: Memory) -> Iterator[Job]:
    for operation, dtype, sizes, calls in memory.demand.values():
        asked = Operation(name=operation, dtype=dtype, sizes=tuple(sizes.items()))
        if asked in survey.settled:
            continue
        saved = calls * expected_gain(asked, survey)
        reason = f"Programs called it about {calls:.0f} times, and nothing measured covers it: {saved:.3g} s to gain."
        yield _job(Cause.DEMAND, name, operation, dtype, sizes, reason, saved)


def expected_gain(operation: Operation, survey: Survey) -> float:
    """Seconds that a call may save: its time, guessed from its work, times the part that other sizes of the
    same operation were proved to save, or a likely one.
    """
    row = CATALOGUE[operation.name]
    rate = FLOPS_PER_SECOND if row.unit is WorkUnit.FLOPS else BYTES_PER_SECOND
    ratio = survey.ratios.get((operation.name, operation.dtype), LIKELY_RATIO)
    return row.work_of(operation) / rate * max(0.0, 1.0 - ratio)


def _missing(name: str, survey: Survey, knowledge: Knowledge) -> Iterator[Job]:
    why = knowledge.memory.stale.get(name)
    asked = [row[0] for row in knowledge.memory.demand.values()]
    for place, operation in enumerate(CATALOGUE):
        entries = survey.of(operation, "float64")
        if _by_size(entries):
            continue
        if not (knowledge.settings.calibrate or (entries and why)):
            continue  # nobody asks for it
        if why is not None:
            reason = f"Stale: {why}"
        elif entries:
            reason = f"What is known comes from elsewhere, or could not be told ({entries[0].level})."
        else:
            reason = "It was never measured on this machine and allocation."
        yield _job(
            Cause.MISSING, name, operation, "float64", {}, reason, asked.count(operation) - place / 1000
        )


def _by_size(entries: Sequence[InventoryEntry]) -> bool:
    """Are its sizes measured one by one: is one settled, or do hosts disagree about one?"""
    return any(one.settled or one.contested for one in entries)


def _open(name: str, survey: Survey, knowledge: Knowledge) -> Iterator[Job]:
    """Single sizes about which hosts disagree, or that could not be told, of operations known at others."""
    for (operation, dtype), entries in survey.rules.items():
        if operation not in CATALOGUE or not _by_size(entries):
            continue
        for one in entries:
            if not one.own or one.operation in survey.settled:
                continue
            used = knowledge.memory.used.get(str(one.operation))
            calls = used[3] if used else 0.0
            gain = calls * expected_gain(one.operation, survey)
            if one.contested:
                cause = Cause.CONTESTED
                reason = "Hosts of this class disagree about it; what is measured here decides for this host."
            elif calls or knowledge.settings.calibrate:
                cause, reason = Cause.UNDECIDED, f"What was measured tells nothing: {one.undecided}"
            else:
                continue  # nobody asks for it
            yield _job(cause, name, operation, dtype, one.operation.size, reason, gain)


def _old(name: str, survey: Survey, knowledge: Knowledge) -> Iterator[Job]:
    """Operations whose entries of this host's own were checked long ago."""
    memory, settings = knowledge.memory, knowledge.settings
    own = (
        rule
        for rule, entries in survey.rules.items()
        if rule[0] in CATALOGUE
        and any(one.path == survey.profile and one.status == "tuned" for one in entries)
    )
    for operation, dtype in sorted(own):
        days = (
            knowledge.now - memory.checked.get(checked_key(survey.key, operation, dtype), knowledge.now)
        ) / 86400
        if days >= settings.recheck_days:
            reason = f"Its entries were last checked {days:.0f} days ago."
            yield _job(Cause.AGE, name, operation, dtype, {}, reason, days)


def checked_key(key: str, operation: str, dtype: str) -> str:
    """What the memory calls the entries of an operation."""
    return f"{key} {operation} {dtype}"


def _waits(job: Job, knowledge: Knowledge) -> bool:
    """Is it too early: has it failed lately, or is it another node's turn?"""
    memory = knowledge.memory
    if job.cause is not Cause.ORDER and memory.delayed(job.subject, knowledge.now):
        return True
    if job.cause is Cause.UNDECIDED and memory.delayed(
        subject_of(job.operation, job.dtype, {}), knowledge.now
    ):
        return True  # all its sizes were measured together a moment ago
    if job.cause in SHARED and knowledge.settings.store is not None:
        survey = knowledge.surveys[job.interpreter]
        noticed = memory.noticed.get(survey.key, knowledge.now)
        turn = stagger.turn(survey.host, job.subject, noticed, spread=2 * knowledge.settings.pull_seconds)
        return knowledge.now < turn
    return False
