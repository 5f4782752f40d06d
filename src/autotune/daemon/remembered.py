"""What the daemon remembers; see `state` for how it is written down.

Results are not in it: they stand in profiles, and unfinished ones in the journal of `autotune calibrate`. What
it holds can be lost without harm; it would be found out again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from autotune.daemon.budget import Spent
from autotune.model.operation import Operation

MOST_DEMAND = 1000
"""Operations at a size that are remembered; the least asked for are forgotten."""
HALF_LIFE = 7 * 86400.0
"""Seconds after which a count weighs half: programs change."""
FORGOTTEN = 30 * 86400.0
"""Seconds after which it does not matter any more that something once failed."""
LONGEST_DELAY = 7 * 86400.0
"""Seconds that something which always fails is left alone."""


@dataclass(slots=True, kw_only=True)
class Memory:
    """All of it. Keys of the dictionaries are texts of operations, or paths."""

    spent: Spent = field(default_factory=Spent)
    paused_until: float | None = None
    """Wall-clock seconds; None: not paused."""
    demand: dict[str, list[Any]] = field(default_factory=dict)
    """Text of the operation -> [name, dtype, sizes, calls]: of calls that nothing covered."""
    used: dict[str, list[Any]] = field(default_factory=dict)
    """The same, of calls that an entry covered."""
    faded: float = 0.0
    """When the counts were last made to fade."""
    attempts: dict[str, list[float]] = field(default_factory=dict)
    """Subject of a job -> [failures in a row, when to try again]."""
    wishes: list[list[Any]] = field(default_factory=list)
    """[name, dtype, sizes] that somebody ordered."""
    served: dict[str, list[str]] = field(default_factory=dict)
    """Text of the operation that was ordered -> interpreters that it has been measured with."""
    doubts: dict[str, list[Any]] = field(default_factory=dict)
    """Text of the operation -> [name, dtype, sizes, why]."""
    interrupted: dict[str, Any] | None = None
    """The calibration that was ended before its time; its journal is there."""
    trials: dict[str, list[Any]] = field(default_factory=dict)
    """Profile under trial -> [its stamp, verdicts so far]."""
    trusted: dict[str, list[Any]] = field(default_factory=dict)
    """Profile -> the stamp with which it was found fine, or is our own."""
    known: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Interpreter -> the facts of its key when last seen."""
    stale: dict[str, str] = field(default_factory=dict)
    """Interpreter -> why all it had is stale: a sentence."""
    noticed: dict[str, float] = field(default_factory=dict)
    """Digest of a key -> when this node first had it, wall-clock seconds."""
    checked: dict[str, float] = field(default_factory=dict)
    """Operation and dtype -> when its entries were last measured or checked, wall-clock seconds."""
    counts: dict[str, float] = field(default_factory=dict)
    """Totals for the metrics."""
    unpublished: dict[str, str] = field(default_factory=dict)
    """Profile that the store does not have yet -> the interpreter that it was made with."""
    pulled: float = 0.0
    """When the store was last asked."""
    pull_failures: int = 0

    def count(self, name: str, by: float = 1.0) -> None:
        """Add to a total."""
        self.counts[name] = self.counts.get(name, 0.0) + by

    def strike(self, interpreters: Iterable[str]) -> None:
        """Drop the orders that have been measured with each of these."""
        wanted = set(interpreters)
        for wish in [one for one in self.wishes if wanted <= set(self.served.get(subject_of(*one), ()))]:
            self.wishes.remove(wish)
            self.served.pop(subject_of(*wish), None)

    def fade(self, now: float) -> None:
        """Make the counts weigh less with time, once a day. A clock that was set back fades nothing."""
        days = (now - self.faded) / 86400.0
        if not 0 <= days < 1:
            known, self.faded = self.faded > 0, now  # a new memory has nothing that is old
            factor = 0.5 ** (min(days, 365.0) * 86400.0 / HALF_LIFE) if days > 0 and known else 1.0
            self.demand, self.used = _faded(self.demand, factor), _faded(self.used, factor)
            self.attempts = {name: row for name, row in self.attempts.items() if now - row[1] < FORGOTTEN}

    def trim(self) -> None:
        """Keep no more counts than twice those that a day keeps: anybody may leave some."""
        if max(len(self.demand), len(self.used)) > 2 * MOST_DEMAND:
            self.demand, self.used = _faded(self.demand, 1.0), _faded(self.used, 1.0)

    def failed(self, subject: str, now: float, first: float, *, longest: float = LONGEST_DELAY) -> float:
        """Note a failure; returns when to try again: after `first` seconds, four times as long each time."""
        failures = self.attempts.get(subject, [0.0, 0.0])[0] + 1
        again: float = now + min(first * 4.0 ** min(failures - 1, 20.0), longest)
        self.attempts[subject] = [failures, again]
        return again

    def delayed(self, subject: str, now: float) -> bool:
        """Has it failed lately, so that it is not tried again yet?"""
        return now < self.attempts.get(subject, [0.0, 0.0])[1]

    def settle(self, now: float) -> None:
        """After the clock was set: nothing lies further ahead than it can, or it would never come."""
        for row in self.attempts.values():
            row[1] = min(row[1], now + LONGEST_DELAY)
        for times in (self.noticed, self.checked):
            times.update({name: min(then, now) for name, then in times.items()})
        self.pulled = min(self.pulled, now)


def subject_of(operation: str, dtype: str, sizes: Mapping[str, int]) -> str:
    """What the memory calls an operation; without sizes it is meant at all of its own."""
    return str(Operation(name=operation, dtype=dtype, sizes=tuple(sizes.items())))


def _faded(rows: dict[str, list[Any]], factor: float) -> dict[str, list[Any]]:
    """The rows with so much of their weight; the heaviest of them, without those that weigh nothing any more."""
    lighter = {subject: [*row[:3], row[3] * factor] for subject, row in rows.items()}
    ranked = sorted(lighter.items(), key=lambda pair: -pair[1][3])[:MOST_DEMAND]
    return {subject: row for subject, row in ranked if row[3] >= 0.5}
