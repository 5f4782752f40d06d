"""One decided entry of a profile, with its evidence."""

from dataclasses import dataclass
from enum import StrEnum

from autotune.model.configuration import DEFAULT, Configuration
from autotune.model.operation import Operation


class Status(StrEnum):
    """How an entry was decided."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What to do for one operation at one size, and why."""

    operation: Operation
    status: Status
    reason: str
    """A sentence: why this choice, or why the default was kept."""
    choice: Configuration = DEFAULT
    """Configuration() unless the status is tuned."""
    default_seconds: float | None = None
    """Per unit of work, median."""
    tuned_seconds: float | None = None
    ratio: float | None = None
    """Time of the choice divided by the default's, from confirmation only."""
    ratio_low: float | None = None
    ratio_high: float | None = None
    """Ends of its 95 % interval."""
    expected_ratio: float | None = None
    """Expected time of the choice divided by the default's over the states that the machine was in; `ratio` is at
    full capacity."""
    full_capacity_share: float | None = None
    """Share of the time that the machine was at full capacity; None if that was not probed."""
    processes: int = 0
    """Fresh processes that confirmed it."""
    pairs: int = 0
    """Pairs of timings in them."""
    default_threads: int | None = None
    """BLAS threads of the default when it was measured."""
    safe_threads: tuple[int, ...] = ()
    """BLAS thread counts at which this operation was measured to be no slower than its default."""
    hosts: int | None = None
    """Distinct hosts that confirm the entry, in a profile that was merged of several; None elsewhere."""
    signer: str | None = None
    """Who signed it and is trusted here, as `autotune store pull` found; None elsewhere."""
    contested: bool = False
    """Do hosts of one class disagree about it?"""
    created: str | None = None
    """When it was measured (UTC, ISO 8601); None: when the profile's provenance says."""
    resolution: float | None = None
    """What its calibration could tell apart; None: what the profile's provenance says."""
    alternatives: tuple[tuple[Configuration, float], ...] = ()
    """Configurations that search measured here to be no slower than the default, each with its time over the
    default's (not a claim): what sizes between this one and the next are chosen from."""
    retained_bytes: int | None = None
    """Memory that a process holds on to with this choice beyond what it holds by default; of a choice that sets
    the allocator."""
    corners: tuple[tuple[Configuration, float], ...] = ()
    """For tasks: one or all BLAS threads by one or all workers, each with its time over the default's as search
    found it (not a claim)."""

    @property
    def undecided(self) -> bool:
        """Is it open whether anything beats the default here? Then what was proved earlier, or elsewhere, speaks.

        So it is after noise, a failure of the default, and where the time ended before the proof.
        """
        return self.status not in {Status.TUNED, Status.DEFAULT_KEPT}

    @property
    def is_silent(self) -> bool:
        """Was it measured, or planned, without a result? Then it says nothing about other sizes or the process."""
        return self.status is Status.UNDECIDED or (
            self.status is Status.NOISY and self.default_seconds is not None
        )
