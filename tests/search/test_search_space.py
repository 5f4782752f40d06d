"""Which configurations may be tried."""

import pytest

from autotune.model.catalogue import CATALOGUE, Family, operation
from autotune.model.configuration import Configuration, Placement
from autotune.search.space import nearest, parsimony, position, setting, space

PLACED = {"cores": 4, "l3": 2}


def settings(name, cpus=8, placements=PLACED, threads=8, **sizes):
    """All configurations of a space, and the space."""
    grid = space(CATALOGUE[name], operation(name, **sizes), cpus, threads, placements)
    return [setting(grid, point) for point in range(len(grid.points))], grid


@pytest.mark.parametrize("name", ["sqrt", "sum", "random", "stack_inv", "expression", "batch_matmul"])
def test_placements_are_for_several_workers_of_one_thread_that_have_room(name):
    found, _ = settings(name, n=1_000_000)
    placed = [one for one in found if one.placement is not None]
    assert {one.placement for one in placed} == {Placement.CORES, Placement.L3}
    assert {one.workers for one in placed if one.placement is Placement.CORES} == {2, 3, 4}
    assert {one.workers for one in placed if one.placement is Placement.L3} == {2}
    assert all((one.blas_threads or 1) == 1 for one in placed)


@pytest.mark.parametrize("name", ["sqrt", "batch_matmul", "batch_matmul_processes"])
def test_a_machine_of_one_piece_has_no_such_knob(name):
    found, grid = settings(name, placements={}, n=1_000_000)
    assert "placement" not in grid.parameters
    assert all(one.placement is None for one in found)


@pytest.mark.parametrize("name", ["svd", "share", "temporaries"])
def test_work_without_workers_in_this_process_is_not_placed(name):
    found, _ = settings(name, n=1_000_000 if name == "share" else 1000)
    assert all(one.placement is None for one in found)


@pytest.mark.parametrize("name", ["sqrt", "batch_matmul", "batch_matmul_processes"])
def test_every_point_has_its_configuration_and_every_configuration_its_point(name):
    found, grid = settings(name, n=1_000_000)
    assert [position(grid, one) for one in found] == list(range(len(grid.points)))


def test_the_first_four_corners_of_tasks_are_those_without_a_placement():
    """They are always measured; more than eight points are not, before the search looks around."""
    _, grid = settings("batch_matmul", placements={"cores": 8, "l3": 8, "node": 8}, n=300)
    corners = [setting(grid, point) for point in grid.corners()]
    assert corners[:4] == [Configuration(blas_threads=b, workers=w) for b in (1, 8) for w in (1, 8)]
    assert all(one.placement is not None for one in corners[4:])


def test_a_suggestion_without_a_placement_is_tried_without_one():
    found, grid = settings("sqrt", n=1_000_000)
    wanted = Configuration(workers=4, chunk=2**16)
    assert found[nearest(grid, wanted)] == wanted


def test_of_equally_fast_ones_the_one_without_a_placement_is_simpler():
    placed = Configuration(workers=2, placement=Placement.CORES)
    assert min([placed, Configuration(workers=4)], key=parsimony) == Configuration(workers=4)


def test_processes_fill_the_machine():
    found, _ = settings("batch_matmul_processes", placements={}, n=300)
    filling = {(8, 1), (7, 1), (6, 1), (5, 1), (4, 2), (3, 2), (2, 4)}
    assert {(one.workers, one.blas_threads) for one in found} == filling


def test_one_cpu_leaves_no_choice_of_processes():
    row = CATALOGUE["batch_matmul_processes"]
    assert row.family is Family.TASKS
    assert space(row, operation(row.name, n=300), 1, 1, {}) is None


def test_without_a_blas_processes_are_counted_alone():
    found, _ = settings("batch_matmul_processes", placements={}, threads=None, n=300)
    assert found == [Configuration(workers=count) for count in range(2, 9)]
