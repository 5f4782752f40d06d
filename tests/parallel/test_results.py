"""Memory of dropped results is used again, never while a variable refers to it, and never more than the limit is kept."""

import gc

import numpy as np
import pytest

from autotune.parallel.result_memory import LIMIT, KeptMemory, most_bytes

SIZE = 1 << 18  # float64: 2 MiB


@pytest.fixture
def results():
    return KeptMemory(16 << 20)


@pytest.mark.parametrize(("memory", "most"), [(None, LIMIT), (2**40, LIMIT), (2**29, 2**26)])
def test_little_is_kept_where_memory_is_little(memory, most):
    results = KeptMemory(most_bytes(memory))
    large = [results.empty((16 << 20,), np.uint8) for _ in range(20)]
    del large
    assert results.total_bytes() == most


def address(array):
    return array.__array_interface__["data"][0]


def test_the_memory_of_a_dropped_result_is_used_again(results):
    first = results.empty((SIZE,), np.float64)
    where = address(first)
    del first
    assert results.total_bytes() == 8 * SIZE
    assert address(results.empty((512, 512), np.float64)) == where


@pytest.mark.parametrize(
    "seen_by",
    [
        lambda array: array[10:20],
        lambda array: array.view(np.uint8)[::7],
        memoryview,
        lambda array: array.reshape(512, 512).T[3],
        lambda array: np.asarray(memoryview(array))[5:],
    ],
)
def test_memory_is_not_used_again_while_any_view_of_it_lives(seen_by, results):
    first = results.empty((SIZE,), np.float64)
    where = address(first)
    view = seen_by(first)
    del first
    gc.collect()
    other = results.empty((SIZE,), np.float64)
    assert address(other) != where
    assert results.total_bytes() == 0
    del view
    assert results.total_bytes() == 8 * SIZE


def test_no_more_than_the_limit_is_held(results):
    arrays = [results.empty((SIZE,), np.float64) for _ in range(12)]
    arrays.clear()
    assert results.total_bytes() == 16 << 20


def test_much_larger_memory_is_not_taken_for_a_small_result(results):
    results.empty((4 * SIZE,), np.float64)
    results.empty((SIZE,), np.float64)
    assert results.total_bytes() == 5 * 8 * SIZE


def test_small_results_are_ordinary_arrays(results):
    assert results.empty((10,), np.float32).base is None
