"""Thread counts of pools that are not BLAS, on modules that only remember their count."""

import sys
import threading
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace

import pytest

from autotune.controls import thread_pools
from autotune.controls.blas import BlasThreads


def module(name, count, **functions):
    """A module whose pool has this many threads."""
    state = {"count": count}
    made = ModuleType(name)
    made.get_num_threads = lambda: state["count"]
    made.set_num_threads = lambda threads: state.update(count=threads)
    for function, act in functions.items():
        setattr(made, function, act)
    return made


def fft_module(usual=1):
    """A module that counts FFT workers as SciPy's does: by thread, and set for a `with`."""
    made, local = ModuleType("scipy.fft"), threading.local()
    made.get_workers = lambda: getattr(local, "workers", usual)

    @contextmanager
    def set_workers(workers):
        before, local.workers = made.get_workers(), workers
        try:
            yield
        finally:
            local.workers = before

    made.set_workers = set_workers
    return made


@pytest.fixture
def imported(monkeypatch):
    """Imports modules of these names, and no OpenMP runtime is loaded."""
    for name in (*thread_pools.COUNTED_BY_THREAD, thread_pools.FFT):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(thread_pools, "controller", lambda: SimpleNamespace(lib_controllers=()))

    def add(*modules):
        for module in modules:
            monkeypatch.setitem(sys.modules, module.__name__, module)
        return modules

    return add


@pytest.fixture
def pools():
    return BlasThreads(thread_pools.find)


def test_no_pool_is_imported(imported):
    assert thread_pools.find() == []
    assert not {*thread_pools.COUNTED_BY_THREAD, thread_pools.FFT} & sys.modules.keys()


def test_all_pools_are_limited_within_a_scope_and_as_before_afterwards(imported, pools):
    torch, numexpr, fft = imported(module("torch", 8), module("numexpr", 6), fft_module())

    with pools.limit(2):
        assert (torch.get_num_threads(), numexpr.get_num_threads(), fft.get_workers()) == (2, 2, 2)

    assert (torch.get_num_threads(), numexpr.get_num_threads(), fft.get_workers()) == (8, 6, 1)


def test_an_exception_leaves_the_pools_as_before(imported, pools):
    (torch,) = imported(module("torch", 8))
    with pytest.raises(ZeroDivisionError), pools.limit(2):
        raise ZeroDivisionError
    assert torch.get_num_threads() == 8


def test_a_count_that_the_user_set_before_is_not_exceeded(imported, pools):
    (torch,) = imported(module("torch", 2))
    with pools.limit(4):
        assert torch.get_num_threads() == 2


def test_a_count_that_the_user_sets_later_is_a_limit_too(imported, pools):
    (torch,) = imported(module("torch", 8))
    pools.loaded_libraries()
    torch.set_num_threads(2)
    with pools.limit(4):
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == 2


def test_workers_that_the_user_gave_to_an_fft_are_not_exceeded(imported, pools):
    (fft,) = imported(fft_module(usual=2))
    with pools.limit(4):
        assert fft.get_workers() == 2


def test_the_smallest_of_nested_scopes_holds(imported, pools):
    torch, fft = imported(module("torch", 8), fft_module())
    with pools.limit(2), pools.limit(4):
        assert (torch.get_num_threads(), fft.get_workers()) == (2, 2)
    with pools.limit(4):
        with pools.limit(3):
            assert (torch.get_num_threads(), fft.get_workers()) == (3, 3)
        assert (torch.get_num_threads(), fft.get_workers()) == (4, 4)


def test_scopes_of_threads_that_end_in_any_order_restore_the_count(imported, pools):
    (torch,) = imported(module("torch", 8))
    first, second = pools.limit(4), pools.limit(2)
    first.__enter__()
    thread = threading.Thread(target=second.__enter__)
    thread.start()
    thread.join()
    first.__exit__(None, None, None)
    assert torch.get_num_threads() == 2
    second.__exit__(None, None, None)
    assert torch.get_num_threads() == 8


def test_fft_workers_of_other_threads_stay_as_they_are(imported, pools):
    (fft,) = imported(fft_module())
    counts = []
    with pools.limit(3):
        thread = threading.Thread(target=lambda: counts.append(fft.get_workers()))
        thread.start()
        thread.join()
    assert counts == [1]


def test_the_threads_of_numba_are_not_started_by_a_question(imported):
    def not_started():
        raise ValueError("Threading layer is not initialized.")

    def started():
        raise AssertionError("its threads were started")

    imported(module("numba", 8, threading_layer=not_started, get_num_threads=started))
    assert thread_pools.find() == []


def test_numba_counts_once_its_threads_run(imported):
    imported(module("numba", 8, threading_layer=lambda: "omp"))
    (pool,) = thread_pools.find()
    assert (pool.api, pool.threads, pool.per_thread) == ("numba", 8, True)


def test_a_module_that_is_still_being_imported_does_not_count_yet(imported):
    (torch,) = imported(module("torch", 8))
    torch.__spec__ = type("Spec", (), {"_initializing": True})()
    assert thread_pools.find() == []


@pytest.mark.real
def test_a_real_openmp_runtime_is_limited_for_the_thread_and_put_back(tmp_path):
    """In a process of its own, which loads scikit-learn's runtime."""
    import subprocess

    pytest.importorskip("sklearn")
    text = """
from sklearn.utils._openmp_helpers import _openmp_effective_n_threads as threads
from autotune.controls import thread_pools
before = threads()
with thread_pools.limit(1):
    assert threads() == 1
assert threads() == before
print([pool.api for pool in thread_pools.loaded_pools()].count("openmp"))
"""
    ended = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert int(ended.stdout) >= 1
