"""Processes for whole tasks, with a count of BLAS threads inside them.

They are started anew (spawned) and not forked: a fork after an OpenMP region, or with threads at work, can hang
(docs of os.fork; GCC bug 60035). So each sees the environment as it is when it starts, and imports the program's
main module, whose work must stand under `if __name__ == "__main__":`.
"""

import os
import pickle
import sys
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from multiprocessing.connection import Connection
from time import perf_counter
from typing import Any, ParamSpec, TypeVar, cast

from autotune.controls import blas, placement
from autotune.errors import UsageError
from autotune.model.configuration import Placement
from autotune.parallel import thread_pool
from autotune.parallel.thread_executor import check_workers
from autotune.parallel.worker_processes import UNGUARDED, check_main, watch_parent

P = ParamSpec("P")
T = TypeVar("T")


class ProcessExecutor(ProcessPoolExecutor):
    """A `concurrent.futures.Executor` whose tasks run in `workers` processes with `blas_threads` BLAS threads each.

    None leaves the count alone; a smaller one that the user's environment asks for stays. `where` places
    several workers, within the CPUs of the thread that makes the executor. Functions, arguments and results
    travel as pickles, so a task that writes into its arguments changes copies. Context variables stay behind.
    Within one of several workers `map_blocks` and its like compute alone.

    Raises UsageError for less than one worker, and on `submit` for a function that another process cannot
    load, before anything starts, and in a process that is just being started. If no worker comes up, the
    BrokenProcessPool of the tasks says why that usually is.
    """

    def __init__(self, workers: int, blas_threads: int | None = None, where: Placement | None = None) -> None:
        check_workers(workers)
        self.cpus = placement.cpus_for(where, workers)
        """CPUs of the workers; None: those of the program."""
        context = get_context("spawn")
        self._sign, child_end = context.Pipe(duplex=False)
        """Event that the first ready worker sets."""
        super().__init__(
            max_workers=workers,
            mp_context=context,
            initializer=_begin,
            initargs=(workers, blas_threads, self.cpus, child_end),
        )
        self.workers = workers
        self.blas_threads = blas_threads

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        check_main()
        # pickled anew each time: a callable may have changed since the last task (an object, a partial of an array)
        try:
            future: Any = super().submit(_call, _portable(function), *args, **kwargs)
        except BrokenProcessPool as error:
            self.explain(error)
            raise
        future.__class__, future.executor = _Task, self
        return cast("Future[T]", future)

    def explain(self, error: BrokenProcessPool) -> None:
        """Add the usual reason to the error if no worker could be started."""
        if not self._sign.poll():
            error.args = (f"The worker processes ended before their first task. {UNGUARDED}",)

    def start(self) -> float:
        """Start all workers now; returns the seconds until every one of them has taken a task."""
        began = perf_counter()
        ready: set[int] = set()
        while len(ready) < self.workers:
            futures = [self.submit(os.getpid) for _ in range(self.workers - len(ready))]
            ready.update(future.result() for future in futures)
        return perf_counter() - began


class _Task(Future[Any]):
    """A task whose error is explained when it is asked for."""

    executor: ProcessExecutor

    def result(self, timeout: float | None = None) -> Any:
        try:
            return super().result(timeout)
        except BrokenProcessPool as error:
            self.executor.explain(error)
            raise

    def exception(self, timeout: float | None = None) -> BaseException | None:
        error = super().exception(timeout)
        if isinstance(error, BrokenProcessPool):
            self.executor.explain(error)
        return error


def _portable(function: Callable[..., Any]) -> bytes:
    """Return the function as a pickle. Raises UsageError if it has none, or if no other process could load it."""
    remedy = "Define it at the top of a module, or use an executor of threads, without processes=True."
    try:
        text = pickle.dumps(function)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise UsageError(f"The task cannot go to another process: {error}. {remedy}") from error
    main = sys.modules["__main__"]
    path = getattr(main, "__file__", None)
    if getattr(main, "__spec__", None) is not None:
        return text
    if path is None and b"__main__" in text:
        raise UsageError(
            "The task cannot go to another process: it was defined in an interactive session, which no other "
            f"process can import. {remedy}"
        )
    if path is not None and not os.path.isfile(path):  # noqa: PTH113 - as multiprocessing looks for it
        raise UsageError(
            f"No other process can import the program's main module: {path} is no file. Start the program from a "
            "file, or use an executor of threads, without processes=True."
        )
    return text


def _begin(workers: int, blas_threads: int | None, cpus: frozenset[int] | None, sign: Connection) -> None:
    """Settle a worker process before its first task."""
    sign.send(True)
    sign.close()
    watch_parent()  # not by the kernel: that would end it with the thread that submitted the first task
    placement.spread()
    placement.move(cpus)  # before NumPy loads: its BLAS starts a thread for each CPU that it sees
    if workers > 1:
        thread_pool.enter()
    import numpy as np  # noqa: F401 - so that there is a BLAS whose threads can be set

    blas.set_threads(blas_threads)


def _call(text: bytes, /, *args: Any, **kwargs: Any) -> Any:
    """Run a task, in the worker."""
    try:
        function = pickle.loads(text)  # noqa: S301 - our own parent wrote it
    except (AttributeError, ImportError) as error:
        raise UsageError(
            f"The worker process cannot load the task: {error}. It must stand at the top of a module, outside "
            'of `if __name__ == "__main__":`.'
        ) from error
    return function(*args, **kwargs)
