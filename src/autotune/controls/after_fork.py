"""Notice of a fork by any code: Python, a C library, or a server such as uWSGI.

`os.register_at_fork` covers forks that Python makes. uWSGI, and any C code, may call fork(2) itself: in such a child
threads are gone and locks stay taken, and no hook has run. So code that depends on threads or locks calls `check()`
first. A page of memory that the kernel clears in every child (MADV_WIPEONFORK, Linux 4.14) tells; that takes 50 ns,
a fifth of a call of getpid(2), which is asked elsewhere.
"""

import mmap
import os
from _thread import RLock  # threading takes a millisecond to load
from collections.abc import Callable
from contextlib import suppress

Callback = Callable[[], object]

MADV_WIPEONFORK = 18
"""linux/mman.h; Python has no name for it."""


class _ForkMark:
    """Memory that differs in a forked child from what it was in the parent."""

    def __init__(self) -> None:
        self._page: mmap.mmap | None = None
        with suppress(AttributeError, ImportError, OSError, ValueError):  # another system, or an older kernel
            import ctypes  # as NumPy does, later than this module is loaded

            page = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            page.madvise(MADV_WIPEONFORK)
            self._page = page
            # Kept for ever: to free it gives up Python's lock. A sub-interpreter that is still there when the program
            # ends would never get the lock back, which ends the main thread and leaves BLAS's threads waiting.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(page))
        self.set()

    def set(self) -> None:
        """Mark this process as the one that was met last."""
        self._pid = os.getpid()
        if self._page is not None:
            self._page[0] = 1

    def is_set(self) -> bool:
        """Is this still the process that was met last?"""
        return self._pid == os.getpid() if self._page is None else self._page[0] == 1


importing = RLock()
"""To be held by a thread that imports modules in the middle of a program's call. Python's forks wait for it: the child
would inherit the locks of half-imported modules, which no thread of its own ever opens."""

is_cut_off = False
"""Is this a child that C code forked while another thread held `importing`? It must not import these modules."""

_mark: _ForkMark | None = None
_callbacks: list[Callback] = []


def register(in_child: Callback) -> None:
    """Call `in_child` in every forked child: at once if Python forks, else at the child's next `check`."""
    global _mark  # noqa: PLW0603 - one mark per process, made when the first callback comes
    if _mark is None:
        _mark = _ForkMark()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=_acquire, after_in_parent=_release, after_in_child=_release)
            os.register_at_fork(after_in_child=_in_child)
    _callbacks.append(in_child)


def _acquire() -> None:
    importing.acquire()


def _release() -> None:
    importing.release()


def check() -> None:
    """Run the callbacks if this process is a fork that Python did not make. To be called before a lock is taken."""
    if _mark is not None and not _mark.is_set():
        _in_child()


def _in_child() -> None:
    global importing, is_cut_off
    assert _mark is not None
    if importing.acquire(blocking=False):
        importing.release()
    else:
        importing, is_cut_off = RLock(), True
    for callback in _callbacks:
        callback()
    _mark.set()  # last: until then another thread that checks runs the callbacks too, and does not wait for a dead lock
