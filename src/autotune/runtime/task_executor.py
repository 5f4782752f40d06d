"""A pool for whole tasks, with the measured number of workers."""

from typing import TYPE_CHECKING, Any

from autotune.model.catalogue import ALIASES, CATALOGUE, IN_PROCESSES
from autotune.model.configuration import DEFAULT
from autotune.runtime.lookup_configuration import config, unmeasured_workers
from autotune.runtime.naming import as_operation
from autotune.runtime.process_settings import is_disabled
from autotune.runtime.process_state import state

if TYPE_CHECKING:
    from autotune.model.configuration import Configuration
    from autotune.parallel.process_executor import ProcessExecutor
    from autotune.parallel.thread_executor import ThreadExecutor
    from autotune.profiles.lookup import LookupResult


def executor(
    operation: str, /, *, dtype: Any = "float64", processes: bool = False, **sizes: int
) -> "ThreadExecutor | ProcessExecutor":
    """Make a `concurrent.futures.Executor` with the measured workers, BLAS threads and placement of an operation.

    Parameters
    ----------
    operation : str
        "batch_matmul", a stack, or a function of yours that was calibrated.
    dtype : dtype
        That of the operation.
    processes : bool
        Use processes if these were measured to be better than threads. Tasks then share no memory with the caller:
        what they write into arrays and variables is lost, arguments and results are pickled, and the main module is
        imported again, so its work must stand under ``if __name__ == "__main__":``. A function that no other process
        can load is refused at its submission. A process that may have no children, or no locks of multiprocessing,
        gets threads.
    **sizes : int
        Sizes in elements; a size left out equals `n`, `tasks` is 100.

    Returns
    -------
    ThreadExecutor or ProcessExecutor
        For `loop.run_in_executor`, Dask and all else that takes an Executor. Without an entry it has a worker for
        each usable CPU, with the BLAS threads that then remain. If the default was proved best it has one worker and
        leaves BLAS alone; so does an executor made within a task of another, lest threads multiply.

    Raises
    ------
    BadSize
        For a size that the operation does not have.

    Notes
    -----
    Scope of effect: BLAS threads of the process while a task runs. OMP_NUM_THREADS, if it is set, limits the workers.

    Examples
    --------
    >>> import autotune
    >>> with autotune.executor("batch_matmul", n=100, tasks=4) as pool:
    ...     list(pool.map(abs, [-1, 2, -3, 4]))
    [1, 2, 3, 4]

    """
    from autotune.parallel import thread_pool
    from autotune.parallel.thread_executor import ThreadExecutor

    if thread_pool.is_inside() or is_disabled():
        return ThreadExecutor(1)
    name = ALIASES.get(operation, operation)
    entry, chosen = _look_up(name, dtype, sizes)
    in_processes = name.endswith(IN_PROCESSES)
    if processes and not in_processes and name + IN_PROCESSES in CATALOGUE:
        parallel, choice = _look_up(name + IN_PROCESSES, dtype, sizes)
        if _speedup(parallel) > _speedup(entry) and _may_have_processes():
            entry, chosen, in_processes = parallel, choice, True
    if in_processes and not chosen.is_default and _may_have_processes():
        from autotune.parallel.process_executor import ProcessExecutor

        return ProcessExecutor(chosen.workers or 1, chosen.blas_threads, chosen.placement)
    if in_processes:
        return ThreadExecutor(1)
    if entry is None:
        return ThreadExecutor(*unmeasured_workers())
    return ThreadExecutor(chosen.workers or 1, chosen.blas_threads, chosen.placement)


def _look_up(name: str, dtype: Any, sizes: dict[str, int]) -> "tuple[LookupResult | None, Configuration]":
    """Return the entry that covers an operation, None without one, and the choice as it is in force here."""
    chosen = config(name, dtype=dtype, **sizes) or DEFAULT
    resolution, named = state.resolution(), as_operation(name, dtype, sizes)
    return (None if resolution is None or named is None else resolution.find(named)), chosen


def _speedup(match: "LookupResult | None") -> float:
    """Return the speed-up of an entry's choice over the plain loop."""
    return 1.0 if match is None else match.entry.evidence.speedup or 1.0


def _may_have_processes() -> bool:
    from autotune.parallel.worker_processes import has_semaphores, may_have_children

    return may_have_children() and has_semaphores()
