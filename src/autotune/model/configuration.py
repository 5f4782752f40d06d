"""The knobs, and one setting of them."""

from enum import StrEnum
from typing import ClassVar, Literal

from autotune.model.constraints import Count, SizeValue
from autotune.model.record import Record


class Knob(StrEnum):
    """A knob that can be tuned. Its value is the name of the field of Configuration that holds it."""

    BLAS_THREADS = "blas_threads"
    OPENMP_THREADS = "openmp_threads"
    WORKERS = "workers"
    CHUNK = "chunk"
    METHOD = "method"
    PLACEMENT = "placement"
    ALLOCATOR = "allocator"
    WAIT = "wait"


class Method(StrEnum):
    """Ways to give an array to other processes. The first group shares pages, the second copies."""

    INHERIT = "inherit"
    RAW_ARRAY = "raw_array"
    ARRAY = "array"
    SHARED_MEMORY = "shared_memory"
    MEMMAP = "memmap"
    MEMFD = "memfd"
    ARGUMENT = "argument"
    PIPE = "pipe"
    QUEUE = "queue"
    MANAGER = "manager"


class Placement(StrEnum):
    """Which of the allowed CPUs workers run on. Without one the system moves them as it likes."""

    CORES = "cores"
    """One hardware thread of every physical core."""
    L3 = "l3"
    """CPUs that share one L3 cache."""
    NODE = "node"
    """CPUs of one NUMA node."""


Allocator = Literal["default", "retain"]
"""Treatment of large freed blocks by glibc: returned to the system, or kept for reuse."""
IdleThreads = Literal["sleep", "spin"]
"""Behaviour of idle threads of BLAS and OpenMP in a command that is tuned as a whole: they sleep soon, and leave the
CPUs to other threads, or spin for as long as their library allows, and are there at once."""


class Configuration(Record, kw_only=True):
    """A value for each knob. None leaves a knob untouched; Configuration() is plain NumPy.

    Unknown knobs are refused: without one, the configuration would not be the measured one.
    """

    STRICT: ClassVar[bool] = True

    blas_threads: Count | None = None
    """Threads inside one BLAS call."""
    openmp_threads: Count | None = None
    """Threads of every pool but BLAS: OpenMP runtimes, as scikit-learn uses them, torch, numba, numexpr, SciPy FFT."""
    workers: Count | None = None
    """Worker threads or processes around the calls; the calling thread is one of them."""
    chunk: SizeValue | None = None
    """Elements per slice (matrices per slice for stacks, tasks per slice for task pools)."""
    method: Method | None = None
    """Way to give an array to other processes."""
    placement: Placement | None = None
    """CPUs that the workers run on; the CPUs hold all of them."""
    allocator: Allocator | None = None
    """Handling of large freed blocks by glibc."""
    wait: IdleThreads | None = None
    """Behaviour of idle threads, set by variables of the environment."""

    @property
    def is_default(self) -> bool:
        """Is this plain NumPy, with no knob touched?"""
        return all(value is None for value in self.__dict__.values())

    @property
    def cpus(self) -> int:
        """Threads that may run at once under this setting, unset knobs counting as one.

        A worker is in one library at a time: its BLAS call and its OpenMP region follow each other.
        """
        return max(self.blas_threads or 1, self.openmp_threads or 1) * (self.workers or 1)

    @property
    def only_blas_threads(self) -> int | None:
        """The BLAS threads, where nothing else is set; else None."""
        return self.blas_threads if self == Configuration(blas_threads=self.blas_threads) else None

    @property
    def without_chunk(self) -> "Configuration":
        """The configuration without its chunk size, which is chosen for each size."""
        return self.replace(chunk=None)

    def as_dict(self) -> dict[str, int | str]:
        """Return the knobs that are set, as plain values."""
        set_knobs = {name: value for name, value in self.__dict__.items() if value is not None}
        return {name: str(value) if isinstance(value, StrEnum) else value for name, value in set_knobs.items()}

    def __str__(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.as_dict().items()) or "default"


DEFAULT = Configuration()
"""Plain NumPy in a fresh process with no knob touched."""


def clamp(configuration: Configuration, usable_cpus: int) -> Configuration:
    """Return the configuration with `blas_threads x workers` within the CPUs that this process may use.

    Workers are kept as far as there are CPUs for them; threads of libraries are cut to each worker's equal share.
    What fits already comes back unchanged. Raises ValueError for less than one CPU.
    """
    if usable_cpus < 1:
        raise ValueError(f"At least one CPU is usable, not {usable_cpus}.")
    if configuration.cpus <= usable_cpus:
        return configuration

    def at_most(count: int | None, limit: int) -> int | None:
        return None if count is None else min(count, limit)

    workers = at_most(configuration.workers, usable_cpus)
    each = usable_cpus // (workers or 1)
    libraries = configuration.blas_threads, configuration.openmp_threads
    blas_threads, openmp_threads = (at_most(count, each) for count in libraries)
    return configuration.replace(workers=workers, blas_threads=blas_threads, openmp_threads=openmp_threads)
