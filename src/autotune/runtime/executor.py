"""A pool for whole tasks, with the measured number of workers."""

from typing import TYPE_CHECKING, Any

from autotune.runtime.config import config

if TYPE_CHECKING:
    from autotune.controls.executor import Executor


def executor(operation: str, /, *, dtype: Any = "float64", **sizes: int) -> "Executor":
    """A `concurrent.futures.Executor` with the workers, and the BLAS threads in each, measured for an
    operation.

        with autotune.executor("batch_matmul", n=2000) as pool:
            results = list(pool.map(task, items))

    It serves `loop.run_in_executor` and everything else that takes an Executor. Where nothing was measured,
    or the default was best, it has one worker and leaves BLAS alone: the tasks run one after another, as in
    a plain loop. Scope of effect: BLAS threads of the process while a task runs. Raises BadSize for a size
    that the operation does not have.
    """
    from autotune.controls.executor import Executor

    chosen = config(operation, dtype=dtype, **sizes)
    if chosen is None:
        return Executor(1)
    return Executor(chosen.workers or 1, chosen.blas_threads)
