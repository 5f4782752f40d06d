"""tuned() puts an operation's configuration into force for a stretch of code."""

import asyncio
import copy
import pickle
import sys
import threading
from types import ModuleType

import numpy as np
import pytest
from support.profile_builders import make_entry, of_this_machine

import autotune
from autotune.controls import blas, thread_pools
from autotune.controls.blas import BlasThreads
from autotune.errors import BadSize
from autotune.model.configuration import Configuration
from autotune.profiles import folders, profile_files
from autotune.runtime.tuned import sizes_of

several_threads = pytest.mark.skipif((blas.current() or 1) < 2, reason="BLAS runs with one thread here anyway")


@pytest.fixture(autouse=True)
def profile(fresh):
    made = of_this_machine(
        make_entry("svd", choice={"blas_threads": 1}, m=20, n=20),
        make_entry("svd", choice={"blas_threads": 1}, dtype="float32", m=20, n=30),
        make_entry("svd", m=2000, n=2000),
        make_entry("matmul", choice={"blas_threads": 1}, m=2, k=3, n=4),
        make_entry("simulate", choice={"blas_threads": 1}, steps=5),
        make_entry("smooth", choice={"blas_threads": 1, "workers": 1, "chunk": 7}, n=100),
        make_entry("fit", choice={"openmp_threads": 1}, rows=100),
        make_entry("temporaries", choice={"allocator": "retain"}, n=10),
    )
    profile_files.write(made, folders.user_profiles() / "mine.yaml")


@several_threads
def test_a_scope_sets_the_count_and_puts_it_back():
    before = blas.current()
    with autotune.tuned("svd", n=20) as chosen:
        assert (chosen, blas.current()) == (Configuration(blas_threads=1), 1)
    assert blas.current() == before


def test_a_scope_and_a_decorated_function_of_the_main_module_may_be_sent_to_other_processes():
    """As joblib, loky and Dask send it: with all that it refers to."""
    cloudpickle = pytest.importorskip("cloudpickle")

    def rows(matrix):
        return len(np.linalg.qr(matrix)[1])

    rows.__module__ = "__main__"
    scope = autotune.tuned("qr", n=128)
    for copied in (copy.deepcopy(scope), pickle.loads(pickle.dumps(scope))):
        with scope, copied:
            assert copied(rows)(np.eye(3)) == 3
    assert pickle.loads(cloudpickle.dumps(scope(rows)))(np.eye(3)) == 3


def test_where_nothing_was_measured_a_scope_changes_nothing():
    before = blas.current()
    with autotune.tuned("svd", n=30_000) as chosen:
        assert (chosen, blas.current()) == (None, before)


@several_threads
def test_a_scope_ends_with_an_exception_too():
    before = blas.current()
    with pytest.raises(KeyError), autotune.tuned("svd", n=20):
        raise KeyError
    assert blas.current() == before


@several_threads
def test_one_object_serves_nested_scopes_and_threads():
    before = blas.current()
    scope = autotune.tuned("svd", n=20)

    def often():
        for _ in range(100):
            with scope, scope:
                pass

    threads = [threading.Thread(target=often) for _ in range(4)]
    with scope:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert blas.current() == 1
    assert blas.current() == before


@several_threads
def test_a_decorated_function_takes_its_sizes_from_its_first_array():
    @autotune.tuned("svd")
    def threads(array, *, label=""):
        return blas.current(), label

    before = blas.current()
    assert threads(np.ones((20, 20)), label="x") == (1, "x")
    assert threads(np.ones((20, 30), dtype=np.float32)) == (1, "")
    assert threads(np.ones((20, 30))) == (before, "")
    assert threads(np.ones((20, 20), dtype=int)) == (before, "")
    assert threads(np.ones((0, 20))) == (before, "")
    assert threads(np.ones(20)) == (before, "")
    assert threads([[1.0]]) == (before, "")
    assert blas.current() == before


@several_threads
def test_sizes_may_come_from_a_small_function_or_be_fixed():
    @autotune.tuned("simulate", sizes=lambda steps: {"steps": steps})
    def simulate(steps):
        return blas.current()

    @autotune.tuned("svd", n=20)
    def always():
        return blas.current()

    assert (simulate(5), always()) == (1, 1)
    assert simulate(6) == blas.current()


def test_a_decorated_function_keeps_its_name_and_result():
    @autotune.tuned("svd")
    def work(a):
        """Says something."""
        return a

    assert (work.__name__, work.__doc__, work(3)) == ("work", "Says something.", 3)


@pytest.mark.parametrize(
    ("operation", "shapes", "expected"),
    [
        ("svd", [(20, 30)], {"m": 20, "n": 30}),
        ("inv", [(20, 20)], {"n": 20}),
        ("dot", [(2, 3), (3, 4)], {"m": 2, "k": 3, "n": 4}),
        ("matmul", [(2, 3)], {"m": 2, "k": 3, "n": 3}),
        ("stack_svd", [(7, 5, 5)], {"n": 5, "count": 7}),
        ("stack_svd", [(2, 3, 5, 5)], {"n": 5, "count": 6}),
        ("log", [(4, 5)], {"n": 20}),
        ("log", [()], {"n": 1}),
        ("svd", [(5,)], None),
        ("svd", [(0, 5)], None),
        ("svd", [], None),
        ("mine", [(5, 5)], None),
    ],
)
def test_the_sizes_of_a_call_are_those_of_its_first_arrays(operation, shapes, expected):
    assert sizes_of(operation, [np.empty(shape) for shape in shapes]) == expected


def test_a_function_of_the_users_needs_its_sizes_said():
    with pytest.raises(BadSize, match="simulate is not in the catalogue"):
        autotune.tuned("simulate")


def test_a_wrong_size_is_said_at_once():
    with pytest.raises(BadSize, match="svd has no size k"):
        autotune.tuned("svd", n=20, k=3)


def test_a_with_needs_sizes():
    with pytest.raises(BadSize, match="needs its sizes"), autotune.tuned("svd"):
        pass


def test_a_function_that_suspends_cannot_be_decorated():
    async def slow():
        await asyncio.sleep(0)

    with pytest.raises(TypeError, match="suspends"):
        autotune.tuned("svd")(slow)


def test_an_allocator_that_this_process_cannot_have_is_left_out(monkeypatch):
    monkeypatch.setattr("autotune.controls.allocator.unsupported_reason", lambda: "not here")
    with autotune.tuned("temporaries", n=10) as chosen:
        assert chosen is not None


def smooth(*, n, workers=3, chunk=10, label=""):
    return n, workers, chunk, label, blas.current()


def test_a_function_is_called_with_the_knobs_and_threads_that_were_measured():
    assert autotune.tuned_call(smooth, n=100, label="x") == (100, 1, 7, "x", 1)


@pytest.fixture
def torch(monkeypatch):
    """A loaded library with a pool of eight threads."""
    made, counts = ModuleType("torch"), [8]
    made.get_num_threads = lambda: counts[-1]
    made.set_num_threads = counts.append
    monkeypatch.setitem(sys.modules, "torch", made)
    monkeypatch.setattr(thread_pools, "limit", BlasThreads(thread_pools.find).limit)
    return made


def test_other_pools_have_the_measured_threads_within_a_scope_and_a_call(torch):
    def fit(*, rows):
        return rows, torch.get_num_threads()

    with autotune.tuned("fit", rows=100):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 8
    assert autotune.tuned_call(fit, rows=100) == (100, 1)
    assert autotune.tuned_call(fit, rows=101) == (101, 8)
    assert torch.get_num_threads() == 8


def test_reproducible_programs_keep_the_threads_of_other_pools(torch):
    with autotune.apply(reproducible=True), autotune.tuned("fit", rows=100):
        assert torch.get_num_threads() == 8


def test_a_knob_that_the_caller_gives_stays():
    assert autotune.tuned_call(smooth, n=100, chunk=5)[:3] == (100, 1, 5)


@pytest.mark.parametrize("n", [99, 101])
def test_a_function_is_called_as_it_stands_where_nothing_was_measured(n):
    assert autotune.tuned_call(smooth, n=n) == (n, 3, 10, "", blas.current())


@pytest.mark.parametrize("keywords", [{"n": 0}, {"n": "all"}, {"n": 100, "dtype": "bfloat16"}])
def test_a_keyword_that_is_no_size_or_dtype_is_the_functions_own_matter(keywords):
    def shown(*, n, dtype=None):
        return {"n": n} if dtype is None else {"n": n, "dtype": dtype}

    assert autotune.tuned_call(autotune.workload(name="smooth")(shown), **keywords) == keywords


def test_a_function_without_a_name_or_an_entry_is_called_as_it_stands():
    assert autotune.tuned_call(lambda n: n, n=100) == 100
    assert autotune.tuned_call(autotune.workload(name="never_measured")(smooth), n=100)[:3] == (100, 3, 10)
