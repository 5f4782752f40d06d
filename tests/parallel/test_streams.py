"""A seed means the same numbers for any number of workers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotune.errors import UsageError
from autotune.parallel.random_streams import BLOCK, random


def draw(shape, /, method="standard_normal", dtype="f8", seed=1, workers=1, chunk=BLOCK, out=None, **parameters):
    return random(shape, method, dtype, seed, parameters, workers=workers, chunk=chunk, out=out)


@settings(max_examples=20, deadline=None)
@given(
    count=st.integers(0, 5 * BLOCK), workers=st.integers(1, 4), chunk=st.integers(1, 10**6), seed=st.integers(0, 2**70)
)
def test_workers_and_chunk_change_no_number(count, workers, chunk, seed):
    assert np.array_equal(draw(count, seed=seed), draw(count, seed=seed, workers=workers, chunk=chunk))


def test_a_longer_array_begins_with_the_shorter_one():
    assert np.array_equal(draw(3 * BLOCK)[: 2 * BLOCK], draw(2 * BLOCK))


def test_every_block_is_the_stream_of_its_number():
    sequence = np.random.SeedSequence(7, spawn_key=(2,))
    expected = np.random.Generator(np.random.PCG64DXSM(sequence)).standard_normal(BLOCK)
    assert np.array_equal(draw((3, BLOCK), seed=7, workers=2)[2], expected)


def test_a_seed_sequence_and_a_list_are_seeds_too():
    assert np.array_equal(draw(9, seed=np.random.SeedSequence([1, 2])), draw(9, seed=[1, 2]))
    first, second = np.random.SeedSequence(1).spawn(2)
    assert not np.array_equal(draw(9, seed=first), draw(9, seed=second))


def test_without_a_seed_every_call_gives_other_numbers():
    assert not np.array_equal(draw(9, seed=None), draw(9, seed=None))


@pytest.mark.parametrize(
    ("method", "dtype", "parameters"),
    [
        ("random", "f4", {}),
        ("standard_gamma", "f8", {"shape": 2.0}),
        ("normal", "f8", {"loc": 3, "scale": 0.5}),
        ("integers", "i4", {"low": 0, "high": 10}),
        ("binomial", "i8", {"n": 10, "p": 0.5}),
        ("exponential", "f4", {}),
    ],
)
def test_methods_take_their_parameters_and_the_dtype(method, dtype, parameters):
    array = draw((2, BLOCK), method, dtype, workers=2, **parameters)
    assert (array.shape, array.dtype) == ((2, BLOCK), np.dtype(dtype))
    assert len(np.unique(array)) > 9


def test_out_is_filled():
    out = np.zeros((3, 5))
    assert draw(out.shape, out=out) is out
    assert np.array_equal(out, draw((3, 5)))


@pytest.mark.parametrize(
    "arguments",
    [
        {"method": "shuffle"},
        {"method": "nothing"},
        {"method": "normal", "loc": np.zeros(5)},
        {"out": np.zeros((5, 5))[:, ::2]},
    ],
)
def test_what_cannot_be_cut_into_streams_is_refused(arguments):
    with pytest.raises(UsageError):
        draw(5, **arguments)


def test_a_parameter_out_of_range_is_numpys_error():
    with pytest.raises(ValueError, match="scale"):
        draw(5, "normal", scale=-1)


def test_a_shape_may_be_an_integer_of_numpy():
    shape = np.int64(7)
    assert random(shape, "random", "f8", 0, {}, workers=1, chunk=BLOCK).shape == (7,)
