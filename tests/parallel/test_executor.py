"""An executor's tasks run with its count of BLAS threads, and do not multiply threads themselves."""

import asyncio
import contextvars
import threading

import numpy as np
import pytest

from autotune.controls import blas
from autotune.parallel import thread_pool
from autotune.parallel.thread_executor import ThreadExecutor


def together(executor, count, task):
    """The results of tasks that run at the same time."""
    meet = threading.Barrier(count, timeout=300)

    def run(number):
        meet.wait()
        return task(number)

    return list(executor.map(run, range(count)))


def test_it_has_the_workers_asked_for():
    with ThreadExecutor(3) as executor:
        assert len(set(together(executor, 3, lambda _: threading.get_ident()))) == 3


@pytest.mark.parametrize("allowed", [0, 1])
def test_where_fewer_threads_can_be_started_all_tasks_are_done_once(monkeypatch, allowed):
    starts = [threading.Thread.start] * allowed

    def start(thread):
        if not starts:
            raise RuntimeError("can't start new thread")
        starts.pop()(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    seen = []
    with ThreadExecutor(3) as executor:
        results = [executor.submit(seen.append, number) for number in range(20)]
        failing = executor.submit(lambda: 1 / 0)
        assert [each.result(60) for each in results] == [None] * 20
        with pytest.raises(ZeroDivisionError):
            failing.result(60)
    assert sorted(seen) == list(range(20))
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(print)


def test_one_worker_runs_tasks_in_order():
    seen = []
    with ThreadExecutor(1) as executor:
        list(executor.map(seen.append, range(50)))
    assert seen == list(range(50))


@pytest.mark.skipif(blas.current() is None, reason="needs a BLAS whose threads can be counted")
def test_tasks_run_with_the_blas_threads_and_leave_none_behind():
    before = blas.current()
    with ThreadExecutor(2, blas_threads=1) as executor:
        assert together(executor, 2, lambda _: blas.current()) == [1, 1]
    assert blas.current() == before


@pytest.mark.skipif(blas.current() is None, reason="needs a BLAS whose threads can be counted")
def test_a_task_that_raises_leaves_the_blas_threads_as_they_were():
    before = blas.current()
    with ThreadExecutor(1, blas_threads=1) as executor, pytest.raises(ZeroDivisionError):
        executor.submit(lambda: 1 / 0).result()
    assert blas.current() == before


def test_blocks_within_one_of_several_workers_are_computed_alone():
    with ThreadExecutor(2) as several, ThreadExecutor(1) as single:
        assert together(several, 2, lambda _: thread_pool.is_inside()) == [True, True]
        assert single.submit(thread_pool.is_inside).result() is False


def test_each_task_sees_the_context_of_who_submitted_it():
    variable = contextvars.ContextVar("variable", default="none")
    with ThreadExecutor(2) as executor:
        variable.set("mine")
        with np.errstate(divide="raise"):
            seen = executor.submit(lambda: (variable.get(), np.geterr()["divide"])).result()
    assert seen == ("mine", "raise")


def test_keyword_arguments_reach_the_task():
    with ThreadExecutor(1) as executor:
        assert executor.submit(dict, function=1, task=2).result() == {"function": 1, "task": 2}


def test_an_event_loop_takes_it():
    async def main(executor):
        return await asyncio.get_running_loop().run_in_executor(executor, sum, [1, 2])

    with ThreadExecutor(2) as executor:
        assert asyncio.run(main(executor)) == 3


@pytest.mark.parametrize("workers", [0, -1])
def test_no_workers_are_refused(workers):
    with pytest.raises(ValueError, match="at least one worker"):
        ThreadExecutor(workers)
