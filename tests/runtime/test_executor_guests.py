"""joblib's threading backend, Dask and an event loop hand their tasks to an executor: its workers, its BLAS threads."""

import asyncio
import threading

import numpy as np
import pytest

from autotune.controls import blas
from autotune.parallel.thread_executor import ThreadExecutor


def work(number):
    """Return what a task sees: its number squared by BLAS, its thread, and the BLAS threads there."""
    square = (np.full((4, 4), float(number)) @ np.eye(4))[0, 0] ** 2
    return square, threading.current_thread().name, blas.current()


def check(results):
    squares, threads, counts = zip(*results, strict=True)
    assert squares == tuple(float(number) ** 2 for number in range(20))
    assert all(name.startswith("autotune-task") for name in threads)
    assert set(counts) <= {1, None}


@pytest.fixture
def executor():
    with ThreadExecutor(2, blas_threads=1) as made:
        yield made


def test_an_event_loop_spreads_its_tasks(executor):
    async def main():
        loop = asyncio.get_running_loop()
        return await asyncio.gather(*[loop.run_in_executor(executor, work, n) for n in range(20)])

    check(asyncio.run(main()))


def test_dask_runs_a_graph_in_it(executor):
    dask = pytest.importorskip("dask")
    check(dask.compute(*[dask.delayed(work)(number) for number in range(20)], scheduler=executor))
    with dask.config.set(pool=executor):
        check(dask.compute(*[dask.delayed(work)(number) for number in range(20)], scheduler="threads"))


def test_dask_arrays_are_right_in_it(executor):
    array = pytest.importorskip("dask.array")
    x = np.arange(10_000.0).reshape(100, 100)
    assert np.allclose((array.from_array(x, chunks=25) @ x).compute(scheduler=executor), x @ x)


def test_joblibs_threading_backend_runs_its_batches_in_it(executor):
    joblib = pytest.importorskip("joblib")
    backends = pytest.importorskip("joblib._parallel_backends")

    class InExecutor(backends.ThreadingBackend):
        """joblib's threads, but those of an executor."""

        def submit(self, func, callback=None):
            future = executor.submit(func)
            future.add_done_callback(callback)
            return future

        def retrieve_result_callback(self, out):
            return out.result()

    joblib.register_parallel_backend("autotune", InExecutor)
    with joblib.parallel_config(backend="autotune", n_jobs=executor.workers):
        check(joblib.Parallel()(joblib.delayed(work)(number) for number in range(20)))


def test_joblibs_own_threads_within_a_task_have_its_blas_threads(executor):
    joblib = pytest.importorskip("joblib")

    def outer():
        results = joblib.Parallel(n_jobs=2, backend="threading")(joblib.delayed(work)(n) for n in range(20))
        return [(square, "autotune-task", count) for square, _, count in results]

    before = blas.current()
    check(executor.submit(outer).result(60))
    assert blas.current() == before
