"""Small sizes: what is tested is that results are right and that wrong ones are seen."""

from contextlib import closing

import numpy as np
import pytest

from autotune.bench import workloads
from autotune.bench.workloads.inputs import PERIOD, repeat_period
from autotune.errors import UnknownOperation, UnsupportedPlatform
from autotune.model.catalogue import CATALOGUE, IN_PROCESSES, Family, operation
from autotune.model.configuration import Configuration, Method
from autotune.native import core

SIZES = {
    "matmul": ({"n": 40}, {"m": 70, "k": 5, "n": 3}, {"n": 1}),
    "matvec": ({"n": 40}, {"m": 70, "n": 3}),
    **dict.fromkeys(("lstsq", "pinv", "qr", "svd"), ({"n": 30}, {"m": 70, "n": 5}, {"m": 5, "n": 70})),
    **dict.fromkeys((row.name for row in CATALOGUE.values() if row.family is Family.STACK), ({"n": 4, "count": 50},)),
    "batch_matmul": ({"n": 20, "tasks": 5},),
}
USUAL = ({"n": 1}, {"n": 50})
ARRAYS = ({"n": 1}, {"n": 1000}, {"n": 2 * PERIOD + 7})

OTHERS = {
    Family.LINALG: [Configuration(blas_threads=1)],
    Family.STACK: [Configuration(workers=2, chunk=9), Configuration(workers=1, chunk=1000)],
    Family.TASKS: [Configuration(workers=2, blas_threads=1), Configuration(workers=1)],
    Family.ALLOCATION: [Configuration()],
}
SLICED = [Configuration(workers=2, chunk=1000), Configuration(workers=1, chunk=10**9), Configuration(workers=2)]

QUICK = [
    name
    for name, row in CATALOGUE.items()
    if row.family not in {Family.SHARING, Family.ESTIMATOR}
    and not name.endswith(IN_PROCESSES)
    and (row.family is not Family.LOOP or not isinstance(core(), str))
]


def sizes_of(name):
    return SIZES.get(name, USUAL if CATALOGUE[name].family is Family.LINALG else ARRAYS)


def one_of(name):
    """One size at which all that can go wrong is seen."""
    return SIZES[name][0] if name in SIZES else {"n": 50}


REAL, COMPLEX = ("float64", "float32"), ("complex128", "complex64")
CASES = [
    pytest.param(name, sizes, dtype, id=f"{name}-{'-'.join(map(str, sizes.values()))}-{dtype}")
    for name in QUICK
    for dtypes, all_sizes in ((REAL, sizes_of(name)), (COMPLEX, [one_of(name)]))
    for sizes in all_sizes
    for dtype in dtypes
    if dtype in CATALOGUE[name].dtypes
]


def prepared(name, sizes, *, dtype="float64", layout="C", seed=3):
    work = workloads.find(name).prepare(operation(name, dtype=dtype, **sizes), layout, seed)
    return closing(work)


@pytest.mark.parametrize(("name", "sizes", "dtype"), CASES)
def test_the_work_is_right_in_every_layout_plain_and_however_it_is_cut(name, sizes, dtype):
    for layout in workloads.find(name).layouts:
        with prepared(name, sizes, dtype=dtype, layout=layout) as work:
            assert work.check(work.plain()) is None
            for configuration in OTHERS.get(CATALOGUE[name].family, SLICED):
                assert work.check(work.tuned(configuration)()) is None


@pytest.mark.parametrize("name", [name for name in QUICK if "complex128" in CATALOGUE[name].dtypes])
def test_a_wrong_complex_number_is_seen(name):
    with prepared(name, one_of(name), dtype="complex128") as work:
        assert work.check(spoilt(work.plain()))


@pytest.mark.parametrize("name", QUICK)
def test_a_wrong_number_is_seen(name):
    with prepared(name, one_of(name)) as work:
        problem = work.check(spoilt(work.plain()))
    assert problem
    assert problem.endswith(".")


def spoilt(result):
    """The same result with its largest number doubled."""
    if isinstance(result, tuple):
        return (
            type(result)(*[spoilt(result[0]), *result[1:]])
            if hasattr(result, "_fields")
            else (spoilt(result[0]), *result[1:])
        )
    if isinstance(result, list):
        return [spoilt(result[0]), *result[1:]]
    if not isinstance(result, np.ndarray) or not result.ndim:
        return 2 * result + 1
    worst = np.unravel_index(np.argmax(np.abs(result)), result.shape)
    result[worst] = 2 * result[worst] + 1
    return result


@pytest.mark.parametrize("name", QUICK)
def test_not_a_number_is_seen(name):
    with prepared(name, one_of(name)) as work:
        assert work.check(nan_like(work.plain()))


def nan_like(result):
    if isinstance(result, tuple):
        parts = [nan_like(part) for part in result]
        return type(result)(*parts) if hasattr(result, "_fields") else tuple(parts)
    if isinstance(result, list):
        return [nan_like(part) for part in result]
    if not isinstance(result, np.ndarray) or not result.ndim:
        return np.nan
    if result.dtype.kind in "fc":
        result[...] = np.nan
    return result


@pytest.mark.parametrize(
    "name", [name for name in QUICK if CATALOGUE[name].family in {Family.ELEMENTWISE, Family.EXPRESSION, Family.RANDOM}]
)
def test_a_call_that_wrote_nothing_does_not_pass_with_the_numbers_of_the_one_before(name):
    for layout in workloads.find(name).layouts:
        with prepared(name, {"n": 1000}, layout=layout) as work:
            result = work.plain()
            assert work.check(result) is None
            assert work.check(result) is not None


@pytest.mark.parametrize("name", ["matmul", "svd", "log", "sum", "stack_inv"])
def test_the_same_seed_makes_the_same_inputs_and_another_others(name):
    results = []
    for seed in (1, 1, 2):
        with prepared(name, sizes_of(name)[-1] | {"n": 30}, seed=seed) as work:
            result = work.plain()
            results.append(np.array(result[1] if isinstance(result, tuple) else result))
    assert np.array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])


@pytest.mark.parametrize("name", [name for name, row in CATALOGUE.items() if row.family is Family.LINALG])
def test_matrices_come_in_both_memory_orders(name):
    assert workloads.find(name).layouts == ("C", "F")


def test_an_alias_finds_the_row_it_stands_for():
    assert workloads.find("dot") is workloads.find("matmul")


def test_an_unknown_name_is_refused():
    with pytest.raises(UnknownOperation):
        workloads.find("sdv")


def test_a_period_that_is_repeated_fills_the_array_and_nothing_else():
    period = np.arange(7.0)
    assert np.array_equal(repeat_period(period, 17), np.resize(period, 17))


def test_what_lies_next_to_a_window_that_is_filled_is_looked_at():
    with prepared("fill", {"n": 100}, layout="window") as work:
        result = work.plain()
        result.base[0, -1] = 5
        assert work.check(result) == "Elements outside the window were overwritten."


@pytest.mark.real
def test_an_array_is_incremented_by_several_processes_however_it_gets_to_them():
    """The methods that this system's start method cannot serve say so."""
    with prepared("share", {"n": 3000}) as work:
        assert work.check(work.plain()) is None
        for method in Method:
            try:
                result = work.tuned(Configuration(method=method, workers=2, chunk=1500))()
            except UnsupportedPlatform:
                continue
            assert work.check(result) is None


@pytest.mark.real
def test_tasks_in_processes_are_right_and_their_start_counts_once_for_all():
    chosen = Configuration(workers=2, blas_threads=1)
    with prepared("batch_matmul_processes", {"n": 20, "tasks": 5}) as work:
        assert work.check(work.plain()) is None
        call = work.tuned(chosen)
        assert work.check(call()) is None
        assert work.check(spoilt(call()))
        assert work.tuned(chosen)() is not None
        assert work.once(chosen) > 0
        assert work.once(Configuration()) == 0


def test_an_array_that_only_one_process_incremented_is_seen():
    with prepared("share", {"n": 3000}) as work:
        result = work.tuned(Configuration(workers=1))()
        result[1500:] -= 1
        assert work.check(result) == "Element 1500 is {}, not {}.".format(*wrong_and_right(work, 1500))


def wrong_and_right(work, place):
    right = work.tuned(Configuration(workers=1))()[place]
    return right - 1, right
