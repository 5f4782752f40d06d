"""A pool for whole tasks, with the measured number of workers."""

from typing import TYPE_CHECKING, Any

from autotune.model.catalogue import ALIASES, CATALOGUE, IN_PROCESSES
from autotune.model.configuration import DEFAULT
from autotune.runtime.lookup_configuration import config
from autotune.runtime.naming import as_operation
from autotune.runtime.process_state import state

if TYPE_CHECKING:
    from autotune.model.configuration import Configuration
    from autotune.parallel.process_executor import ProcessExecutor
    from autotune.parallel.thread_executor import Executor


def executor(
    operation: str, /, *, dtype: Any = "float64", processes: bool = False, **sizes: int
) -> "Executor | ProcessExecutor":
    """A `concurrent.futures.Executor` with the workers, the BLAS threads in each, and the placement measured
    for an operation.

        with autotune.executor("batch_matmul", n=2000) as pool:
            results = list(pool.map(task, items))

    It serves `loop.run_in_executor`, Dask and everything else that takes an Executor. Where nothing was
    measured, or the default was best, it has one worker and leaves BLAS alone: the tasks run one after another,
    as in a plain loop; so does one made within a task of another, lest threads multiply. Scope of effect: BLAS
    threads of the process while a task runs.

    With `processes=True` the workers are processes where these were measured to be better than threads. It has
    to be asked for, since only the caller knows that the tasks can do without his memory: what they write into
    arrays and variables of his is lost, they and what they return are pickled, and the main module is imported
    anew, so that its work must stand under `if __name__ == "__main__":`. A function that no other process can
    load is refused when it is submitted. A process that may have no children gets threads.

    Raises BadSize for a size that the operation does not have.
    """
    from autotune.parallel import thread_pool
    from autotune.parallel.thread_executor import Executor

    if thread_pool.is_inside():
        return Executor(1)
    name = ALIASES.get(operation, operation)
    ratio, chosen = _measured(name, dtype, sizes)
    in_processes = name.endswith(IN_PROCESSES)
    if processes and not in_processes and name + IN_PROCESSES in CATALOGUE:
        other, choice = _measured(name + IN_PROCESSES, dtype, sizes)
        if other < ratio and _may_have_children():
            chosen, in_processes = choice, True
    if not in_processes:
        return Executor(chosen.workers or 1, chosen.blas_threads, chosen.placement)
    if chosen.is_default or not _may_have_children():
        return Executor(1)
    from autotune.parallel.process_executor import ProcessExecutor

    return ProcessExecutor(chosen.workers or 1, chosen.blas_threads, chosen.placement)


def _measured(name: str, dtype: Any, sizes: dict[str, int]) -> "tuple[float, Configuration]":
    """The choice for an operation, and its time over that of the plain loop."""
    chosen = config(name, dtype=dtype, **sizes)
    if chosen is None:
        return 1.0, DEFAULT
    resolution, named = state.resolution(), as_operation(name, dtype, sizes)
    found = None if resolution is None or named is None else resolution.find(named)
    return (1.0 if found is None or found.entry.ratio is None else found.entry.ratio), chosen


def _may_have_children() -> bool:
    from multiprocessing import current_process

    return not current_process().daemon
