"""A calibration as it is asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from importlib.util import find_spec
from math import inf
from typing import ClassVar, Self

from autotune import native
from autotune.bench.user_workload import PRESUMED, UserWorkload
from autotune.errors import UnknownOperation, UsageError
from autotune.model.catalogue import CATALOGUE, Family, Kind
from autotune.model.constraints import MAX_INTEGER
from autotune.model.operation import Operation


class Effort(StrEnum):
    """Time that a calibration may take."""

    QUICK = "quick"
    """One size of each operation."""
    NORMAL = "normal"
    THOROUGH = "thorough"
    """More sizes, float32 too, and estimators of scikit-learn where it is installed."""


class Objective(StrEnum):
    """Quantity that a choice is to have least of."""

    TIME = "time"
    CPU = "cpu"
    """CPU seconds, among configurations whose time is within CPU_SLACK of the fastest."""


def default_operations(effort: Effort = Effort.NORMAL) -> list[str]:
    """Return the names that are measured if none is given: all of the catalogue that this installation can run.

    Estimators of scikit-learn, which each process takes a second to import, are left to thorough efforts.
    """
    left_out = {Family.LOOP} if native.refusal() else set()
    if effort is not Effort.THOROUGH or find_spec("sklearn") is None:
        left_out.add(Family.ESTIMATOR)
    return [name for name, row in CATALOGUE.items() if row.family not in left_out]


BUDGET_SECONDS: Mapping[Effort, float] = {Effort.QUICK: 86.0, Effort.NORMAL: 322.0, Effort.THOROUGH: 3600.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A calibration as it is asked for. Serialisable: the header of a journal is one, and `--resume` reads it back."""

    STRICT: ClassVar[bool] = True

    operations: tuple[str, ...] = ()
    """Names of the catalogue; empty for all of it."""
    sizes: tuple[Mapping[str, int], ...] = ()
    """Sizes for every operation named; empty for each operation's own ladder."""
    recorded: tuple[Operation, ...] = ()
    """Calls of a program, with dtypes and sizes: measured in place of names, sizes and dtypes."""
    dtypes: tuple[str, ...] = ()
    """Empty for float64 (with thorough effort, float32 too)."""
    effort: Effort = Effort.NORMAL
    budget_seconds: float | None = None
    """None for the effort's own."""
    until_decided: bool = False
    """Go on until every entry is decided, however long that takes?"""
    objective: Objective = Objective.TIME
    seed: int = 0
    cpus: str | None = None
    """Numbers of CPUs to be held to, one calibration each, such as `1,2,all`; None for the allocation as it is."""
    neighbours: int = 0
    """Busy processes to run next to the trials."""
    copies: int = 1
    """Of each trial to run at once, on CPUs that they share."""
    workload: UserWorkload | None = None
    """The user's own function, in place of operations."""
    asked_at: str | None = None
    """UTC, ISO 8601: tells the allocations of one command from those of an equal one."""
    output: str | None = field(default=None, compare=False)
    """Path of the profile that was asked for; None for the user's folder. Whatever it is, the same is measured."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Weight of an operation's gain when time is shared out; 1 for those that are not named."""

    def __post_init__(self) -> None:
        """Raises UsageError for a seed that no profile can hold, UnknownOperation for a name not in the catalogue.

        A journal may be that of another version.
        """
        for name in self.operations:
            if self.workload is None and name not in CATALOGUE:
                raise UnknownOperation(name)
        if not 0 <= self.seed <= MAX_INTEGER:
            raise UsageError(f"A seed is a whole number from 0 to {MAX_INTEGER}, not {self.seed}.")

    @property
    def seconds(self) -> float:
        """Time allowed for everything."""
        if self.until_decided:
            return inf
        return BUDGET_SECONDS[self.effort] if self.budget_seconds is None else self.budget_seconds

    def with_pools(self, pools: tuple[str, ...] = PRESUMED) -> Self:
        """Return the request with the thread pools that the first trial of its workload saw at work."""
        return self if self.workload is None else replace(self, workload=replace(self.workload, pools=pools))

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The rows of the catalogue to calibrate, or the user's function."""
        if self.workload is not None:
            return (self.workload.kind,)
        return tuple(CATALOGUE[name] for name in self.operations or default_operations(self.effort))
