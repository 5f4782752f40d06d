"""The BLAS libraries loaded into this process, with their own functions for the thread count.

The count is read and set through the library's functions themselves. From 3.8 on
threadpoolctl's setter makes the calling thread the owner of OpenBLAS for as long as it lives, and what other
threads then ask for is silently dropped: a worker's `threadpool_limits(1)`, joblib's and scikit-learn's
included. The library's function takes no ownership, and costs 0.7 us instead of 7.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any

from autotune.controls import thread_variables
from autotune.host.numeric_libraries import brought_by, series
from autotune.host.threadpools import blas_controllers, openblas_function


class Library:
    """One loaded BLAS library: its name, its file and its thread count."""

    def __init__(
        self,
        *,
        api: str,
        path: str,
        get: Callable[[], int],
        put: Callable[[int], object],
        per_thread: bool = False,
        returns_previous: bool = False,
        ceiling: int | None,
        version: str | None = None,
        is_on_openmp: bool = False,
    ) -> None:
        self.api = api
        """As threadpoolctl names it: "openblas", "mkl", "blis", "flexiblas"."""
        self.is_on_openmp = is_on_openmp
        self.version = version
        self.path = path
        self.get = get
        """Reads that number as `put` takes it; -1 means not set."""
        self.put = put
        """Sets that number, for the whole process or for this thread.

        OpenBLAS starts the threads at once, beyond the number of CPUs too, and never ends one.
        """
        self.per_thread = per_thread
        """Does every thread of the process have its own count?"""
        self.returns_previous = returns_previous
        """Does `put` return what has to be put to undo it?"""
        self._ceiling = ceiling
        self._start = get()

    def ceiling(self, threads: int) -> int | None:
        """Return the most threads that the code which left this count allows; None if it set no limit.

        A count other than the one it was found with was set by other code, and is its limit.
        """
        return self._ceiling if threads == self._start else threads

    def is_like(self, other: "Library") -> bool:
        """Do measurements with the other library hold for this one? The patch level may differ, as in a profile."""
        own, others = ((series(each.version or ""), each.api) for each in (self, other))
        return own == others and self.per_thread == other.per_thread

    def __str__(self) -> str:
        return f"{self.api} {self.version or 'of unknown version'}"

    @property
    def addresses(self) -> tuple[int, int] | None:
        """Addresses of the functions that read and set the count; None if they are Python's."""
        import ctypes

        try:
            get, put = (ctypes.cast(function, ctypes.c_void_p).value for function in (self.get, self.put))  # type: ignore[arg-type]
        except ctypes.ArgumentError:
            return None
        return (get, put) if get and put else None

    @property
    def threads(self) -> int:
        """Return the number of threads that a call of this thread would use."""
        return max(1, self.get())


def find() -> list[Library]:
    """Return the BLAS libraries that are loaded now, NumPy's first.

    Costs 0.1 to 0.6 ms. Statically linked libraries and Apple's Accelerate are not seen.
    """
    return sorted(map(library, blas_controllers()), key=_numpys_first)


def of_scipy(loaded: Sequence[Library]) -> Library | None:
    """Return the library that SciPy's wheel brought, or the one that is there for all; None if that is not clear."""
    own = [library for library in loaded if brought_by(library.path) == "scipy"]
    return next(iter(own or (loaded if len(loaded) == 1 else ())), None)


def _numpys_first(library: Library) -> tuple[bool, bool]:
    user = brought_by(library.path)
    return (user != "numpy", user == "scipy")


def library(lib: Any) -> Library:
    """Return the Library of an OpenBlas, or of one of threadpoolctl's controllers (the same objects in 3.5 to 3.8)."""
    api, path, native = lib.internal_api, lib.filepath, lib.dynlib
    is_on_openmp = getattr(lib, "threading_layer", None) == "openmp"
    match api:
        case "openblas" if is_on_openmp:
            # It asks OpenMP how many threads the calling thread may have, at every call; its own setter was
            # broken until 0.3.34 (OpenBLAS#5806).
            get, put = _function(native, "omp_get_max_threads"), _function(native, "omp_set_num_threads")
        case "openblas":
            get, put = (openblas_function(native, f"{verb}_num_threads") for verb in ("get", "set"))
        case "mkl":
            get, put = (_function(native, "MKL_Get_Max_Threads"), _function(native, "MKL_Set_Num_Threads_Local"))
        case "blis":  # -1, which threadpoolctl gives as 1, says that it was never set
            get, put = (_function(native, f"bli_thread_{verb}_num_threads") for verb in ("get", "set"))
        case _:
            get = put = None
    is_called_directly = get is not None and put is not None
    if get is None or put is None:
        get, put = lib.get_num_threads, lib.set_num_threads
    return Library(
        api=api,
        path=path,
        get=get,
        put=put,
        per_thread=is_called_directly and (api == "mkl" or (api == "openblas" and is_on_openmp)),
        returns_previous=is_called_directly and api == "mkl",
        ceiling=_ceiling(api, get(), is_on_openmp=is_on_openmp),
        version=lib.version,
        is_on_openmp=is_on_openmp,
    )


def _function(native: Any, name: str) -> Callable[..., int] | None:
    try:
        function: Callable[..., int] = native[name]  # not native.name, whose object threadpoolctl shares
    except AttributeError:
        return None
    return function


def _ceiling(api: str, threads: int, *, is_on_openmp: bool) -> int | None:
    """Return the most threads that a library just found may have.

    A library starts with as many threads as there are CPUs, so a smaller count was asked for by other code: in
    the environment, or by a limit. A count that we exported ourselves is no wish of the user's, nor is the
    single thread with which BLIS starts; there only their own variables limit.
    """
    exported = thread_variables.exported_names(os.environ).intersection(thread_variables.LIMITS.get(api, ())[:1])
    if not exported and api != "blis":
        return threads
    return thread_variables.user_limit(os.environ, api=api, is_on_openmp=is_on_openmp)
