"""Reductions are NumPy's where NumPy's do not depend on the order, at least as accurate elsewhere, and always the same."""

from fractions import Fraction
from math import fsum

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from autotune.errors import UsageError
from autotune.parallel import reductions
from autotune.parallel.reductions import BLOCK, reduce_blocks

EXACT = (np.min, np.max, np.any, np.all)
ROUNDED = (np.sum, np.prod, np.mean, np.var, np.std)
SHAPES = ((300_000,), (300, 1000), (70_000, 3), (3, 70_000), (200, 30, 50), (2, 100_000, 2), (5,))


def numbers(shape, dtype, layout):
    array = (np.random.default_rng(0).standard_normal(shape) * 3).astype(dtype)
    return {
        "C": lambda: array,
        "F": lambda: np.asfortranarray(array),
        "strided": lambda: np.repeat(array, 2, axis=0)[::2],
        "backwards": lambda: array[::-1],
    }[layout]()


@st.composite
def cases(draw, functions, dtypes):
    array = numbers(
        draw(st.sampled_from(SHAPES)),
        draw(st.sampled_from(dtypes)),
        draw(st.sampled_from(["C", "F", "strided", "backwards"])),
    )
    axes = st.integers(-array.ndim, array.ndim - 1)
    axis = draw(st.none() | axes | st.sets(st.integers(0, array.ndim - 1), min_size=1).map(tuple))
    return draw(st.sampled_from(functions)), array, {"axis": axis, "keepdims": draw(st.booleans())}


many = settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def shaped(value):
    return type(value), value.dtype, np.shape(value)


def assert_numpys(function, array, options, chunk):
    result = reduce_blocks(function, [array], workers=2, chunk=chunk, **options)
    numpys = function(array, **options)
    assert shaped(result) == shaped(numpys)
    assert np.array_equal(result, numpys)


@many
@given(case=cases(EXACT, ("f8", "f4", "i4", "?", "u1")), chunk=st.integers(1, 10**6))
def test_what_does_not_depend_on_the_order_is_numpys(case, chunk):
    assert_numpys(*case, chunk)


@many
@given(case=cases((np.sum, np.prod), ("i4", "i8", "?", "u1")), chunk=st.integers(1, 10**6))
def test_whole_numbers_are_numpys_also_when_they_overflow(case, chunk):
    assert_numpys(*case, chunk)


@many
@given(case=cases(ROUNDED, ("f8", "f4", "i4", "c16", "f2")), chunk=st.integers(1, 10**6), workers=st.integers(2, 4))
def test_workers_and_chunk_change_no_bit(case, chunk, workers):
    function, array, options = case
    with np.errstate(all="ignore"):
        alone = reduce_blocks(function, [array], workers=1, chunk=10**12, **options)
        result = reduce_blocks(function, [array], workers=workers, chunk=chunk, **options)
        numpys = function(array, **options)
    assert shaped(result) == shaped(numpys)
    assert np.asarray(result).tobytes() == np.asarray(alone).tobytes()
    if function is not np.prod:
        assert np.allclose(result, numpys, rtol=1e-3 if array.dtype.char in "fe" else 1e-9, equal_nan=True)


@many
@given(case=cases(ROUNDED, ("f8", "f4")), chunk=st.integers(1, 10**5))
def test_short_axes_are_numpys_to_the_bit(case, chunk):
    function, array, _ = case
    axis = int(np.argmin(array.shape))
    assume(array.shape[axis] <= BLOCK)
    result = reduce_blocks(function, [array], workers=2, chunk=chunk, axis=axis)
    assert np.asarray(result).tobytes() == np.asarray(function(array, axis=axis)).tobytes()


@pytest.mark.parametrize("shape", [(400_003,), (200_001, 2), (2, 200_001)])
@pytest.mark.parametrize("function", [np.sum, np.mean])
def test_sums_are_at_least_as_accurate_as_numpys(function, shape):
    array = np.random.default_rng(1).random(shape).astype("f4")
    axis = int(np.argmax(shape))
    sums = np.atleast_1d(reduce_blocks(function, [array], workers=2, chunk=BLOCK, axis=axis))
    numpys = np.atleast_1d(function(array, axis=axis))
    for row, result, numpy_result in zip(
        np.moveaxis(array, axis, -1).reshape(-1, max(shape)), sums, numpys, strict=True
    ):
        exact = Fraction(fsum(row.tolist())) / (max(shape) if function is np.mean else 1)
        unit = Fraction(float(np.spacing(numpy_result)))
        assert abs(Fraction(float(result)) - exact) <= max(abs(Fraction(float(numpy_result)) - exact), 2 * unit)


def test_the_variance_of_numbers_far_from_zero_keeps_its_digits():
    array = 1e9 + np.random.default_rng(2).standard_normal(300_000)
    assert reduce_blocks(np.var, [array], workers=2, chunk=BLOCK) == pytest.approx(np.var(array - 1e9), rel=1e-6)


@pytest.mark.parametrize("function", [np.min, np.max, np.sum, np.mean, np.var])
def test_one_nan_makes_the_result_nan(function):
    array = np.ones(300_000)
    array[123_456] = np.nan
    assert np.isnan(reduce_blocks(function, [array], workers=2, chunk=BLOCK))


@pytest.mark.parametrize("dtype", ["f8", "f4", "i8", "c16", "?"])
@pytest.mark.parametrize("step", [1, 3, -1])
def test_products_of_vectors_are_the_same_for_every_number_of_workers(dtype, step):
    left, right = ((np.random.default_rng(seed).standard_normal(900_000) * 9).astype(dtype)[::step] for seed in (3, 4))
    product = reduce_blocks(np.dot, [left, right], workers=3, chunk=BLOCK)
    assert product.dtype == np.dot(left, right).dtype
    assert product == reduce_blocks(np.dot, [left, right], workers=1, chunk=10**9)
    assert np.allclose(
        product, np.dot(left, right), rtol=1e-3 if dtype == "f4" else 1e-9, atol=1.0 if dtype == "f4" else 0
    )


def test_ufuncs_stand_for_their_reductions():
    array = np.arange(200_000)
    assert reduce_blocks(np.add, [array], workers=2, chunk=BLOCK) == array.sum()
    assert reduce_blocks(np.maximum, [array], workers=2, chunk=BLOCK) == 199_999


def test_out_and_dtype_are_taken():
    array, out = np.ones((2, 200_000), "f4"), np.zeros(2)
    assert reduce_blocks(np.sum, [array], workers=2, chunk=BLOCK, axis=1, dtype="f8", out=out) is out
    assert out.tolist() == [200_000, 200_000]


@pytest.mark.parametrize(
    ("function", "arrays", "options"),
    [
        (np.median, [np.ones(9)], {}),
        (sum, [np.ones(9)], {}),
        ([], [np.ones(9)], {}),
        (np.sum, [np.ones(9), np.ones(9)], {}),
        (np.dot, [np.ones(9)], {}),
        (np.dot, [np.ones(9), np.ones(9)], {"axis": 0}),
        (np.max, [np.ones(9)], {"dtype": "f4"}),
        (np.sum, [np.ones(9)], {"workers": 0}),
    ],
)
def test_what_cannot_be_reduced_is_refused(function, arrays, options):
    with pytest.raises(UsageError):
        reduce_blocks(function, arrays, **{"workers": 2, "chunk": 9} | options)


@pytest.mark.parametrize("options", [{"axis": 2}, {"out": np.zeros(3)}])
def test_an_axis_or_out_that_does_not_fit_is_numpys_error(options):
    with pytest.raises((ValueError, IndexError)):
        reduce_blocks(np.sum, [np.ones((300, 1000))], workers=2, chunk=BLOCK, **options)


def test_nothing_has_no_minimum_and_the_sum_zero():
    with pytest.raises(ValueError):
        reduce_blocks(np.min, [np.empty(0)], workers=2, chunk=BLOCK)
    assert reduce_blocks(np.sum, [np.empty(0)], workers=2, chunk=BLOCK) == 0


@pytest.mark.parametrize("array", [np.ma.masked_greater(np.arange(200_000.0), 10), np.arange(200_000).astype(object)])
def test_masked_and_object_arrays_get_the_plain_call(array):
    assert reduce_blocks(np.sum, [array], workers=2, chunk=BLOCK) == array.sum()


def test_the_block_is_what_results_were_made_with():
    """Changing it changes results of programs that did not change."""
    assert reductions.BLOCK == 65_536


@pytest.mark.parametrize("function", [np.sum, np.max, np.var])
def test_a_matrix_gets_the_plain_call(function):
    """Its methods know no keepdims."""
    array = np.matrix(np.arange(6.0).reshape(2, 3))
    result = reduce_blocks(function, [array], workers=2, chunk=1, axis=0)
    assert type(result) is np.matrix
    assert np.array_equal(result, function(array, axis=0))


def test_a_number_in_an_array_has_the_axis_that_numpy_grants_it():
    assert reduce_blocks(np.sum, [np.array(2.5)], workers=2, chunk=1, axis=0) == np.sum(np.array(2.5), axis=0)
