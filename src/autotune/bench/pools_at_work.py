"""First trial of a user's function: the thread pools that are at work in it."""

from collections.abc import Callable
from time import process_time, thread_time

from autotune.bench.idle_threads import await_rest
from autotune.bench.measure import REST_SECONDS, TrialListener
from autotune.bench.trial_job import TrialJob
from autotune.bench.user_workload import PRESUMED
from autotune.controls import blas, thread_pools

LEAST_SHARE, LEAST_SECONDS = 0.05, 0.001
"""CPU time of a call in threads other than the calling one, as a share and in seconds: less is what an idle pool
costs."""


def pools_at_work(job: TrialJob, post: TrialListener) -> tuple[str, ...]:
    """Call the default of the job's only task twice; return the names of the pools that were busy.

    With one BLAS thread it tells of the other pools. A pool's own threads cannot be told from others, so that all
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
        pools = busy(lambda: [pool.api for pool in thread_pools.loaded()])
    alone = (blas.current() or 1) < 2  # then it cannot be told
    return tuple(sorted({*pools, *(PRESUMED if alone else busy(lambda: list(PRESUMED)))}))


def busy_pools(names: list[str], *, own_seconds: float, total_seconds: float) -> tuple[str, ...]:
    """Name the loaded pools, each once, if other threads than the calling one took their share of the CPU time."""
    elsewhere = total_seconds - own_seconds
    return tuple(sorted(set(names))) if elsewhere > max(LEAST_SECONDS, LEAST_SHARE * total_seconds) else ()
