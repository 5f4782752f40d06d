"""Notice of a fork by any code: Python, a C library, or a server such as uWSGI.

`os.register_at_fork` covers forks that Python makes. uWSGI, and any C code, may call fork(2) itself: in such a child
threads are gone and locks stay taken, and no hook has run. So code that depends on threads or locks calls `check()`
first, which compares the process's number.
"""

import os
from _thread import RLock  # threading takes a millisecond to load
from collections.abc import Callable

Callback = Callable[[], object]

importing = RLock()
"""Lock for a thread that imports modules in the middle of a program's call. Python's forks wait for it: the child would
inherit the locks of half-imported modules, which none of its threads could release."""

is_cut_off = False
"""Was this child forked by C code while another thread held `importing`? It must not import these modules."""

_pid: int | None = None
"""Id of the process at the last check; None before the first callback."""
_callbacks: list[Callback] = []


def register(in_child: Callback) -> None:
    """Call `in_child` in every forked child: at once if Python forks, else at the child's next `check`."""
    global _pid  # noqa: PLW0603 - of this process
    if _pid is None:
        _pid = os.getpid()
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
    if _pid is not None and _pid != os.getpid():
        _in_child()


def _in_child() -> None:
    global importing, is_cut_off, _pid  # noqa: PLW0603 - of this process
    if importing.acquire(blocking=False):
        importing.release()
    else:
        importing, is_cut_off = RLock(), True
    for callback in _callbacks:
        callback()
    # last: until then another thread that checks runs the callbacks too, and does not wait for a dead lock
    _pid = os.getpid()
