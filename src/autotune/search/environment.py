"""Where a calibration runs, as far as it decides what is tried."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from autotune.search.sequential_test import MARGIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The allocation and what the self-test found there."""

    usable_cpus: int
    default_threads: int | None = None
    """BLAS threads of a fresh process with nothing set; None without a BLAS."""
    l2_bytes: int | None = None
    l3_bytes: int | None = None
    memory_bytes: int | None = None
    resolution: float | None = None
    """Half-width of the 95 % interval for identical configurations, in log-ratio."""
    neighbours: int = 0
    """Busy processes that are kept beside the trials."""
    copies: int = 1
    """Of each trial that run at once."""
    placements: Mapping[str, int] = field(default_factory=dict)
    """Where workers can be kept, with the most of them that have room there; empty on a machine of one piece."""

    @property
    def margin(self) -> float:
        """The gain that a choice must be proved to exceed."""
        return max(MARGIN, self.resolution or 0.0)

    @property
    def company(self) -> str:
        """What runs beside the trials, as a sentence; empty if nothing does."""
        copies = f" in {self.copies} copies at once" if self.copies > 1 else ""
        neighbours = f" beside {self.neighbours} busy process{'es' * (self.neighbours > 1)}" * bool(
            self.neighbours
        )
        return f"Measured{copies}{neighbours}." if copies or neighbours else ""
