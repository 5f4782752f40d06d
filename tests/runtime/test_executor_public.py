"""executor() has the measured workers, BLAS threads and placement; processes where these are allowed and better."""

import multiprocessing
import os

import numpy as np
import pytest
from support.profile_builders import make_entry, of_this_machine

import autotune
from autotune.host.usable_cpus import usable_cpus
from autotune.model.configuration import Placement
from autotune.parallel import thread_pool as block_pool
from autotune.parallel.process_executor import ProcessExecutor
from autotune.parallel.thread_executor import ThreadExecutor
from autotune.profiles import folders, profile_files

SIZE = {"n": 300, "tasks": 100}
THREADS = {"blas_threads": 1, "workers": 1}


@pytest.fixture(autouse=True)
def measured(fresh):
    """Writes what was measured."""

    def write(*entries):
        profile_files.write(of_this_machine(*entries), folders.user_profiles() / "mine.yaml")

    return write


def threads(choice=THREADS, speedup=1 / 0.7):
    return make_entry("batch_matmul", choice=choice, speedup=speedup, **SIZE)


def processes(choice=THREADS, speedup=2.0):
    return make_entry("batch_matmul_processes", choice=choice, speedup=speedup, **SIZE)


def test_without_a_measurement_it_has_a_worker_for_each_usable_cpu_and_one_blas_thread_in_each():
    with autotune.executor("batch_matmul", n=20) as pool:
        assert (type(pool), pool.workers, pool.blas_threads) == (ThreadExecutor, usable_cpus()[0], 1)
        assert list(pool.map(abs, [-1, -2])) == [1, 2]


def test_without_a_measurement_the_users_limit_is_one_for_workers_too(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with autotune.executor("batch_matmul", n=20) as pool:
        assert (pool.workers, pool.blas_threads) == (1, usable_cpus()[0])


def test_where_the_default_was_best_it_has_one_worker_and_leaves_blas_alone(measured):
    measured(threads(None))
    with autotune.executor("batch_matmul", n=300) as pool:
        assert (pool.workers, pool.blas_threads) == (1, None)


def test_switched_off_it_has_one_worker_and_leaves_blas_alone(monkeypatch):
    monkeypatch.setenv("AUTOTUNE_DISABLE", "1")
    with autotune.executor("batch_matmul", n=20) as pool:
        assert (pool.workers, pool.blas_threads) == (1, None)


def test_without_locks_between_processes_it_has_threads(measured, monkeypatch):
    measured(threads(), processes())
    monkeypatch.setattr("autotune.parallel.worker_processes.has_semaphores", lambda: False)
    with autotune.executor("batch_matmul", n=300, processes=True) as pool:
        assert (type(pool), pool.blas_threads) == (ThreadExecutor, 1)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [({"workers": 1, "blas_threads": 1}, (1, 1)), ({"blas_threads": 1}, (1, 1)), ({"workers": 1}, (1, None))],
)
def test_it_has_what_was_measured(measured, choice, expected):
    measured(threads(choice))
    with autotune.executor("batch_matmul", n=300) as pool:
        assert (pool.workers, pool.blas_threads) == expected
        assert list(pool.map(lambda x: -x, [1, 2])) == [-1, -2]


def test_its_workers_are_placed_as_was_measured(measured, monkeypatch):
    wishes = []
    monkeypatch.setattr("autotune.controls.placement.cpus_for", lambda *wish: wishes.append(wish))
    measured(threads({"workers": 1, "placement": Placement.L3}))
    autotune.executor("batch_matmul", n=300).shutdown()
    assert wishes == [(Placement.L3, 1)]


def test_blocks_are_placed_as_was_measured(measured, monkeypatch):
    placed = []
    monkeypatch.setattr("autotune.parallel.thread_pool.placement.current", placed.append)
    entries = [
        make_entry(name, choice={"workers": 2, "chunk": 2**17, "placement": Placement.CORES}, n=2**18)
        for name in ("sqrt", "fill", "sum", "random")
    ]
    measured(*entries)
    wishes = []
    before = block_pool.placement.Placed.__init__
    monkeypatch.setattr(
        block_pool.placement.Placed, "__init__", lambda self, wish: (wishes.append(wish), before(self, wish))[1]
    )
    array = np.ones(2**18)
    autotune.map_blocks(np.sqrt, array, out=array)
    autotune.fill(array, 1.0)
    autotune.reduce_blocks(np.sum, array)
    autotune.random(array.shape, out=array)
    if usable_cpus()[0] > 1:
        assert placed == [2] * 4
    assert wishes == [Placement.CORES] * 4


def test_processes_are_taken_only_where_they_are_asked_for(measured):
    measured(threads(), processes())
    with autotune.executor("batch_matmul", n=300) as pool:
        assert type(pool) is ThreadExecutor
    with autotune.executor("batch_matmul", n=300, processes=True) as pool:
        assert type(pool) is ProcessExecutor
        assert (pool.workers, pool.blas_threads) == (1, 1)
    with autotune.executor("batch_matmul_processes", n=300) as pool:
        assert type(pool) is ProcessExecutor


@pytest.mark.parametrize("entries", [(), (threads(),), (threads(speedup=2.5), processes()), (processes(None),)])
def test_processes_are_taken_only_where_they_were_measured_to_be_better(measured, entries):
    measured(*entries)
    with autotune.executor("batch_matmul", n=300, processes=True) as pool:
        assert type(pool) is ThreadExecutor


def test_processes_are_better_than_a_plain_loop_where_threads_are_not(measured):
    measured(threads(None, speedup=1 / 1.2), processes())
    with autotune.executor("batch_matmul", n=300, processes=True) as pool:
        assert type(pool) is ProcessExecutor


def test_a_process_that_may_have_no_children_gets_threads(measured, monkeypatch):
    measured(threads(), processes())
    monkeypatch.setattr(multiprocessing.current_process(), "daemon", True)
    with autotune.executor("batch_matmul", n=300, processes=True) as pool:
        assert (type(pool), pool.blas_threads) == (ThreadExecutor, 1)
    with autotune.executor("batch_matmul_processes", n=300) as pool:
        assert (type(pool), pool.blas_threads) == (ThreadExecutor, None)


def test_an_executor_within_a_task_of_another_does_not_multiply_threads(measured):
    measured(threads())
    with ThreadExecutor(2) as outer:
        inner = outer.submit(autotune.executor, "batch_matmul", n=300).result()
        assert (inner.workers, inner.blas_threads) == (1, None)


@pytest.mark.real
def test_the_measured_processes_do_the_work(measured):
    measured(processes())
    with autotune.executor("batch_matmul", n=300, processes=True) as pool:
        assert pool.submit(os.getpid).result(60) != os.getpid()
