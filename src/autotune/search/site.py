"""Where a calibration runs, as far as it decides what is tried."""

from dataclasses import dataclass

from autotune.search.confirm import MARGIN


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

    @property
    def margin(self) -> float:
        """The gain that a choice must be proved to exceed."""
        return max(MARGIN, self.resolution or 0.0)
