"""Time that idle BLAS threads spin before they sleep: a knob of the machine, set before or after the library is loaded.

After each call OpenBLAS's threads spin for 2^28 cycles (0.1 s), unless OPENBLAS_THREAD_TIMEOUT holds another exponent
when they are started, and leave other threads nothing of the CPUs meanwhile (OpenBLAS #1614, #5171). MKL's spin for
KMP_BLOCKTIME milliseconds, OpenMP's by OMP_WAIT_POLICY; these are left alone.

A library that is loaded already takes another exponent if its build exports two functions: openblas_read_env reads the
variable again, and blas_thread_shutdown_ ends the threads, which the next call starts anew. NumPy's wheels exported
them up to 2.4, and hide them from 2.5 on; SciPy's export them. No call may be in flight meanwhile.
"""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from autotune.controls import after_fork
from autotune.host.numeric_libraries import libraries

if TYPE_CHECKING:
    from autotune.model.software import BlasLibrary

VARIABLE = "OPENBLAS_THREAD_TIMEOUT"
DEFAULT_EXPONENT = 28
SHORTER_EXPONENTS = (20, 22)
"""Exponents that a calibration chooses among, the shortest first: 0.4 and 1.6 ms. Shorter ones slow QR down by 10 to
40 %, since its threads have to be woken within a call (measured with OpenBLAS 0.3.31)."""
EXPONENTS = (*SHORTER_EXPONENTS, DEFAULT_EXPONENT)
"""Those by which a recording tells what follows calls of BLAS (SPIN_NS of `native/recorder.c`)."""
SHORTEST, LONGEST = 4, 30
"""Exponents that OpenBLAS takes (openblas_env.c, blas_server.c)."""
DEFAULT_SECONDS = 0.1
"""2^28 cycles at 2.7 GHz."""

_READ_AGAIN = ("OPENBLAS_VERBOSE", "OPENBLAS_BLOCK_FACTOR")
"""Other variables that openblas_read_env reads and that act later; thread counts it reads, too, but they act at the
first start of the threads only (OpenBLAS 0.3.27 to 0.3.31)."""


def exponent_of(environ: Mapping[str, str]) -> int | None:
    """Return the exponent that the user, or `autotune run`, has set; None if OpenBLAS takes none from there. Pure."""
    value = environ.get(VARIABLE, "")
    exponent = int(value) if value.isascii() and value.isdigit() and len(value) < 4 else 0
    return min(exponent, LONGEST) if exponent >= SHORTEST else None


def spin_seconds(exponent: int | None) -> float:
    """Return for how long threads spin after a call; None: by default. Pure."""
    return DEFAULT_SECONDS * 2.0 ** ((DEFAULT_EXPONENT if exponent is None else exponent) - DEFAULT_EXPONENT)


def variables(exponent: int | None) -> dict[str, str]:
    """Return the variables by which a process that is started takes an exponent; none for the default. Pure."""
    return {} if exponent in {None, DEFAULT_EXPONENT} else {VARIABLE: str(exponent)}


_ENVIRONMENT: Mapping[str, tuple[str, str, str]] = {
    "openblas": (VARIABLE, "20", str(LONGEST)),
    "openmp": ("OMP_WAIT_POLICY", "passive", "active"),
    "libgomp": ("GOMP_SPINCOUNT", "0", "infinite"),
    "kmp": ("KMP_BLOCKTIME", "0", "infinite"),
}
"""Variable of each kind of runtime, with its values for threads that sleep and for threads that spin.

2^20 cycles of OpenBLAS are 0.4 ms: calls in a row lose nothing by them. GNU's runtime reads GOMP_SPINCOUNT, LLVM's and
Intel's KMP_BLOCKTIME (which MKL reads too), all three OMP_WAIT_POLICY (OpenMP 5.2, 21.7)."""

_LIBRARIES = {
    "openblas": ("openblas",),
    "libgomp": ("libgomp", "openmp"),
    "libomp": ("kmp", "openmp"),
    "libiomp5": ("kmp", "openmp"),
    "libmkl_rt": ("kmp",),
}
"""Kinds of runtimes by a part of the names of their libraries."""

RUNTIMES = frozenset(_ENVIRONMENT)


def runtimes_in(libraries: str) -> frozenset[str]:
    """Return the kinds of runtimes whose libraries a text such as /proc/PID/maps names. Pure."""
    return frozenset(kind for part, kinds in _LIBRARIES.items() if part in libraries for kind in kinds)


def adjustable_runtimes(environ: Mapping[str, str], runtimes: Iterable[str] = RUNTIMES) -> frozenset[str]:
    """Return those of the runtimes whose variable is not set yet: what the user set stays. Pure."""
    return frozenset(runtime for runtime in runtimes if _ENVIRONMENT[runtime][0] not in environ)


def wait_variables(wait: str | None, runtimes: Iterable[str]) -> dict[str, str]:
    """Return the variables by which idle threads of these runtimes sleep or spin; none for None. Pure."""
    if wait is None:
        return {}
    chosen = (_ENVIRONMENT[runtime] for runtime in sorted(runtimes))
    return {name: sleep if wait == "sleep" else spin for name, sleep, spin in chosen}


class WaitPolicy:
    """The exponent of this process's BLAS libraries."""

    def __init__(self) -> None:
        self.exponent = exponent_of(os.environ)
        """In force; None: the library's default."""
        self._set: dict[str, int] = {}
        """Exponent that was set here for each library, by its path."""

    @contextmanager
    def loading(self, exponent: int) -> Iterator[None]:
        """Have libraries that are loaded within a `with` take this exponent, and none of this process's children."""
        before = {library.path for library in libraries()} if "numpy" in sys.modules else set()
        os.environ[VARIABLE] = str(exponent)
        try:
            yield
        finally:
            os.environ.pop(VARIABLE, None)
        self._set |= {library.path: exponent for library in _spinning() if library.path and library.path not in before}
        self.exponent = exponent

    def set_late(self, exponent: int) -> str | None:
        """Have the libraries that are loaded take this exponent. Return None, or why one of them does not."""
        after_fork.check()
        waiting = [library for library in _spinning() if self._set.get(library.path or "") != exponent]
        for library in waiting:
            refusal = _refusal() or _restart(library, exponent)
            if refusal is not None:
                return refusal
            self._set[library.path or ""] = exponent
        self.exponent = exponent
        return None


def _spinning() -> "list[BlasLibrary]":
    """List the libraries whose threads follow the variable, NumPy's first."""
    return [each for each in libraries() if each.api == "openblas" and each.threading == "pthreads"]


def _refusal() -> str | None:
    """Return why no library may start its threads anew now, as a sentence; None if one may."""
    import threading

    if threading.active_count() > 1:
        return "other threads run, which may be within a call of BLAS."
    try:
        with open("/proc/self/environ", "rb") as file:  # noqa: PTH123 - a millisecond less
            start = dict(line.partition(b"=")[::2] for line in file.read().split(b"\0"))
    except OSError:
        return "it is unknown which variables have changed since the program began."
    for name in _READ_AGAIN:
        value = os.environ.get(name)
        if start.get(name.encode()) != (None if value is None else os.fsencode(value)):
            return f"{name} has changed since the program began, and would be read again."
    return None


def _restart(library: "BlasLibrary", exponent: int) -> str | None:
    """Have one library take an exponent. Return None, or why it does not."""
    import ctypes  # 4 ms that programs without such a profile, and `autotune run`, do without

    try:
        # PyDLL keeps the GIL, so that no other thread of Python's begins a call; RTLD_NOLOAD loads nothing
        native = ctypes.PyDLL(library.path, mode=getattr(os, "RTLD_NOLOAD", 0))
        read, end, current = (
            native[name] for name in ("openblas_read_env", "blas_thread_shutdown_", "openblas_thread_timeout")
        )
    except (OSError, AttributeError):
        version = f" {library.version}" if library.version else ""
        return f"this build of OpenBLAS{version} cannot change it once it is loaded."
    value = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = str(exponent)
    try:
        read()
    finally:
        if value is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = value
    if current() != exponent:
        return "OpenBLAS did not take it."
    end()
    return None


process = WaitPolicy()
