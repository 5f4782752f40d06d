"""Limits on memory and CPUs of a trial process, set from within before it loads NumPy."""

import os
import sys
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

BASE_BYTES = 2**30
"""Address space of Python, NumPy and SciPy with one thread (measured: 0.2 to 0.6 GB), rounded up."""

THREAD_BYTES = 256 * 2**20
"""Address space of a thread: its stack (8 MiB), malloc's arena (128 MiB reserved) and OpenBLAS's buffer (32
to 64 MiB)."""

DATA_FACTOR = 4
"""A workload that takes its quarter of the memory stays far below; one that runs away ends in MemoryError."""


def address_space(memory_bytes: int | None, threads: int) -> int | None:
    """Compute the bytes of address space for a trial whose workload may take `memory_bytes`; None if unknown."""
    if memory_bytes is None:
        return None
    return BASE_BYTES + THREAD_BYTES * max(threads, 1) + DATA_FACTOR * memory_bytes


def available_bytes() -> int | None:
    """Read the memory that could be allocated now without swapping; None if the system does not say."""
    import psutil  # only the parent of trials asks

    try:
        return int(psutil.virtual_memory().available)
    except (OSError, RuntimeError, NotImplementedError, ValueError):
        return None


def confine(*, address_space: int | None, cpus: Collection[int] = ()) -> None:
    """Limit this process and its children: address space, CPUs, no core dumps.

    A limit that the system refuses, or does not know, is left out: the parent's time limit still holds.
    """
    if cpus and hasattr(os, "sched_setaffinity"):
        with suppress(OSError):
            os.sched_setaffinity(0, cpus)
    if sys.platform == "win32":
        return
    import resource  # not on Windows

    for name, wanted in (("RLIMIT_CORE", 0), ("RLIMIT_AS", address_space)):
        kind = getattr(resource, name, None)
        if kind is None or wanted is None:
            continue
        soft, hard = resource.getrlimit(kind)
        finite = [limit for limit in (soft, hard, wanted) if limit != resource.RLIM_INFINITY]
        with suppress(OSError, ValueError):  # macOS refuses RLIMIT_AS
            resource.setrlimit(kind, (min(finite), hard))


def oom_kills() -> int | None:
    """Count the processes that the kernel has killed because memory ran out since it started; None if unknown.

    /proc/vmstat counts kills in control groups too (mm/oom_kill.c, since Linux 4.13).
    """
    with suppress(OSError), Path("/proc/vmstat").open("rb") as file:
        for line in file:
            if line.startswith(b"oom_kill "):
                return int(line.split()[1])
    return None
