"""Calls of np.dot and np.inner are met, and the objects stay what they are."""

import gc
import inspect
import pickle
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from test_intercept import Recording

from autotune.intercept import dot_calls
from autotune.intercept.dot_calls import DotCalls
from autotune.intercept.matmul_loop import MatmulLoops

A = np.random.default_rng(0).random((6, 4))
B = np.random.default_rng(1).random((4, 5))
NATIVE = {name: getattr(np, name)._implementation for name in ("dot", "inner")}


def signature(public):
    """As inspect tells it; NumPy before 2.4 has none for compiled functions."""
    try:
        return str(inspect.signature(public))
    except ValueError:
        return None


SIGNATURES = {name: signature(getattr(np, name)) for name in NATIVE}


@pytest.fixture
def met():
    record = Recording()
    tap = DotCalls(record.decide, record)
    assert tap.install() is None
    yield record.met
    tap.remove()
    assert record.inside == 0
    assert {name: getattr(np, name)._implementation for name in NATIVE} == NATIVE


PRODUCT = ("matmul", "float64", 6, 4, 5)
CALLS = {
    "dot": (lambda: np.dot(A, B), [PRODUCT]),
    "by keywords": (lambda: np.dot(b=B, a=A), [PRODUCT]),
    "into out": (lambda: np.dot(A, B, out=np.empty((6, 5))), [PRODUCT]),
    "inner": (lambda: np.inner(A, B.T), [PRODUCT]),
    "tensordot": (lambda: np.tensordot(A, B, 1), [PRODUCT]),
    "multi_dot": (lambda: np.linalg.multi_dot([A, B, np.ones((5, 5))])[:0], [("matmul", "float64", 4, 5, 5), ("matmul", "float64", 6, 4, 5)]),
    "a matrix and a vector": (lambda: np.dot(A, np.ones(4)), [("matvec", "float64", 6, 4)]),
    "inner of a matrix and a vector": (lambda: np.inner(A, np.ones(4)), [("matvec", "float64", 6, 4)]),
    "a vector and a matrix": (lambda: np.dot(np.ones(6), A), [("", "float64")]),
    "two vectors": (lambda: np.dot(np.ones(6), np.ones(6)), [("", "float64")]),
    "float32": (lambda: np.dot(A.astype("f4"), B.astype("f4")), [("matmul", "float32", 6, 4, 5)]),
    "dtypes that differ": (lambda: np.dot(A, B.astype("f4")), [("", "float64")]),
    "stacks, which go no way through BLAS": (lambda: np.dot(np.stack([A] * 3), B), [("", "float64")]),
    "lists": (lambda: np.dot([[1.0, 2]], [[3.0], [4]]), [("", "")]),
    "numbers": (lambda: np.dot(3, 4.5), [("", "")]),
    "an empty one": (lambda: np.dot(np.ones((3, 0)), np.ones((0, 2))), [("", "float64")]),
    "the method, which calls the compiled function itself": (lambda: A.dot(B), []),
    "einsum without BLAS": (lambda: np.einsum("ij,jk", A, B), []),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_a_call_is_met_as_the_operation_that_it_is_and_its_result_is_the_same(met, name):
    call, expected = CALLS[name]
    with_it = call()
    if name != "multi_dot":  # the order of its products is NumPy's
        assert met == expected
    else:
        assert len(met) == 2
    assert pickle.dumps(with_it) == pickle.dumps(call())


def test_einsum_with_optimize_is_met_in_what_it_calls(met):
    """tensordot before NumPy 2.4; matmul, which has an intercept of its own, from then on."""
    np.einsum("ij,jk", A, B, optimize=True)
    assert [name for name, *_ in met] in (["matmul"], [])


def test_the_public_objects_stay_what_they_are(met):
    for name in NATIVE:
        public = getattr(np, name)
        assert pickle.loads(pickle.dumps(public)) is public
        assert type(public).__name__ == "_ArrayFunctionDispatcher"
        assert f"{name}(a, b" in public.__doc__
        assert signature(public) == SIGNATURES[name]


def test_array_function_is_asked_as_ever(met):
    class Duck:
        def __array_function__(self, function, *_):
            return function

    assert np.dot(Duck(), A) is np.dot
    assert met == []


def test_errors_are_the_same(met):
    for wrong in (lambda: np.dot(A, A), lambda: np.dot(A), lambda: np.dot(A, B, 3), lambda: np.inner(A, b=B)):
        with pytest.raises((ValueError, TypeError)) as with_it:
            wrong()
        tap = next(iter(dot_calls._stands.values()))
        function, native = tap._function, tap._native
        dot_calls._exchange(np.dot, function, native)
        with pytest.raises(type(with_it.value)) as without:
            wrong()
        dot_calls._exchange(np.dot, native, function)
        assert str(with_it.value) == str(without.value)


def test_an_operand_whose_attributes_raise_is_still_multiplied(met):
    class Odd:
        @property
        def shape(self):
            raise RuntimeError("no shape today")

        def __array__(self, dtype=None, copy=None):
            return A

    assert np.dot(Odd(), B).shape == (6, 5)


def test_it_can_be_put_in_force_and_taken_off_again_and_again():
    record = Recording()
    tap = DotCalls(record.decide, record)
    tap.install()
    tap.remove()
    gc.collect()
    counts = list(map(sys.getrefcount, NATIVE.values()))
    for _ in range(20):
        assert tap.install() is None
        assert tap.install() is None
        np.dot(A, B)
        tap.remove()
        tap.remove()
        gc.collect()
        np.dot(A, B)
    assert len(record.met) == 20
    assert {name: getattr(np, name)._implementation for name in NATIVE} == NATIVE
    assert list(map(sys.getrefcount, NATIVE.values())) == counts


def test_a_numpy_that_is_not_known_is_left_alone_with_a_sentence(monkeypatch):
    monkeypatch.setattr(np, "__version__", "9.9.9")
    assert "9.9.9" in DotCalls(Recording().decide, Recording()).install()
    assert np.dot._implementation is NATIVE["dot"]


@given(
    st.tuples(
        arrays.array_shapes(min_dims=0, max_dims=3, max_side=4),
        arrays.array_shapes(min_dims=0, max_dims=3, max_side=4),
    )
)
def test_what_is_named_a_product_has_its_sizes(shapes):
    a, b = shapes
    named = dot_calls._named(a, b)
    if named is not None:
        sizes = named[1]
        result = np.dot(np.ones(a), np.ones(b))
        assert result.size == sizes["m"] * (sizes["n"] if named[0] == "matmul" else 1)
        assert result.flat[0] == (sizes["k"] if named[0] == "matmul" else sizes["n"])


@pytest.mark.parametrize(("kind", "product"), [(DotCalls, np.dot), (MatmulLoops, np.matmul)])
def test_many_threads_multiply_while_it_comes_and_goes(kind, product):
    record = Recording()
    record.begin, record.end = (lambda _calls: None), (lambda _begun: None)
    tap = kind(record.decide, record)
    wrong, stop, expected = [], threading.Event(), product(A, B)

    def often():
        while not stop.is_set():
            if not np.array_equal(product(A, B), expected):
                wrong.append(1)

    threads = [threading.Thread(target=often) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(100):
        tap.install()
        tap.remove()
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("tap", [DotCalls, MatmulLoops])
@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("intercept.linalg_calls.python_build", lambda: "free-threaded", "free-threaded"),
        ("intercept.linalg_calls.sys.implementation", SimpleNamespace(name="pypy"), "pypy"),
    ],
)
def test_a_python_whose_objects_are_others_is_left_alone_with_a_sentence(monkeypatch, tap, name, value, said):
    monkeypatch.setattr(f"autotune.{name}", value)
    assert said in tap(Recording().decide, Recording()).install()
    assert np.dot._implementation is NATIVE["dot"]


class LikeNumpys:
    """Holds a function where anybody can see it, but not in NumPy's way."""

    def __init__(self, function):
        self._implementation = function


@pytest.mark.parametrize("other", [LikeNumpys(NATIVE["dot"]), NATIVE["dot"], lambda a, b: a])
def test_a_dot_that_is_not_numpys_own_object_is_never_written_to(other):
    assert dot_calls._place(other) is None


def test_a_new_shape_may_come_while_it_is_taken_off():
    """Between the look whether anybody decides and the question itself."""
    record = Recording()
    tap = DotCalls(record.decide, record)
    tap.install()
    stand = dot_calls._stands["dot"]

    class Leaving(np.ndarray):
        @property
        def dtype(self):
            tap.remove()
            return super().dtype

    assert stand._meet(A.view(Leaving), B).operation == "matmul"
    assert np.dot._implementation is NATIVE["dot"]
