"""The software that a profile is for: BLAS libraries, NumPy and Python."""

from autotune.model.record import Record


class BlasLibrary(Record, kw_only=True):
    """One BLAS library loaded into the process. NumPy's and SciPy's wheels each bring their own."""

    api: str
    """As threadpoolctl names it: "openblas", "mkl", "blis", "flexiblas"."""
    version: str | None = None
    kernels: str | None = None
    """Kernel set that really runs, such as "SkylakeX"."""
    threading: str | None = None
    """Threading layer: "pthreads", "openmp", "intel", "disabled"."""
    ilp64: bool | None = None
    """Are its integers 64 bits wide?"""
    threads: int | None = None
    """Number of threads that it uses now."""
    path: str | None = None
    user: str | None = None
    """Package that brought it: "numpy", "scipy"."""


class Software(Record, kw_only=True):
    """The software part of a profile's key: NumPy's BLAS, NumPy and Python."""

    blas: str | None = None
    """BLAS library as threadpoolctl names it: "openblas", "mkl", "blis", "flexiblas"."""
    blas_version: str | None = None
    """Version of the BLAS library."""
    kernels: str | None = None
    """Kernel set that runs, such as "SkylakeX"."""
    threading: str | None = None
    """Threading layer: "pthreads", "openmp", "intel", "disabled"."""
    ilp64: bool | None = None
    """Whether its integers are 64 bits wide."""
    numpy: str | None = None
    """Version of NumPy, major.minor."""
    python: str | None = None
    """Build of Python, "gil" or "free-threaded"."""
