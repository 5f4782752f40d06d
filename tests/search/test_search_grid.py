"""The finite space that search works on."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.search.search_grid import Grid


def test_a_space_without_a_legal_configuration_is_refused():
    """A search over nothing would choose nothing."""
    with pytest.raises(ValueError, match="no legal configuration"):
        Grid.of(["threads"], [])


def test_values_are_ordered_as_numbers_and_not_as_text():
    """8 comes before 16, also when points arrive in another order."""
    assert Grid.of(["threads"], [(16,), (8,), (1,)]).parameters == {"threads": (1, 8, 16)}


def test_equal_ratios_of_powers_of_two_are_equal_distances():
    """1 to 2 threads is as large a step as 4 to 8."""
    grid = Grid.full({"threads": (1, 2, 4, 8)})
    assert grid.coordinates[:, 0] == pytest.approx([0, 1 / 3, 2 / 3, 1])


def test_a_list_of_all_counts_is_spread_between_ratios_and_places():
    """Of 1 to 8 threads, 4 is two thirds of the way by ratio and three sevenths by place."""
    grid = Grid.full({"threads": tuple(range(1, 9))})
    assert grid.coordinates[3, 0] == pytest.approx((2 / 3 + 3 / 7) / 2)


def test_counts_from_zero_keep_a_linear_scale():
    """A logarithm of zero does not exist."""
    assert Grid.full({"level": (0, 1, 2)}).coordinates[:, 0] == pytest.approx([0, 0.5, 1])


def test_neighbours_step_over_what_is_not_legal():
    """A hole in the space does not cut it in two."""
    grid = Grid.of(["blas", "workers"], [(1, 1), (1, 4), (2, 1), (2, 2), (4, 1)])
    at = {grid.points[position] for position in grid.neighbours(grid.index[(1, 1)])}
    assert at == {(1, 4), (2, 1)}


def test_every_other_category_is_a_neighbour():
    """Categories have no order, so all of them are one step away."""
    grid = Grid.full({"method": ("a", "b", "c")})
    assert sorted(grid.neighbours(0)) == [1, 2]


def test_corners_hold_the_extremes_of_every_number():
    """Fewest and most threads and workers, each with each, where they are legal."""
    grid = Grid.of(["blas", "workers"], [(b, w) for b in (1, 2, 4) for w in (1, 2, 4) if b * w <= 4])
    assert {grid.points[position] for position in grid.corners()} == {(1, 1), (1, 4), (4, 1)}


@given(st.lists(st.tuples(st.integers(1, 64), st.sampled_from("abc")), min_size=1, max_size=40))
def test_every_point_has_its_place_and_coordinates_within_the_unit(points):
    """Whatever is legal: positions are unique, numbers lie in 0 to 1, no point is its own neighbour."""
    grid = Grid.of(["threads", "kind"], points)
    assert len(grid.index) == len(grid.points) == len(set(points))
    assert np.all((grid.coordinates[:, 0] >= 0) & (grid.coordinates[:, 0] <= 1))
    for position in range(len(grid.points)):
        assert position not in grid.neighbours(position)


def test_the_factorisation_of_a_count_is_told_by_four_features():
    """Valuations at 2 and 3, largest prime factor, aspect ratio of the nearest two factors."""
    grid = Grid.full({"threads": tuple(range(1, 65))})
    two, three, prime, aspect = grid.arithmetic[grid.index[(48,)]]
    assert (two, three) == (1.0, 0.5)
    assert prime == pytest.approx(math.log2(3) / 8)
    assert aspect == pytest.approx(math.log2(8 / 6) / 8)
    assert grid.arithmetic[grid.index[(61,)]][2] > grid.arithmetic[grid.index[(64,)]][2]


def test_powers_of_two_and_sizes_have_no_factorisation():
    assert Grid.full({"chunk": tuple(2**power for power in range(12))}).arithmetic is None
    assert Grid.full({"n": tuple(range(100_000, 100_050))}).arithmetic is None
