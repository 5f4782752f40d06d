"""Capacity of the machine while pairs were timed: which pairs count, and for which state. Pure.

A virtual machine has two states that last seconds each: all its CPUs are there, or some are not. The guest's counters
do not show it; a probe of parallel work next to each pair does. Interference by other programs is counted apart.
Both take CPUs away, so they have a direction: they never speak for a candidate that uses at least as many CPUs as the
default, and they may speak for one that uses fewer.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import inf, log, log1p, sqrt
from statistics import quantiles

import numpy as np

from autotune.bench.noise import is_undisturbed
from autotune.bench.statistics import hodges_lehmann, pair_log_ratios
from autotune.model.measurement import Pair, Session

FULL_PART = 0.7
"""Of the way from one CPU to the best capacity: from there on a pair counts as timed at full capacity. Of two CPUs the
probe says about 1 or about 2, of two hardware threads of one core about 1 or 1.3."""
BEST_OF = 20
"""The best capacity is the largest but one of every 20 probes: a single probe may be too high."""
LEAST_PART = 0.25
"""Of the way from one CPU to all usable ones: what delivers less is not taken for the best state of any machine. Two
hardware threads of one core deliver 1.2 to 1.4 CPUs' work."""
LATEST = 3
"""The present state is that of the median of 3 probes: a burst may hit one of them."""
MOST_TAKEN = 0.9
"""Largest share of the CPUs' time that others are taken to have had: a pair that was timed had some of it."""
OCCUPANCY = 0.1
"""Part of the time from which a state counts."""
DISTURBED = 0.5
"""Part of the pairs that others disturbed from which the reason of an entry says so."""


@dataclass(kw_only=True)
class Capacity:
    """Capacity of this machine over a calibration, as far as it was probed."""

    usable_cpus: int
    known_best: float | None = None
    """Full capacity as the self-test, or an earlier calibration, saw it."""
    probes: list[float] = field(default_factory=list)
    """Of every pair, in order."""
    pairs: int = 0
    disturbed: int = 0
    """Pairs, of these, during which others took CPU time."""
    _count: int = 0
    _best: float | None = None
    _share: float | None = None
    """Best capacity of these probes, and share of the time at it."""

    def add(self, session: Session) -> None:
        """Take in the probes of one process."""
        for pair in (pair for measurement in session.measurements for pair in measurement.pairs):
            self.pairs += 1
            self.disturbed += not is_undisturbed(pair)
            if pair.capacity is not None:
                self.probes.append(min(pair.capacity, float(self.usable_cpus)))

    @property
    def best(self) -> float | None:
        """Full capacity: what this machine reaches in its best state; None if it was never probed."""
        self._update()
        return self._best

    @property
    def lasting(self) -> float | None:
        """Full capacity to be kept for later calibrations; None if none is known.

        Where this one never reached what an earlier one saw, half of the difference is forgotten: a machine may lack
        CPUs for all of a calibration, but what was wrong, or is no longer true, must not stay.
        """
        seen, earlier = self._best_seen(), self.known_best
        if seen is None or earlier is None or len(self.probes) < BEST_OF or seen >= earlier:
            return self.best
        return (seen + earlier) / 2

    @property
    def full_share(self) -> float | None:
        """Part of the time at full capacity; None if it was never probed."""
        self._update()
        return self._share

    @property
    def is_full_now(self) -> bool:
        """Are all CPUs there at this moment, as far as the latest probes tell? True if it was never probed."""
        latest, threshold = sorted(self.probes[-LATEST:]), self.full_capacity_threshold
        return threshold is None or latest[len(latest) // 2] >= threshold

    @property
    def full_capacity_threshold(self) -> float | None:
        """Capacity from which a pair counts as timed at full capacity, as known now; None if it was never probed."""
        return None if self.best is None else _full_capacity_threshold(self.best)

    def missing(self, pair: Pair, cpus: float = inf) -> float:
        """Return the log of the factor by which missing CPUs can have slowed down a side that uses `cpus`."""
        best = self.best
        if pair.capacity is None or best is None:
            return 0.0
        return max(0.0, log(min(best, cpus) / max(pair.capacity, 1.0)))

    def is_full(self, pair: Pair) -> bool:
        """Was the pair timed at full capacity? Without a probe it counts as such."""
        return _reaches(pair, self.full_capacity_threshold)

    def _update(self) -> None:
        count = len(self.probes)
        if self._count != count and (seen := self._best_seen()) is not None:
            best = max(seen, self.known_best or 0.0, 1.0 + LEAST_PART * (self.usable_cpus - 1))
            share = sum(probe >= _full_capacity_threshold(best) for probe in self.probes) / count
            self._count, self._best, self._share = count, best, share

    def _best_seen(self) -> float | None:
        if len(self.probes) < BEST_OF:
            return max(self.probes, default=None)
        # the 95 % quantile, which one probe that says too much does not move
        return quantiles(self.probes, n=BEST_OF)[-1]

    def __str__(self) -> str:
        """Return a sentence where there is something to say."""
        lost = 0.0 if self.full_share is None else 1.0 - self.full_share
        disturbed = self.disturbed / self.pairs if self.pairs else 0.0
        words = [
            f"full capacity was missing {lost:.0%} of the time" if lost >= OCCUPANCY else "",
            f"others disturbed {disturbed:.0%} of the pairs" if disturbed >= DISTURBED else "",
        ]
        text = " and ".join(word for word in words if word)
        return f"{text.capitalize()}." if text else ""


def _full_capacity_threshold(best: float) -> float:
    """Return the capacity from which a pair counts as timed at full capacity."""
    return 1.0 + FULL_PART * (best - 1.0) - 1e-9


def _reaches(pair: Pair, threshold: float | None) -> bool:
    return pair.capacity is None or threshold is None or pair.capacity >= threshold


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One fresh process's pairs of one candidate."""

    pairs: tuple[Pair, ...]
    elapsed: float = 0.0
    """Seconds of the calibration when it ended."""
    process_pairs: tuple[Pair, ...] = ()
    """Pairs of all candidates that the process timed, this one's among them; empty where it was the only one."""
    full_capacity_threshold: float | None = None
    """Capacity from which a pair counts as timed at full capacity, by the probes before the process, or by its own if
    these were the first; None without any."""

    def at_full(self, capacity: Capacity, *, fewer_cpus: bool) -> tuple[Pair, ...]:
        """Select the undisturbed pairs at full capacity; none where the candidate uses fewer CPUs and there is but one.

        Where no capacity was ever probed, as next to a whole command, disturbed pairs have to do.
        """
        return self._at_full(capacity.full_capacity_threshold, fewer_cpus=fewer_cpus)

    def at_full_when_measured(self, *, fewer_cpus: bool) -> tuple[Pair, ...]:
        """Select the same by what was known when the process began; later probes do not change this."""
        return self._at_full(self.full_capacity_threshold, fewer_cpus=fewer_cpus)

    def _at_full(self, threshold: float | None, *, fewer_cpus: bool) -> tuple[Pair, ...]:
        if threshold is None and not fewer_cpus:
            return self.at_any_capacity()
        quiet = tuple(pair for pair in self.pairs if _reaches(pair, threshold) and is_undisturbed(pair))
        return quiet if len(quiet) >= min(1 + fewer_cpus, len(self.pairs)) else ()

    def at_full_or_disturbed(self, capacity: Capacity) -> tuple[Pair, ...]:
        """Select the undisturbed pairs at full capacity, or all at full capacity where there are none."""
        return _quiet_or_all([pair for pair in self.pairs if capacity.is_full(pair)])

    def at_reduced(self, capacity: Capacity) -> tuple[Pair, ...]:
        """Select the pairs timed while CPUs were missing."""
        return _quiet_or_all([pair for pair in self.pairs if not capacity.is_full(pair)])

    def at_any_capacity(self) -> tuple[Pair, ...]:
        """Select the undisturbed pairs, or all where there are none."""
        return _quiet_or_all(self.pairs)

    def at_best(self, capacity: Capacity) -> float:
        """Return the best log-ratio at full capacity of a candidate with at least as many CPUs as the default.

        Each pair counts as if all CPUs that were missing, and all time that others took, had been the candidate's.
        """
        values = (log_ratio([pair]) - capacity.missing(pair) - _lost_to_others(pair) for pair in self.at_any_capacity())
        return hodges_lehmann(list(values))

    def log_ratio_at_full_capacity(self, capacity: Capacity, *, cpus: int, default_cpus: int) -> float:
        """Return the log-ratio predicted for full capacity: each side is taken to have lost those CPUs that it uses."""
        return hodges_lehmann(
            [
                log_ratio([pair]) - capacity.missing(pair, cpus) + capacity.missing(pair, default_cpus)
                for pair in self.at_any_capacity()
            ]
        )


def _lost_to_others(pair: Pair) -> float:
    """Return the log of the factor by which others can have slowed down a side that uses all CPUs."""
    return 0.0 if is_undisturbed(pair) else -log1p(-min(pair.interference or 0.0, MOST_TAKEN))


def _quiet_or_all(pairs: Sequence[Pair]) -> tuple[Pair, ...]:
    """Select the undisturbed pairs, or all where there are none."""
    return tuple(pair for pair in pairs if is_undisturbed(pair)) or tuple(pairs)


def log_ratio(pairs: Sequence[Pair]) -> float:
    """Return the log-ratio of one process: the Hodges-Lehmann estimate of its pairs."""
    return hodges_lehmann(pair_log_ratios(pairs))


def scatter_within(groups: Iterable[Sequence[float]]) -> float | None:
    """Return the standard deviation of one value within its group; None where no group has two."""
    apart: list[float] = []
    for group in groups:
        if len(group) > 1:
            values = np.asarray(group)
            # Bessel's correction: deviations from a centre of the same values are too small
            bias = sqrt(len(values) / (len(values) - 1))
            apart += list(np.abs(values - hodges_lehmann(list(values))) * bias)
    # 1 / Phi^-1(3/4) = 1.4826: from the median absolute deviation to a normal standard deviation
    return 1.4826 * float(np.median(apart)) if apart else None


def log_ratios_of(visits: Iterable[Sequence[Pair]]) -> list[float]:
    """Return the log-ratio of each process that says something."""
    return [log_ratio(pairs) for pairs in visits if pairs]
