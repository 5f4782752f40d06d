"""What a calibration is asked to do."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from autotune.model.catalogue import Kind


class Effort(StrEnum):
    """How much time a calibration may take."""

    QUICK = "quick"
    """One size of each operation."""
    NORMAL = "normal"
    THOROUGH = "thorough"
    """More sizes, both dtypes, every candidate followed to the end."""


BUDGET_SECONDS: Mapping[Effort, float] = {Effort.QUICK: 75.0, Effort.NORMAL: 330.0, Effort.THOROUGH: 3600.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a calibration is asked to do."""

    operations: tuple[str, ...] = ()
    """Names of the catalogue; empty for all of it."""
    sizes: tuple[Mapping[str, int], ...] = ()
    """Sizes for every operation named; empty for each operation's own ladder."""
    dtypes: tuple[str, ...] = ()
    """Empty for float64 (with thorough effort, float32 too)."""
    effort: Effort = Effort.NORMAL
    budget_seconds: float | None = None
    """None for the effort's own."""
    seed: int = 0
    neighbours: int = 0
    """Busy processes to keep beside the trials."""
    copies: int = 1
    """Of each trial to run at once, on CPUs that they share."""
    seconded: bool = False
    """Does a second host prove the choices too? Then each of the two proofs may be a lean one."""
    workload: Kind | None = None
    """The user's own function, as a row of the catalogue."""

    @property
    def seconds(self) -> float:
        """Time allowed for everything."""
        return BUDGET_SECONDS[self.effort] if self.budget_seconds is None else self.budget_seconds

    @property
    def all_dtypes(self) -> tuple[str, ...]:
        """The dtypes to calibrate."""
        return self.dtypes or (("float64", "float32") if self.effort is Effort.THOROUGH else ("float64",))
