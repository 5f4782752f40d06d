"""Where a calibration runs, as far as it decides what is tried."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from autotune.model.catalogue import Kind
from autotune.model.configuration import Knob


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The allocation, as far as search asks."""

    usable_cpus: int
    default_threads: int | None = None
    """BLAS threads of a fresh process with nothing set; None without a BLAS."""
    l2_bytes: int | None = None
    l3_bytes: int | None = None
    memory_bytes: int | None = None
    neighbours: int = 0
    """Busy processes that are kept beside the trials."""
    copies: int = 1
    """Of each trial that run at once."""
    placements: Mapping[str, int] = field(default_factory=dict)
    """Where workers can be kept, with the most of them that have room there; empty on a machine of one piece."""
    full_capacity: float | None = None
    """What an earlier calibration of this machine saw in its best state."""

    def default_cpus(self, kind: Kind) -> int:
        """CPUs that plain NumPy keeps busy in an operation of this kind, as far as its knobs say."""
        return (self.default_threads or 1) if Knob.BLAS_THREADS in kind.knobs else 1

    @property
    def company(self) -> str:
        """What runs beside the trials, as a sentence; empty if nothing does."""
        copies = f" in {self.copies} copies at once" if self.copies > 1 else ""
        neighbours = f" beside {self.neighbours} busy process{'es' * (self.neighbours > 1)}" * bool(
            self.neighbours
        )
        return f"Measured{copies}{neighbours}." if copies or neighbours else ""

    @property
    def has_company(self) -> bool:
        """Do processes of autotune's own run beside the trials, so that full capacity cannot be told?"""
        return self.neighbours > 0 or self.copies > 1
