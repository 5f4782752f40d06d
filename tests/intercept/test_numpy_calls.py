"""Calls of numpy.linalg and products are met, and nothing that is public changes."""

import gc
import inspect
import pickle
import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from support.native import CORE, Recording, error_of, needs_core
from support.programs import printed

from autotune.intercept import operations
from autotune.intercept.numpy_calls import NumpyCalls

PUBLIC = {
    (module, name): getattr(module, name)
    for module, names in ((np.linalg, np.linalg.__all__), (np, ["matmul", "dot", "inner", "vdot", "einsum"]))
    for name in names
}
A = np.random.default_rng(0).random((6, 4))
B = np.random.default_rng(1).random((4, 5))
S = A.T @ A + np.eye(4)
V = np.ones(4)
PRODUCT = ("matmul", "float64", 6, 4, 5)


@pytest.fixture
def record():
    """Calls that are met while the interception is in force."""
    recording = Recording()
    calls = NumpyCalls(CORE, recording.decide, None)
    assert calls.install() is None
    yield recording
    calls.remove()


CALLS = {
    "solve": (lambda: np.linalg.solve(S, np.ones(4)), [("solve", "float64", 4)]),
    "solve with as many right sides as rows": (lambda: np.linalg.solve(S, S), []),
    "inv": (lambda: np.linalg.inv(S), [("inv", "float64", 4)]),
    "det": (lambda: np.linalg.det(S), [("det", "float64", 4)]),
    "slogdet": (lambda: np.linalg.slogdet(S), [("det", "float64", 4)]),
    "cholesky": (lambda: np.linalg.cholesky(S), [("cholesky", "float64", 4)]),
    "eigh": (lambda: np.linalg.eigh(S), [("eigh", "float64", 4)]),
    "eig": (lambda: np.linalg.eig(S), [("eig", "float64", 4)]),
    "qr": (lambda: np.linalg.qr(A), [("qr", "float64", 6, 4)] * 2),
    "r alone": (lambda: np.linalg.qr(A, mode="r"), [("qr", "float64", 6, 4)]),
    "complete qr": (lambda: np.linalg.qr(A, mode="complete"), [("qr", "float64", 6, 4)]),
    "svd": (lambda: np.linalg.svd(A, full_matrices=False), [("svd", "float64", 6, 4)]),
    "full svd of a square": (lambda: np.linalg.svd(S), [("svd", "float64", 4, 4)]),
    "full svd of a rectangle": (lambda: np.linalg.svd(A), []),
    "norm": (lambda: np.linalg.norm(A, 2), [("svd", "float64", 6, 4)]),
    "lstsq": (lambda: np.linalg.lstsq(A, np.ones(6), rcond=None), [("lstsq", "float64", 6, 4)]),
    "eigvalsh, which was not measured": (lambda: np.linalg.eigvalsh(S), []),
    "float32": (lambda: np.linalg.inv(S.astype(np.float32)), [("inv", "float32", 4)]),
    "complex": (lambda: np.linalg.inv(S * 1j), [("inv", "complex128", 4)]),
    "a stack, as one of its matrices": (lambda: np.linalg.inv(np.stack([S] * 9)), [("inv", "float64", 4)]),
    "an empty one": (lambda: np.linalg.inv(np.ones((0, 0))), []),
    "pinv, in what it calls": (lambda: np.linalg.pinv(A), [("svd", "float64", 6, 4), ("matmul", "float64", 4, 4, 6)]),
    "matmul": (lambda: np.matmul(A, S), [("matmul", "float64", 6, 4, 4)]),
    "@": (lambda: A.astype("f4") @ S.astype("f4"), [("matmul", "float32", 6, 4, 4)]),
    "@ with a vector": (lambda: A @ V, [("matvec", "float64", 6, 4)]),
    "a vector before @": (lambda: np.ones(6) @ A, []),
    "two vectors": (lambda: V @ V, [("vdot", "float64", 4)]),
    "@ of stacks": (lambda: np.stack([S] * 9) @ S, [("matmul", "float64", 4, 4, 4)]),
    "@ of integers": (lambda: np.ones((3, 3), int) @ np.ones((3, 3), int), []),
    "dot": (lambda: np.dot(A, B), [PRODUCT]),
    "dot by keywords, whose operands are not looked for": (lambda: np.dot(b=B, a=A), []),
    "dot into out": (lambda: np.dot(A, B, out=np.empty((6, 5))), [PRODUCT]),
    "the method": (lambda: A.dot(B), [PRODUCT]),
    "the method with out": (lambda: A.dot(B, np.empty((6, 5))), [PRODUCT]),
    "inner": (lambda: np.inner(A, B.T), [PRODUCT]),
    "inner of a matrix and a vector": (lambda: np.inner(A, V), [("matvec", "float64", 6, 4)]),
    "vdot": (lambda: np.vdot(V, V), [("vdot", "float64", 4)]),
    "vdot of matrices, which it flattens": (lambda: np.vdot(A, A), []),
    "tensordot": (lambda: np.tensordot(A, B, 1), [PRODUCT]),
    "einsum, in what it calls": (lambda: np.einsum("ij,jk", S, S, optimize=True), [("matmul", "float64", 4, 4, 4)]),
    "einsum without BLAS": (lambda: np.einsum("ij,jk", A, B), []),
    "dtypes that differ": (lambda: np.dot(A, B.astype("f4")), []),
    "@ of dtypes that differ": (lambda: A.astype("f4") @ B, []),
    "lists": (lambda: np.dot([[1.0, 2]], [[3.0], [4]]), []),
    "numbers": (lambda: np.dot(3, 4.5), []),
    "an empty product": (lambda: np.dot(np.ones((3, 0)), np.ones((0, 2))), []),
}


@needs_core
@pytest.mark.parametrize("name", CALLS)
def test_a_call_is_met_as_the_operation_that_it_is_and_its_result_is_the_same(record, name):
    call, expected = CALLS[name]
    result = call()
    assert record.met == expected
    assert pickle.dumps(result) == pickle.dumps(call())


@needs_core
def test_a_shape_is_asked_for_once(record):
    for _ in range(5):
        np.linalg.inv(S)
    assert (len(record.asked), record.met) == (1, [("inv", "float64", 4)] * 5)


@needs_core
def test_no_public_object_changes(record):
    for (module, name), before in PUBLIC.items():
        now = getattr(module, name)
        assert now is before
        assert pickle.loads(pickle.dumps(now)) is before
    assert type(np.matmul) is np.ufunc
    assert repr(np.matmul) == "<ufunc 'matmul'>"
    assert np.ndarray.dot is np.ndarray.__dict__["dot"]
    assert repr(np.ndarray.dot) == "<method 'dot' of 'numpy.ndarray' objects>"
    assert "full_matrices" in inspect.signature(np.linalg.svd).parameters


@needs_core
def test_overrides_are_asked_as_ever(record):
    class Duck:
        def __array_function__(self, function, *_):
            return function

        def __array_ufunc__(self, ufunc, *_, **__):
            return ufunc

    assert np.linalg.svd(Duck()) is np.linalg.svd
    assert np.dot(Duck(), A) is np.dot
    assert np.matmul(Duck(), A) is np.matmul
    assert record.met == []


WRONG = (
    lambda: np.linalg.inv(np.zeros((3, 3))),
    lambda: np.linalg.solve(np.eye(3), 1.0),
    lambda: A @ A,
    lambda: A.dot(A),
    lambda: np.dot(A),
    lambda: np.dot(A, B, 3),
    A.dot,
    lambda: np.vdot(A),
)
PLAIN_ERRORS = list(map(error_of, WRONG))
"""While no call is met."""


@needs_core
def test_errors_and_floating_point_states_are_the_same(record):
    assert list(map(error_of, WRONG)) == PLAIN_ERRORS
    huge = np.full((3, 3), 1e200)
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        huge @ huge


@needs_core
def test_an_operand_whose_attributes_raise_is_still_multiplied(record):
    class Odd:
        @property
        def shape(self):
            raise RuntimeError("no shape today")

        def __array__(self, dtype=None, copy=None):
            return A

    assert np.dot(Odd(), B).shape == (6, 5)


@needs_core
def test_it_can_be_put_in_force_and_taken_off_again_and_again():
    recording = Recording()
    calls = NumpyCalls(CORE, recording.decide, None)
    calls.install()
    calls.remove()
    gc.collect()
    targets = [np.matmul, np.dot._implementation, np.ndarray.dot, np.linalg._umath_linalg.inv]
    counts = list(map(sys.getrefcount, targets))
    for _ in range(1000):
        calls.install()
        calls.install()
        calls.remove()
        calls.remove()
    gc.collect()
    assert list(map(sys.getrefcount, targets)) == counts
    np.linalg.inv(S)
    assert recording.met == []


@needs_core
def test_a_function_of_scipys_stands_for_another_and_is_freed_with_it():
    """Also where the two refer to each other."""
    import weakref

    class Routine:
        typecode = "d"

        def __call__(self, a, *, b):
            return a + b

    routine = Routine()
    calls = CORE.Calls("svd", "float64", {})
    met = routine.met = CORE.Met(routine, calls, None)
    assert (met(1, b=2), met.typecode, calls.count) == (3, "d", 1)
    with pytest.raises(TypeError):
        CORE.Met(routine, None, None)
    gone = weakref.ref(routine)
    del routine, met
    gc.collect()
    assert gone() is None


@needs_core
def test_more_shapes_than_are_remembered_are_still_met(record):
    for n in [*range(1, 4200), 1]:
        A[:1, :1] @ np.empty((1, n))
    for n in range(1, 4200):
        np.dot(np.empty((2, 1)), np.empty((1, n)))
    np.dot(np.empty((2, 1)), np.empty((1, 2)))
    assert len(record.asked) >= 4200


@needs_core
def test_what_python_answers_wrongly_is_no_choice():
    calls = CORE.meet_call(np.matmul, lambda *_: "not Calls", None)
    try:
        assert (np.dot(A, S) == (A @ S)).all()
    finally:
        CORE.release_call(calls)


@needs_core
def test_an_exception_of_a_signal_handler_goes_on_and_the_next_call_is_made():
    """Python code runs once a shape; a handler that raises there raises before anything is computed."""

    class Interrupted(BaseException):
        pass

    def ask(*_):
        raise Interrupted

    hook = CORE.meet_call(np.matmul, ask, None)
    try:
        with pytest.raises(Interrupted):
            A @ S
    finally:
        CORE.release_call(hook)
    assert (A @ S).shape == (6, 4)


@needs_core
def test_at_the_recursion_limit_every_product_is_right():
    printed_lines = printed(
        """
        import sys
        import numpy as np
        from support.native import CORE, Recording
        from autotune.intercept.numpy_calls import NumpyCalls
        calls = NumpyCalls(CORE, Recording().decide, None)
        calls.install()
        a = np.arange(16.0).reshape(4, 4)
        expected = {n: (a[:n, :n] * 1.0).tolist() for n in range(5)}
        plain = [[float(sum(x * y for x, y in zip(row, col))) for col in a.T] for row in a]
        wrong = products = 0
        def deep():
            global wrong, products
            try:
                deep()
            except RecursionError:
                pass
            out = np.full((4, 4), 7.0)
            try:
                np.matmul(a, a, out)
                a.dot(a)
            except RecursionError:
                return
            products += 1
            wrong += out.tolist() != plain
        sys.setrecursionlimit(300)
        deep()
        print(wrong, products > 200)
        """,
        environ=environment(),
    )
    assert printed_lines == "0 True\n"


@needs_core
@pytest.mark.unsanitized  # the address sanitizer takes a stack that is moved for an error
def test_a_greenlet_that_takes_over_within_a_call_changes_no_count():
    """NumPy calls Python within a call, in a warning or an override, and a greenlet moves the stack of the thread."""
    pytest.importorskip("greenlet")
    lines = printed(
        """
        import ctypes
        import numpy as np
        from greenlet import getcurrent, greenlet
        from support.native import CORE
        from autotune.intercept.numpy_calls import NumpyCalls
        count = [8]
        get = ctypes.CFUNCTYPE(ctypes.c_int)(lambda: count[0])
        put = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_ssize_t)(lambda n: count.__setitem__(0, n) or 0)
        switch = CORE.Switch(*(ctypes.cast(one, ctypes.c_void_p).value for one in (get, put)), 8)
        switch.come_back()
        def decide(operation, dtype, sizes, **_):
            return CORE.Calls(operation, dtype, sizes, threads=4)
        calls = NumpyCalls(CORE, decide, switch)
        calls.install()
        class Yielding(np.ndarray):
            def __array_ufunc__(self, ufunc, method, *inputs, **keywords):
                getcurrent().parent.switch(count[0])
                return "product"
        a = np.ones((3, 3))
        def deep(levels):
            return deep(levels - 1) if levels else a.view(Yielding) @ a
        waiting = [greenlet(deep) for _ in range(3)]
        seen = [one.switch(level) for level, one in enumerate(waiting)]
        for _ in range(100):
            assert ((a @ a) == 3).all() and np.linalg.inv(np.eye(3)).trace() == 3
        print(seen, [waiting[i].switch() for i in (1, 0, 2)], count)
        """,
        environ=environment(),
    )
    assert lines == "[4, 4, 2] ['product', 'product', 'product'] [8]\n"


def environment():
    import os
    from pathlib import Path

    paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


@needs_core
def test_another_extension_that_replaces_the_same_function_keeps_its_own():
    """Both before and after, in any order of going; ctypes plays the other extension."""
    import ctypes

    place = ctypes.c_void_p.from_address(id(np.matmul) + vectorcall_offset())
    numpys = place.value
    kind = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
    inner = []
    seen = []

    @kind
    def theirs(ufunc, args, count, names):
        seen.append(1)
        return kind(inner[0])(ufunc, args, count, names)

    address = ctypes.cast(theirs, ctypes.c_void_p).value
    recording = Recording()
    calls = NumpyCalls(CORE, recording.decide, None)
    calls.install()
    inner.append(place.value)
    place.value = address
    assert (np.dot(A, S) == (A @ S)).all()
    assert (len(seen), len([call for call in recording.met if call[0] == "matmul"])) == (1, 2)
    calls.remove()  # theirs stays, and calls ours, which passes on
    assert place.value == address
    A @ S
    calls.install()
    assert place.value == address
    A @ S
    place.value = inner[0]
    calls.remove()
    assert place.value == numpys
    assert len(seen) == 3


def vectorcall_offset():
    """Return the place where a ufunc keeps the address that is called (numpy/ufuncobject.h)."""
    import ctypes

    words = (ctypes.c_void_p * 40).from_address(id(np.matmul))
    before = list(words)
    hook = CORE.meet_call(np.matmul, lambda *_: None, None)
    during = list(words)
    CORE.release_call(hook)
    (place,) = [i for i in range(2, 40) if before[i] != during[i]]
    return place * ctypes.sizeof(ctypes.c_void_p)


@needs_core
@pytest.mark.parametrize("product", [np.dot, np.matmul, np.vdot])
def test_many_threads_multiply_while_it_comes_and_goes(product):
    recording = Recording()
    calls = NumpyCalls(CORE, recording.decide, None)
    wrong, stop, expected = [], threading.Event(), product(S, S)

    def often():
        while not stop.is_set():
            if not np.array_equal(product(S, S), expected):
                wrong.append(1)

    threads = [threading.Thread(target=often) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(100):
        calls.install()
        calls.remove()
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []


@given(
    st.tuples(
        arrays.array_shapes(min_dims=0, max_dims=3, max_side=4), arrays.array_shapes(min_dims=0, max_dims=3, max_side=4)
    )
)
def test_what_is_named_a_product_has_its_sizes(shapes):
    a, b = shapes
    match = operations.product(a[-2:], b[-2:])
    if match is not None and len(a) < 3 and len(b) < 3:
        name, sizes = match
        result = np.dot(np.ones(a), np.ones(b))
        elements = {"matmul": ("m", "n"), "matvec": ("m",), "vdot": ()}[name]
        assert result.size == np.prod([sizes[name] for name in elements])
        assert result.flat[0] == (sizes["k"] if name == "matmul" else sizes["n"])
