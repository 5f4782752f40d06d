"""History of a calibration: every trial, in order, and the estimate after it. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import exp

from autotune.bench.statistics import hodges_lehmann, pair_log_ratios
from autotune.model.configuration import Configuration
from autotune.model.measurement import Measurement, Session
from autotune.model.operation import Operation
from autotune.search.evidence import TrialEvidence, by_operation, has_timings


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRecord:
    """One configuration in one fresh process."""

    operation: Operation
    configuration: Configuration
    process: int
    """Number of the process, from 1."""
    elapsed: float
    """Seconds from the first process of its operation and dtype to the end of this one."""
    speedup: float | None
    """Time of the default divided by its time in this process; None if it failed."""
    best: float
    """Speed-up of the leader at its size after this process, by all measurements until then; 1 is the default."""
    failure: str | None = None
    """Why there are no timings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationRecord:
    """All measurements of one configuration of one operation."""

    operation: Operation
    configuration: Configuration
    speedup: float
    """Time of the default divided by its time over all processes, as exploration saw it: not a claim."""
    processes: int


def list_trials(sessions: Iterable[Session], usable_cpus: int) -> Iterator[TrialRecord]:
    """Yield every trial but the default's, in order."""
    evidence_of: dict[Operation, TrialEvidence] = {}
    spent: dict[tuple[str, str], float] = {}
    for number, session in enumerate(sessions, 1):
        names = {(trial.operation.name, trial.operation.dtype) for trial in session.measurements}
        for name in names:
            spent[name] = spent.get(name, 0.0) + session.wall_seconds
        for operation, measured in by_operation(session).items():
            evidence = evidence_of.setdefault(operation, TrialEvidence(usable_cpus=usable_cpus))
            evidence.add(measured)
            best = exp(-min(map(evidence.estimate, evidence.candidates), default=0.0))
            for trial in measured[1:]:
                failure = trial.failure
                yield TrialRecord(
                    operation=operation,
                    configuration=trial.configuration,
                    process=number,
                    elapsed=spent[operation.name, operation.dtype],
                    speedup=_speedup(trial, measured[0]),
                    best=max(1.0, best),
                    failure=None if failure is None else f"{failure.kind}: {failure.reason}",
                )


def list_configurations(sessions: Iterable[Session], usable_cpus: int) -> Iterator[ConfigurationRecord]:
    """Combine all sessions into one estimate for each configuration that could be measured."""
    evidence_of: dict[Operation, TrialEvidence] = {}
    for session in sessions:
        for operation, measured in by_operation(session).items():
            evidence_of.setdefault(operation, TrialEvidence(usable_cpus=usable_cpus)).add(measured)
    for operation, evidence in evidence_of.items():
        for configuration, visits in evidence.visits.items():
            yield ConfigurationRecord(
                operation=operation,
                configuration=configuration,
                speedup=exp(-evidence.estimate(configuration)),
                processes=len(visits),
            )


def _speedup(measurement: Measurement, default: Measurement) -> float | None:
    if not (has_timings(measurement) and has_timings(default)):
        return None
    ratios = pair_log_ratios(measurement.pairs)
    return exp(-hodges_lehmann(ratios)) if ratios else None
