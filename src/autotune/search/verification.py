"""Does a profile still hold on this machine? Its choices against the default once more, in fresh processes."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from autotune.bench.protocol import Bench
from autotune.bench.statistics import upper_bound
from autotune.model.catalogue import CATALOGUE, COMMANDS
from autotune.model.entry import Entry, Status
from autotune.model.operation import Operation
from autotune.model.profile import Key, Profile
from autotune.profiles import fit
from autotune.profiles.folders import Layer
from autotune.search.confirmation import Proof, by_rule, examined
from autotune.search.sequential_test import LOOKS, MARGIN, Look, Trial, fault, in_words, interval
from autotune.search.time_budget import Clock

UNMISTAKABLE = 2.0
"""Low end of the ratio's interval from which a loss is believed whatever else runs. A choice is dropped that may be
fine on a quiet machine, and is measured again; kept, a bad one costs every call. DBtune drops a configuration at the
same factor."""


ENOUGH_SECONDS = 6.0
"""For the three fresh processes of a first look, which take one to two seconds each. With less for each of many
operations all the time would go into processes that no look follows, and nothing would be told."""


class Standing(StrEnum):
    """What became of an entry."""

    HOLDS = "holds"
    """Proved faster than the default again."""
    GONE = "no-longer-holds"
    """Neither faster nor slower than the default, as far as can be told."""
    SLOWER = "slower"
    """Proved slower than the default."""
    FAILED = "failed"
    """It, or the default, could not be measured."""
    OPEN = "open"
    """It could not be told: the time ended before, or the machine was too busy."""
    REFUSED = "refused"
    """It is not for this machine."""

    @property
    def bad(self) -> bool:
        """Would a program be worse off with this entry than without?"""
        return self in {Standing.SLOWER, Standing.FAILED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The verdict on one entry."""

    entry: Entry
    standing: Standing
    reason: str
    """A sentence."""
    ratio: float | None = None
    """Time of the choice divided by the default's, now."""
    ratio_low: float | None = None
    ratio_high: float | None = None
    """Ends of its 95 % interval over processes."""
    processes: int = 0


def suited(
    profile: Profile, here: fit.Here, *, own: Iterable[str] = ()
) -> tuple[tuple[Entry, ...], tuple[Check, ...]]:
    """The tuned entries of a profile that can be verified here, and the refused ones with the reason. Pure.

    `own` are the names of user's functions at hand. A profile of another host is welcome: measuring is how
    to find out whether it holds here.
    """
    fitted = fit.fit(profile, Layer.NAMED, here)
    known = {*CATALOGUE, *own}
    accepted: list[Entry] = []
    refused: list[Check] = []
    for entry in profile.entries:
        if entry.status is not Status.TUNED:
            continue
        usable = fitted.reason if fitted.level is None else _suited(entry, profile.key, here, known)
        if isinstance(usable, str):
            refused.append(Check(entry=entry, standing=Standing.REFUSED, reason=usable))
        else:
            accepted.append(usable)
    return tuple(accepted), tuple(refused)


def verify(entries: Iterable[Entry], *, bench: Bench, clock: Clock) -> Iterator[Check]:
    """The verdict on each of these tuned entries, as soon as it is known.

    All sizes of an operation are measured in the same processes, and each is done with at the first look
    that can tell it from the default, at the look's part of the one-sided error of 2.5 %. Every operation gets
    an equal part of the time that is left, or as much as a first look needs while there is any.
    """
    groups = by_rule(entries)
    for index, group in enumerate(groups):
        clock.allow(max(ENOUGH_SECONDS, clock.remaining / (len(groups) - index)))
        yield from _checks(group, bench=bench, clock=clock)


def _suited(entry: Entry, theirs: Key, here: fit.Here, known: set[str]) -> Entry | str:
    """The entry as it would be used here, or why it cannot be verified."""
    if entry.operation.name.startswith(COMMANDS):
        return "It is a whole command; `autotune tune` measures it against itself."
    if entry.operation.name not in known:
        return "It is not in the catalogue; name the function that it was measured with by --workload."
    return fit.carried(entry, theirs, here)


def _checks(group: list[Entry], *, bench: Bench, clock: Clock) -> Iterator[Check]:
    """The verdicts on one operation's entries."""
    entries = {entry.operation: entry for entry in group}
    proof = Proof(trials={operation: [] for operation in entries})
    choices = {operation: entry.choice for operation, entry in entries.items()}
    for look in examined(choices, proof, bench=bench, clock=clock):
        yield from _settled(entries, proof, look)
    for operation, failure in proof.failures.items():
        reason = f"The measurement failed: {failure.reason}"
        yield Check(entry=entries[operation], standing=Standing.FAILED, reason=reason)
    for operation, trials in proof.trials.items():
        yield _check(entries[operation], trials, Standing.OPEN, "The time ended before it could be told.")


def _settled(entries: dict[Operation, Entry], proof: Proof, look: Look) -> Iterator[Check]:
    """The verdicts that a look allows; their sizes leave the test."""
    for operation, trials in list(proof.trials.items()):
        found = judged(trials, error=look.error, last=look is LOOKS[-1])
        if found is not None:
            standing, reason = found
            if proof.disturbed.excessive and not _unmistakable(standing, trials):
                standing, reason = Standing.OPEN, "The machine is too busy for a verdict."
            del proof.trials[operation]
            reason = f"{reason} {proof.disturbed}".rstrip()
            yield _check(entries[operation], trials, standing, reason)


def judged(trials: Sequence[Trial], *, error: float, last: bool) -> tuple[Standing, str] | None:
    """What the processes so far prove at this one-sided error, and the check that failed, if one did. Pure.

    None if another look is to be taken.
    """
    failed = fault(trials, error=error, margin=MARGIN)
    if failed is None:
        return Standing.HOLDS, "Proved faster than the default again."
    if upper_bound([-trial.estimate for trial in trials], error) < 0:
        return Standing.SLOWER, f"Slower: {in_words(trials)}"
    return (Standing.GONE, failed) if last else None


def _unmistakable(standing: Standing, trials: Sequence[Trial]) -> bool:
    """Is it so much slower that no neighbour explains it? Nothing else is believed on a machine that others use."""
    return standing is Standing.SLOWER and interval(trials)[1] >= UNMISTAKABLE


def _check(entry: Entry, trials: list[Trial], standing: Standing, reason: str) -> Check:
    if len(trials) < 2:
        return Check(entry=entry, standing=standing, reason=reason, processes=len(trials))
    ratio, low, high = interval(trials)
    return Check(
        entry=entry,
        standing=standing,
        reason=reason,
        ratio=ratio,
        ratio_low=low,
        ratio_high=high,
        processes=len(trials),
    )
