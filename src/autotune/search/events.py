"""Events of a calibration while it runs."""

from collections.abc import Callable
from dataclasses import dataclass

from autotune.model.configuration import Configuration
from autotune.model.entry import Entry
from autotune.model.measurement import Failure
from autotune.model.operation import Operation


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Progress of the calibration; part of every event."""

    elapsed: float
    """Seconds spent so far."""
    remaining: float
    """Seconds of the budget that are left; infinite without a budget."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTestStarted(Progress):
    """The self-test runs: timing resolution and CPU capacity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exploring(Progress):
    """An operation is explored, for the first time or once more."""

    name: str
    dtype: str
    index: int
    """From 1."""
    total: int
    again: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried(Progress):
    """A configuration was measured."""

    operation: Operation
    configuration: Configuration
    speedup: float | None
    """Time of the default divided by its time, from exploration (not a claim); None if it failed."""
    failure: Failure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirming(Progress):
    """A round of confirmation begins."""

    decided: int
    """Entries."""
    undecided: int
    """Entries whose candidate is under test."""
    seconds_left: float
    """That these are expected to take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided(Progress):
    """An entry is decided; another one of the same operation may follow if something better is proved."""

    entry: Entry


Event = SelfTestStarted | Exploring | Tried | Confirming | Decided
Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Ignore an event, where the return value is all that is wanted."""
    del event
