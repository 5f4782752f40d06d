"""One decided operation and size of a profile, with its evidence, and its document."""

from enum import StrEnum
from math import log
from typing import Annotated, Any

from autotune.errors import BadDocument
from autotune.model import units
from autotune.model.codec import decode, encode, mismatch
from autotune.model.configuration import DEFAULT, Configuration
from autotune.model.constraints import Amount, Ascending, Count, NonEmpty, NonNegative, Positive, Quantity, Share
from autotune.model.operation import Operation
from autotune.model.policy import AGREEING_HOSTS
from autotune.model.record import Record

OUT_OF_TIME = "The time allowed ended before its turn."
"""Begins the reason of an undecided entry that was not tested."""
NEARLY_FULL = 0.9
"""Share of the time at full capacity above which the expected speed-up is not worth a sentence of its own."""
DISTINCT_LOG_RATIO = 0.05
"""Difference of two speed-ups, as a logarithm, from which on both are shown."""


class Status(StrEnum):
    """Decision of an entry."""

    TUNED = "tuned"
    """The choice was proved faster than the default on fresh data."""
    DEFAULT_KEPT = "default-kept"
    """Nothing was proved faster."""
    UNDECIDED = "undecided"
    """The time ended before it was decided."""
    NOISY = "noisy"
    """A choice that uses fewer CPUs than the default, of which no undisturbed timings at full capacity could be had."""
    FAILED = "failed"
    """The default itself could not be measured."""


class Alternative(Record, kw_only=True):
    """A configuration that exploration measured: not a claim."""

    choice: Annotated[Configuration, NonEmpty()]
    """The configuration."""
    speedup: Positive
    """Time of the default divided by its time."""


class Evidence(Record, kw_only=True):
    """The evidence on one operation and size. None for unknown values."""

    speedup: Positive | None = None
    """Time of the default divided by time of the choice at full capacity, from confirmation only."""
    interval: Annotated[tuple[Positive, Positive], Ascending()] | None = None
    """Lower and upper end of its 95 % interval."""
    expected_speedup: Positive | None = None
    """Expected speed-up over the states of the machine; None where CPUs were missing for 10 % of the time or more and
    the choice was timed at full capacity only."""
    speedup_limit: Positive | None = None
    """Upper bound of the best other configuration's speed-up (error 10 %), where the time ended before its test and
    the default was kept for so little; or what missing CPUs and other load can hide, where no undisturbed pair met full
    capacity."""
    full_capacity_share: Share | None = None
    """Share of the time at full capacity; None if that was not probed."""
    default_seconds: Positive | None = None
    """Time of one unit of work with the default, median."""
    tuned_seconds: Positive | None = None
    """Time of one unit of work with the choice."""
    processes: Amount = 0
    """Fresh processes that confirmed the choice."""
    pairs: Amount = 0
    """Pairs of timings in them."""
    default_threads: Count | None = None
    """BLAS threads of the default."""
    safe_threads: tuple[Count, ...] = ()
    """BLAS thread counts that were measured to be no slower than the default."""
    retained_bytes: Amount | None = None
    """Memory that a process holds with a choice that sets the allocator, beyond what it holds by default."""
    cpu_ratio: Positive | None = None
    """CPU seconds of the choice divided by those of the default; None unless fewer of them were the objective."""
    created: str | None = None
    """When it was measured (UTC, ISO 8601); None: when the profile's provenance says."""
    resolution: NonNegative | None = None
    """Resolution of its calibration; None: that of the profile's provenance."""
    hosts: Quantity | None = None
    """Distinct hosts that confirm the entry, in a profile that was merged of several."""
    signer: str | None = None
    """The trusted signer of the entry, as `autotune store pull` established."""
    contested: bool = False
    """Whether hosts of one class disagree about the entry."""

    @property
    def is_confirmed(self) -> bool:
        """Return whether enough hosts agree about the entry, or a trusted signer signed it."""
        return (self.hosts or 1) >= AGREEING_HOSTS or self.signer is not None

    @property
    def depends_on_capacity(self) -> bool:
        """Whether the speed-up expected over the states of the machine is told apart from that at full capacity."""
        expected, full = self.expected_speedup, self.speedup
        if expected is None or full is None or not self.was_short_of_capacity:
            return False
        return are_distinct(expected, full)

    @property
    def leading_speedup(self) -> float | None:
        """Speed-up that tables lead with: the expected one where it is told apart, else that at full capacity."""
        return self.expected_speedup if self.depends_on_capacity else self.speedup

    @property
    def leading_interval(self) -> tuple[float, float] | None:
        """Interval of the leading speed-up; None for an expected one, whose interval is not known."""
        return None if self.depends_on_capacity else self.interval

    @property
    def capacity_note(self) -> str:
        """Return a sentence on the states of the machine, where it was below full capacity for a time that counts."""
        if not self.was_short_of_capacity:
            return ""
        share = f"{self.full_capacity_share:.0%} of the time"
        if self.depends_on_capacity and self.interval is not None:
            full = f"{units.speedup(self.speedup)} ({units.interval(self.interval)})"
            return f"The speed-up is expected over all states of the machine. At full capacity ({share}) it is {full}."
        over_all = "without it the choice was never timed."
        if self.expected_speedup is not None:
            over_all = f"over all of it the expected speed-up is {units.speedup(self.expected_speedup)}."
        return f"The machine was at full capacity {share}; {over_all}"

    @property
    def was_short_of_capacity(self) -> bool:
        """Whether the machine was below full capacity for a time that counts."""
        share = self.full_capacity_share
        return share is not None and share <= NEARLY_FULL


class Entry(Record, kw_only=True):
    """One decided operation and size."""

    operation: Operation
    """Name, dtype and sizes."""
    status: Status
    """Its decision."""
    choice: Annotated[Configuration, NonEmpty()] = DEFAULT
    """The configuration to use; the default unless the status is tuned."""
    evidence: Evidence = Evidence()
    """Its evidence."""
    alternatives: tuple[Alternative, ...] = ()
    """Configurations that exploration measured here to be no slower than the default: sizes between this one and
    the next are chosen from them."""
    corners: tuple[Alternative, ...] = ()
    """For tasks: one or all BLAS threads by one or all workers, as exploration measured them."""
    reason: str
    """A sentence: why this choice, or why the default was kept."""

    @property
    def is_decided(self) -> bool:
        """Return whether it is known if anything beats the default; otherwise earlier or other evidence goes first."""
        return self.status in {Status.TUNED, Status.DEFAULT_KEPT}

    @property
    def is_tentative(self) -> bool:
        """Return whether the default was kept for want of time, or of full capacity: it refutes no proof."""
        return self.status is Status.DEFAULT_KEPT and self.evidence.speedup_limit is not None

    @property
    def is_firm(self) -> bool:
        """Return whether evidence decided it, not the end of the time: it may replace, or outvote, another entry."""
        return self.is_decided and not self.is_tentative

    @property
    def is_silent(self) -> bool:
        """Return whether it was measured, or planned, without a result: it says nothing about other sizes."""
        noisy = self.status is Status.NOISY and self.evidence.default_seconds is not None
        return self.status is Status.UNDECIDED or noisy or self.is_tentative


def are_distinct(speedup: float, other: float) -> bool:
    """Return whether two speed-ups differ by so much that both are shown."""
    return abs(log(speedup / other)) >= DISTINCT_LOG_RATIO


def encode_entry(entry: Entry) -> dict[str, Any]:
    """Return the document of an entry in its place below the name and dtype of its operation."""
    return {"sizes": entry.operation.size, **encode(entry, omit=frozenset({"operation"}))}


def decode_entry(document: Any, name: str, dtype: str, where: str = "") -> Entry:
    """Return the entry in a document below the name and dtype of its operation. Raises BadDocument."""
    operation: Operation = decode(Operation, document, where, name=name, dtype=dtype)
    dot = "." if where else ""
    if document.get("sizes") is None:
        raise BadDocument("it is missing.", f"{where}{dot}sizes")
    entry: Entry = decode(Entry, document, where, operation=operation)
    if (entry.status is Status.TUNED) == entry.choice.is_default:
        expected = "a configuration" if entry.status is Status.TUNED else "nothing"
        text = mismatch(f"{expected} with status {entry.status}", document.get("choice"))
        raise BadDocument(text, f"{where}{dot}choice")
    return entry
