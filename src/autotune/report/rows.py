"""Profiles and their sessions as rows of plain values: what figures draw, tables show, JSON and CSV hold. Pure.

Seconds, bytes and elements; speed-ups are over the default, as in the profile. Unknown is None.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from enum import StrEnum
from math import prod
from pathlib import PurePath
from typing import Any

from autotune.model.catalogue import CATALOGUE, Family, WorkUnit
from autotune.model.configuration import Configuration, Knob
from autotune.model.entry import Entry, Status
from autotune.model.measurement import Session
from autotune.model.operation import Operation
from autotune.model.policy import CREDIBLE_L3_BYTES
from autotune.model.profile import Profile, Provenance
from autotune.model.record import Record
from autotune.model.units import count_of
from autotune.search import trial_history

Row = Mapping[str, Any]

TABLES: Mapping[str, str] = {
    "entries": "Every entry of every profile, with its evidence.",
    "machines": "What every profile was measured on, and how.",
    "trials": "Every configuration that was measured, process by process, if this machine has the journal.",
    "points": "The same, all processes together.",
}


class Subject(Record, kw_only=True):
    """A profile under the name that it has in its report, with the sessions that it was found in."""

    label: str
    """Different for every subject of a report."""
    profile: Profile
    path: str | None = None
    sessions: tuple[Session, ...] = ()
    """In order; empty if this machine has no journal of its calibration."""


def labels(paths: Sequence[PurePath]) -> tuple[str, ...]:
    """Return the name of each file without its folders, or its path where others have the same name."""
    names = [path.stem for path in paths]
    return tuple(name if names.count(name) == 1 else str(path) for name, path in zip(names, paths, strict=True))


def tables(subjects: Iterable[Subject]) -> dict[str, list[Row]]:
    """Return all rows, by the name of their table."""
    of = list(subjects)
    return {
        "entries": [row for subject in of for row in entries(subject)],
        "machines": [machine(subject) for subject in of],
        "trials": [row for subject in of for row in trials(subject)],
        "points": [row for subject in of for row in points(subject)],
    }


def machine(subject: Subject) -> Row:
    """Return the machine and the conditions of a profile's measurement."""
    key, made = subject.profile.key, subject.profile.provenance
    provenance = asdict(made)
    return {
        "profile": subject.label,
        "path": subject.path,
        "digest": key.digest,
        "cpu": provenance.pop("cpu"),
        **asdict(key.hardware),
        **asdict(key.software),
        "usable_cpus": key.usable_cpus,
        "limit": str(key.limit),
        **provenance,
        "scrubbed": " ".join(made.scrubbed),
        "expected_wrong": made.expected_wrong,
        "entries": len(subject.profile.entries),
        "tuned": sum(entry.status is Status.TUNED for entry in subject.profile.entries),
    }


def entries(subject: Subject) -> list[Row]:
    return [_entry(subject, entry) for entry in subject.profile.entries]


def trials(subject: Subject) -> list[Row]:
    cpus = subject.profile.key.usable_cpus
    return [
        {
            "profile": subject.label,
            **_work(trial.operation),
            "process": trial.process,
            "elapsed": trial.elapsed,
            **_knobs(trial.configuration),
            "speedup": trial.speedup,
            "best": trial.best,
            "failure": trial.failure,
        }
        for trial in trial_history.list_trials(subject.sessions, cpus)
    ]


def points(subject: Subject) -> list[Row]:
    """Summarize every configuration over all processes.

    Without the sessions, the corners that the entries hold.
    """
    cpus = subject.profile.key.usable_cpus
    corners = (
        trial_history.ConfigurationRecord(
            operation=entry.operation, configuration=corner.choice, speedup=corner.speedup, processes=0
        )
        for entry in subject.profile.entries
        for corner in entry.corners
    )
    return [
        {
            "profile": subject.label,
            **_work(record.operation),
            **_knobs(record.configuration),
            "speedup": record.speedup,
            "processes": record.processes,
        }
        for record in (trial_history.list_configurations(subject.sessions, cpus) if subject.sessions else corners)
    ]


def brief(configuration: Configuration) -> str:
    """Return a short text of a configuration: `2 threads`, `4 workers, 32k`, `memfd, 2 workers`."""
    threads, workers, chunk = configuration.blas_threads, configuration.workers, configuration.chunk
    openmp = configuration.openmp_threads
    named = [value for value in configuration.as_dict().values() if isinstance(value, str)]
    counts = (
        threads and count_of(threads, "thread"),
        openmp and count_of(openmp, "OpenMP thread"),
        workers and count_of(workers, "worker"),
        chunk and f"chunks of {amount(chunk)}",
    )
    return ", ".join([*named, *(part for part in counts if part)]) or "default"


def amount(count: int) -> str:
    """Return a short text of a count of elements: `512`, `1024`, `32.8k` (thousands), `1M`."""
    if count < 10_000 and count % 1000:
        return str(count)
    for scale, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= scale:
            return f"{count / scale:.3g}{unit}"
    return str(count)


def sizes(operation: Operation) -> str:
    """Return all sizes, as they are written on the command line."""
    return " ".join(f"{name}={value}" for name, value in operation.sizes)


def at(operation: Operation) -> str:
    """Return a short text of all sizes: `512` for a square, `64 x 4096` for another matrix, else `n=16 count=1000`."""
    values = [value for _, value in operation.sizes]
    if len(values) == 1:
        return amount(values[0])
    if not _is_matrix(operation):
        return sizes(operation)
    return str(values[0]) if len(set(values)) == 1 else " x ".join(map(str, values))


def size(operation: Operation) -> float:
    """Return one number for all sizes, for an axis: the geometric mean of a matrix's sides, else the first size."""
    values = [value for _, value in operation.sizes]
    if not values:
        return 1.0
    return float(prod(values)) ** (1 / len(values)) if _is_matrix(operation) else float(values[0])


def shape(operation: Operation) -> str:
    """Return the value that sizes on one line share: a matrix's proportions, else all sizes but the first."""
    values = [value for _, value in operation.sizes]
    if _is_matrix(operation):
        return "square" if len(set(values)) == 1 else " : ".join(f"{value / min(values):g}" for value in values)
    return " ".join(f"{name}={value}" for name, value in operation.sizes[1:])


def _is_matrix(operation: Operation) -> bool:
    kind = CATALOGUE.get(operation.name)
    return kind is not None and kind.family is Family.LINALG and len(operation.sizes) > 1


def _work(operation: Operation) -> dict[str, Any]:
    return {
        "operation": operation.name,
        "dtype": operation.dtype,
        "sizes": sizes(operation),
        "at": at(operation),
        "size": size(operation),
        "shape": shape(operation),
    }


def _knobs(configuration: Configuration) -> dict[str, Any]:
    values = configuration.as_dict()
    return {"choice": brief(configuration), **{str(knob): values.get(knob) for knob in Knob}}


def _entry(subject: Subject, entry: Entry) -> Row:
    hardware = subject.profile.key.hardware
    least = roofline(entry.operation, subject.profile.provenance, l3_bytes=hardware.l3_bytes)
    tuned = entry.status is Status.TUNED
    evidence = entry.evidence
    low, high = evidence.interval or (None, None)
    reached = evidence.tuned_seconds if tuned else evidence.default_seconds
    return {
        "profile": subject.label,
        **_work(entry.operation),
        "status": str(entry.status),
        **_knobs(entry.choice),
        "speedup": evidence.speedup,
        "speedup_low": low,
        "speedup_high": high,
        "expected_speedup": evidence.expected_speedup,
        "full_capacity_share": evidence.full_capacity_share,
        "speedup_limit": evidence.speedup_limit,
        "default_seconds": evidence.default_seconds,
        "tuned_seconds": evidence.tuned_seconds,
        "seconds": reached,
        "processes": evidence.processes,
        "pairs": evidence.pairs,
        "default_threads": evidence.default_threads,
        "retained_bytes": evidence.retained_bytes,
        "bound": None if least is None else str(least.bound),
        "limit_seconds": None if least is None else least.seconds,
        "reason": entry.reason,
    }


class Bound(StrEnum):
    """The resource that bounds an operation."""

    ARITHMETIC = "arithmetic"
    MEMORY = "memory"


class Roofline(Record, kw_only=True):
    """The shortest time of an operation, and its bound."""

    seconds: float
    bound: Bound


def roofline(operation: Operation, made: Provenance, *, l3_bytes: int | None = None) -> Roofline | None:
    """Compute the roofline (Williams, Waterman and Patterson, CACM 52, 2009): the longer of the time of its arithmetic
    at the peak rate and the time in which memory moves its data once.

    Memory does not bound data that fit into the last cache. None where the bound is unknown: rates that were not
    measured, float32 arithmetic, and operations outside the catalogue.
    """
    kind = CATALOGUE.get(operation.name)
    if kind is None or not made.memory_bandwidth:
        return None
    cached = kind.bytes_of(operation) <= min(l3_bytes or 0, CREDIBLE_L3_BYTES)
    if kind.unit is WorkUnit.BYTES:
        seconds = kind.work_of(operation) / made.memory_bandwidth
        return None if cached else Roofline(seconds=seconds, bound=Bound.MEMORY)
    if not made.peak_flops or operation.dtype != "float64":
        return None
    arithmetic = kind.work_of(operation) / made.peak_flops
    memory = 0.0 if cached else kind.bytes_of(operation) / made.memory_bandwidth
    if arithmetic >= memory:
        return Roofline(seconds=arithmetic, bound=Bound.ARITHMETIC)
    return Roofline(seconds=memory, bound=Bound.MEMORY)
