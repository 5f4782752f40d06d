import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune import errors
from autotune.errors import BadSize, UnknownOperation
from autotune.model.catalogue import (
    ALIASES,
    CATALOGUE,
    KNOBS,
    LARGEST_SIZE,
    Family,
    WorkUnit,
    is_measurable,
    is_whole,
    item_size,
    kind,
    nearest_names,
    operation,
)
from autotune.model.operation import Operation

NAMES = st.sampled_from(sorted(CATALOGUE))


def test_a_size_left_out_equals_n():
    assert operation("matmul", n=100) == Operation(name="matmul", sizes=(("m", 100), ("k", 100), ("n", 100)))


def test_a_size_that_is_given_stays():
    assert operation("svd", m=500, n=20).size == {"m": 500, "n": 20}


def test_sizes_come_in_the_order_of_the_catalogue():
    assert operation("matmul", n=3, k=2, m=1).sizes == (("m", 1), ("k", 2), ("n", 3))


@pytest.mark.parametrize(("name", "extra"), [("batch_matmul", ("tasks", 100)), ("stack_svd", ("count", 1000))])
def test_tasks_and_count_have_their_own_defaults(name, extra):
    assert operation(name, n=16).sizes == (("n", 16), extra)


def test_n_alone_does_not_fill_what_is_called_m():
    with pytest.raises(BadSize, match="qr needs n"):
        operation("qr", m=100)


def test_an_operation_without_sizes_says_which_it_needs():
    with pytest.raises(BadSize, match="its sizes are m, k, n"):
        operation("matmul")


def test_an_unknown_size_is_refused_with_the_known_ones():
    with pytest.raises(BadSize, match="log has no size rows; its sizes are n"):
        operation("log", n=5, rows=3)


@pytest.mark.parametrize("value", [0, -1, 1.5, "100", None, True, np.True_, float("nan"), 2**48 + 1, np.array([3, 4])])
def test_a_size_must_be_a_whole_number(value):
    with pytest.raises(BadSize, match="whole number"):
        operation("log", n=value)


@pytest.mark.parametrize("value", [np.int64(7), np.uint8(7), np.array(7)])
def test_whole_numbers_of_numpy_become_plain_ones(value):
    (size,) = operation("log", n=value).sizes
    assert size == ("n", 7)
    assert type(size[1]) is int


def test_the_largest_size_is_allowed():
    assert operation("log", n=LARGEST_SIZE).size == {"n": LARGEST_SIZE}


@pytest.mark.parametrize("dtype", ["float16", "clongdouble", "", "f8"])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(BadSize, match="dtype must be one of float64, float32, complex128, complex64"):
        operation("log", dtype=dtype, n=5)


@pytest.mark.parametrize("name", ["random", "sum", "loop_max", "share", "batch_matmul"])
def test_what_has_no_complex_form_is_not_measured_in_it(name):
    with pytest.raises(BadSize, match="dtype must be one of float64, float32, not 'complex128'"):
        operation(name, dtype="complex128", n=5)
    sizes = operation(name, n=5).sizes
    assert not is_measurable(Operation(name=name, dtype="complex128", sizes=sizes))


def test_complex_numbers_count_four_times_the_flops_and_twice_the_bytes():
    works = [
        kind(name).work_of(operation(name, dtype=dtype, n=9))
        for name in ("inv", "loop_add")
        for dtype in ("float64", "complex128")
    ]
    assert works[1::2] == [4 * works[0], 2 * works[2]]


def test_a_name_outside_the_catalogue_is_a_users_function_with_its_sizes_as_given():
    assert operation("my_function", rows=3, n=2).sizes == (("rows", 3), ("n", 2))


def test_an_alias_is_the_row_it_stands_for():
    assert operation("dot", n=5) == operation("matmul", n=5)
    assert kind("cos") is CATALOGUE["sin"]


def test_every_alias_stands_for_a_row_and_hides_none():
    assert set(ALIASES.values()) <= set(CATALOGUE)
    assert not set(ALIASES) & set(CATALOGUE)


def test_an_unknown_name_comes_with_the_nearest_ones():
    with pytest.raises(UnknownOperation) as caught:
        kind("choleksy")
    assert caught.value.nearest[0] == "cholesky"
    assert "Did you mean cholesky" in str(caught.value)


def test_a_name_that_is_known_from_two_places_is_suggested_once():
    assert nearest_names("qrr", ["qr", "qr"]).count("qr") == 1


@pytest.mark.parametrize("name", ["xyzzy-1234", "bogus", "foo"])
def test_an_unknown_name_like_no_other_has_no_suggestion(name):
    with pytest.raises(UnknownOperation) as caught:
        kind(name)
    assert caught.value.nearest == ()


ERRORS = (
    errors.UsageError("No."),
    errors.SharedMemoryError(2, "no such file", "/dev/shm/x"),
    UnknownOperation("sdv", ["svd"]),
    errors.BadDocument("it is empty", "entries[0]"),
    errors.HostBusy("process 7"),
    errors.DaemonRuns("daemon.lock"),
    errors.NoTemporaryFolder("read-only"),
    errors.MissingPackage("optuna", "calibrate"),
    errors.StoreProblem("/nfs/store", "is away"),
    errors.ProfileError("it is a folder", "profiles"),
    errors.UntrustedFile("it is a link", "profile.yaml"),
)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_survives_pickling_with_its_text_attributes_and_notes(error):
    error.add_note("seen twice")
    copied = pickle.loads(pickle.dumps(error))
    assert (type(copied), str(copied), vars(copied)) == (type(error), str(error), vars(error))
    assert copied.__notes__ == ["seen twice"]


def test_every_family_has_knobs():
    assert set(KNOBS) == set(Family)
    assert all(KNOBS.values())


@given(name=NAMES, n=st.integers(1, 5000))
def test_work_and_memory_of_every_row_are_positive_and_grow_with_n(name, n):
    row = CATALOGUE[name]
    small, large = operation(name, n=n), operation(name, n=n + 1)
    assert 0 < row.work_of(small) < row.work_of(large)
    assert 0 < row.bytes_of(small) < row.bytes_of(large)


@given(name=NAMES, n=st.integers(1, 5000))
def test_single_precision_takes_half_the_memory_and_the_same_flops(name, n):
    row = CATALOGUE[name]
    double, single = operation(name, n=n), operation(name, dtype="float32", n=n)
    assert row.bytes_of(single) * 2 == row.bytes_of(double)
    assert row.work_of(single) * (1 if row.unit is WorkUnit.FLOPS else 2) == row.work_of(double)


@given(st.sampled_from(["qr", "svd", "pinv", "lstsq"]), st.integers(1, 2000), st.integers(1, 2000))
def test_a_matrix_and_its_transpose_are_the_same_work(name, m, n):
    row = CATALOGUE[name]
    assert row.work_of(operation(name, m=m, n=n)) == row.work_of(operation(name, m=n, n=m))


def test_flops_of_a_square_qr_are_the_textbooks():
    """Golub and Van Loan: 4/3 n^3 for R and as much again to form Q."""
    assert CATALOGUE["qr"].work_of(operation("qr", n=300)) == pytest.approx(8 / 3 * 300**3)


def test_item_sizes_are_numpys():
    assert [item_size(dtype) for dtype in ("float64", "float32")] == [
        np.dtype("float64").itemsize,
        np.dtype("float32").itemsize,
    ]


@pytest.mark.parametrize(("value", "whole"), [(1, True), (np.int8(1), True), (1.0, False), (True, False), ("1", False)])
def test_whole_numbers_are_told_from_others(value, whole):
    assert is_whole(value) is whole
