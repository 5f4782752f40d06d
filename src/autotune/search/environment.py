"""Environment of a calibration, as far as it decides what is tried."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from autotune.model.catalogue import Kind
from autotune.model.configuration import Knob
from autotune.model.units import count_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The allocation, as far as search asks."""

    STRICT: ClassVar[bool] = True

    usable_cpus: int
    default_threads: int | None = None
    """BLAS threads of a fresh process with nothing set; None without a BLAS."""
    l2_bytes: int | None = None
    l3_bytes: int | None = None
    memory_bytes: int | None = None
    neighbours: int = 0
    """Busy processes that run next to the trials."""
    copies: int = 1
    """Of each trial that run at once."""
    placements: Mapping[str, int] = field(default_factory=dict)
    """Placements of workers, each with the most that it has room for; empty on a machine of one piece."""
    full_capacity: float | None = None
    """Best capacity that an earlier calibration of this machine saw."""

    def default_cpus(self, kind: Kind) -> int:
        """Return the CPUs that plain NumPy keeps busy in an operation of this kind, as far as its knobs say."""
        if Knob.OPENMP_THREADS in kind.knobs:
            return self.usable_cpus
        return (self.default_threads or 1) if Knob.BLAS_THREADS in kind.knobs else 1

    @property
    def company(self) -> str:
        """Describe the processes that run next to the trials; empty if there are none."""
        copies = f" in {self.copies} copies at once" if self.copies > 1 else ""
        busy = count_of(self.neighbours, "busy process", "busy processes")
        neighbours = f" next to {busy}" if self.neighbours else ""
        return f"Measured{copies}{neighbours}." if copies or neighbours else ""

    @property
    def has_company(self) -> bool:
        """Do processes of autotune's own run next to the trials, so that full capacity cannot be told?"""
        return self.neighbours > 0 or self.copies > 1
