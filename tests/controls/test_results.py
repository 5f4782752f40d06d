"""Memory of dropped results is used again, never while anybody sees it, and never more than the limit is kept."""

import gc

import numpy as np
import pytest

from autotune.controls import results

SIZE = 1 << 18  # float64: 2 MiB


@pytest.fixture(autouse=True)
def nothing_held():
    results.keep(0)
    results.keep(16 << 20)
    yield
    results.keep(0)
    results._limit = None
    results._usual.cache_clear()


@pytest.mark.parametrize(("memory", "most"), [(None, results.LIMIT), (2**40, results.LIMIT), (2**29, 2**26)])
def test_little_is_held_where_memory_is_little(monkeypatch, memory, most):
    monkeypatch.setattr(results, "_limit", None)
    results._usual.cache_clear()
    monkeypatch.setattr(results, "usable_bytes", lambda: memory)
    large = [results.empty((16 << 20,), np.uint8) for _ in range(20)]
    del large
    assert results.held() == most


def address(array):
    return array.__array_interface__["data"][0]


def test_the_memory_of_a_dropped_result_is_used_again():
    first = results.empty((SIZE,), np.float64)
    where = address(first)
    del first
    assert results.held() == 8 * SIZE
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
def test_memory_is_not_used_again_while_any_view_of_it_lives(seen_by):
    first = results.empty((SIZE,), np.float64)
    where = address(first)
    view = seen_by(first)
    del first
    gc.collect()
    other = results.empty((SIZE,), np.float64)
    assert address(other) != where
    assert results.held() == 0
    del view
    assert results.held() == 8 * SIZE


def test_no_more_than_the_limit_is_held():
    arrays = [results.empty((SIZE,), np.float64) for _ in range(12)]
    arrays.clear()
    assert results.held() == 16 << 20


def test_keeping_nothing_gives_all_back():
    results.empty((SIZE,), np.float64)
    assert results.held() == 8 * SIZE
    results.keep(0)
    assert results.held() == 0


def test_much_larger_memory_is_not_taken_for_a_small_result():
    results.empty((4 * SIZE,), np.float64)
    results.empty((SIZE,), np.float64)
    assert results.held() == 5 * 8 * SIZE


def test_small_results_are_ordinary_arrays():
    assert results.empty((10,), np.float32).base is None
