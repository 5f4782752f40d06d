"""Which configurations may be tried."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.bench.user_workload import UserWorkload
from autotune.model.catalogue import CATALOGUE, Family, kind, operation
from autotune.model.configuration import Configuration, Knob, Method, Placement
from autotune.model.operation import Operation
from autotune.search.space import MOST_SLICES, nearest, parsimony, position, setting, space, with_chunks

PLACED = {"cores": 4, "l3": 2}
MATMUL, SQRT, BATCH = kind("matmul"), operation("sqrt", n=1_000_000), operation("batch_matmul", n=300)
SQUARE = operation("matmul", n=512)


def every(grid):
    """All configurations of a grid."""
    return [setting(grid, point) for point in range(len(grid.points))]


def settings(name, cpus=8, placements=PLACED, threads=8, **sizes):
    """All configurations of a space, and the space."""
    grid = space(CATALOGUE[name], operation(name, **sizes), cpus, threads, placements)
    return every(grid), grid


@pytest.mark.parametrize("name", ["sqrt", "sum", "random", "stack_inv", "expression", "batch_matmul"])
def test_placements_are_for_several_workers_of_one_thread_that_have_room(name):
    choices, _ = settings(name, n=1_000_000)
    placed = [choice for choice in choices if choice.placement is not None]
    assert {choice.placement for choice in placed} == {Placement.CORES, Placement.L3}
    assert {choice.workers for choice in placed if choice.placement is Placement.CORES} == {2, 3, 4}
    assert {choice.workers for choice in placed if choice.placement is Placement.L3} == {2}
    assert all((choice.blas_threads or 1) == 1 for choice in placed)


@pytest.mark.parametrize("name", ["sqrt", "batch_matmul", "batch_matmul_processes"])
def test_a_machine_of_one_piece_has_no_such_knob(name):
    choices, grid = settings(name, placements={}, n=1_000_000)
    assert "placement" not in grid.parameters
    assert all(choice.placement is None for choice in choices)


@pytest.mark.parametrize("name", ["svd", "share", "temporaries"])
def test_work_without_workers_in_this_process_is_not_placed(name):
    choices, _ = settings(name, n=1_000_000 if name == "share" else 1000)
    assert all(choice.placement is None for choice in choices)


@pytest.mark.parametrize("name", ["sqrt", "batch_matmul", "batch_matmul_processes"])
def test_every_point_has_its_configuration_and_every_configuration_its_point(name):
    choices, grid = settings(name, n=1_000_000)
    assert [position(grid, choice) for choice in choices] == list(range(len(grid.points)))


def test_the_first_four_corners_of_tasks_are_those_without_a_placement():
    """They are always measured; more than eight points are not, before the search looks around."""
    _, grid = settings("batch_matmul", placements={"cores": 8, "l3": 8, "node": 8}, n=300)
    corners = [setting(grid, point) for point in grid.corners()]
    assert corners[:4] == [Configuration(blas_threads=b, workers=w) for b in (1, 8) for w in (1, 8)]
    assert all(corner.placement is not None for corner in corners[4:])


def test_a_suggestion_without_a_placement_is_tried_without_one():
    choices, grid = settings("sqrt", n=1_000_000)
    wanted = Configuration(workers=4, chunk=2**16)
    assert choices[nearest(grid, wanted)] == wanted


def test_of_equally_fast_ones_the_one_without_a_placement_is_simpler():
    placed = Configuration(workers=2, placement=Placement.CORES)
    assert min([placed, Configuration(workers=4)], key=parsimony) == Configuration(workers=4)


def test_processes_fill_the_machine():
    choices, _ = settings("batch_matmul_processes", placements={}, n=300)
    filling = {(8, 1), (7, 1), (6, 1), (5, 1), (4, 2), (3, 2), (2, 4)}
    assert {(choice.workers, choice.blas_threads) for choice in choices} == filling


def test_one_cpu_leaves_no_choice_of_processes():
    row = CATALOGUE["batch_matmul_processes"]
    assert row.family is Family.TASKS
    assert space(row, operation(row.name, n=300), 1, 1, {}) is None


def test_without_a_blas_processes_are_counted_alone():
    choices, _ = settings("batch_matmul_processes", placements={}, threads=None, n=300)
    assert choices == [Configuration(workers=count) for count in range(2, 9)]


def test_blas_threads_are_every_count_but_the_default():
    grid = space(MATMUL, SQUARE, 4, default_threads=4)
    assert every(grid) == [Configuration(blas_threads=count) for count in (1, 2, 3)]


def test_a_default_with_more_threads_than_cpus_leaves_every_count_to_choose():
    """As within a quota: BLAS starts a thread for every CPU that it sees."""
    assert len(space(MATMUL, SQUARE, 4, default_threads=16).points) == 4


@pytest.mark.parametrize(("cpus", "threads"), [(1, 1), (8, None)])
def test_without_cpus_or_a_blas_there_is_nothing_to_choose_for_one_call(cpus, threads):
    assert space(MATMUL, SQUARE, cpus, default_threads=threads) is None


def test_one_cpu_leaves_nothing_to_choose_for_slices():
    assert space(kind("sqrt"), SQRT, 1, default_threads=1) is None


@given(st.sampled_from(["sqrt", "sum", "random"]), st.integers(1, 10**9), st.integers(1, 64))
def test_slices_are_enough_for_all_workers_and_not_many_more(name, n, cpus):
    grid = space(kind(name), operation(name, n=n), cpus, default_threads=cpus)
    for choice in [] if grid is None else every(grid):
        slices = -(-n // choice.chunk)
        assert 2 <= choice.workers <= cpus
        assert choice.workers <= slices <= MOST_SLICES * choice.workers


def test_expressions_are_cut_for_one_worker_too_since_blocks_fit_the_cache():
    grid = space(kind("expression"), operation("expression", n=1_000_000), 1, default_threads=1)
    assert {choice.workers for choice in every(grid)} == {1}


def test_stacks_are_cut_by_matrices():
    grid = space(kind("stack_inv"), operation("stack_inv", n=16, count=100), 2, default_threads=2)
    assert {choice.chunk for choice in every(grid)} == {2, 4, 8, 16, 32, 64}


def test_tasks_stay_within_the_cpus_but_for_the_corner_that_people_write():
    choices = every(space(kind("batch_matmul"), BATCH, 4, default_threads=4))
    beyond = [choice for choice in choices if choice.cpus > 4]
    assert beyond == [Configuration(blas_threads=4, workers=4)]


def test_sharing_tries_every_method():
    grid = space(kind("share"), operation("share", n=1_000_000), 2, default_threads=2)
    assert {choice.method for choice in every(grid)} == set(Method)


def test_a_users_function_is_not_held_to_what_slices_make_sense():
    own = UserWorkload(
        name="own", source="own.py:own", sizes=(), optional=("workers", "chunk"), knobs=(Knob.WORKERS, Knob.CHUNK)
    ).kind
    choices = every(space(own, operation("own"), 2, default_threads=2))
    assert Configuration(workers=1, blas_threads=1, chunk=1) in [
        Configuration(workers=choice.workers, blas_threads=1, chunk=choice.chunk) for choice in choices
    ]


def test_the_nearest_point_keeps_the_counts_before_the_chunk():
    grid = space(kind("sqrt"), SQRT, 8, default_threads=8)
    assert setting(grid, nearest(grid, Configuration(workers=8, chunk=2**22))) == Configuration(workers=8, chunk=2**17)
    assert setting(grid, nearest(grid, Configuration(workers=100, chunk=2**16))) == Configuration(
        workers=8, chunk=2**16
    )


def test_nothing_is_near_to_what_sets_other_knobs():
    assert nearest(space(MATMUL, SQUARE, 4, default_threads=4), Configuration(workers=2)) is None


def test_a_grid_takes_chunks_that_are_known_from_elsewhere_next_to_their_workers_alone():
    grid = space(kind("sqrt"), SQRT, 4, default_threads=4)
    wider = with_chunks(grid, [Configuration(workers=3, chunk=111_112)])
    assert set(every(wider)) - set(every(grid)) == {Configuration(workers=3, chunk=111_112)}


@pytest.mark.parametrize(
    "wanted",
    [
        Configuration(workers=3, chunk=10**6),
        Configuration(workers=3, chunk=1),
        Configuration(workers=9, chunk=65536),
        Configuration(blas_threads=2),
    ],
    ids=str,
)
def test_a_grid_takes_no_chunk_or_count_that_makes_no_sense(wanted):
    grid = space(kind("sqrt"), SQRT, 4, default_threads=4)
    assert every(with_chunks(grid, [wanted])) == every(grid)


def test_a_grid_without_chunks_stays_as_it_is():
    grid = space(MATMUL, SQUARE, 4, default_threads=4)
    assert with_chunks(grid, [Configuration(blas_threads=3, chunk=8)]) is grid


def test_of_equal_speed_the_least_is_taken():
    least_first = [
        Configuration(workers=2, chunk=8),
        Configuration(workers=2, chunk=4),
        Configuration(workers=3, chunk=8),
        Configuration(blas_threads=2, workers=2),
    ]
    assert [min(least_first[place:], key=parsimony) for place in range(4)] == least_first


def pooled(cpus, *knobs, threads=None):
    """All configurations of a function in which an OpenMP pool is at work."""
    own = UserWorkload(name="fit", sizes=("rows",), knobs=knobs, pools=("blas", "openmp"))
    grid = space(own.kind, Operation(name="fit", sizes=(("rows", 1000),)), cpus, threads or cpus)
    return every(grid)


def test_other_pools_of_a_function_are_tried_next_to_blas_but_for_the_default():
    assert {(choice.blas_threads, choice.openmp_threads) for choice in pooled(2)} == {(1, 1), (1, 2), (2, 1)}


def test_neither_pool_times_the_workers_exceeds_the_cpus():
    tried = pooled(4, Knob.WORKERS)
    assert Configuration(blas_threads=1, openmp_threads=4, workers=1) in tried
    assert Configuration(blas_threads=2, openmp_threads=2, workers=2) in tried
    assert all(max(choice.blas_threads, choice.openmp_threads) * choice.workers <= 4 for choice in tried)


def test_counts_of_other_pools_are_sparse_on_large_machines():
    counts = sorted({choice.openmp_threads for choice in pooled(40)})
    assert counts == [1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 24, 32, 40]


def test_without_a_blas_other_pools_are_a_knob_alone():
    own = UserWorkload(name="fit", pools=("torch",))
    grid = space(own.kind, Operation(name="fit"), 3, None)
    assert [choice.openmp_threads for choice in every(grid)] == [1, 2, 3]
