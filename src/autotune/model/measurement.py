"""Timings of configurations, or why there are none; and what asks for them."""

from dataclasses import dataclass
from enum import StrEnum

from autotune.model.configuration import Configuration
from autotune.model.operation import Operation


class FailureKind(StrEnum):
    """Why there are no timings."""

    CRASH = "crash"
    """A signal other than a kill ended the process."""
    KILLED = "killed"
    OUT_OF_MEMORY = "out-of-memory"
    TIME_OUT = "time-out"
    WRONG_RESULT = "wrong-result"
    ERROR = "error"
    """The work raised an exception."""
    PROTOCOL = "protocol"
    """The process ended, or wrote, in a way that cannot be understood."""
    NOISY = "noisy"
    """The machine was too busy for timings to mean anything."""
    NOT_REACHED = "not-reached"
    """The time allowed ended, or another configuration ended the process, before its turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A failed trial is a value with a reason."""

    kind: FailureKind
    reason: str
    """A sentence."""

    @property
    def final(self) -> bool:
        """Would the same trial fail again? Such a configuration is never tried again."""
        return self.kind not in {FailureKind.NOISY, FailureKind.NOT_REACHED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Timings of one configuration of one operation in one process."""

    operation: Operation
    configuration: Configuration
    seconds: tuple[float, ...] = ()
    """Per unit of work, one a round; the i-th of every configuration of a Session ran side by side."""
    failure: Failure | None = None
    note: str | None = None
    """What the work printed, shortened; None if it was quiet."""
    resident_bytes: int | None = None
    """Memory that the process held afterwards under this configuration; known where some configuration of the
    case sets the allocator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What to measure of one operation. The default is always measured with it and need not be named."""

    operation: Operation
    configurations: tuple[Configuration, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one fresh process is to measure: in every round each configuration once, in random order."""

    cases: tuple[Case, ...]
    rounds: int
    """Rounds for each case."""
    seed: int = 0
    seconds: float | None = None
    """Once this much time has passed no further round begins, but each case gets at least one."""
    quiet: bool = False
    """Do the neighbours that run beside other plans rest while this one runs?"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What came of a Plan."""

    measurements: tuple[Measurement, ...]
    """For every case the default first, then its configurations in the plan's order."""
    wall_seconds: float
    """All the time that the plan took, process start included."""
    rejected: float = 0.0
    """Share of the rounds that were repeated because the machine was busy."""
    taken: float = 0.0
    """Share of the CPUs' time that others took while rounds ran, as far as the system says."""
