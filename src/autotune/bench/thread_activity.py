"""Activity of this process's threads: idle ones that still spin, and the pools that a user's function keeps busy."""

import os
import sys
import threading
from collections.abc import Callable
from time import monotonic, process_time, thread_time

from autotune.bench.trial_job import Post, TrialJob
from autotune.bench.user_workload import PRESUMED
from autotune.controls import blas, thread_pools
from autotune.host import kernel_files

REST_SECONDS = 0.12
"""OpenBLAS's idle threads spin for 0.105 to 0.12 s after a call (measured with 0.3.31), during which whatever runs next
shares the CPUs with them: a pool of two workers took 1.4 to 1.9 times as long. Where a shorter time was chosen for the
machine (`blas_wait`), trials run with that, and there is next to nothing to wait for."""
LEAST_SHARE, LEAST_SECONDS = 0.05, 0.001
"""CPU time of a call in threads other than the calling one, as a share and in seconds: less is what an idle pool
costs."""


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
    stats = (kernel_files.read(f"/proc/self/task/{thread}/stat") or "" for thread in threads)
    return any(stat.rpartition(")")[2].startswith(" R") for stat in stats)  # a name, in brackets, may hold anything


def pools_at_work(job: TrialJob, post: Post) -> tuple[str, ...]:
    """Call the default of the job's only task twice; return the names of the pools that were busy.

    With one BLAS thread it shows the other pools. A pool's own threads cannot be distinguished, so that all
    loaded pools are named if any thread but the calling one worked. FFT workers, of which there is one by default, are
    as many as the usable CPUs meanwhile. With the default's BLAS threads it tells whether BLAS may have a part.
    """
    (task,) = job.tasks
    post.mark(0, 0, job.patience)
    call = job.workloads[task.operation.name].prepare(task.operation, "C", job.seed).plain

    def busy(names: Callable[[], list[str]]) -> tuple[str, ...]:
        await_rest(REST_SECONDS)
        post.mark(0, 0, job.patience)
        own, total = thread_time(), process_time()
        call()
        own, total = thread_time() - own, process_time() - total
        return busy_pools(names(), own_seconds=own, total_seconds=total)

    with blas.limit(1), thread_pools.limit(job.usable_cpus):
        pools = busy(lambda: [pool.api for pool in thread_pools.loaded_pools()])
    alone = (blas.current() or 1) < 2  # then it is unknown
    return tuple(sorted({*pools, *(PRESUMED if alone else busy(lambda: list(PRESUMED)))}))


def busy_pools(names: list[str], *, own_seconds: float, total_seconds: float) -> tuple[str, ...]:
    """Name the loaded pools, each once, if other threads than the calling one took their share of the CPU time."""
    elsewhere = total_seconds - own_seconds
    return tuple(sorted(set(names))) if elsewhere > max(LEAST_SECONDS, LEAST_SHARE * total_seconds) else ()
