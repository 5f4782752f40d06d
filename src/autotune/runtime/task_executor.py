"""A pool for whole tasks, with the measured number of workers."""

from typing import TYPE_CHECKING, Any

from autotune.model.catalogue import ALIASES, CATALOGUE, IN_PROCESSES
from autotune.model.configuration import DEFAULT
from autotune.runtime.lookup_configuration import config, unmeasured_workers
from autotune.runtime.naming import as_operation
from autotune.runtime.process_state import is_disabled, state

if TYPE_CHECKING:
    from autotune.model.configuration import Configuration
    from autotune.parallel.process_executor import ProcessExecutor
    from autotune.parallel.thread_executor import ThreadExecutor
    from autotune.profiles.lookup import Found


def executor(
    operation: str, /, *, dtype: Any = "float64", processes: bool = False, **sizes: int
) -> "ThreadExecutor | ProcessExecutor":
    """Make a `concurrent.futures.Executor` as was measured to be best for an operation: workers, BLAS threads,
    placement.

        with autotune.executor("batch_matmul", n=2000) as pool:
            results = list(pool.map(task, items))

    It serves `loop.run_in_executor`, Dask and everything else that takes an Executor. Where nothing was measured it
    has a worker for each usable CPU, with the BLAS threads that then remain. Where the default was proved best it has
    one worker and leaves BLAS alone: the tasks run one after another, as in a plain loop; so does one made within a
    task of another, lest threads multiply. OMP_NUM_THREADS, where it is set, is a limit for the workers too. Scope of
    effect: BLAS threads of the process while a task runs.

    With `processes=True` the workers are processes where these were measured to be better than threads. It has
    to be asked for, since only the caller knows that the tasks can do without his memory: what they write into
    arrays and variables of his is lost, they and what they return are pickled, and the main module is imported
    anew, so that its work must stand under `if __name__ == "__main__":`. A function that no other process can
    load is refused when it is submitted. A process that may have no children gets threads; so does one where
    multiprocessing can make no locks, since /dev/shm is missing or read-only.

    Raises BadSize for a size that the operation does not have.
    """
    from autotune.parallel import thread_pool
    from autotune.parallel.thread_executor import ThreadExecutor

    if thread_pool.is_inside() or is_disabled():
        return ThreadExecutor(1)
    name = ALIASES.get(operation, operation)
    entry, chosen = _measured(name, dtype, sizes)
    in_processes = name.endswith(IN_PROCESSES)
    if processes and not in_processes and name + IN_PROCESSES in CATALOGUE:
        other, choice = _measured(name + IN_PROCESSES, dtype, sizes)
        if _speedup(other) > _speedup(entry) and _may_have_processes():
            entry, chosen, in_processes = other, choice, True
    if in_processes and not chosen.is_default and _may_have_processes():
        from autotune.parallel.process_executor import ProcessExecutor

        return ProcessExecutor(chosen.workers or 1, chosen.blas_threads, chosen.placement)
    if in_processes:
        return ThreadExecutor(1)
    if entry is None:
        return ThreadExecutor(*unmeasured_workers())
    return ThreadExecutor(chosen.workers or 1, chosen.blas_threads, chosen.placement)


def _measured(name: str, dtype: Any, sizes: dict[str, int]) -> "tuple[Found | None, Configuration]":
    """Return the entry that speaks for an operation, None without one, and the choice as it is in force here."""
    chosen = config(name, dtype=dtype, **sizes) or DEFAULT
    resolution, named = state.resolution(), as_operation(name, dtype, sizes)
    return (None if resolution is None or named is None else resolution.find(named)), chosen


def _speedup(match: "Found | None") -> float:
    """Return the speed-up of an entry's choice over the plain loop."""
    return 1.0 if match is None else match.entry.evidence.speedup or 1.0


def _may_have_processes() -> bool:
    from autotune.parallel.worker_processes import has_semaphores, may_have_children

    return may_have_children() and has_semaphores()
