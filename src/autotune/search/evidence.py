"""Evidence that exploration gathers on the configurations of one size: log-ratios to the default of the process."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from math import inf, log, log1p, sqrt
from statistics import fmean, median
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from autotune.bench.noise import is_undisturbed
from autotune.bench.statistics import hodges_lehmann
from autotune.model.configuration import DEFAULT, Configuration
from autotune.model.measurement import Failure, FailureKind, Measurement, Pair, Session
from autotune.model.operation import Operation
from autotune.search.machine_states import Capacity, Visit, scatter_within
from autotune.search.sequential_test import MARGIN
from autotune.search.space import parsimony

SURE = 2.0
"""Standard errors by which a configuration may be better or worse than it seems."""
LEAST_PROCESS_SCATTER = 0.004
"""Standard deviation between processes that is assumed at least: memory layout and the like, in log-ratio."""
OFTEN = 16
"""Pairs that are enough for a configuration to lead, however often others were measured."""
FAR = 0.12
"""Log-ratio above which a single pair tells that a configuration is slower, unless lost CPUs or others explain it."""
LEAST_SCATTER = 0.003
"""Of pairs, in log-ratio."""
EFFICIENCY = 1.047
"""Variance of the Hodges-Lehmann estimate over that of the mean, for normal errors: pi / 3."""
CLOCK_STOOD = Failure(kind=FailureKind.PROTOCOL, reason="The clock did not move while it ran.")


class _Summary(NamedTuple):
    """Estimate of a configuration, and what it rests on."""

    log_ratio: float
    best_pair: float
    """Lowest log-ratio of all its pairs."""
    pairs: int
    processes: int
    reduced: bool
    """Were CPUs missing in all of them?"""


@dataclass(kw_only=True)
class TrialEvidence:
    """Pairs of every configuration that was tried at one size, process by process."""

    usable_cpus: int
    """A configuration that uses more may be measured, for people to see, but never leads."""
    default_cpus: int = 1
    """CPUs that plain NumPy uses."""
    capacity: Capacity | None = None
    """Of this machine; None where it plays no part."""
    is_large: bool = False
    """Is the space too large to be measured whole? Then processes tell how much they differ."""
    visits: dict[Configuration, list[Visit]] = field(default_factory=lambda: defaultdict(list))
    default_seconds: list[float] = field(default_factory=list)
    failures: dict[Configuration, Failure] = field(default_factory=dict)
    """Why a configuration, or the default, is out for good."""
    unreached: Failure | None = None
    """Why the default has no timings, where another time it may have some."""
    cpu_seconds: dict[Configuration, list[float]] = field(default_factory=lambda: defaultdict(list))
    """CPU time of a run, of each process that measured it; empty where it is not measured."""
    retained_bytes: dict[Configuration, int] = field(default_factory=dict)
    """Bytes that a process holds with a configuration beyond those of the default; the largest of all processes."""
    _cache: dict[tuple[Configuration, float | None], _Summary] = field(default_factory=dict)
    """By full capacity, too, which decides which pairs count and is learned for as long as the calibration lasts."""
    _pair_scatter_cache: float | None = None
    _shared: float | None = None
    _process_scatter_cache: float | None = None

    def add(self, measurements: Iterable[Measurement], elapsed: float = 0.0) -> None:
        """Take in what one process measured of this operation, the default first."""
        default, *candidates = measurements
        if not has_timings(default):
            if default.failure is None or default.failure.final:
                self.failures[DEFAULT] = default.failure or CLOCK_STOOD
            self.unreached = default.failure
            return
        self.default_seconds.extend(default.seconds)
        process_pairs = tuple(
            pair for measurement in candidates if has_timings(measurement) for pair in measurement.pairs
        )
        for measurement in (default, *candidates):
            if measurement.cpu_seconds is not None:
                self.cpu_seconds[measurement.configuration].append(measurement.cpu_seconds)
        for measurement in candidates:
            if has_timings(measurement):
                if measurement.pairs:
                    visit = Visit(pairs=measurement.pairs, elapsed=elapsed, process_pairs=process_pairs)
                    self.visits[measurement.configuration].append(visit)
                    if measurement.resident_bytes is not None and default.resident_bytes is not None:
                        before = self.retained_bytes.get(measurement.configuration, 0)
                        more = measurement.resident_bytes - default.resident_bytes
                        self.retained_bytes[measurement.configuration] = max(before, more)
            elif measurement.failure is None or measurement.failure.final:
                self.failures[measurement.configuration] = measurement.failure or CLOCK_STOOD
        self._forget()

    def learn(self, configuration: Configuration, visits: Iterable[Visit]) -> None:
        """Add the processes of a configuration's test that are new, so that a lead by chance becomes unlikely."""
        learned = set(map(id, self.visits[configuration]))
        self.visits[configuration].extend(visit for visit in visits if id(visit) not in learned)
        self._forget()

    def _forget(self) -> None:
        self._cache.clear()
        self._pair_scatter_cache = self._shared = self._process_scatter_cache = None

    @property
    def candidates(self) -> list[Configuration]:
        """The configurations with timings that never failed and fit the allocation."""
        return [each for each in self.visits if each not in self.failures and each.cpus <= self.usable_cpus]

    def estimate(self, configuration: Configuration) -> float:
        """Return the log-ratio to the default, at full capacity where it was seen."""
        return self._summary(configuration).log_ratio

    def prediction(self, configuration: Configuration) -> float:
        """Return the log-ratio that ranks configurations for further timings.

        In a large space it is the one predicted for full capacity where only reduced capacity was seen.
        """
        if not self.is_large or self.capacity is None or not self._summary(configuration).reduced:
            return self.estimate(configuration)
        cpus = {"cpus": configuration.cpus, "default_cpus": self.default_cpus}
        return median(visit.log_ratio_at_full_capacity(self.capacity, **cpus) for visit in self.visits[configuration])

    def conservative(self, configuration: Configuration) -> float:
        """Return the larger of the estimate and the prediction, so that missing CPUs never speak for a choice."""
        return max(self.estimate(configuration), self.prediction(configuration))

    def is_pessimistic(self, configuration: Configuration) -> bool:
        """Was it timed only while CPUs were missing, although it uses no fewer than the default?"""
        return self._summary(configuration).reduced and configuration.cpus >= self.default_cpus

    def at_best(self, configuration: Configuration) -> float:
        """Return the log-ratio that a configuration with at least the default's CPUs may have at full capacity."""
        assert self.capacity is not None
        return min(visit.at_best(self.capacity) for visit in self.visits[configuration])

    def is_optimistic(self, configuration: Configuration) -> bool:
        """Was it timed only while CPUs were missing, and uses fewer than the default?"""
        return self._summary(configuration).reduced and configuration.cpus < self.default_cpus

    def rests_on_little(self, configuration: Configuration) -> bool:
        """Was it only timed while others disturbed or CPUs were missing, and may it be faster than the default?

        With fewer CPUs than the default a second disturbed pair is enough, because disturbances favour it.
        """
        pairs = [pair for visit in self.visits[configuration] for pair in visit.pairs]
        if self.capacity is None or self.capacity.best is None or self._at_full(pairs):
            return False
        if len(pairs) == 1 and self.estimate(configuration) <= FAR:
            return True
        return configuration.cpus >= self.default_cpus and self.at_best(configuration) < -log1p(MARGIN)

    def doubt(self, configuration: Configuration) -> float:
        """Standard error of the estimate."""
        summary = self._summary(configuration)
        # two components of variance: between pairs of a process, and between processes
        pair_variance, process_scatter = EFFICIENCY * self._pair_scatter() ** 2, self._process_scatter()
        return sqrt(pair_variance / summary.pairs + process_scatter**2 / summary.processes)

    def upper(self, configuration: Configuration) -> float:
        """Return an upper bound of its log-ratio; infinite with a single pair."""
        if self.pairs(configuration) < 2:
            return inf
        return self.estimate(configuration) + SURE * self.doubt(configuration)

    def lower(self, configuration: Configuration) -> float:
        """Return a lower bound of its log-ratio."""
        return self.estimate(configuration) - SURE * self.doubt(configuration)

    def best_pair(self, configuration: Configuration) -> float:
        """Lowest log-ratio of all its pairs."""
        return self._summary(configuration).best_pair

    def is_known(self, configuration: Configuration, pairs: int) -> bool:
        """Does its estimate rest on two processes and enough pairs: at full capacity, where it was seen?"""
        summary = self._summary(configuration)
        return summary.processes > 1 and summary.pairs >= pairs

    def pairs(self, configuration: Configuration) -> int:
        """Pairs in which it was timed."""
        return sum(len(visit.pairs) for visit in self.visits[configuration])

    def leader(self, tie: float) -> Configuration:
        """Return the best configuration; of those within `tie` of the best (in log-ratio) the one using least.

        The default takes part, at a log-ratio of 0. What was measured much less often than others does not.
        A thriftier one has to be within the tie even if it is slower than it seems by its standard error: of
        many that seem equal, the thriftiest is too often one that was lucky.
        """
        estimates = {choice: self.conservative(choice) for choice in self._well_known()} | {DEFAULT: 0.0}
        first = min(estimates, key=estimates.__getitem__)
        best = estimates[first] + tie
        if estimates[DEFAULT] <= best:
            return DEFAULT
        del estimates[DEFAULT]
        equal = [each for each in estimates if each == first or estimates[each] + self.doubt(each) <= best]
        return min(equal, key=lambda choice: (parsimony(choice), estimates[choice]))

    def runner_up(self, tried: Collection[Configuration]) -> Configuration:
        """Return the best that was not put to the test yet; the default where nothing is much better."""
        rest = [choice for choice in self.candidates if choice not in tried]
        best = min(rest, key=self.conservative, default=DEFAULT)
        return best if best != DEFAULT and self.conservative(best) < -2 * log1p(MARGIN) else DEFAULT

    def rival(self, tried: Collection[Configuration]) -> Configuration:
        """Return the configuration with the best upper bound of those that were not tested; else the default."""
        rest = [choice for choice in self.candidates if choice not in tried]
        return min(rest, key=lambda each: self.conservative(each) + self.doubt(each), default=DEFAULT)

    def cpu_ratio(self, configuration: Configuration) -> float:
        """Return the CPU seconds over the default's, in log-ratio.

        As they were measured; else by the CPUs that both keep busy meanwhile: threads that wait spin.
        """
        own, default = (self.cpu_seconds.get(each, ()) for each in (configuration, DEFAULT))
        if own and default:
            return log(median(own) / median(default))
        return log(configuration.cpus / self.default_cpus) + self.estimate(configuration)

    def thriftiest(self, slack: float) -> Configuration:
        """Return the configuration of fewest CPU seconds, of those within `slack` of the fastest (in log-ratio)."""
        estimates = {choice: self.estimate(choice) for choice in self._well_known()} | {DEFAULT: 0.0}
        fast = [choice for choice, value in estimates.items() if value <= min(estimates.values()) + slack]
        return min(fast, key=lambda each: (0.0 if each.is_default else self.cpu_ratio(each), parsimony(each)))

    def safe_threads(self, slack: float) -> tuple[int, ...]:
        """Return the thread counts, set alone, that were slower than the default by `slack` in log-ratio at most."""
        alone = {choice.only_blas_threads: self.upper(choice) for choice in self.candidates}
        return tuple(sorted(count for count, upper in alone.items() if count is not None and upper <= slack))

    def _well_known(self) -> list[Configuration]:
        """Return the candidates measured half as often as any, or often: of the others only the lucky would lead."""
        most = min(2 * OFTEN, max(map(self.pairs, self.candidates), default=0))
        return [choice for choice in self.candidates if 2 * self.pairs(choice) >= most]

    def _summary(self, configuration: Configuration) -> _Summary:
        key = configuration, None if self.capacity is None else self.capacity.best
        if key not in self._cache:
            ratios, reduced = self._log_ratios(configuration)
            pooled = [value for values in ratios for value in values]
            self._cache[key] = _Summary(hodges_lehmann(pooled), min(pooled), len(pooled), len(ratios), reduced)
        return self._cache[key]

    def _log_ratios(self, configuration: Configuration) -> tuple[list[list[float]], bool]:
        """Return the log-ratios of the pairs that count, process by process, and whether CPUs were missing in all.

        Ratios are to the median of the default's times in the process, corrected by the shared part of the adjacent
        default's deviation (control variate).
        """
        groups, reduced = self._groups(configuration)
        shared = self._shared_part()
        return [
            [_controlled_time(pair, shared) - (1.0 - shared) * centre for pair in pairs] for pairs, centre in groups
        ], reduced

    def _groups(self, configuration: Configuration) -> tuple[list[tuple[Sequence[Pair], float]], bool]:
        """Return the pairs that count and the default's centre, process by process; were CPUs missing in all?"""
        visits = self.visits[configuration]
        if self.capacity is None:
            return [(visit.pairs, _centre(visit.process_pairs or visit.pairs)) for visit in visits], False
        fewer_cpus = configuration.cpus < self.default_cpus
        full = [visit.at_full(self.capacity, fewer_cpus=fewer_cpus) for visit in visits]
        if not any(full):
            full = [visit.at_full_or_disturbed(self.capacity) for visit in visits]
        if any(full):
            counted = [(pairs, visit.process_pairs) for pairs, visit in zip(full, visits, strict=True) if pairs]
            return [(pairs, _centre(self._at_full(others) or pairs)) for pairs, others in counted], False
        return [(visit.pairs, _centre(visit.process_pairs or visit.pairs)) for visit in visits], True

    def _at_full(self, pairs: Sequence[Pair]) -> list[Pair]:
        assert self.capacity is not None
        return [pair for pair in pairs if self.capacity.is_full(pair) and is_undisturbed(pair)]

    def _shared_part(self) -> float:
        """Return the part of the default's deviations that a candidate timed next to it shares, from 0 to 1.

        The whole machine's slow-downs are shared, a burst that hits one of two samples is not. It is the slope of least
        absolute deviations (Boscovich), a weighted median, of candidates' over the default's deviations within each
        process: the coefficient of a control variate. Until enough pairs tell, all is taken to be shared.
        """
        if self._shared is None:
            processes = [visit.pairs for visits in self.visits.values() for visit in visits]
            default = _deviations([[pair.default_seconds for pair in pairs] for pairs in processes])
            candidate = _deviations([[pair.candidate_seconds for pair in pairs] for pairs in processes])
            varied = default != 0.0
            self._shared = 1.0
            if len(default) >= OFTEN and varied.any():
                slopes, weights = candidate[varied] / default[varied], np.abs(default[varied])
                order = np.argsort(slopes)
                reached = np.cumsum(weights[order])
                self._shared = float(np.clip(slopes[order][np.searchsorted(reached, reached[-1] / 2)], 0.0, 1.0))
        return self._shared

    def _pair_scatter(self) -> float:
        """Return the standard deviation of one pair's log-ratio, of all together."""
        if self._pair_scatter_cache is None:
            shared = self._shared_part()
            visits = (visit for visits in self.visits.values() for visit in visits)
            scatter = scatter_within([_controlled_time(pair, shared) for pair in visit.pairs] for visit in visits)
            self._pair_scatter_cache = LEAST_PROCESS_SCATTER if scatter is None else max(LEAST_SCATTER, scatter)
        return self._pair_scatter_cache

    def _process_scatter(self) -> float:
        """Return the standard deviation between processes beyond what the scatter of their pairs explains."""
        if not self.is_large:
            return LEAST_PROCESS_SCATTER
        if self._process_scatter_cache is None:
            self._process_scatter_cache = LEAST_PROCESS_SCATTER
            processes = [ratios for choice in self.visits if len(ratios := self._log_ratios(choice)[0]) > 1]
            values = [[hodges_lehmann(pairs) for pairs in ratios] for ratios in processes]
            scatter = scatter_within(values)
            if scatter is not None and sum(map(len, values)) >= OFTEN:
                fewer = fmean(1 / len(pairs) for ratios in processes for pairs in ratios)
                explained = EFFICIENCY * self._pair_scatter() ** 2 * fewer
                self._process_scatter_cache = max(LEAST_PROCESS_SCATTER, sqrt(max(0.0, scatter**2 - explained)))
        return self._process_scatter_cache


def _controlled_time(pair: Pair, shared: float) -> float:
    """Return the log time of the candidate, less that part of the default's."""
    return log(pair.candidate_seconds) - shared * log(pair.default_seconds)


def _centre(pairs: Sequence[Pair]) -> float:
    """Return the default's log time in one process."""
    return log(median(pair.default_seconds for pair in pairs))


def _deviations(processes: Iterable[Sequence[float]]) -> npt.NDArray[np.float64]:
    """Return by how much log times differ from the centre of their process."""
    logs = (np.log(seconds) for seconds in processes)
    return np.concatenate([values - np.median(values) for values in logs] or [np.zeros(0)])


def has_timings(measurement: Measurement) -> bool:
    """Are there timings, all of them finite and above zero?"""
    pairs = (value for pair in measurement.pairs for value in (pair.default_seconds, pair.candidate_seconds))
    seconds = (*measurement.seconds, *pairs)
    return measurement.failure is None and bool(seconds) and all(0.0 < value < inf for value in seconds)


def by_operation(session: Session) -> dict[Operation, list[Measurement]]:
    """Return a session's measurements, operation by operation; the default first in each."""
    grouped: dict[Operation, list[Measurement]] = {}
    for measurement in session.measurements:
        grouped.setdefault(measurement.operation, []).append(measurement)
    return grouped
