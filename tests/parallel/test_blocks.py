"""map_blocks gives what the plain call gives, to the bit for ufuncs, whatever the arrays look like."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotune.errors import UsageError
from autotune.parallel.blocks import STRETCH_BYTES, fill, map_blocks, plain

FLOATS = ("f4", "f8", "f2", "c8", "c16")
UNARY = (np.sqrt, np.exp, np.log, np.sin, np.negative, np.isnan, np.modf, np.frexp)
BINARY = (np.add, np.power, np.divide, np.arctan2, np.less, np.divmod)


def root(block):
    return np.sqrt(block)


def numbers(shape, dtype, seed=0):
    random = np.random.default_rng(seed)
    values = random.standard_normal(shape) * 10.0 ** random.integers(-3, 4, shape)
    return values.astype(dtype)


@st.composite
def arrays(draw, shape=None):
    shape = draw(st.lists(st.integers(0, 9), min_size=0, max_size=3).map(tuple)) if shape is None else shape
    array = numbers(tuple(2 * length for length in shape), draw(st.sampled_from((*FLOATS, "i4", "i8", "?"))))
    array = array[tuple(slice(None, None, draw(st.sampled_from([2, -2]))) for _ in shape)]
    layout = draw(st.sampled_from(["strided", "C", "F"]))
    return np.asarray(array, order=None if layout == "strided" else layout)


def same(results, numpys):
    results, numpys = (value if isinstance(value, tuple) else (value,) for value in (results, numpys))
    for result, numpy_result in zip(results, numpys, strict=True):
        assert (result.dtype, np.shape(result)) == (numpy_result.dtype, np.shape(numpy_result))
        assert canonical(result).tobytes() == canonical(numpy_result).tobytes()


def canonical(values):
    """The values with one NaN for all: which sign a NaN gets, NumPy does not promise."""
    values = np.array(values)
    if values.dtype.kind in "fc":
        values[np.isnan(values)] = np.nan
    return values


def outcome(call):
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return call()
        except (TypeError, ValueError) as error:
            return type(error)


def agree(call, numpys):
    call, numpys = outcome(call), outcome(numpys)
    if isinstance(numpys, type):
        assert call is numpys
    else:
        same(call, numpys)


many = settings(max_examples=60)


@many
@given(function=st.sampled_from(UNARY), array=arrays(), workers=st.integers(1, 3), chunk=st.integers(1, 300))
def test_ufuncs_of_one_array_are_numpys_to_the_bit(function, array, workers, chunk):
    agree(lambda: map_blocks(function, [array], workers=workers, chunk=chunk), lambda: function(array))


@many
@given(function=st.sampled_from(BINARY), chunk=st.integers(1, 300), data=st.data())
def test_ufuncs_of_two_broadcast_arrays_are_numpys_to_the_bit(function, chunk, data):
    shape = data.draw(st.lists(st.integers(0, 9), max_size=3).map(tuple))
    shapes = [
        tuple(length if data.draw(st.booleans()) else 1 for length in shape)[data.draw(st.integers(0, len(shape))) :]
        for _ in range(2)
    ]
    left, right = (data.draw(arrays(shape=each)) for each in shapes)
    agree(lambda: map_blocks(function, [left, right], workers=2, chunk=chunk), lambda: function(left, right))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("function", [np.sqrt, np.exp, np.log, np.sin, np.cos, np.tanh])
@pytest.mark.parametrize("chunk", [1000, 4097])
def test_vector_loops_meet_the_same_lanes_in_blocks(function, dtype, chunk):
    array = np.abs(numbers(100_003, dtype))
    agree(lambda: map_blocks(function, [array], workers=2, chunk=chunk), lambda: function(array))


@pytest.mark.parametrize("number", [2, 2.5, True, np.float32(3), np.array(2.0)])
def test_numbers_take_part_as_numpy_takes_them(number):
    array = numbers(5000, "f4")
    same(map_blocks(np.add, [array, number], workers=2, chunk=512), np.add(array, number))


def test_results_lie_in_memory_as_numpy_lays_them():
    array = np.asfortranarray(numbers((300, 200), "f8"))
    assert map_blocks(np.sqrt, [abs(array)], workers=2, chunk=1000).flags.f_contiguous


@pytest.mark.parametrize(
    "inputs",
    [
        (np.broadcast_to(np.arange(200.0), (300, 200)),),
        (np.ones((8, 1, 6, 5)).T, np.ones((5, 6, 1, 1))),
        (np.ones((200, 300)).T, np.ones((300, 200))),
        (np.ones((20, 300)).T, np.ones(20)),
    ],
    ids=["broadcast", "of one element", "that disagree", "a row"],
)
def test_axes_that_tell_nothing_lie_as_numpy_lays_them(inputs):
    function = np.sqrt if len(inputs) == 1 else np.add
    result = map_blocks(function, inputs, workers=2, chunk=64)
    assert result.strides == function(*inputs).strides


def test_a_dtype_is_passed_on():
    array = np.arange(5000)
    same(
        map_blocks(np.add, [array, array], workers=2, chunk=512, dtype=np.float32),
        np.add(array, array, dtype=np.float32),
    )


def test_out_is_filled_and_returned():
    array, out = abs(numbers((70, 80), "f8")), np.zeros((70, 80))
    assert map_blocks(np.sqrt, [array], out, workers=2, chunk=512) is out
    same(out, np.sqrt(array))


def test_some_of_several_outs_may_be_given():
    array, whole = numbers(5000, "f8"), np.zeros(5000)
    fraction, same_whole = map_blocks(np.modf, [array], (None, whole), workers=2, chunk=512)
    assert same_whole is whole
    same((fraction, whole), np.modf(array))


@pytest.mark.parametrize("function", [np.sqrt, root])
def test_out_may_be_the_input_itself(function):
    array = abs(numbers((70, 80), "f8"))
    expected = np.sqrt(array)
    map_blocks(function, [array], array, workers=2, chunk=512)
    same(array, expected)


def test_out_that_overlaps_partly_is_refused():
    array = abs(numbers(5000, "f8"))
    before = array.copy()
    with pytest.raises(UsageError, match="overlaps"):
        map_blocks(np.sqrt, [array[:-1]], array[1:], workers=2, chunk=512)
    same(array, before)


def test_interleaved_slices_do_not_overlap():
    array = abs(numbers(5000, "f8"))
    expected = np.sqrt(array[::2])
    map_blocks(np.sqrt, [array[::2]], array[1::2], workers=2, chunk=512)
    same(array[1::2], expected)


@pytest.mark.parametrize(
    "out",
    [np.zeros(4999), np.zeros(5000, int), np.broadcast_to(np.zeros(5000), 5000)],
    ids=["shape", "dtype", "read-only"],
)
@pytest.mark.parametrize("function", [np.sqrt, root], ids=["ufunc", "function"])
def test_out_that_does_not_fit_is_an_error(function, out):
    with pytest.raises((ValueError, TypeError)):
        map_blocks(function, [np.ones(5000)], out, workers=2, chunk=512)


class Tagged(np.ndarray):
    pass


@pytest.mark.parametrize(
    "array",
    [
        np.ma.masked_array(np.arange(5000.0), mask=np.arange(5000) % 2),
        np.arange(5000.0).view(Tagged),
        np.arange(5000.0).astype(object),
    ],
    ids=["masked", "subclass", "object"],
)
def test_what_is_not_a_plain_array_gets_the_plain_call(array):
    result = map_blocks(np.negative, [array], workers=2, chunk=512)
    assert type(result) is type(np.negative(array))
    assert (result == np.negative(array)).all()


def test_records_get_the_plain_call():
    array = np.zeros(5000, [("x", "f8")])
    assert (map_blocks(lambda record: record["x"] + 1, [array], workers=2, chunk=512) == 1).all()


def test_a_function_with_several_results_gives_a_tuple():
    array = numbers((70, 80), "f8")
    low, high = map_blocks(lambda block: (block - 1, block + 1), [array], workers=2, chunk=512)
    same((low, high), (array - 1, array + 1))


def test_a_function_that_returns_another_shape_is_refused():
    with pytest.raises(UsageError, match=r"returned the shape \(1,\)"):
        map_blocks(lambda block: block[:1], [np.ones(5000)], workers=2, chunk=512)


@pytest.mark.parametrize(
    "function",
    [lambda block: block - block.mean(), np.cumsum, lambda block: np.sort(-block)],
    ids=["mean", "sum", "sort"],
)
def test_a_function_that_is_not_elementwise_is_noticed(function):
    def disguised(block):
        return function(block)

    with pytest.raises(UsageError, match="does not work element by element"):
        map_blocks(disguised, [numbers(5000, "f8")], workers=2, chunk=512)


def test_a_function_cannot_write_to_its_input():
    def writes(block):
        block += 1
        return block

    with pytest.raises(ValueError, match="read-only"):
        map_blocks(writes, [np.ones(5000)], workers=2, chunk=512)


def test_a_gufunc_needs_rows():
    with pytest.raises(UsageError, match="rows=True"):
        map_blocks(np.matmul, [np.ones((9, 9)), np.ones((9, 9))], workers=2, chunk=4)


@pytest.mark.parametrize(("workers", "chunk"), [(0, 10), (2, 0), (-1, 10)])
def test_no_workers_or_no_chunk_are_refused(workers, chunk):
    with pytest.raises(UsageError, match="at least 1"):
        map_blocks(np.sqrt, [np.ones(5000)], workers=workers, chunk=chunk)
    with pytest.raises(UsageError, match="at least 1"):
        fill(np.ones(5000), 1, workers=workers, chunk=chunk)


@pytest.mark.parametrize("function", [np.cumsum, np.sort, np.flip])
def test_a_function_of_numpy_that_is_not_elementwise_is_noticed(function):
    with pytest.raises(UsageError, match="element by element"):
        map_blocks(function, [numbers((5000,), "f8")], workers=2, chunk=512)


@pytest.mark.parametrize("out", [np.empty(7), np.broadcast_to(0.0, 5000)])
def test_an_out_that_does_not_fit_is_refused_before_the_function_runs(out):
    calls = []
    with pytest.raises(UsageError, match="out must be"):
        map_blocks(calls.append, [np.ones(5000)], out, workers=2, chunk=512)
    assert calls == []


def test_what_is_read_only_is_not_filled_in_part():
    with pytest.raises(ValueError, match="read-only") as caught:
        fill(np.broadcast_to(0.0, 5000), 1, workers=2, chunk=512)
    assert not hasattr(caught.value, "__notes__")


def test_an_error_state_that_raises_raises_once():
    with np.errstate(divide="raise"), pytest.raises(FloatingPointError) as caught:
        map_blocks(np.log, [np.zeros(5000)], workers=2, chunk=512)
    assert len(caught.value.__notes__) == 1


def expression(x, y, *, scratch):
    product = np.multiply(x, y, out=scratch())
    np.add(product, 1, out=product)
    return np.sqrt(product, out=scratch.out)


def into_a_temporary(x, y, *, scratch):
    return np.sqrt(np.add(np.multiply(x, y, out=scratch("a")), 1, out=scratch("b")), out=scratch("b"))


def without_return(x, y, *, scratch):
    scratch.out[...] = np.sqrt(x * y + 1)


@pytest.mark.parametrize("function", [expression, into_a_temporary, without_return])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("chunk", [100, 10**6])
def test_a_function_with_scratch_gives_what_it_gives_without_blocks(function, order, chunk):
    x, y = (np.asarray(abs(numbers((71, 53), "f8", seed)), order=order) for seed in (1, 2))
    expected = np.sqrt(x * y + 1)
    same(map_blocks(function, [x, y], workers=2, chunk=chunk, scratch=True), expected)
    same(plain(function, [x, y], scratch=True), expected)
    map_blocks(function, [x, y], x, workers=2, chunk=chunk, scratch=True)
    same(x, expected)


@pytest.mark.parametrize("name", ["inv", "svd", "eigh", "cholesky", "det"])
def test_stacks_are_computed_by_rows(name):
    function = getattr(np.linalg, name)
    stack = np.random.default_rng(0).standard_normal((50, 6, 6))
    stack = stack @ stack.transpose(0, 2, 1) + 6 * np.eye(6)
    result, numpys = map_blocks(function, [stack], workers=2, chunk=7, rows=True), function(stack)
    assert type(result) is type(numpys)
    same(tuple(result) if isinstance(result, tuple) else result, tuple(numpys) if isinstance(numpys, tuple) else numpys)


def test_rows_of_different_numbers_are_refused():
    with pytest.raises(UsageError, match=r"not \[4, 5\]"):
        map_blocks(np.matmul, [np.ones((4, 3, 3)), np.ones((5, 3, 3))], workers=2, chunk=1, rows=True)


def test_a_function_that_mixes_rows_is_noticed():
    with pytest.raises(UsageError, match="row by row"):
        map_blocks(lambda block: block - block.mean(axis=0), [numbers((100, 3), "f8")], workers=2, chunk=20, rows=True)


@many
@given(array=arrays(), chunk=st.integers(1, 100))
def test_filling_sets_every_element(array, chunk):
    fill(array, 3, workers=2, chunk=chunk)
    assert (array == np.array(3).astype(array.dtype)).all()


@pytest.mark.parametrize("dtype", ["f8", "f4", "i2", "c16", "?", "V3", "M8[s]"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(STRETCH_BYTES * 5 + 7,), (1001, 1003), (7, 300, 501)])
def test_filling_much_memory_sets_every_element(dtype, order, shape):
    value = np.array(b"abc", "V3") if dtype == "V3" else np.array(3).astype(dtype)
    array = np.zeros(shape, dtype, order)
    fill(array, value, workers=2, chunk=STRETCH_BYTES * 4)
    assert (array == value).all()


def test_filling_broadcasts_an_array():
    array, row = np.zeros((300, 7)), np.arange(7)
    fill(array, row, workers=2, chunk=64)
    assert (array == row).all()


@pytest.mark.parametrize("value", [np.ones(6), np.ones((2, 300, 7)), "text", [1, 2]])
def test_filling_with_what_does_not_broadcast_is_numpys_error(value):
    with pytest.raises(ValueError):
        fill(np.zeros((300, 7)), value, workers=2, chunk=64)


@pytest.mark.parametrize("many", [np.ma.array, np.matrix])
def test_results_that_are_no_plain_arrays_are_refused(many):
    """Put together from blocks they would lose their mask, or what else makes them."""
    with pytest.raises(UsageError, match="which cannot be put together"):
        map_blocks(many, [np.ones((100, 30))], None, workers=2, chunk=300)


def test_a_function_that_changes_its_mind_on_the_number_of_results_is_refused():
    counts = iter([1, 2] * 50)

    def fickle(part):
        return part if next(counts) == 1 else (part, part)

    with pytest.raises(UsageError, match="2 arrays for one block and 1"):
        map_blocks(fickle, [np.ones((100, 30))], None, workers=1, chunk=300)
