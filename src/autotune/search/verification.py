"""Verification: a profile's choices against the default once more, in fresh processes on this machine."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from math import inf

from autotune.bench.user_workload import UserWorkload
from autotune.model.catalogue import CATALOGUE
from autotune.model.entry import Entry, Status
from autotune.model.policy import COMMANDS
from autotune.model.profile import Key, Profile
from autotune.profiles import fit
from autotune.profiles.folders import Layer
from autotune.search.confirmation import (
    Candidate,
    Confirmation,
    Verdict,
    candidate_of,
    find_objection,
    gains_little,
    in_words,
    is_proved_faster,
    judge,
)
from autotune.search.environment import Environment
from autotune.search.machine_states import Capacity, log_ratios_of
from autotune.search.sequential_test import ERROR, is_proved
from autotune.search.time_budget import Clock


class Standing(StrEnum):
    """The verdict on an entry."""

    HOLDS = "holds"
    """Proved faster than the default again, if only by little."""
    GONE = "no-longer-holds"
    """The gain is gone, or outweighed by slower means or tails, or by the loss without capacity."""
    SLOWER = "slower"
    """Proved slower than the default."""
    FAILED = "failed"
    """It, or the default, could not be measured."""
    OPEN = "open"
    """It could not be told: the time ended before, the machine was too busy, or timings scatter too much."""
    REFUSED = "refused"
    """It is not for this machine."""

    @property
    def bad(self) -> bool:
        """Has the check of this entry failed?"""
        return self in {Standing.GONE, Standing.SLOWER, Standing.FAILED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The verdict on one entry."""

    entry: Entry
    standing: Standing
    reason: str
    """A sentence."""
    speedup: float | None = None
    """Time of the default divided by the choice's, now; None below the least number of processes."""
    interval: tuple[float, float] | None = None
    """Its 95 % interval over processes."""
    processes: int = 0


def select_verifiable(
    profile: Profile, site: fit.Site, *, own: Iterable[str] = ()
) -> tuple[tuple[Entry, ...], tuple[Check, ...]]:
    """Divide the tuned entries of a profile into those that can be verified here, and refusals with the reason. Pure.

    `own` are the names of user's functions that are loaded. A profile of another host is welcome: measuring is how
    to find out whether it holds here.
    """
    fitted = fit.fit(profile, Layer.NAMED, site)
    names = {*CATALOGUE, *own}
    entries: list[Entry] = []
    refused: list[Check] = []
    for entry in profile.entries:
        if entry.status is not Status.TUNED:
            continue
        usable = fitted.reason if fitted.level is None else _suited(entry, profile.key, site, names)
        if isinstance(usable, str):
            refused.append(Check(entry=entry, standing=Standing.REFUSED, reason=usable))
        else:
            entries.append(usable)
    return tuple(entries), tuple(refused)


def verify(
    entries: Iterable[Entry],
    workload: UserWorkload | None = None,
    *,
    environment: Environment,
    clock: Clock,
    capacity: Capacity,
) -> Iterator[Check]:
    """Verify tuned entries in interleaved rounds; yields the verdict on each as soon as it is known."""
    counted = None if environment.has_company else capacity
    confirmation = Confirmation(clock, counted, capacity, judge=_judge)
    by_operation = {entry.operation: entry for entry in entries}
    for entry in by_operation.values():
        kind = workload.kind if workload is not None and workload.name == entry.operation.name else None
        confirmation.add(candidate_of(entry, kind or CATALOGUE[entry.operation.name], environment))
    for candidate in confirmation.rounds():
        yield _check(by_operation[candidate.operation], candidate, counted)
    for candidate in confirmation.open:
        yield _check(by_operation[candidate.operation], candidate, counted)


def _suited(entry: Entry, origin: Key, site: fit.Site, names: set[str]) -> Entry | str:
    """Return the entry as it would be used here, or why it cannot be verified."""
    if entry.operation.name.startswith(COMMANDS):
        return "It is a whole command; `autotune tune` measures it against itself."
    if entry.operation.name not in names:
        return "It is not in the catalogue; name the function that it was measured with by --workload."
    return fit.transfer(entry, origin, site)


def _judge(candidate: Candidate, capacity: Capacity | None) -> tuple[Verdict, str]:
    """Judge as a confirmation does, and end as well where the choice is proved slower."""
    verdict, reason = judge(candidate, capacity)
    if verdict is Verdict.OPEN and is_slower(candidate, capacity):
        return Verdict.DROPPED, ""
    if verdict is Verdict.DROPPED and _is_still_faster(candidate, capacity):
        return Verdict.ACCEPTED, ""
    if verdict is Verdict.DROPPED and _may_be_slower(candidate, capacity):
        return Verdict.OPEN, ""  # whether it is slower, or only no faster, takes a few more processes
    return verdict, reason


def _is_still_faster(candidate: Candidate, capacity: Capacity | None) -> bool:
    """Does the interval of the speed-up lie above 1, though the gain may be too small to be chosen anew?"""
    findings = candidate.findings(capacity)
    above = findings.interval is not None and findings.interval[2] < 1.0
    return above and find_objection(candidate, findings) is None


def is_slower(candidate: Candidate, capacity: Capacity | None) -> bool:
    """Is the choice proved slower than the default?

    Interference and lost capacity only ever slow down a choice that uses at least as many CPUs as the default: its loss
    counts on undisturbed pairs at full capacity only.
    """
    return is_proved([-value for value in _losses(candidate, capacity)], bound=-max(0.0, candidate.bound), error=ERROR)


def _may_be_slower(candidate: Candidate, capacity: Capacity | None) -> bool:
    losses = _losses(candidate, capacity)
    if is_slower(candidate, capacity) or len(candidate.visits) >= candidate.most_processes:
        return False
    return min(losses, default=-inf) > 0.0


def _losses(candidate: Candidate, capacity: Capacity | None) -> list[float]:
    if candidate.fewer_cpus:
        return list(candidate.findings(capacity).everything)
    states = capacity or Capacity(usable_cpus=1)
    return log_ratios_of(visit.at_full(states, fewer_cpus=True) for visit in candidate.visits)


def _check(entry: Entry, candidate: Candidate, capacity: Capacity | None) -> Check:
    """Return the verdict in words."""
    findings = candidate.findings(capacity)
    if candidate.verdict is Verdict.FAILED:
        assert candidate.failure is not None
        standing, reason = Standing.FAILED, f"The measurement failed: {candidate.failure.reason}"
    elif candidate.verdict is Verdict.ACCEPTED:
        standing, reason = Standing.HOLDS, "Proved faster than the default again."
    elif is_slower(candidate, capacity):
        standing, reason = Standing.SLOWER, f"Slower: {in_words(findings)}"
    elif candidate.verdict is Verdict.DROPPED:
        # a candidate that is proved faster was dropped for an objection
        is_gone = is_proved_faster(candidate, findings) or gains_little(candidate, findings)
        standing, reason = Standing.GONE if is_gone else Standing.OPEN, candidate.reason
    elif candidate.verdict is Verdict.NOISY:
        standing, reason = Standing.OPEN, "The machine is too busy for a verdict."
    else:
        standing, reason = Standing.OPEN, "The time ended before it could be told."
    if standing is not Standing.FAILED and capacity is not None:
        reason = f"{reason} {capacity}".rstrip()
    check = Check(entry=entry, standing=standing, reason=reason, processes=findings.processes)
    if findings.interval is None:
        return check
    ratio, low, high = findings.interval
    return replace(check, speedup=1 / ratio, interval=(1 / high, 1 / low))
