"""What all sessions together say about the configurations of one operation. Pure but for its growing."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf

from autotune.bench.statistics import pair_log_ratios, upper_bound
from autotune.model.configuration import DEFAULT, Configuration
from autotune.model.measurement import Failure, FailureKind, Measurement
from autotune.model.operation import Operation
from autotune.search.session_effects import Additive
from autotune.search.space import parsimony

STATEMENT_ERROR = 0.025
"""One-sided, for every statement that the evidence makes."""

CLOCK_STOOD = Failure(kind=FailureKind.PROTOCOL, reason="The clock did not move while it ran.")


@dataclass(kw_only=True)
class Evidence:
    """Log-ratios to the default, session by session."""

    operation: Operation
    usable_cpus: int
    """A configuration that uses more may be measured, for people to see, but never leads."""
    sessions: dict[Configuration, list[list[float]]] = field(default_factory=lambda: defaultdict(list))
    """For each configuration and session the log-ratio of each round."""
    default_seconds: list[float] = field(default_factory=list)
    failures: dict[Configuration, Failure] = field(default_factory=dict)
    """Why a configuration, or the default, is out for good."""
    retained_bytes: dict[Configuration, int] = field(default_factory=dict)
    """How much more memory a process held with a configuration than with the default; the most of any session."""
    _model: Additive = field(default_factory=Additive)

    def add(self, measurements: Iterable[Measurement]) -> None:
        """Take in what a session measured of this operation, the default first."""
        default, *others = measurements
        if not sane(default):
            if default.failure is None or default.failure.final:
                self.failures[DEFAULT] = default.failure or CLOCK_STOOD
            return
        self.default_seconds.extend(default.seconds)
        for measurement in others:
            if sane(measurement):
                pairs = measurement.pairs
                self.sessions[measurement.configuration].append(pair_log_ratios(pairs))
                self._model.add(
                    {
                        DEFAULT: [pair.default_seconds for pair in pairs],
                        measurement.configuration: [pair.candidate_seconds for pair in pairs],
                    }
                )
                self._weigh(measurement, default)
            elif measurement.failure is None or measurement.failure.final:
                self.failures[measurement.configuration] = measurement.failure or CLOCK_STOOD

    def _weigh(self, measurement: Measurement, default: Measurement) -> None:
        if measurement.resident_bytes is not None and default.resident_bytes is not None:
            more = max(0, measurement.resident_bytes - default.resident_bytes)
            chosen = measurement.configuration
            self.retained_bytes[chosen] = max(more, self.retained_bytes.get(chosen, 0))

    @property
    def candidates(self) -> list[Configuration]:
        """The configurations with timings that never failed and fit the allocation."""
        return [one for one in self.sessions if one not in self.failures and one.cpus <= self.usable_cpus]

    def estimate(self, configuration: Configuration) -> float:
        """Log-ratio to the default, from all that ran beside it in all sessions."""
        return self._model.effect(configuration) - self._model.effect(DEFAULT)

    def doubt(self, configuration: Configuration) -> float:
        """Standard error of the estimate where configurations are compared with each other."""
        return self._model.error(configuration)

    def upper(self, configuration: Configuration) -> float:
        """Upper end of the log-ratio over all rounds. Of one process's luck it knows nothing."""
        return upper_bound(
            [value for session in self.sessions[configuration] for value in session], STATEMENT_ERROR
        )

    def lower(self, configuration: Configuration) -> float:
        """Lower end, likewise."""
        return -upper_bound(
            [-value for session in self.sessions[configuration] for value in session], STATEMENT_ERROR
        )

    def leader(self, tie: float) -> Configuration:
        """The best configuration; of those within `tie` of the best (in log-ratio) the one using least.

        The default takes part, at a log-ratio of 0. What was measured much less often than others does not.
        A thriftier one has to be within the tie even if it is slower than it seems by its standard error: of
        many that seem equal, the thriftiest is too often one that was lucky.
        """
        estimates = {one: self.estimate(one) for one in self._known_well()} | {DEFAULT: 0.0}
        first = min(estimates, key=estimates.__getitem__)
        best = estimates[first] + tie
        if estimates[DEFAULT] <= best:
            return DEFAULT
        equal = [one for one, value in estimates.items() if one == first or value + self.doubt(one) <= best]
        return min(equal, key=lambda one: (parsimony(one), estimates[one]))

    def rounds(self, configuration: Configuration) -> int:
        """Rounds in which it was measured."""
        return sum(len(session) for session in self.sessions[configuration])

    def _known_well(self) -> list[Configuration]:
        """The candidates measured at least half as often as any: of the others only the lucky would lead."""
        most = max(map(self.rounds, self.candidates), default=0)
        return [one for one in self.candidates if 2 * self.rounds(one) >= most]

    def safe_threads(self, slack: float) -> tuple[int, ...]:
        """Thread counts, set alone, that were no slower than the default by more than `slack` in log-ratio."""
        return tuple(
            sorted(
                one.blas_threads
                for one in self.candidates
                if one.blas_threads is not None
                and one == Configuration(blas_threads=one.blas_threads)
                and self.upper(one) <= slack
            )
        )


def sane(measurement: Measurement) -> bool:
    """Are there timings, all of them finite and above zero?"""
    seconds = [*measurement.seconds, *(pair.default_seconds for pair in measurement.pairs)]
    return measurement.failure is None and all(0.0 < value < inf for value in seconds or (0.0,))
