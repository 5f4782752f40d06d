"""Threads of the pools that are not BLAS libraries: OpenMP, torch, numba, numexpr, SciPy's FFT workers.

A pool counts if its library is loaded; none is imported here. The rules are those of `blas`: the smallest count of all
active scopes holds, and a count that other code or the user's variables set is a ceiling. No pool gets more threads
than it had, but FFT workers, which are one unless a program asks for more.

Scope of effect: torch and numexpr count for the process; OpenMP, numba and SciPy's FFT for the thread that enters.
"""

import ctypes
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any

from autotune.controls import blas
from autotune.controls.blas import BlasThreads
from autotune.controls.blas_setters import Library
from autotune.controls.import_hooks import are_imported
from autotune.host.threadpools import controller

COUNTED_BY_THREAD = {"torch": False, "numexpr": False, "numba": True}
"""Modules with the functions `get_num_threads` and `set_num_threads`, and whether each thread has its own count."""
FFT = "scipy.fft"


def find() -> list[Library]:
    """Return the pools that are loaded now. Costs as much as a search for BLAS libraries: 0.1 to 0.6 ms."""
    return [*_openmp_runtimes(), *_module_pools(), *_fft_workers()]


def _openmp_runtimes() -> Iterator[Library]:
    """Yield the OpenMP runtimes, but that whose count an OpenBLAS on OpenMP takes: `blas` sets it."""
    taken = {library.addresses for library in blas.loaded_libraries() if library.is_on_openmp}
    for lib in controller().lib_controllers:
        if lib.user_api == "openmp":
            # each lookup by [] makes a function of its own, where an attribute would be threadpoolctl's
            get, put = lib.dynlib["omp_get_max_threads"], lib.dynlib["omp_set_num_threads"]
            put.argtypes = [ctypes.c_int]
            pool = Library(api="openmp", path=lib.filepath, get=get, put=put, per_thread=True, ceiling=max(1, get()))
            if pool.addresses not in taken:
                yield pool


def _module_pools() -> Iterator[Library]:
    for name, per_thread in COUNTED_BY_THREAD.items():
        module = _module(name)
        get, put = (getattr(module, f"{verb}_num_threads", None) for verb in ("get", "set"))
        if module is not None and get is not None and put is not None and _is_started(module):
            yield Library(api=name, path=name, get=get, put=put, per_thread=per_thread, ceiling=get())


def _is_started(module: ModuleType) -> bool:
    """Does its pool run? numba starts its threads at the first query, which autotune must not make."""
    layer = getattr(module, "threading_layer", None)
    if layer is None:
        return True
    try:
        layer()
    except ValueError:
        return False
    return True


def _fft_workers() -> Iterator[Library]:
    module = _module(FFT)
    if module is not None:
        workers = FftWorkers(module)
        usual = workers.get()
        ceiling = None if usual == 1 else usual
        yield Library(api=FFT, path=FFT, get=workers.get, put=workers.put, per_thread=True, ceiling=ceiling)


class FftWorkers:
    """The default number of FFT workers of each thread, which SciPy sets for the time of a `with`."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self._thread = threading.local()

    def get(self) -> int:
        return int(self._module.get_workers())

    def put(self, workers: int) -> None:
        before: AbstractContextManager[object] | None = getattr(self._thread, "scope", None)
        self._thread.scope = None
        if before is not None:
            before.__exit__(None, None, None)
        if workers != self.get():
            # kept: SciPy's context manager puts back the count as soon as it is forgotten
            self._thread.scope = self._module.set_workers(workers)
            self._thread.scope.__enter__()


def _module(name: str) -> ModuleType | None:
    return sys.modules.get(name) if are_imported((name,)) else None


_threads = BlasThreads(find)

loaded_pools = _threads.loaded_libraries
limit = _threads.limit
