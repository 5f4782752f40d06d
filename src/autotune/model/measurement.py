"""Timings of configurations, or why there are none; and what asks for them."""

from enum import StrEnum
from typing import Protocol

from autotune.model.configuration import Configuration
from autotune.model.operation import Operation
from autotune.model.record import Record


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
    """The process ended unexpectedly, or its output is invalid."""
    NOISY = "noisy"
    """The machine was too busy for timings to mean anything."""
    NOT_REACHED = "not-reached"
    """The time allowed was over, or another configuration ended the process, before its turn."""


class Failure(Record, kw_only=True):
    """A failed trial is a value with a reason."""

    kind: FailureKind
    reason: str
    """A sentence."""

    @property
    def final(self) -> bool:
        """Would the same trial fail again? Such a configuration is never tried again."""
        return self.kind not in {FailureKind.NOISY, FailureKind.NOT_REACHED}


class Pair(Record, kw_only=True):
    """A timing of the default and one of a candidate, adjacent in time."""

    default_seconds: float
    """Per unit of work."""
    candidate_seconds: float
    """Per unit of work."""
    capacity: float | None = None
    """Parallel work that the allocation's CPUs delivered next to the pair, in units of one CPU's work; None where
    it was not probed."""
    interference: float | None = None
    """Share of the allocation's CPU time that others took during the pair; None if unknown."""


class Measurement(Record, kw_only=True):
    """Timings of one configuration of one operation in one process."""

    operation: Operation
    configuration: Configuration
    pairs: tuple[Pair, ...] = ()
    """Of a candidate, in the order of time: each with its own adjacent timing of the default. Disturbed ones are among
    them. The default has none."""
    seconds: tuple[float, ...] = ()
    """Per unit of work: all timings of this configuration."""
    cpu_seconds: float | None = None
    """CPU time of one run, of all its threads: the median; None if it was not taken."""
    failure: Failure | None = None
    resident_bytes: int | None = None
    """Memory that the process held afterwards under this configuration; None unless a configuration of the case sets
    the allocator."""


class Case(Record, kw_only=True):
    """A plan for one operation. The default is always measured with it and need not be named."""

    operation: Operation
    configurations: tuple[Configuration, ...]


class TrialPlan(Record, kw_only=True):
    """A plan for one fresh process."""

    cases: tuple[Case, ...]
    rounds: int
    """Undisturbed pairs for each candidate."""
    seed: int = 0
    seconds: float | None = None
    """Once this much time has passed no further pair begins, but each candidate gets at least one."""
    longest: float | None = None
    """Once this much time has passed the process is ended wherever it is."""
    quiet: bool = False
    """Do the neighbours that run next to other plans rest while this one runs?"""


class Session(Record, kw_only=True):
    """The result of a TrialPlan."""

    measurements: tuple[Measurement, ...]
    """For every case the default first, then its configurations in the plan's order."""
    wall_seconds: float
    """All the time that the plan took, process start included."""
    sampled_seconds: float = 0.0
    """Sum of all timed samples."""
    best_capacity: float | None = None
    """Highest capacity that was probed in this process; None without a probe."""


class Bench(Protocol):
    """Measures plans. ProcessBench does it in fresh processes, tests use one that answers instantly.

    Time
        A Session's wall_seconds is the only clock of search.
    Failures
        A configuration that crashes, hangs, runs out of memory, raises or gives a wrong result yields a
        Measurement with a Failure; it never raises and never costs the other configurations their turn.
    Order
        The Session lists, for every case of the plan, the default and then the case's configurations in the
        plan's order (a default named in the plan is not repeated).
    Pairs
        In each round every candidate of a case is timed once, next to a timing of the default of its own, in an
        order drawn from the plan's seed. Disturbed pairs are kept, and repeated while time allows.
    """

    def run(self, plan: TrialPlan) -> Session:
        """Measure a plan in one fresh process (or in several, where one ended early)."""
