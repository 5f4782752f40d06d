"""Lets glibc keep large freed blocks for reuse. Opt-in: it costs memory.

NumPy allocates every temporary anew. glibc gives large blocks fresh pages and returns them when they are
freed, so each `sqrt(x*y + x)` pays for page faults again: 1 million float64 take 4.6 ms, and 2.2 ms with the
memory retained; 10 million 51 ms and 38 ms [glibc 2.36, a virtual machine].

What is set (man 3 mallopt): M_MMAP_MAX=0, so that large blocks come from the heap, and M_TRIM_THRESHOLD=cap, so that
the heap's top is returned only beyond that size. What lies below a block still in use stays, whatever the cap; so
while memory is retained for the whole process, a thread looks every few seconds and has glibc return the pages in the
middle as well (malloc_trim) if more than the cap is free. Blocks above 64 MiB that are allocated outside the main
thread are not retained: the heaps of other threads (arenas) cannot hold them.

The undoing cannot be exact. As soon as mallopt is called for one of these, glibc ends for good the
adjustment by which a freed block raises the size from which blocks get pages of their own (M_MMAP_THRESHOLD,
128 KiB at first, at most 32 MiB) and the trim threshold (twice that). Set back to the first values, every
block of 128 KiB would be faulted in anew, slower than plain glibc; so it is left where the adjustment ends
in a program that has freed a large block: 32 MiB and 64 MiB. What else was retained is returned at once.
"""

import os
import threading
from collections.abc import Callable
from functools import cache
from typing import Any

from autotune.controls import after_fork, thread_variables
from autotune.controls.periodic_thread import PeriodicThread
from autotune.errors import UnsupportedPlatform
from autotune.host.memory_limit import usable_bytes
from autotune.model.policy import memory_allowance

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4
"""glibc's malloc.h."""

MALLINFO2 = (
    *("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks"),
    "keepcost",
)

MMAP_MAX_DEFAULT = 65536
MMAP_THRESHOLD_LARGEST = 32 * 2**20
"""DEFAULT_MMAP_THRESHOLD_MAX on 64-bit systems (malloc/malloc.c)."""
LARGEST_CAP = 2**31 - 1
"""mallopt takes an int."""
TRIM_SECONDS = 3.0
_PROCESS = "process"
"""Scope of `retain`."""
TIGHT_MEMORY = 2**30
"""Bytes: with less, what is retained would soon be missed elsewhere."""


def unsupported_reason() -> str | None:
    """Return why memory cannot be retained in this process, as a sentence; None if it can. Found out once."""
    return _support()[0]


def refusal(*, libc: str | None, replaced: bool, memory_bytes: int | None, settings: tuple[str, ...]) -> str | None:
    """Decide `unsupported_reason` for a process like this.

    `libc` is glibc's version, None for another C library; `replaced` says whether malloc is another's;
    `settings` are the variables by which the user steers malloc.
    """
    if libc is None:
        return "Memory cannot be retained: that takes glibc's mallopt, and this is another C library."
    if replaced:
        return "Memory cannot be retained: another allocator has taken the place of glibc's malloc."
    if settings:
        return f"Memory is not retained: you steer malloc yourself, by {', '.join(settings)}."
    if memory_bytes is not None and memory_bytes < TIGHT_MEMORY:
        return (
            f"Memory is not retained: this process may use {memory_bytes / 2**20:.0f} MiB only, "
            f"less than {TIGHT_MEMORY // 2**20} MiB."
        )
    return None


def retain(cap_bytes: int | None = None) -> None:
    """Keep freed memory for reuse in the whole process, until `default`.

    `cap_bytes` is how much may be kept at the top of the heap, 1 to 2 GiB (more is taken as 2 GiB); None is a
    quarter of the memory that this process may use. Raises UnsupportedPlatform with the sentence of
    `unsupported_reason`, and ValueError for a cap below 1.
    """
    _heap().set_cap(_PROCESS, _cap_bytes(cap_bytes))


def default() -> None:
    """Undo `retain`, and return what was kept to the system. Does nothing where nothing was changed."""
    _heap().set_cap(_PROCESS, None)


class Retained:
    """Scope of a `with` that retains memory. Scopes are counted: the last to end undoes it; the smallest cap holds.

    Costs 5 us, and at the end the time to return the memory, about 1 ms per 100 MB. Raises as `retain` does.
    """

    __slots__ = ("_cap",)

    def __init__(self) -> None:
        self._cap = _cap_bytes(None)

    def __enter__(self) -> None:
        _heap().set_cap(self, self._cap)

    def __exit__(self, *_: object) -> None:
        _heap().set_cap(self, None)


class Heap:
    """The part of glibc's heap that is free and kept, under all the caps that are in force."""

    def __init__(
        self,
        mallopt: Callable[[int, int], object],
        trim: Callable[[int], object],
        free_bytes: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._mallopt = mallopt
        self._trim = trim
        self._free_bytes = free_bytes
        self._trimmed_at: int | None = None
        """Bytes that were free when it was trimmed last."""
        self._trimmer = PeriodicThread("autotune-trim", TRIM_SECONDS, self.trim_excess)
        self._lock = threading.RLock()
        self._caps: dict[object, int] = {}
        """By scope."""
        self._cap: int | None = None
        """The setting in force."""

    def set_cap(self, scope: object, cap: int | None) -> None:
        """Retain memory for a scope, up to a cap; None ends it."""
        after_fork.check()
        with self._lock:
            if cap is None:
                self._caps.pop(scope, None)
            else:
                self._caps[scope] = cap
            self._settle()
        if cap is not None and scope == _PROCESS:
            self._trimmer.start()

    def trim_excess(self) -> bool:
        """Return free pages from the middle of the heap, where more is free than the cap; False once there is none."""
        with self._lock:
            cap, free = self._caps.get(_PROCESS), self._free_bytes()
        if cap is None or free is None:
            return False
        if free > cap and free != self._trimmed_at:
            self._trim(min(cap, self._cap or cap))
            self._trimmed_at = free
        return True

    def after_fork(self) -> None:
        """Reset in a forked child: its only thread is not inside one of these methods."""
        self._lock = threading.RLock()

    def _settle(self) -> None:
        cap = min(self._caps.values(), default=None)
        if cap == self._cap:
            return
        self._cap = cap
        if cap is not None:
            self._mallopt(M_TRIM_THRESHOLD, cap)
            self._mallopt(M_MMAP_MAX, 0)
            return
        self._mallopt(M_MMAP_MAX, MMAP_MAX_DEFAULT)
        self._mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD_LARGEST)
        self._mallopt(M_TRIM_THRESHOLD, 2 * MMAP_THRESHOLD_LARGEST)
        self._trim(0)


def _cap_bytes(cap_bytes: int | None) -> int:
    reason, quarter = _support()
    if reason is not None:
        raise UnsupportedPlatform(reason)
    if cap_bytes is not None and cap_bytes < 1:
        raise ValueError(f"At least one byte is retained, not {cap_bytes}.")
    return min(cap_bytes or quarter, LARGEST_CAP)


@cache
def _support() -> tuple[str | None, int]:
    """Return why memory cannot be retained, and the default cap. Costs 0.5 ms; constant within a process."""
    memory, settings = usable_bytes(), thread_variables.allocator_settings(os.environ)
    reason = refusal(libc=_glibc(), replaced=_is_replaced(), memory_bytes=memory, settings=settings)
    return reason, memory_allowance(memory) or LARGEST_CAP


@cache
def _heap() -> Heap:
    heap = Heap(
        lambda option, value: _libc().mallopt(option, value), lambda padding: _libc().malloc_trim(padding), _free_bytes
    )
    after_fork.register(heap.after_fork)
    return heap


def _glibc() -> str | None:
    """Return the version of glibc; None for another C library."""
    try:
        return os.confstr("CS_GNU_LIBC_VERSION")
    except (AttributeError, ValueError, OSError):
        return None


def _is_replaced() -> bool:
    """Does this program call another malloc than glibc's?

    Another allocator brings its own malloc_usable_size. The address of malloc itself tells nothing: in a Python that
    is linked to a fixed address, as Debian's and Ubuntu's, it is that of a stub in the program.
    """
    import ctypes

    try:
        functions = (ctypes.CDLL(name).malloc_usable_size for name in (None, "libc.so.6"))
        called, glibc = (ctypes.cast(function, ctypes.c_void_p).value for function in functions)
    except (OSError, AttributeError, TypeError):  # no such library here: `_glibc` says so
        return False
    return called != glibc


def _libc() -> Any:
    import ctypes

    return ctypes.CDLL(None)


def _free_bytes() -> int | None:
    """Return the bytes that glibc holds and the program does not use; None before glibc 2.33."""
    import ctypes

    class Mallinfo2(ctypes.Structure):
        """malloc.h"""

        _fields_ = [(name, ctypes.c_size_t) for name in MALLINFO2]

    try:
        mallinfo2 = _libc().mallinfo2
    except AttributeError:
        return None
    mallinfo2.restype = Mallinfo2
    return int(mallinfo2().fordblks)
