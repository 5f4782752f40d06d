"""Idle threads of this process that still spin, as those of a BLAS library do for a while."""

import os
import sys
import threading
from pathlib import Path
from time import monotonic

from autotune.host import kernel_files


def await_rest(limit: float) -> bool:
    """Keep this thread busy until the process's other threads rest, but no longer than `limit` seconds.

    Returns whether they rest. Sleeping instead would leave cold CPUs behind (measured: 2.9 to 3.8 ms for work of 1.1
    to 1.4 ms). Where the system does not list threads, they are taken for resting.
    """
    end = monotonic() + limit
    while _others_run():
        if monotonic() >= end:
            return False
    return True


def _others_run() -> bool:
    """Return whether another thread of this process runs or wants to: its state is `R` (proc_pid_stat(5))."""
    if sys.platform != "linux":
        return False
    me = str(threading.get_native_id())
    try:
        threads = [thread for thread in os.listdir("/proc/self/task") if thread != me]  # noqa: PTH208 - faster
    except OSError:
        return False
    return any(_state(Path("/proc/self/task", thread, "stat")) == "R" for thread in threads)


def _state(stat: Path) -> str:
    """Read the state of a thread; its name, in brackets before it, may hold any character."""
    return (kernel_files.read(str(stat)) or "").rpartition(")")[2].strip()[:1]
