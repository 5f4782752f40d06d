"""Calls of scipy.linalg are met below its public names."""

import inspect
import pickle
import sys

import numpy as np
import pytest
from support.native import CORE, Recording, error_of, needs_core

from autotune.intercept import scipy_calls
from autotune.intercept.scipy_calls import ScipyCalls

linalg = pytest.importorskip("scipy.linalg")
pytestmark = needs_core

A = np.random.default_rng(0).random((40, 30))
S = A.T @ A + np.eye(30)
G = S + np.random.default_rng(1).random((30, 30))
"""Of no structure: from 1.15 on SciPy looks for one, and takes another way for a symmetric matrix."""
ONES = np.ones(30)
PRIVATE = [sys.modules[home] for home in scipy_calls._HOMES]


def names():
    """Values of the private modules' names; warnings leave a register of their own there."""
    return [{k: v for k, v in vars(module).items() if k != "__warningregistry__"} for module in PRIVATE]


BEFORE = names()
QR_STEPS = 1 if hasattr(BEFORE[0].get("_batched_linalg"), "_qr") else 2
"""From 1.18 on the triangle and the orthogonal factor come from one compiled function."""


@pytest.fixture
def record():
    recording = Recording()
    refused = []
    tap = ScipyCalls(CORE, lambda: (None, recording.decide), refused.append)
    tap.install()
    assert refused == []
    yield recording
    tap.remove()
    assert names() == BEFORE


CALLS = {
    "svd": (lambda: linalg.svd(A, full_matrices=False), [("svd", "float64", 40, 30)]),
    "full svd of a square": (lambda: linalg.svd(S), [("svd", "float64", 30, 30)]),
    "full svd of a rectangle": (lambda: linalg.svd(A), []),
    "singular values": (lambda: linalg.svdvals(A), [("svd", "float64", 40, 30)]),
    "svd by another driver": (lambda: linalg.svd(S, lapack_driver="gesvd"), []),
    "qr": (lambda: linalg.qr(A, mode="economic"), [("qr", "float64", 40, 30)] * QR_STEPS),
    "full qr of a rectangle": (lambda: linalg.qr(A), [("qr", "float64", 40, 30)] * (QR_STEPS - 1)),
    "qr of a wide matrix": (lambda: linalg.qr(A.T), [("qr", "float64", 30, 40)] * QR_STEPS),
    "r alone": (lambda: linalg.qr(A, mode="r"), [("qr", "float64", 40, 30)]),
    "cholesky": (lambda: linalg.cholesky(S), [("cholesky", "float64", 30)]),
    "cho_factor": (lambda: linalg.cho_factor(S), [("cholesky", "float64", 30)]),
    "eig": (lambda: linalg.eig(S), [("eig", "float64", 30)]),
    "eig of both sides": (lambda: linalg.eig(S, left=True), []),
    "eigvals": (lambda: linalg.eigvals(S), []),
    "eigh": (lambda: linalg.eigh(S), [("eigh", "float64", 30)]),
    "eigh by divide and conquer": (lambda: linalg.eigh(S, driver="evd"), [("eigh", "float64", 30)]),
    "eigh of two": (lambda: linalg.eigh(S, S), []),
    "eigh of a part": (lambda: linalg.eigh(S, subset_by_index=[0, 2]), []),
    "eigvalsh": (lambda: linalg.eigvalsh(S), []),
    "solve": (lambda: linalg.solve(G, ONES), [("solve", "float64", 30)]),
    "solve with as many right sides as rows": (lambda: linalg.solve(S, S), []),
    "solve of a named structure": (lambda: linalg.solve(S, ONES, assume_a="pos"), []),
    "det": (lambda: linalg.det(S), [("det", "float64", 30)]),
    "lstsq": (lambda: linalg.lstsq(A, np.ones(40)), [("lstsq", "float64", 40, 30)]),
    "lstsq by another driver": (lambda: linalg.lstsq(A, np.ones(40), lapack_driver="gelsy"), []),
    "pinv": (lambda: linalg.pinv(A), [("svd", "float64", 40, 30)]),
    "float32": (lambda: linalg.svdvals(S.astype("f4")), [("svd", "float32", 30, 30)]),
    "integers, as SciPy takes them": (lambda: linalg.cholesky(np.eye(9, dtype=int)), [("cholesky", "float64", 9)]),
    "complex": (lambda: linalg.svdvals(S * 1j), [("svd", "complex128", 30, 30)]),
    "an empty one": (lambda: linalg.det(np.ones((0, 0))), []),
    "lu, which is not in the catalogue": (lambda: linalg.lu_factor(S), []),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_is_met_as_the_operation_that_it_is_and_its_result_is_the_same(record, name):
    call, expected = CALLS[name]
    result = call()
    assert record.met == expected
    for module, before in zip(PRIVATE, BEFORE, strict=True):
        vars(module).update(before)
    assert pickle.dumps(result) == pickle.dumps(call())


def test_inv_is_met_in_one_step_or_two_as_its_version_does_it(record):
    linalg.inv(S)
    assert set(record.met) == {("inv", "float64", 30)}


def test_no_public_object_changes(record):
    public = {name: getattr(linalg, name) for name in linalg.__all__ if hasattr(linalg, name)}
    assert linalg.get_lapack_funcs is linalg.lapack.get_lapack_funcs is BEFORE[0]["get_lapack_funcs"]
    (potrf,) = linalg.get_lapack_funcs(("potrf",), (S,))
    potrf(S)
    assert type(potrf).__name__ == "fortran"
    assert record.met == []
    assert pickle.loads(pickle.dumps(public["svd"])) is linalg.svd
    assert "full_matrices" in inspect.signature(linalg.svd).parameters


WRONG = (lambda: linalg.inv(np.outer(ONES, ONES)), lambda: linalg.cholesky(-np.eye(3)))
PLAIN_ERRORS = list(map(error_of, WRONG))
"""While no call is met."""


def test_errors_are_the_same(record):
    assert list(map(error_of, WRONG)) == PLAIN_ERRORS


@pytest.mark.parametrize("version", ["1.12.0", "1.99.0", "2.0.0.dev0", "x"])
def test_a_scipy_that_is_not_known_is_left_alone_with_a_sentence(monkeypatch, version):
    monkeypatch.setattr(sys.modules["scipy"], "__version__", version)
    refused = []
    ScipyCalls(CORE, lambda: pytest.fail("no lookup is expected"), refused.append).install()
    (sentence,) = refused
    assert sentence == (
        f"Calls of scipy.linalg are left alone: SciPy {version} is not among the versions whose calls can be met "
        "(1.13 to 1.18)."
    )
    assert names() == BEFORE


def test_a_scipy_that_another_tool_has_changed_is_left_alone(monkeypatch):
    monkeypatch.setattr(PRIVATE[0], "get_lapack_funcs", len)
    refused = []
    ScipyCalls(CORE, lambda: "", refused.append).install()
    assert "another tool" in refused[0]
    assert PRIVATE[1].get_lapack_funcs is BEFORE[1]["get_lapack_funcs"]


def test_a_reason_to_leave_it_alone_is_passed_on():
    refused = []
    ScipyCalls(CORE, lambda: "its BLAS is another.", refused.append).install()
    assert refused == ["Calls of scipy.linalg are left alone: its BLAS is another."]


def test_what_other_code_puts_there_meanwhile_stays():
    recording = Recording()
    tap = ScipyCalls(CORE, lambda: (None, recording.decide), pytest.fail)
    tap.install()
    theirs = PRIVATE[0].get_lapack_funcs = lambda *_: None
    tap.remove()
    assert PRIVATE[0].get_lapack_funcs is theirs
    assert PRIVATE[1].get_lapack_funcs is BEFORE[1]["get_lapack_funcs"]
    PRIVATE[0].get_lapack_funcs = BEFORE[0]["get_lapack_funcs"]


def test_calls_of_one_shape_are_decided_once_and_met_each_time():
    """The replacement of a routine is made once for a shape: to make it anew by every call costs 4 us."""
    recording, shapes = Recording(), []

    def decide(operation, dtype, sizes):
        shapes.append(sizes)
        return recording.decide(operation, dtype, sizes)

    tap = ScipyCalls(CORE, lambda: (None, decide), pytest.fail)
    tap.install()
    for _ in range(3):
        linalg.cholesky(S)
        linalg.det(S)
        linalg.cholesky(np.eye(7))
    tap.remove()
    assert shapes == [{"n": 30}, {"n": 30}, {"n": 7}]
    assert len(recording.met) == 9
