"""Threads for whole tasks, with a count of BLAS threads inside them."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

from autotune.controls import blas, placement
from autotune.errors import UsageError
from autotune.model.configuration import Placement
from autotune.parallel import thread_pool

P = ParamSpec("P")
T = TypeVar("T")


class ThreadExecutor(ThreadPoolExecutor):
    """A `concurrent.futures.Executor` whose tasks run in `workers` threads with `blas_threads` BLAS threads each.

    The count is in force while any task runs: for the whole process with OpenBLAS, in the task's thread
    with OpenMP and MKL. None leaves it alone. `where` places several workers, within the CPUs of the thread that
    makes the executor. Where a limit allows fewer threads, these do all the work. Each task sees the context variables
    of the thread that submitted it. Within one of several workers `map_blocks` and its like compute alone, so that
    threads do not multiply.

    Raises UsageError for less than one worker.
    """

    def __init__(self, workers: int, blas_threads: int | None = None, where: Placement | None = None) -> None:
        check_workers(workers)
        self.cpus = placement.cpus_for(where, workers)
        """CPUs of the workers; None: those of the program."""
        super().__init__(
            max_workers=workers,
            thread_name_prefix="autotune-task",
            initializer=partial(_begin, self.cpus) if workers > 1 else None,
        )
        self.workers = workers
        self.blas_threads = blas_threads

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Schedule `function(*args, **kwargs)`. Where the system allows no thread, call it here."""
        context, task = copy_context(), partial(function, *args, **kwargs)
        try:
            return super().submit(context.run, self._run, task)
        except RuntimeError:
            if self._shutdown or self._threads:
                raise
        self._work_queue.get_nowait()  # the task, or one of another thread that calls its own, too
        future: Future[T] = Future()
        try:
            future.set_result(context.run(self._run, task))
        except BaseException as error:  # noqa: BLE001 - raised by result()
            future.set_exception(error)
        return future

    def _adjust_thread_count(self) -> None:
        try:
            super()._adjust_thread_count()
        except RuntimeError:  # pids.max is reached: fewer threads do the work
            if not self._threads:
                raise

    def _run(self, task: Callable[[], T]) -> T:
        with blas.limit(self.blas_threads):
            return task()


def check_workers(workers: int) -> None:
    if workers < 1:
        raise UsageError(f"An executor needs at least one worker, not {workers}.")


def _begin(cpus: frozenset[int] | None) -> None:
    thread_pool.enter()
    placement.spread()
    placement.move(cpus)
