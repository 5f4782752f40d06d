"""Every element belongs to exactly one block, whatever the shape and the chunk."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from autotune.parallel.tiles import LANES, TileGrid

shapes = st.lists(st.integers(1, 12), min_size=1, max_size=3).map(tuple)


@given(shape=shapes, chunk=st.integers(1, 3000), workers=st.integers(1, 9), data=st.data())
def test_the_blocks_cover_every_element_once(shape, chunk, workers, data):
    axes = data.draw(st.permutations(range(len(shape))))
    grid = TileGrid(shape, axes, chunk, workers)
    seen = np.zeros(shape, int)
    for number in range(len(grid)):
        seen[grid[number]] += 1
    assert (seen == 1).all()


@given(length=st.integers(1, 10**7), chunk=st.integers(LANES, 10**6), workers=st.integers(1, 200))
def test_blocks_of_a_vector_begin_at_whole_lanes_and_hold_half_to_one_and_a_half_chunks(length, chunk, workers):
    grid = TileGrid((length,), (0,), chunk, workers)
    blocks = [grid[number][0].indices(length) for number in {0, len(grid) // 2, len(grid) - 1}]
    assert all(start % LANES == 0 for start, _, _ in blocks)
    assert all(stop - start <= 1.5 * chunk for start, stop, _ in blocks)
    assert len(grid) == 1 or all(2 * (stop - start) >= chunk - LANES for start, stop, _ in blocks)


@given(length=st.integers(10**6, 10**7), chunk=st.integers(10**5, 10**6), workers=st.integers(2, 8))
def test_several_workers_get_as_many_equal_blocks_each(length, chunk, workers):
    """Of blocks a chunk long with a remainder, the last round would leave some without work."""
    grid = TileGrid((length,), (0,), chunk, workers)
    sizes = [len(range(*grid[number][0].indices(length))) for number in range(len(grid))]
    assert len(grid) < workers or len(grid) % workers == 0
    assert len(grid) < workers or max(sizes) - min(sizes) <= LANES * len(grid)


def test_a_shape_smaller_than_the_chunk_is_one_block():
    grid = TileGrid((3, 4), (0, 1), 12)
    assert (len(grid), grid[0]) == (1, (slice(None), slice(None)))


def test_rows_longer_than_the_chunk_are_cut_themselves():
    assert len(TileGrid((2, 1000), (0, 1), 256)) == 8
