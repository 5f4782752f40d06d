import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.bench import ladder
from autotune.model.catalogue import CATALOGUE, Family, Kind, operation

EFFORTS = ("quick", "normal", "thorough")
ROWS = sorted(CATALOGUE)
MIB, GIB = 2**20, 2**30
UNKNOWN = {"machine_l2": None, "machine_l3": None, "memory_bytes": None}
LAPTOP = {"machine_l2": 2 * MIB, "machine_l3": 16 * MIB, "memory_bytes": 16 * GIB}


def sizes(name, *, effort="normal", dtype="float64", **machine):
    return ladder.sizes(CATALOGUE[name], effort=effort, dtype=dtype, **{**LAPTOP, **machine})


@pytest.mark.parametrize("name", ROWS)
def test_quick_is_one_size(name):
    assert len(sizes(name, effort="quick")) == 1


@pytest.mark.parametrize("name", ROWS)
def test_normal_is_a_few_sizes(name):
    assert 2 <= len(sizes(name)) <= 6


@pytest.mark.parametrize("name", ROWS)
def test_thorough_measures_more_than_normal(name):
    assert len(sizes(name, effort="thorough")) > len(sizes(name))


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("name", ROWS)
def test_no_size_comes_twice_and_all_names_are_there(name, effort):
    ladder = sizes(name, effort=effort)
    assert len({tuple(size.items()) for size in ladder}) == len(ladder)
    assert {tuple(size) for size in ladder} == {CATALOGUE[name].size_names}


@given(
    name=st.sampled_from(ROWS),
    effort=st.sampled_from(EFFORTS),
    dtype=st.sampled_from(["float64", "float32"]),
    memory=st.integers(1, 2**40),
    l2=st.none() | st.integers(1, 2**40),
    l3=st.none() | st.integers(1, 2**40),
)
def test_no_size_takes_more_than_a_quarter_of_the_memory(name, effort, dtype, memory, l2, l3):
    kind = CATALOGUE[name]
    ladder = sizes(name, effort=effort, dtype=dtype, memory_bytes=memory, machine_l2=l2, machine_l3=l3)
    assert all(kind.bytes_of(operation(name, dtype=dtype, **size)) <= memory / 4 for size in ladder)


def test_without_memory_for_anything_there_is_no_size():
    assert sizes("svd", memory_bytes=1000) == ()


def test_an_l3_of_a_whole_socket_changes_nothing_beyond_a_credible_one():
    assert sizes("log", machine_l3=480 * MIB) == sizes("log", machine_l3=32 * MIB)


def test_arrays_are_measured_within_and_beyond_the_caches():
    assert [size["n"] for size in sizes("log")] == [50_000, 200_000, 10_000_000]


def test_unknown_caches_leave_the_size_that_is_in_no_cache():
    assert [size["n"] for size in sizes("log", **UNKNOWN)] == [10_000_000]


@pytest.mark.parametrize("name", ["matmul", "matvec", "lstsq", "pinv", "qr", "svd"])
def test_shapes_are_square_and_long_in_every_direction(name):
    ladder = sizes(name)
    longest = {max(size, key=size.get) for size in ladder if len(set(size.values())) > 1}
    assert longest == set(CATALOGUE[name].size_names)
    assert any(len(set(size.values())) == 1 for size in ladder)


@pytest.mark.parametrize("name", [name for name in ROWS if CATALOGUE[name].family is not Family.TASKS])
def test_a_normal_call_is_short(name):
    kind = CATALOGUE[name]
    assert all(ladder.seconds_of(kind, operation(name, **size)) <= 0.3 for size in sizes(name))


def test_the_whole_catalogue_takes_seconds_for_a_call_of_each_size():
    """About a hundred calls of each are made, in five minutes."""
    calls = [
        ladder.seconds_of(CATALOGUE[name], operation(name, **size))
        for name in ROWS
        if CATALOGUE[name].family is not Family.ESTIMATOR
        for size in sizes(name)
    ]
    assert sum(calls) < 3.4


@pytest.mark.parametrize("name", ROWS)
def test_estimates_are_positive_and_do_not_fall_with_the_size(name):
    kind = CATALOGUE[name]
    small, large = (ladder.seconds_of(kind, operation(name, n=n)) for n in (100, 400))
    assert 0 < small <= large


def test_few_tasks_are_all_run():
    assert ladder.measured_tasks(300, 5, usable_cpus=2) == 5


@given(n=st.integers(1, 10_000), cpus=st.integers(1, 512))
def test_of_many_tasks_whole_waves_are_run(n, cpus):
    measured = ladder.measured_tasks(n, 10**12, usable_cpus=cpus)

    assert measured % cpus == 0
    assert measured % (2 * cpus) == 0 or n > 1000


@pytest.mark.parametrize("name", [name for name in ROWS if {"count", "tasks"} & set(CATALOGUE[name].size_names)])
def test_a_normal_ladder_has_a_smallest_corner_for_both_sizes(name):
    """Without one, sizes between the measured ones would have no neighbour below."""
    ladder = sizes(name)
    assert any(all(small[key] <= size[key] for size in ladder for key in size) for small in ladder)


def test_the_usual_hundred_tasks_of_any_measured_matrix_lie_between_measured_sizes():
    small, *_, large = sizes("batch_matmul")
    assert small == {"n": 300, "tasks": 100}
    assert large["n"] >= 2000
    assert all(large[key] >= small[key] for key in small)


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("name", [name for name in ROWS if CATALOGUE[name].family is Family.LINALG and name != "vdot"])
def test_matrices_of_a_hundred_rows_are_measured(name, effort):
    assert any(set(size.values()) == {100} for size in sizes(name, effort=effort))


def test_a_users_function_has_no_ladder():
    kind = Kind(
        name="mine", family=Family.USER, size_names=("n",), work=lambda _: 1.0, footprint=lambda _: 1.0, summary=""
    )
    assert ladder.sizes(kind, effort="normal", **UNKNOWN) == ()
