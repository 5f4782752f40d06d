"""An executor's tasks run in processes with its count of BLAS threads; what cannot go there is refused first."""

import asyncio
import multiprocessing
import os
import pickle
import subprocess
import sys
import textwrap
from concurrent.futures.process import BrokenProcessPool
from functools import partial

import numpy as np
import pytest
from support import process_tasks

from autotune.controls import blas, placement
from autotune.errors import UsageError
from autotune.model.configuration import Placement
from autotune.parallel.process_executor import ProcessExecutor


class Refusing:
    """A callable that has no pickle."""

    def __call__(self):
        return 1

    def __reduce__(self):
        raise TypeError("no pickle of this")


@pytest.fixture(scope="module")
def single():
    """One worker for all tests that leave it as it was."""
    with ProcessExecutor(1) as executor:
        yield executor


@pytest.mark.parametrize("workers", [0, -1])
def test_no_workers_are_refused(workers):
    with pytest.raises(UsageError, match="at least one worker"):
        ProcessExecutor(workers)


@pytest.mark.parametrize("task", [lambda: 1, Refusing(), partial(lambda x: x, 1)])
def test_a_task_without_a_pickle_is_refused_before_anything_starts(task):
    with ProcessExecutor(2) as executor:
        with pytest.raises(UsageError, match=r"cannot go to another process: .* top of a module"):
            executor.submit(task)
        assert not multiprocessing.active_children()


def test_map_refuses_it_too():
    with ProcessExecutor(2) as executor, pytest.raises(UsageError, match="cannot go to another process"):
        executor.map(lambda x: x, [1, 2], chunksize=2)


def test_a_task_of_an_interactive_session_is_refused(monkeypatch):
    class Session:
        __name__ = "__main__"
        __spec__ = None

        @staticmethod
        def task():
            return 1

    Session.task.__module__, Session.task.__qualname__ = "__main__", "task"
    monkeypatch.setitem(sys.modules, "__main__", Session)
    assert b"__main__" in pickle.dumps(Session.task)
    with ProcessExecutor(1) as executor, pytest.raises(UsageError, match="interactive session"):
        executor.submit(Session.task)


def test_a_program_that_is_no_file_has_no_worker_processes(monkeypatch):
    class Piped:
        __file__ = "<stdin>"
        __spec__ = None

    monkeypatch.setitem(sys.modules, "__main__", Piped)
    with ProcessExecutor(1) as executor, pytest.raises(UsageError, match="<stdin> is no file"):
        executor.submit(abs, -1)


@pytest.mark.real
@pytest.mark.skipif(blas.current() is None, reason="needs a BLAS whose threads can be counted")
def test_workers_are_processes_with_the_blas_threads_and_the_environment_of_the_user(monkeypatch):
    monkeypatch.setenv("A_LATE_VARIABLE", "seen")
    before = dict(os.environ)
    with ProcessExecutor(2, blas_threads=1) as executor:
        assert executor.start() > 0
        pids = {process.pid for process in multiprocessing.active_children()}
        assert len(pids) == 2
        assert os.getpid() not in pids
        assert set(executor.map(process_tasks.blas_threads, range(6))) == {1}
        assert list(executor.map(process_tasks.is_inside, range(2))) == [True, True]
        names = ["A_LATE_VARIABLE", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "AUTOTUNE_EXPORTED"]
        assert list(executor.map(process_tasks.environment, names)) == [before.get(name) for name in names]
    assert dict(os.environ) == before


@pytest.mark.real
def test_errors_come_back_and_keyword_arguments_arrive_and_an_event_loop_takes_it(single):
    async def main():
        return await asyncio.get_running_loop().run_in_executor(single, sum, [1, 2])

    with pytest.raises(LookupError, match="not here"):
        single.submit(process_tasks.fail).result(60)
    assert single.submit(dict, function=1, text=2).result(60) == {"function": 1, "text": 2}
    assert single.submit(process_tasks.is_inside).result(60) is False
    assert asyncio.run(main()) == 3


class Counter:
    """A callable whose state changes between tasks."""

    count = 0

    def __call__(self):
        return self.count


@pytest.mark.real
def test_a_callable_that_changes_between_tasks_runs_as_it_is_at_each(single):
    counter, weights = Counter(), np.zeros(3)
    total = partial(np.sum, weights)
    for number in (1, 2):
        counter.count = number
        weights += 1
        assert single.submit(counter).result(60) == number
        assert single.submit(total).result(60) == 3 * number


@pytest.mark.real
def test_a_worker_that_dies_is_told():
    with ProcessExecutor(1) as executor, pytest.raises(BrokenProcessPool):
        executor.submit(process_tasks.end).result(60)


@pytest.mark.real
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs")
def test_placed_workers_run_on_their_cpus_and_the_caller_stays(monkeypatch):
    mask = sorted(os.sched_getaffinity(0))
    monkeypatch.setattr(placement, "choose", lambda *_: frozenset(mask[:1]))
    with ProcessExecutor(2, where=Placement.CORES) as executor:
        assert executor.submit(process_tasks.affinity).result(60) == mask[:1]
    assert sorted(os.sched_getaffinity(0)) == mask


def script(tmp_path, body):
    """Runs a program that is given as text, and returns what came of it."""
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(body))
    return subprocess.run([sys.executable, str(path)], capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.real
def test_a_task_that_stands_under_the_guard_of_the_main_module_is_told_in_words(tmp_path):
    done = script(
        tmp_path,
        """
        from autotune.parallel.process_executor import ProcessExecutor
        if __name__ == "__main__":
            def task():
                return 1
            with ProcessExecutor(1) as pool:
                print(type(pool.submit(task).exception()).__name__, pool.submit(task).exception())
        """,
    )
    assert done.stdout.startswith("UsageError The worker process cannot load the task")
    assert "outside of" in done.stdout


@pytest.mark.real
def test_a_main_module_without_its_guard_is_told_about_it_by_the_task_and_by_the_worker(tmp_path):
    done = script(
        tmp_path,
        """
        from autotune.parallel.process_executor import ProcessExecutor
        with ProcessExecutor(1) as pool:
            print(pool.submit(abs, -1).exception())
            pool.submit(abs, -1)
        """,
    )
    message = 'imports the program\'s main module first; if that begins the work anew there, it has to stand under `if __name__ == "__main__":`.'
    assert done.returncode == 1
    assert done.stdout == f"The worker processes ended before their first task. Each worker {message}\n"
    assert done.stderr.splitlines()[-1].startswith("concurrent.futures.process.BrokenProcessPool: The worker processes")
    assert "UsageError: This process was started to be a worker, and cannot start workers yet." in done.stderr


@pytest.mark.real
def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    done = script(
        tmp_path,
        """
        import multiprocessing, os, signal
        from autotune.parallel.process_executor import ProcessExecutor
        if __name__ == "__main__":
            pool = ProcessExecutor(1)
            pool.start()
            print(*(process.pid for process in multiprocessing.active_children()), flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        """,
    )
    # run() reads to the end of a pipe that the worker holds open as long as it lives
    assert done.returncode == -9
    assert int(done.stdout) > 0
