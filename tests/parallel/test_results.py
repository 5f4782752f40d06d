"""Memory of dropped results is used again, never while a variable refers to it, and never more than the limit is kept."""

import gc

import numpy as np
import pytest

from autotune.parallel import result_memory

SIZE = 1 << 18  # float64: 2 MiB


@pytest.fixture(autouse=True)
def nothing_held(monkeypatch):
    result_memory._held.clear()
    result_memory._most.cache_clear()
    monkeypatch.setattr(result_memory, "usable_bytes", lambda: 16 * result_memory.SHARE << 20)
    yield
    result_memory._held.clear()
    result_memory._most.cache_clear()


@pytest.mark.parametrize(
    ("memory", "most"), [(None, result_memory.LIMIT), (2**40, result_memory.LIMIT), (2**29, 2**26)]
)
def test_little_is_held_where_memory_is_little(monkeypatch, memory, most):
    monkeypatch.setattr(result_memory, "usable_bytes", lambda: memory)
    large = [result_memory.empty((16 << 20,), np.uint8) for _ in range(20)]
    del large
    assert result_memory.held() == most


def address(array):
    return array.__array_interface__["data"][0]


def test_the_memory_of_a_dropped_result_is_used_again():
    first = result_memory.empty((SIZE,), np.float64)
    where = address(first)
    del first
    assert result_memory.held() == 8 * SIZE
    assert address(result_memory.empty((512, 512), np.float64)) == where


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
    first = result_memory.empty((SIZE,), np.float64)
    where = address(first)
    view = seen_by(first)
    del first
    gc.collect()
    other = result_memory.empty((SIZE,), np.float64)
    assert address(other) != where
    assert result_memory.held() == 0
    del view
    assert result_memory.held() == 8 * SIZE


def test_no_more_than_the_limit_is_held():
    arrays = [result_memory.empty((SIZE,), np.float64) for _ in range(12)]
    arrays.clear()
    assert result_memory.held() == 16 << 20


def test_much_larger_memory_is_not_taken_for_a_small_result():
    result_memory.empty((4 * SIZE,), np.float64)
    result_memory.empty((SIZE,), np.float64)
    assert result_memory.held() == 5 * 8 * SIZE


def test_small_results_are_ordinary_arrays():
    assert result_memory.empty((10,), np.float32).base is None
