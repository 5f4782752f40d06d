"""The public functions look the work up under its name, and call NumPy as it is where nothing was measured."""

import numpy as np
import pytest

import autotune
from autotune.errors import UsageError
from autotune.model.configuration import DEFAULT, Configuration
from autotune.parallel import thread_pool
from autotune.runtime import array_calls

TUNED = Configuration(workers=2, chunk=70_000)


@pytest.fixture
def lookups(monkeypatch):
    """Looked-up operations; `lookups.answer` is the profile's answer."""
    return Profile(monkeypatch)


class Profile:
    def __init__(self, monkeypatch):
        self.answer = TUNED
        self.questions = []
        self.workers = []
        monkeypatch.setattr(array_calls, "config", self.config)
        run = thread_pool.run
        monkeypatch.setattr(
            thread_pool, "run", lambda begin, count, workers: (self.workers.append(workers), run(begin, count, workers))
        )

    def config(self, name, *, dtype, **sizes):
        self.questions.append((name, str(np.dtype(dtype)), sizes))
        return self.answer


LARGE = np.random.default_rng(0).random(300_000)


@pytest.mark.parametrize(
    ("function", "name"),
    [(np.log, "log"), (np.multiply, "add"), (np.cos, "sin"), (np.positive, "copy"), (np.power, "power")],
)
def test_a_ufunc_is_looked_up_by_its_row_of_the_catalogue(lookups, function, name):
    arrays = [LARGE] * function.nin
    assert np.array_equal(autotune.map_blocks(function, *arrays), function(*arrays))
    assert lookups.questions == [(name, "float64", {"n": 300_000})]
    assert lookups.workers == [2]


@pytest.mark.parametrize("function", [np.tanh, np.mean, lambda block: block + 1])
def test_what_the_catalogue_does_not_have_is_not_looked_up(lookups, function):
    assert np.array_equal(autotune.map_blocks(function, LARGE), function(LARGE))
    assert lookups.questions == lookups.workers == []


def test_the_name_given_is_looked_up(lookups):
    autotune.map_blocks(lambda block: block + 1, LARGE.astype("f4"), operation="mine")
    assert lookups.questions == [("mine", "float32", {"n": 300_000})]
    assert lookups.workers == [2]


def test_a_stack_is_looked_up_by_its_sizes(lookups):
    lookups.answer = Configuration(workers=2, chunk=10)
    stack = np.eye(4) + np.zeros((100, 1, 1))
    assert np.array_equal(autotune.map_blocks(np.linalg.inv, stack, rows=True), np.linalg.inv(stack))
    assert lookups.questions == [("stack_inv", "float64", {"n": 4, "count": 100})]
    assert lookups.workers == [2]


def test_an_expression_with_scratch_is_computed_in_blocks_also_without_a_profile(lookups):
    lookups.answer = None

    def function(x, *, scratch):
        assert x.size < LARGE.size
        return np.sqrt(np.multiply(x, x, out=scratch()), out=scratch.out)

    assert np.array_equal(autotune.map_blocks(function, LARGE, scratch=True), np.sqrt(LARGE * LARGE))
    assert lookups.questions == [("expression", "float64", {"n": 300_000})]
    assert lookups.workers == [1]


@pytest.mark.parametrize("answer", [None, DEFAULT, Configuration(blas_threads=1)])
def test_where_no_workers_were_found_better_numpy_is_called(lookups, answer):
    lookups.answer = answer
    out = np.empty_like(LARGE)
    assert autotune.map_blocks(np.log, LARGE, out=out) is out
    assert np.array_equal(out, np.log(LARGE))
    assert lookups.workers == []


def test_workers_without_a_chunk_get_four_each(lookups):
    lookups.answer = Configuration(workers=2)
    assert np.array_equal(autotune.map_blocks(np.log, LARGE), np.log(LARGE))
    assert lookups.workers == [2]


def test_small_arrays_are_not_looked_up(lookups):
    autotune.map_blocks(np.log, LARGE[:1000])
    autotune.fill(np.zeros(1000), 1)
    autotune.reduce_blocks(np.add, LARGE[:1000])
    assert lookups.questions == []


def test_other_or_mixed_dtypes_have_no_measurements(lookups):
    assert np.array_equal(autotune.map_blocks(np.add, LARGE, LARGE.astype("f4")), LARGE + LARGE.astype("f4"))
    assert lookups.questions == []


@pytest.mark.parametrize("answer", [None, TUNED])
def test_an_overlap_is_refused_with_and_without_a_profile(lookups, answer):
    lookups.answer = answer
    array = LARGE.copy()
    with pytest.raises(UsageError, match="overlaps"):
        autotune.map_blocks(np.log, array[1:], out=array[:-1])


def writes(block):
    block += 1
    return block


@pytest.mark.parametrize("answer", [None, TUNED])
@pytest.mark.parametrize(
    ("function", "options", "problem"),
    [
        (lambda block: block - block.mean(), {}, UsageError),
        (lambda block: block[:1], {}, UsageError),
        (lambda block: np.ma.masked_less(block, 0.5), {}, UsageError),
        (writes, {}, ValueError),
        (np.vecdot if hasattr(np, "vecdot") else np.linalg._umath_linalg.det, {}, UsageError),
        (lambda block: block - block.mean(), {"rows": True}, UsageError),
    ],
)
def test_a_function_of_a_named_operation_is_refused_with_and_without_a_profile(
    lookups, answer, function, options, problem
):
    lookups.answer = answer
    before = LARGE.copy()
    arrays = [LARGE] * (function.nin if isinstance(function, np.ufunc) else 1)
    with pytest.raises(problem):
        autotune.map_blocks(function, *arrays, operation="mine", **options)
    assert np.array_equal(LARGE, before)


@pytest.mark.parametrize("answer", [None, TUNED])
@pytest.mark.parametrize(("lengths", "is_refused"), [((300_000, 299_999), True), ((300_000, 300_000), False)])
def test_rows_of_different_numbers_are_refused_with_and_without_a_profile(lookups, answer, lengths, is_refused):
    lookups.answer = answer
    arrays = [LARGE[:length].reshape(-1, 1) for length in lengths]
    try:
        done = autotune.map_blocks(lambda x, a, b: x * a, 2.0, *arrays, rows=True, operation="mine")
    except UsageError:
        assert is_refused
    else:
        assert np.array_equal(done, 2.0 * arrays[0])
        assert not is_refused


@pytest.mark.parametrize("answer", [None, TUNED])
def test_a_result_is_never_a_view_of_an_input(lookups, answer):
    lookups.answer = answer
    same = autotune.map_blocks(lambda block: block, LARGE, operation="mine")
    assert np.array_equal(same, LARGE)
    assert same.flags.writeable
    assert not np.may_share_memory(same, LARGE)


@pytest.mark.parametrize("function", [np.any, np.all])
def test_reductions_that_the_catalogue_lacks_are_not_looked_up(lookups, function):
    assert autotune.reduce_blocks(function, LARGE) == function(LARGE)
    assert lookups.questions == lookups.workers == []


@pytest.mark.parametrize("function", [np.sum, np.mean, np.var, np.dot])
def test_a_profile_changes_no_bit_of_a_reduction(lookups, function):
    arrays = [LARGE] * (2 if function is np.dot else 1)
    tuned = autotune.reduce_blocks(function, *arrays)
    lookups.answer = None
    assert autotune.reduce_blocks(function, *arrays).tobytes() == tuned.tobytes()
    assert lookups.workers[0] == 2


def test_a_profile_changes_no_random_number(lookups):
    tuned = autotune.random((300, 1000), seed=3)
    lookups.answer = None
    assert np.array_equal(autotune.random((300, 1000), seed=3), tuned)
    assert lookups.questions[0] == ("random", "float64", {"n": 300_000})


def test_random_parameters_may_be_named_like_our_own(lookups):
    assert autotune.random(5, "standard_gamma", seed=1, shape=2.0).shape == (5,)


def test_filling_with_a_number_is_a_fill_and_with_an_array_a_copy(lookups):
    array = np.empty(300_000)
    autotune.fill(array, 2)
    assert (array == 2).all()
    autotune.fill(array, LARGE)
    assert np.array_equal(array, LARGE)
    assert [name for name, *_ in lookups.questions] == ["fill", "copy"]


@pytest.mark.parametrize("arguments", [(), (5,), ("text",), ([1, 2],), (np.ones(3), np.ones(4))])
def test_arguments_that_numpy_refuses_are_refused_by_numpy(lookups, arguments):
    numpys = refusal = None
    try:
        np.log(*arguments)
    except Exception as error:  # noqa: BLE001 - whatever it is, ours is to be the same
        numpys = type(error)
    try:
        autotune.map_blocks(np.log, *arguments)
    except Exception as error:  # noqa: BLE001 - compared below
        refusal = type(error)
    assert refusal is numpys
