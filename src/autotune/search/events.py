"""What a calibration says while it runs."""

from collections.abc import Callable
from dataclasses import dataclass

from autotune.model.configuration import Configuration
from autotune.model.entry import Entry
from autotune.model.measurement import Failure
from autotune.model.operation import Operation


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where the calibration stands; part of every event."""

    elapsed: float
    """Seconds spent so far."""
    remaining: float
    """Seconds of the budget that are left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Testing(Progress):
    """The machine is tested: what it can tell apart, and how much of its CPUs is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started(Progress):
    """An operation's turn has come."""

    name: str
    dtype: str
    index: int
    """From 1."""
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried(Progress):
    """A configuration was measured."""

    operation: Operation
    configuration: Configuration
    ratio: float | None
    """Its time divided by the default's, from search (not a claim); None if it failed."""
    failure: Failure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirming(Progress):
    """A candidate goes to its confirmation on fresh processes."""

    operation: Operation
    configuration: Configuration
    ratio: float
    """Its time divided by the default's, from search."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided(Progress):
    """An entry is final."""

    entry: Entry


Event = Testing | Started | Tried | Confirming | Decided
Listener = Callable[[Event], None]
