"""Verification: choices against the default once more, in fresh processes on this machine, without exploration."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from math import inf, log, log1p

from autotune.bench.user_workload import UserWorkload
from autotune.model.catalogue import CATALOGUE, Kind
from autotune.model.entry import Entry, Status
from autotune.model.policy import COMMANDS, CPU_SLACK
from autotune.model.profile import Key, Profile
from autotune.profiles import fit
from autotune.profiles.folders import Layer
from autotune.search.candidate import Candidate, Verdict, judge
from autotune.search.confirmation import Confirmation, Judge
from autotune.search.decide import decide
from autotune.search.environment import Environment
from autotune.search.evidence import TrialEvidence
from autotune.search.machine_states import Capacity, log_ratios_of
from autotune.search.sequential_test import ERROR, MARGIN, is_proved
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
    """Neither is proved: the time ended before, the machine was too busy, or timings scatter too much."""
    REFUSED = "refused"
    """It is for another machine, or is none that `verify` can measure."""

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
        usable = fitted.reason if fitted.level is None else _fit_here(entry, profile.key, site, names)
        if isinstance(usable, str):
            refused.append(Check(entry=entry, standing=Standing.REFUSED, reason=usable))
        else:
            entries.append(usable)
    return tuple(entries), tuple(refused)


def verify(
    entries: Iterable[Entry], workload: UserWorkload | None = None, *, environment: Environment, clock: Clock
) -> Iterator[Check]:
    """Verify tuned entries in interleaved rounds; yields the verdict on each as soon as it is known."""
    entry_of = {entry.operation: entry for entry in entries}
    confirmation = _begin(entry_of.values(), workload, environment, clock, judge=_judge)
    for candidate in confirmation.rounds():
        yield _check(entry_of[candidate.operation], candidate)
    for candidate in confirmation.open:
        yield _check(entry_of[candidate.operation], candidate)


def confirm(
    choices: Iterable[Entry], workload: UserWorkload | None, *, environment: Environment, clock: Clock
) -> list[Entry]:
    """Test choices of another host here.

    Each entry has the evidence of this host only: tuned if the choice was proved here too, and otherwise with what the
    test came to. Safe thread counts other than the choice's, and alternatives for sizes in between, were not measured
    here and are not claimed.
    """
    confirmation = _begin(choices, workload, environment, clock)
    list(confirmation.rounds())
    while list(confirmation.reopen()) and clock.remaining > 0:
        list(confirmation.rounds())
    list(confirmation.judge(confirmation.open))
    return [
        decide(
            candidate.operation,
            _kind_of(candidate.operation.name, workload),
            environment=environment,
            evidence=TrialEvidence(
                usable_cpus=environment.usable_cpus,
                default_seconds=[pair.default_seconds for visit in candidate.visits for pair in visit.pairs],
            ),
            candidate=candidate,
        )
        for candidate in confirmation.candidates
    ]


def _begin(
    entries: Iterable[Entry],
    workload: UserWorkload | None,
    environment: Environment,
    clock: Clock,
    *,
    judge: Judge = judge,
) -> Confirmation:
    """Put the choices of entries to the test anew."""
    confirmation = Confirmation(clock, judge=judge)
    for entry in entries:
        kind = _kind_of(entry.operation.name, workload)
        confirmation.add(
            Candidate(
                operation=entry.operation,
                choice=entry.choice,
                capacity=None if environment.has_background_load else clock.capacity,
                fewer_cpus=entry.choice.cpus < environment.default_cpus(kind),
                bound=-log1p(MARGIN) if entry.evidence.cpu_ratio is None else log1p(CPU_SLACK),
                error=ERROR,
                seemed=-log(entry.evidence.speedup or 1.0),
            )
        )
    return confirmation


def _kind_of(name: str, workload: UserWorkload | None) -> Kind:
    return workload.kind if workload is not None and workload.name == name else CATALOGUE[name]


def _fit_here(entry: Entry, origin: Key, site: fit.Site, names: set[str]) -> Entry | str:
    """Return the entry as it would be used here, or why it cannot be verified."""
    if entry.operation.name.startswith(COMMANDS):
        return "It is a whole command: `autotune tune -- CMD` measures it again."
    if entry.operation.name not in names:
        return "It is not in the catalogue; name the function that it was measured with by --workload."
    return fit.transfer(entry, origin, site)


def _judge(candidate: Candidate) -> tuple[Verdict, str]:
    """Judge as a confirmation does, and end as well where the choice is proved slower."""
    verdict, reason = judge(candidate)
    if verdict is Verdict.OPEN and _is_slower(candidate):
        return Verdict.DROPPED, ""
    if verdict is Verdict.DROPPED and _is_still_faster(candidate):
        return Verdict.ACCEPTED, ""
    if verdict is Verdict.DROPPED and _may_be_slower(candidate):
        return Verdict.OPEN, ""  # whether it is slower, or only no faster, takes a few more processes
    return verdict, reason


def _is_still_faster(candidate: Candidate) -> bool:
    """Does the interval of the speed-up lie above 1, though the gain may be too small to be chosen anew?"""
    ends = candidate.findings.interval
    return ends is not None and ends[2] < 1.0 and candidate.findings.objection(candidate.bound) is None


def _is_slower(candidate: Candidate) -> bool:
    """Is the choice proved slower than the default?

    Interference and lost capacity only ever slow down a choice that uses at least as many CPUs as the default: its loss
    counts on undisturbed pairs at full capacity only, by what is known of that now and by what was known then.
    """
    bound = -max(0.0, candidate.bound)
    return all(is_proved([-value for value in values], bound=bound, error=ERROR) for values in _losses(candidate))


def _may_be_slower(candidate: Candidate) -> bool:
    if _is_slower(candidate) or len(candidate.visits) >= candidate.most_processes:
        return False
    return all(min(values, default=-inf) > 0.0 for values in _losses(candidate))


def _losses(candidate: Candidate) -> tuple[list[float], ...]:
    """Return the log-ratios that may prove a loss, each set of which has to."""
    if candidate.fewer_cpus:
        return (candidate.findings.everything,)
    capacity = candidate.capacity or Capacity(usable_cpus=1)
    now = [visit.at_full(capacity, fewer_cpus=True) for visit in candidate.visits]
    then = [visit.at_full_when_measured(fewer_cpus=True) for visit in candidate.visits]
    return log_ratios_of(now), log_ratios_of(then)


def _check(entry: Entry, candidate: Candidate) -> Check:
    """Return the verdict in words."""
    findings = candidate.findings
    if candidate.verdict is Verdict.FAILED:
        assert candidate.failure is not None
        standing, reason = Standing.FAILED, f"The measurement failed: {candidate.failure.reason}"
    elif candidate.verdict is Verdict.ACCEPTED:
        standing, reason = Standing.HOLDS, "Proved faster than the default again."
    elif _is_slower(candidate):
        standing, reason = Standing.SLOWER, f"Slower: {findings}"
    elif candidate.verdict is Verdict.DROPPED:
        # a candidate that is proved faster was dropped for an objection
        # without full capacity, what uses all CPUs seems slower than it is
        is_gone = candidate.is_proved_faster or (findings.rests_on_full and findings.gains_little(candidate.bound))
        standing, reason = Standing.GONE if is_gone else Standing.OPEN, candidate.reason
    elif candidate.verdict is Verdict.NOISY:
        standing, reason = Standing.OPEN, "The machine is too busy for a verdict."
    else:
        standing, reason = Standing.OPEN, "The time ended before it could be told."
    if standing is not Standing.FAILED:
        reason = f"{reason} {candidate.capacity or ''}".rstrip()
    check = Check(entry=entry, standing=standing, reason=reason, processes=findings.processes)
    if findings.interval is None:
        return check
    ratio, low, high = findings.interval
    return replace(check, speedup=1 / ratio, interval=(1 / high, 1 / low))
