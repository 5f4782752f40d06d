"""Limits on memory and CPUs of a trial process, set from within before it loads NumPy."""

import os
import sys
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

BASE_BYTES = 2**30
"""Private memory of Python, NumPy and SciPy with one thread (measured: 0.1 to 0.4 GB), rounded up."""
THREAD_BYTES = 256 * 2**20
"""Private memory of a thread: its stack (8 MiB), malloc's arena (64 MiB) and OpenBLAS's buffer (32 to 64 MiB)."""
DATA_FACTOR = 4
"""A workload that takes its quarter of the memory stays far below; one that runs away ends in MemoryError."""


def data_bytes(memory_bytes: int | None, threads: int) -> int | None:
    """Return the bytes that may be mapped for writing in a trial whose workload may take `memory_bytes`; None if that
    is unknown.
    """
    if memory_bytes is None:
        return None
    return BASE_BYTES + THREAD_BYTES * max(threads, 1) + DATA_FACTOR * memory_bytes


def confine(*, data_bytes: int | None, cpus: Collection[int] = ()) -> None:
    """Limit this process and its children: private writable memory, CPUs, no core dumps.

    Not the address space: runtimes that only reserve addresses (CUDA, JVM, WebAssembly, Go) take many times the
    machine's memory of it. RLIMIT_DATA counts what may be written (Linux 4.7, mm/mmap.c is_data_mapping). A limit
    that the system refuses, or does not know, is left out: the parent's time limit still holds.
    """
    if cpus and hasattr(os, "sched_setaffinity"):
        with suppress(OSError):
            os.sched_setaffinity(0, cpus)
    if sys.platform == "win32":
        return
    import resource  # not on Windows

    for name, wanted in (("RLIMIT_CORE", 0), ("RLIMIT_DATA", data_bytes)):
        kind = getattr(resource, name, None)
        if kind is None or wanted is None:
            continue
        soft, hard = resource.getrlimit(kind)
        finite = [limit for limit in (soft, hard, wanted) if limit != resource.RLIM_INFINITY]
        with suppress(OSError, ValueError):  # some systems refuse RLIMIT_DATA
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
