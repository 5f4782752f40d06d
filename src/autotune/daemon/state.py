"""State of the daemon that outlives a run, and its file.

The file is JSON, replaced as a whole, and believed only where every value is valid. Results are not part of it:
profiles hold them, and the journals of `autotune calibrate` hold those of unfinished calibrations. A lost state loses
no result.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, ClassVar

from autotune.daemon.sensors import Fingerprint
from autotune.errors import UntrustedFile
from autotune.host.trusted_files import FileRule, read_file, replace_file
from autotune.model.catalogue import CATALOGUE, is_measurable
from autotune.model.codec import decode, encode
from autotune.model.constraints import Bounds
from autotune.model.operation import DTYPES, Operation

FORMAT = 3
MAX_BYTES = 2**22
MAX_COUNTED = 1000
"""Operations at a size whose calls are counted; those called least are dropped."""
HALF_LIFE_SECONDS = 7 * 86400.0
"""After which a count of calls weighs half, since programs change."""
RETRY_MEMORY_SECONDS = 30 * 86400.0
"""After which an earlier failure does not matter any more."""
MAX_RETRY_SECONDS = 7 * 86400.0
"""Longest delay before work that keeps failing is tried again."""

PlainValue = str | int | float | bool | None
Figure = Annotated[float, Bounds(-2e19, 2e19)]
"""Times and counts: arithmetic with them cannot overflow."""


@dataclass(frozen=True, slots=True)
class DailyCpuTime:
    """CPU seconds spent on measuring, on the last day that anything was measured."""

    day: str = ""
    """Local date, YYYY-MM-DD."""
    seconds: Figure = 0.0

    def plus(self, today: str, seconds: float) -> "DailyCpuTime":
        """Add seconds of today. A clock that is set back by a day gives nothing back."""
        if self._is_over(today):
            return DailyCpuTime(today, seconds)
        return DailyCpuTime(self.day, self.seconds + seconds)

    def remaining(self, today: str, limit: float) -> float:
        """Return the seconds of today's limit that are left."""
        return limit if self._is_over(today) else max(0.0, limit - self.seconds)

    def _is_over(self, today: str) -> bool:
        """Has a new day begun? A recorded day far ahead comes from a wrong clock and is not waited for."""
        try:
            days = (date.fromisoformat(today) - date.fromisoformat(self.day)).days
        except ValueError:  # nothing was measured yet
            return True
        return days > 0 or days < -1


@dataclass(frozen=True, slots=True)
class Retry:
    """Failures in a row, and the wall-clock time before which the work is not tried again."""

    failures: int
    not_before: Figure


@dataclass(frozen=True, slots=True)
class UnfinishedCalibration:
    """A calibration that was interrupted; its journal has what it measured."""

    interpreter: str
    operation: Operation
    """Without sizes: at all sizes of its ladder."""


class CanaryVerdict(StrEnum):
    """Result of one re-timing of a profile's entries against the default."""

    FINE = "fine"
    SLOWER = "slower"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class CanaryProgress:
    """Re-timings of a profile so far."""

    profile: Fingerprint
    verdicts: tuple[CanaryVerdict, ...] = ()


@dataclass(slots=True, kw_only=True)
class DaemonState:
    """All of it. An operation without sizes stands for all sizes of its ladder; times are wall-clock seconds."""

    STRICT: ClassVar[bool] = True

    cpu_time: DailyCpuTime = field(default_factory=DailyCpuTime)
    paused_until: Figure | None = None
    demand: dict[Operation, Figure] = field(default_factory=dict)
    """Calls that no profile entry covered."""
    used: dict[Operation, Figure] = field(default_factory=dict)
    """Calls that an entry covered."""
    decayed: Figure = 0.0
    """When the counts of calls last lost weight."""
    retries: dict[str, Retry] = field(default_factory=dict)
    """By the subject of the work that failed."""
    orders: dict[Operation, tuple[str, ...]] = field(default_factory=dict)
    """Orders, with the interpreters that have measured them already."""
    doubts: dict[Operation, str] = field(default_factory=dict)
    """Entries that may not hold any more, each with the reason: a sentence."""
    unfinished: UnfinishedCalibration | None = None
    canaries: dict[str, CanaryProgress] = field(default_factory=dict)
    """By the path of the profile under test."""
    trusted: dict[str, Fingerprint] = field(default_factory=dict)
    """Profiles that passed their canary or come from this daemon, by path."""
    facts: dict[str, dict[str, PlainValue]] = field(default_factory=dict)
    """Fields of each interpreter's class key when it was last asked."""
    stale: dict[str, str] = field(default_factory=dict)
    """Interpreter -> the change that made its entries stale: a sentence."""
    first_seen: dict[str, Figure] = field(default_factory=dict)
    """Digest of a class key -> when this host first had it."""
    checked: dict[str, dict[Operation, Figure]] = field(default_factory=dict)
    """Digest of a class key -> when an operation (without sizes) was last measured or checked."""
    counts: dict[str, Figure] = field(default_factory=dict)
    """Totals for the metrics."""
    unpublished: dict[str, str] = field(default_factory=dict)
    """Path of a profile that the store does not have yet -> the interpreter that it was made with."""
    pulled: Figure = 0.0
    """When the store last answered a pull."""
    pull_failures: int = 0

    def count(self, name: str, by: float = 1.0) -> None:
        """Add to a total."""
        self.counts[name] = self.counts.get(name, 0.0) + by

    def count_calls(self, counts: Mapping[Operation, int], *, covered: bool) -> None:
        """Add counts of calls. Any user may leave counts, so at most twice `MAX_COUNTED` are kept."""
        total = self.used if covered else self.demand
        for operation, calls in counts.items():
            total[operation] = total.get(operation, 0.0) + calls
        if len(total) > 2 * MAX_COUNTED:
            self.demand, self.used = _decay_counts(self.demand, 1.0), _decay_counts(self.used, 1.0)

    def decay(self, now: float) -> None:
        """Let the counts of calls lose weight, once a day. A clock that was set back takes no weight."""
        days = (now - self.decayed) / 86400.0
        if 0 <= days < 1:
            return
        is_first = self.decayed == 0
        age = 0.0 if is_first or days < 0 else min(days, 365.0) * 86400.0
        factor = 0.5 ** (age / HALF_LIFE_SECONDS)
        self.demand, self.used = _decay_counts(self.demand, factor), _decay_counts(self.used, factor)
        self.retries = {
            subject: retry for subject, retry in self.retries.items() if now - retry.not_before < RETRY_MEMORY_SECONDS
        }
        self.decayed = now

    def delay(self, subject: str, now: float, first: float, *, longest: float = MAX_RETRY_SECONDS) -> float:
        """Put off work that failed: by `first` seconds, then four times as long each time. Return the new time."""
        failures = self.retries[subject].failures + 1 if subject in self.retries else 1
        not_before = now + min(first * 4.0 ** min(failures - 1, 20), longest)
        self.retries[subject] = Retry(failures, not_before)
        return not_before

    def is_delayed(self, subject: str, now: float) -> bool:
        """Is it too early to try this again?"""
        return subject in self.retries and now < self.retries[subject].not_before

    def drop_served_orders(self, interpreters: Iterable[str]) -> None:
        """Drop the orders that have been measured with each of these interpreters."""
        listed = set(interpreters)
        self.orders = {order: served for order, served in self.orders.items() if not listed <= set(served)}

    def clamp_times(self, now: float) -> None:
        """Bring times that a wrong clock put too far ahead back into reach."""
        self.retries = {
            subject: Retry(retry.failures, min(retry.not_before, now + MAX_RETRY_SECONDS))
            for subject, retry in self.retries.items()
        }
        self.first_seen = {key: min(then, now) for key, then in self.first_seen.items()}
        self.checked = {
            key: {operation: min(then, now) for operation, then in times.items()} for key, times in self.checked.items()
        }
        self.pulled = min(self.pulled, now)


def _decay_counts(counts: Mapping[Operation, float], factor: float) -> dict[Operation, float]:
    """Return the largest counts with part of their weight, without those that have become negligible."""
    ranked = sorted(((calls * factor, str(name), name) for name, calls in counts.items()), reverse=True)
    return {operation: calls for calls, _, operation in ranked[:MAX_COUNTED] if calls >= 0.5}


def load_state(path: Path) -> tuple[DaemonState, str | None]:
    """Read the state. Return an empty one and a sentence if the file cannot be used."""
    try:
        return _state_of(json.loads(read_file(path, FileRule(MAX_BYTES)).data)), None
    except FileNotFoundError:
        return DaemonState(), None
    except (OSError, ValueError, RecursionError, UntrustedFile) as error:
        return DaemonState(), f"{path} cannot be used: {error}. The daemon starts without its former state."


def save_state(path: Path, state: DaemonState) -> None:
    """Write the state. Raises OSError, with the old file untouched."""
    document = {"format": FORMAT, **encode(state)}
    replace_file(path, json.dumps(document, separators=(",", ":")).encode())


def _state_of(document: Any) -> DaemonState:
    if not isinstance(document, dict) or document.pop("format", None) != FORMAT:
        raise ValueError("it is of another version")
    state: DaemonState = decode(DaemonState, document)
    unfinished = [] if state.unfinished is None else [state.unfinished.operation]
    ladders = chain(state.orders, state.doubts, unfinished, *state.checked.values())
    if not all(map(is_measurable, chain(state.demand, state.used))) or not all(
        is_measurable(operation) or (not operation.sizes and operation.name in CATALOGUE and operation.dtype in DTYPES)
        for operation in ladders
    ):
        raise ValueError("it names an operation that this version does not measure")
    return state
