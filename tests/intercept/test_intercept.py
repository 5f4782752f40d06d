"""Calls of numpy.linalg and matmul are met, and nothing that is public changes."""

import inspect
import pickle

import numpy as np
import pytest

from autotune.controls.switch import Calls
from autotune.intercept import linalg_calls, matmul_loop
from autotune.intercept.linalg_calls import Intercept, Nothing
from autotune.intercept.matmul_loop import MatmulLoops

PUBLIC = {name: getattr(np.linalg, name) for name in np.linalg.__all__} | {"matmul": np.matmul}
A = np.random.default_rng(0).random((6, 4))
S = A.T @ A + np.eye(4)


class Recording:
    """Stands around calls and notes them."""

    def __init__(self):
        self.met = []
        self.inside = 0

    def decide(self, operation, dtype, sizes):
        return Calls(operation, dtype, sizes)

    def begin(self, calls):
        self.inside += 1
        self.met.append((calls.operation, calls.dtype, *calls.sizes.values()))
        return calls

    def end(self, begun):
        assert begun is None or isinstance(begun, Calls)
        self.inside -= 1


@pytest.fixture
def met():
    """What is met while both intercepts are in force."""
    record = Recording()
    taps = [Intercept(record.decide, record), MatmulLoops(record.decide, record)]
    assert [tap.install() for tap in taps] == [None, None]
    yield record.met
    for tap in taps:
        tap.remove()
    assert record.inside == 0


CALLS = {
    "solve": (lambda: np.linalg.solve(S, np.ones(4)), [("solve", "float64", 4)]),
    "solve with as many right sides as rows": (lambda: np.linalg.solve(S, S), [("", "float64")]),
    "inv": (lambda: np.linalg.inv(S), [("inv", "float64", 4)]),
    "det": (lambda: np.linalg.det(S), [("det", "float64", 4)]),
    "slogdet": (lambda: np.linalg.slogdet(S), [("det", "float64", 4)]),
    "cholesky": (lambda: np.linalg.cholesky(S), [("cholesky", "float64", 4)]),
    "eigh": (lambda: np.linalg.eigh(S), [("eigh", "float64", 4)]),
    "eig": (lambda: np.linalg.eig(S), [("eig", "float64", 4)]),
    "qr": (lambda: np.linalg.qr(A), [("qr", "float64", 6, 4)] * 2),
    "r alone": (lambda: np.linalg.qr(A, mode="r"), [("qr", "float64", 6, 4)]),
    "complete qr": (lambda: np.linalg.qr(A, mode="complete"), [("qr", "float64", 6, 4), ("", "float64")]),
    "svd": (lambda: np.linalg.svd(A, full_matrices=False), [("svd", "float64", 6, 4)]),
    "full svd of a square": (lambda: np.linalg.svd(S), [("svd", "float64", 4, 4)]),
    "full svd of a rectangle": (lambda: np.linalg.svd(A), [("", "float64")]),
    "norm": (lambda: np.linalg.norm(A, 2), [("svd", "float64", 6, 4)]),
    "lstsq": (lambda: np.linalg.lstsq(A, np.ones(6), rcond=None), [("lstsq", "float64", 6, 4)]),
    "eigvalsh, which was not measured": (lambda: np.linalg.eigvalsh(S), []),
    "float32": (lambda: np.linalg.inv(S.astype(np.float32)), [("inv", "float32", 4)]),
    "complex": (lambda: np.linalg.inv(S * 1j), [("inv", "complex128", 4)]),
    "a stack, as one of its matrices": (lambda: np.linalg.inv(np.stack([S] * 9)), [("inv", "float64", 4)]),
    "an empty one": (lambda: np.linalg.inv(np.ones((0, 0))), [("", "float64")]),
    "matmul": (lambda: np.matmul(A, S), [("matmul", "float64", 6, 4, 4)]),
    "@": (lambda: A.astype("f4") @ S.astype("f4"), [("matmul", "float32", 6, 4, 4)]),
    "@ with a vector": (lambda: A @ np.ones(4), [("matvec", "float64", 6, 4)]),
    "a vector before @": (lambda: np.ones(6) @ A, [("", "float64")]),
    "@ of stacks": (lambda: np.stack([S] * 9) @ S, [("matmul", "float64", 4, 4, 4)]),
    "@ of integers": (lambda: np.ones((3, 3), int) @ np.ones((3, 3), int), []),
    "dot, which is no ufunc": (lambda: np.dot(A, S), []),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_is_met_as_the_operation_that_it_is(met, name):
    call, expected = CALLS[name]
    call()
    assert met == expected


@pytest.mark.parametrize("name", CALLS)
def test_without_anything_around_calls_are_counted_and_run_as_ever(name):
    record, counted = Recording(), []

    def decide(*named):
        counted.append(record.decide(*named))
        return counted[-1]

    call, expected = CALLS[name]
    plain = call()
    tap = Intercept(decide, Nothing())
    assert tap.install() is None
    result = call()
    tap.remove()
    assert pickle.dumps(result) == pickle.dumps(plain)
    named = [row for row in expected if row[0] not in {"", "matmul", "matvec"}]
    assert {calls.operation for calls in counted} == {row[0] for row in named}
    assert sum(calls.count for calls in counted) == len(named)


def test_pinv_is_met_in_what_it_calls(met):
    np.linalg.pinv(A)
    assert met == [("svd", "float64", 6, 4), ("matmul", "float64", 4, 4, 6)]


def test_results_are_the_same_to_the_bit_where_the_count_is():
    def results():
        return pickle.dumps([np.linalg.svd(A), np.linalg.solve(S, S), A @ S])

    record = Recording()
    taps = [Intercept(record.decide, record), MatmulLoops(record.decide, record)]
    for tap in taps:
        tap.install()
    with_them = results()
    for tap in taps:
        tap.remove()
    assert len(record.met) == 3
    assert with_them == results()


def test_no_public_object_changes(met):
    for name, before in PUBLIC.items():
        now = getattr(np if name == "matmul" else np.linalg, name)
        assert now is before
        assert pickle.loads(pickle.dumps(now)) is before
    assert type(np.matmul) is np.ufunc
    assert repr(np.matmul) == "<ufunc 'matmul'>"
    assert np.matmul.types[-1] == "OO->O"
    assert list(inspect.signature(np.linalg.svd).parameters) == [
        "a",
        "full_matrices",
        "compute_uv",
        "hermitian",
    ]
    assert isinstance(
        np.linalg._umath_linalg.svd_s if hasattr(np.linalg._umath_linalg, "svd_s") else np.add, np.ufunc
    )


def test_array_function_is_asked_as_ever(met):
    class Duck:
        def __array_function__(self, function, *_):
            return function

        def __array_ufunc__(self, ufunc, *_, **__):
            return ufunc

    assert np.linalg.svd(Duck()) is np.linalg.svd
    assert np.matmul(Duck(), A) is np.matmul
    assert met == []


def test_errors_and_floating_point_states_are_the_same(met):
    with pytest.raises(np.linalg.LinAlgError, match="Singular"):
        np.linalg.inv(np.zeros((3, 3)))
    with pytest.raises(np.linalg.LinAlgError, match="positive definite"):
        np.linalg.cholesky(-np.eye(3))
    with pytest.raises(ValueError, match="mismatch"):
        A @ A
    huge = np.full((3, 3), 1e200)
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        huge @ huge
    with np.errstate(all="ignore"):
        assert np.isinf(huge @ huge).all()


def test_a_number_to_solve_for_is_refused_as_ever(met):
    with pytest.raises(ValueError, match="does not have enough dimensions"):
        np.linalg.solve(np.eye(3), 1.0)


def test_views_of_any_strides_and_out_are_multiplied_as_ever(met):
    big = np.arange(1.0, 401).reshape(20, 20)
    for a in (big[::2, ::-3], big.T[1:11], big[:, :10].T):
        b = big[: a.shape[1], ::-2]
        expected = [
            [float(sum(x * y for x, y in zip(row, column, strict=True))) for column in b.T] for row in a
        ]
        out = np.empty((a.shape[0], b.shape[1]))[:, ::-1]
        assert np.matmul(a, b, out=out) is out
        np.testing.assert_allclose(out, expected)
    square = big[:4, :4].copy()
    np.matmul(square, square, out=square)
    np.testing.assert_allclose(square, np.dot(big[:4, :4], big[:4, :4]))


def test_what_was_put_in_force_can_be_taken_off_completely():
    private, loops = (
        np.linalg._linalg._umath_linalg,
        [matmul_loop._in_force(name) for name in ("float32", "float64")],
    )
    record = Recording()
    taps = [Intercept(record.decide, record), MatmulLoops(record.decide, record)]
    for _ in range(3):
        for tap in taps:
            tap.install()
        assert np.linalg._linalg._umath_linalg is not private
        assert matmul_loop._in_force("float64") != loops[1]
        for tap in taps:
            tap.remove()
            tap.remove()
        assert np.linalg._linalg._umath_linalg is private
        assert [matmul_loop._in_force(name) for name in ("float32", "float64")] == loops
    np.linalg.inv(S) @ S
    assert record.met == []


def test_what_somebody_else_puts_there_meanwhile_stays():
    private = np.linalg._linalg._umath_linalg
    record = Recording()
    tap = Intercept(record.decide, record)
    tap.install()
    theirs = np.linalg._linalg._umath_linalg = object()
    tap.remove()
    assert np.linalg._linalg._umath_linalg is theirs
    assert "another tool" in Intercept(record.decide, record).install()
    np.linalg._linalg._umath_linalg = private


@pytest.mark.parametrize("version", ["1.26.4", "2.6.0", "3.0.0.dev0", "x"])
def test_a_numpy_that_is_not_known_is_left_alone_with_a_sentence(monkeypatch, version):
    private = np.linalg._linalg._umath_linalg
    monkeypatch.setattr(np, "__version__", version)
    for tap in (Intercept, MatmulLoops):
        assert version in tap(Recording().decide, Recording()).install()
    assert np.linalg._linalg._umath_linalg is private


def test_more_shapes_than_are_remembered_are_still_met(met, monkeypatch):
    monkeypatch.setattr(linalg_calls, "MOST_SHAPES", 2)
    for n in (1, 2, 3, 4, 1):
        np.linalg.inv(np.eye(n))
        np.eye(n + 1) @ np.eye(n + 1)
    assert [sizes[2] for sizes in met if sizes[0] == "inv"] == [1, 2, 3, 4, 1]
    assert [sizes[2] for sizes in met if sizes[0] == "matmul"] == [2, 3, 4, 5, 2]


@pytest.mark.real
def test_a_signal_handler_that_raises_loses_neither_the_product_nor_the_exception():
    """The handler may run at any line of the call back, which no exception can leave."""
    import gc
    import signal

    if not hasattr(signal, "setitimer"):
        pytest.skip("this system has no interval timers")

    class Rung(BaseException):
        pass

    rung = caught = wrong = 0
    armed = False

    def handler(*_):
        nonlocal rung
        if armed:
            rung += 1
            raise Rung

    out, expected = np.empty((4, 4)), np.dot(S, S)
    record = Recording()
    tap = MatmulLoops(record.decide, Nothing())
    tap.install()
    previous = signal.signal(signal.SIGALRM, handler)
    gc.disable()  # what a handler raises inside somebody's gc callback is lost
    try:
        for _ in range(300):
            try:
                armed = True
                signal.setitimer(signal.ITIMER_REAL, 5e-4 + 1e-6 * rung)
                for _ in range(200_000):
                    out[:] = 7
                    np.matmul(S, S, out=out)
                    wrong += bool((out != expected).any())
                armed = False
            except Rung:
                armed = False
                caught += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        gc.enable()
        tap.remove()
    assert (wrong, caught) == (0, rung)
