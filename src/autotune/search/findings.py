"""Evidence from the processes that test one candidate, and what can be told from it. Pure."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from math import exp, inf, log1p, sqrt

import numpy as np

from autotune.bench.noise import is_undisturbed
from autotune.bench.statistics import hodges_lehmann, pair_log_ratios
from autotune.model.measurement import Pair
from autotune.search.machine_states import OCCUPANCY, Capacity, Visit, log_ratios_of, scatter_within
from autotune.search.sequential_test import (
    LEAST_PROCESSES,
    LEAST_PROCESSES_OF_LARGE_GAIN,
    MARGIN,
    capital,
    interval,
    pair_capital,
)

PART_OF_PAIRS = 0.4
"""Part of the capital that bets on pairs: eight that agree then prove a large gain, or seven processes a small one."""
PART_AT_FULL = 0.6
"""Part of the capital that bets at full capacity only: what uses more CPUs gains there, and loses a little without."""
WORTH = 3.0 * MARGIN
"""Gain, in log-ratio, that is worth further processes."""
LEAST_BEFORE_DROPPING = 2
PLAIN_ERRORS = 4.0
"""Standard errors by which a plain loser is worse than that, which a single process at full capacity shows."""
DROP_ERRORS = 2.0
"""Standard errors by which a candidate may be better than it seems when it is dropped."""
USUAL_SCATTER = 0.03
"""Standard deviation between processes that is assumed until there are enough of them to tell, in log-ratio. On two
virtual CPUs, at full capacity: 1.4826 times the median absolute deviation was 0.02 to 0.05 by kind of operation (median
0.035), the standard deviation 0.03 to 0.08."""
TELLING_PROCESSES = 8
"""Processes whose pairs tell how far apart pairs are; later the processes themselves tell."""
USUAL_WEIGHT = 2
"""Processes that this assumption counts for."""


class Findings:
    """Evidence from the processes of one candidate: log-ratios, one for each process."""

    def __init__(
        self, visits: Sequence[Visit], explored: Sequence[Visit], capacity: Capacity, *, fewer_cpus: bool
    ) -> None:
        """Sort the pairs of its test, and of its exploration, by the capacity that they met."""

        def at_full(visits: Iterable[Visit]) -> list[tuple[Pair, ...]]:
            return [visit.at_full(capacity, fewer_cpus=fewer_cpus) for visit in visits]

        def at_reduced(visits: Iterable[Visit]) -> list[float]:
            return log_ratios_of(visit.at_reduced(capacity) for visit in visits)

        full, everything = at_full(visits), [visit.at_any_capacity() for visit in visits]
        timed = [visit for visit in (*explored, *visits) if visit.pairs]
        self.fewer_cpus = fewer_cpus
        self.full_share = capacity.full_share
        """Part of the time that this machine was at full capacity; None if it was never probed."""
        self.full = log_ratios_of(full)
        """At full capacity."""
        self.reduced = at_reduced(visits)
        """While CPUs were missing."""
        self.reduced_or_explored = self.reduced or at_reduced(explored)
        """The same; those of exploration where the test met no reduced capacity: they may speak against it."""
        self.everything = log_ratios_of(everything)
        """At whatever capacity."""
        self.full_pairs, self.everything_pairs = _log_ratios(full), _log_ratios(everything)
        """`full` and `everything`, one value for each pair."""
        bets = [visit.at_full_when_measured(fewer_cpus=fewer_cpus) for visit in visits]
        self._full_bets = [(self.full, self.full_pairs)]
        """(log-ratios, pair log-ratios) at full capacity: by the present threshold, and by that of each process."""
        if bets != full:
            self._full_bets.append((log_ratios_of(bets), _log_ratios(bets)))
        self.all_full = [*log_ratios_of(at_full(explored)), *self.full]
        self.all_everything = [*log_ratios_of(visit.at_any_capacity() for visit in explored), *self.everything]
        """`full` and `everything`, with exploration's processes."""
        self.at_best = [visit.at_best(capacity) for visit in timed]
        """Of all processes, exploration's too: what they may be at full capacity."""
        self.pair_error = _pair_error([visit.at_any_capacity() for visit in timed[:TELLING_PROCESSES]])
        """Standard error of one process's log-ratio by the scatter of its pairs."""
        stated = full if self.rests_on_full else everything
        self.pairs = [pair for pairs in stated for pair in pairs]
        """Those that the values of the test rest on."""
        typical = full if len(self.full) >= LEAST_BEFORE_DROPPING else stated
        self.typical_pairs = [pair for pairs in typical for pair in pairs if is_undisturbed(pair)]
        """Those that means and tails are judged by: at full capacity where there are some, since what a candidate loses
        without it is weighed in the expected log-ratio; undisturbed ones, since interference only ever slows down."""

    @cached_property
    def rests_on_full(self) -> bool:
        """Are there enough processes at full capacity for the values that the entry states?"""
        enough = len(self.full) >= LEAST_BEFORE_DROPPING and len(self.full_pairs) >= LEAST_PROCESSES
        return self.fewer_cpus or enough

    @property
    def values(self) -> list[float]:
        """The values that the entry states: at full capacity, where there are enough of them."""
        return self.full if self.rests_on_full else self.everything

    @property
    def processes(self) -> int:
        """Number of processes that the test rests on: of a candidate that uses all CPUs those at any capacity."""
        return len(self.full if self.fewer_cpus else self.everything)

    @property
    def log_ratio(self) -> float | None:
        """Estimate at full capacity; None without a value."""
        return hodges_lehmann(self.values) if self.values else None

    @property
    def expected_log_ratio(self) -> float | None:
        """Expected log-ratio over the states that this machine was in, each weighted by its part of the time.

        None where CPUs were missing for a time that counts, and it was timed at full capacity only.
        """
        return self._weigh_states(self.reduced)

    def _weigh_states(self, reduced: Sequence[float]) -> float | None:
        if not self.full or self.full_share is None:
            return self.log_ratio
        if not reduced:
            return self.log_ratio if 1.0 - self.full_share < OCCUPANCY else None
        return self.full_share * hodges_lehmann(self.full) + (1.0 - self.full_share) * hodges_lehmann(reduced)

    def capital(self, bound: float) -> float:
        """Capital won against the hypothesis that the candidate is not faster than `bound`.

        Of a candidate that uses at least as many CPUs as the default a weighted mean of four capitals: of processes and
        of pairs, each at full capacity and at any. Any of them is a reason to choose it. Of a candidate that uses fewer
        only the first counts: the state that a pair met is never certain, and lost capacity speaks for it.

        Full capacity may turn out to be higher later. A capital whose bets are chosen anew is none that Ville's
        inequality holds for; the smaller one, of it and of that whose bets stay as they were placed, is.
        """
        return min(self._capital(bound, *bets) for bets in self._full_bets)

    def _capital(self, bound: float, values: Sequence[float], pairs: Sequence[float]) -> float:
        full = capital(values, bound)
        if self.fewer_cpus:
            return full

        def of_both(of_processes: float, of_pairs: float) -> float:
            return (1.0 - PART_OF_PAIRS) * of_processes + PART_OF_PAIRS * of_pairs

        at_any = of_both(capital(self.everything, bound), pair_capital(self.everything_pairs, bound))
        at_full = of_both(full, pair_capital(pairs, bound))
        return PART_AT_FULL * at_full + (1.0 - PART_AT_FULL) * at_any

    @cached_property
    def interval(self) -> tuple[float, float, float] | None:
        """(ratio, low, high); None where processes, or their pairs, are too few."""
        pairs = self.full_pairs if self.rests_on_full else self.everything_pairs
        enough = self.processes >= LEAST_PROCESSES_OF_LARGE_GAIN
        return interval(self.values, pairs, self.capital) if enough else None

    def __str__(self) -> str:
        """Return the speed-up with its interval, as the end of a sentence."""
        if self.interval is None:
            return "too few processes to state a speed-up."
        ratio, low, high = self.interval
        return f"speed-up {1 / ratio:.3f}, 95 % interval {1 / high:.3f} to {1 / low:.3f}."

    def is_plain_loser(self, bound: float) -> bool:
        """Is it so much slower in its only process at full capacity that no further one is needed?"""
        return len(self.full) == 1 and PLAIN_ERRORS * self._error(self.full) - self.full[0] < _worthwhile(bound)

    def gains_little(self, bound: float) -> bool:
        """Is the upper bound of the gain too small to be worth further processes?"""
        return self.is_plain_loser(bound) or self.most_gain(DROP_ERRORS) < _worthwhile(bound)

    def most_gain(self, errors: float) -> float:
        """Upper bound of the gain, in log-ratio: `errors` standard errors above the estimate; infinite if unknown.

        A candidate that uses at least as many CPUs as the default is not given up before it was seen at full capacity,
        unless it would gain nothing if all CPUs that were missing, and all time that others took, had been its own. Of
        one that uses fewer the processes at any capacity tell as well: lost capacity and interference speak for it, so
        that what gains nothing with them gains nothing without.
        """

        def most(values: Sequence[float]) -> float:
            return inf if len(values) < LEAST_BEFORE_DROPPING else errors * self._error(values) - hodges_lehmann(values)

        if self.fewer_cpus:
            return min(most(self.all_full), most(self.all_everything))
        if len(self.all_full) < LEAST_BEFORE_DROPPING and len(self.all_everything) < LEAST_PROCESSES:
            return most(self.at_best)
        values = self.all_full if self.rests_on_full else self.all_everything
        at_full = errors * self._error(values) - hodges_lehmann(self.all_full) if self.all_full else -inf
        return max(most(values), at_full)

    @property
    def limit_at_full(self) -> float | None:
        """Speed-up that missing CPUs and other load can hide, where no undisturbed pair met full capacity.

        None if that is little.
        """
        if self.fewer_cpus or self.all_full or not self.at_best:
            return None
        most = DROP_ERRORS * self._error(self.at_best) - hodges_lehmann(self.at_best)
        return exp(most) if most > WORTH else None

    def _error(self, values: Sequence[float]) -> float:
        """Standard error of an estimate from these processes.

        Until they can tell, they are taken to differ by the usual scatter, or by what that of their pairs explains.
        """
        assumed = max(USUAL_SCATTER, self.pair_error)
        apart = USUAL_WEIGHT * assumed**2 + float(np.sum((np.asarray(values) - np.mean(values)) ** 2))
        return sqrt(apart / (USUAL_WEIGHT + len(values) - 1) / len(values))

    def objection(self, bound: float) -> str | None:
        """Return the reason to refuse a candidate whose paired medians are proved faster; None without.

        The mean and the 90th percentile are tested together with the paired medians: with spinning BLAS threads and a
        busy neighbour the median said 0.98, the mean 1.36 and the 90th percentile 1.70.
        """
        expected = self._weigh_states(self.reduced_or_explored)
        lost = 1.0 - (1.0 if self.full_share is None else self.full_share)
        if expected is not None and lost >= OCCUPANCY and expected >= bound:
            return (
                f"Faster at full capacity, but its loss without it outweighs that: capacity is missing {lost:.0%} of "
                f"the time, and the expected speed-up is {exp(-expected):.3f}."
            )
        if not self.typical_pairs:
            return None
        choice = np.asarray([pair.candidate_seconds for pair in self.typical_pairs])
        default = np.asarray([pair.default_seconds for pair in self.typical_pairs])
        slack = exp(bound + log1p(MARGIN))
        means = float(choice.mean() / default.mean())
        if means > slack:
            return f"Faster in most pairs, but slower on average: the speed-up of the means is {1 / means:.3f}."
        tails = float(np.quantile(choice, 0.9) / np.quantile(default, 0.9))
        if tails > slack * (1.0 + MARGIN):
            return f"Faster in most pairs, but with slow ones: the speed-up at the 90th percentile is {1 / tails:.3f}."
        return None


def _worthwhile(bound: float) -> float:
    """Return the gain, in log-ratio, below which a candidate is not worth further processes."""
    return WORTH - bound - log1p(MARGIN)


def _log_ratios(processes: Iterable[Sequence[Pair]]) -> list[float]:
    """Return the log-ratio of each pair."""
    return [value for pairs in processes for value in pair_log_ratios(pairs)]


def _pair_error(processes: Sequence[Sequence[Pair]]) -> float:
    scatter = scatter_within(map(pair_log_ratios, processes))
    return 0.0 if scatter is None else scatter / sqrt(sum(map(len, processes)) / len(processes))
