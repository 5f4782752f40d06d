"""Any function on blocks: its results are checked and written to their place."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from autotune.errors import UsageError
from autotune.parallel import result_memory, thread_pool
from autotune.parallel.operands import (
    PLAIN_TYPES,
    Array,
    Index,
    Shape,
    as_outs,
    as_tuple,
    check_count,
    common_order,
    common_shape,
    cutter,
    like,
    new_result,
    read_only,
    row_cutter,
)
from autotune.parallel.scratch import Scratch
from autotune.parallel.tiles import TileGrid

Function = Callable[..., Any]

SAMPLE = 64
"""Elements at the end of the first block that are computed a second time by themselves, to see whether a
function that is no ufunc works element by element. One row, where it works row by row."""
ROWS_TO_SAMPLE = 16
"""Fewer rows in a block are not sampled: the second computation would cost more than a few per cent."""
SAMPLE_TOLERANCE = 1e-3
"""Relative. Vector loops and BLAS may round otherwise for other lengths; what is no function of the element
alone differs by more."""


def map_function(
    function: Function, arrays: Sequence[Any], out: Any, workers: int, chunk: int, dtype: DTypeLike | None
) -> Any:
    """Pass blocks of the broadcast arrays through a function that returns arrays of the block's shape."""
    shape = common_shape(arrays)
    axes = common_order(shape, [*as_outs(out), *arrays])
    grid = TileGrid(shape, axes, chunk, workers)
    if not shape or 0 in shape:
        return plain_function(function, arrays, out, dtype)
    for array in as_outs(out):
        if array is not None:
            check_out(array, shape)
    if len(grid) == 1:
        sample = last_elements(shape, axes, SAMPLE) if max(shape) > SAMPLE else None
        return _map_in_one_block(function, arrays, out, dtype, shape, sample, _cut)
    cuts = [cutter(read_only(array), shape) for array in arrays]
    target = _Target(out, dtype, lambda _: shape, lambda shape, kind: new_result(shape, kind, axes))

    def step(block: int) -> None:
        index = grid[block]
        parts = [cut(index) for cut in cuts]
        expected = common_shape(parts)
        sample = None if block else last_elements(expected, axes, SAMPLE)
        target.store(index, _call(function, parts, expected, sample, _cut))

    thread_pool.run(lambda: step, len(grid), workers)
    return target.result()


def map_rows(
    function: Function, arrays: Sequence[Any], out: Any, workers: int, chunk: int, dtype: DTypeLike | None
) -> Any:
    """Pass blocks of rows through a function that returns as many rows, whatever else their shape."""
    from autotune.controls import blas

    lengths = {array.shape[0] for array in arrays if isinstance(array, np.ndarray) and array.ndim}
    if len(lengths) != 1:
        raise UsageError(
            "With rows=True all arrays have one length along their first axis, not "
            f"{sorted(lengths) or 'none'}. Bind what is the same for all rows with functools.partial."
        )
    (length,) = lengths
    grid = TileGrid((length,), (0,), chunk, workers)
    last = (slice(length - 1, None),) if length >= ROWS_TO_SAMPLE else None
    if not length:
        return plain_function(function, arrays, out, dtype)
    if len(grid) == 1:
        return _map_in_one_block(function, arrays, out, dtype, (length,), last, _cut_rows)
    cuts = [row_cutter(read_only(array)) for array in arrays]
    target = _Target(out, dtype, lambda value: (length, *value.shape[1:]), result_memory.empty)

    def step(block: int) -> None:
        index = grid[block]
        parts = [cut(index) for cut in cuts]
        rows = len(range(*index[0].indices(length)))
        sample = (slice(rows - 1, None),) if not block and rows >= ROWS_TO_SAMPLE else None
        # in each thread by itself, since some libraries keep a count for every thread
        with blas.limit(1 if workers > 1 else None):
            result = _call(function, parts, (rows,), sample, _cut_rows)
        target.store(index, result)

    thread_pool.run(lambda: step, len(grid), workers)
    return target.result()


def map_with_scratch(
    function: Function, arrays: Sequence[Any], out: Any, workers: int, chunk: int | None, dtype: DTypeLike | None
) -> Any:
    """Pass blocks through a function that takes a Scratch and has one result; one block if `chunk` is None.

    The result's dtype is that of `dtype`, of `out` or of the arrays together, in this order.
    """
    outs = as_outs(out)
    if len(outs) != 1:
        raise UsageError("A function with scratch=True has one result, so out is one array.")
    (given,) = outs
    arrays = [array if np.isscalar(array) else np.asanyarray(array) for array in arrays]
    shape = common_shape(arrays)
    axes = common_order(shape, [given, *arrays])
    grid = TileGrid(shape, axes, chunk or max(1, int(np.prod(shape))), workers)
    if given is not None:
        check_out(given, shape)
        dtype = given.dtype if dtype is None else dtype
    kind = np.result_type(*arrays) if dtype is None else np.dtype(dtype)
    end = new_result(shape, kind, axes) if given is None else given
    is_input = any(isinstance(array, np.ndarray) and np.may_share_memory(array, end) for array in arrays)
    target = end.view(np.ndarray)
    cuts = [cutter(read_only(array), shape) for array in arrays]

    def begin() -> thread_pool.Step:
        scratch = Scratch(kind, axes)

        def step(block: int) -> None:
            index = grid[block]
            parts = [cut(index) for cut in cuts]
            part = target[index]
            if not block and len(grid) > 1:
                _check_sample_with_scratch(function, parts, kind, axes)
            result = _with_scratch(function, parts, scratch, part.shape, None if is_input else part)
            check_shape(function, result, part.shape)
            check_type(function, result)
            if result is not part:
                np.copyto(part, result, casting="same_kind")

        return step

    thread_pool.run(begin, len(grid), workers)
    return end


def _with_scratch(function: Function, parts: Sequence[Any], scratch: Scratch, shape: Shape, out: Array | None) -> Any:
    scratch.begin(shape, out)
    result = function(*parts, scratch=scratch)
    return scratch.out if result is None else result


def _call(
    function: Function, parts: Sequence[Any], shape: Shape, sample: Index | None, cut: Callable[..., list[Any]]
) -> Any:
    """Call a function on a block, and check what it returns; with a `sample`, by computing that part alone, too."""
    result = function(*parts)
    check_shape(function, result, shape)
    check_type(function, result)
    if sample is not None and not isinstance(function, np.ufunc):
        compare_sample(function, function(*cut(parts, sample)), result, sample)
    return result


def _map_in_one_block(
    function: Function,
    arrays: Sequence[Any],
    out: Any,
    dtype: DTypeLike | None,
    shape: Shape,
    sample: Index | None,
    cut: Callable[..., list[Any]],
) -> Any:
    """Pass everything through a function at once, with the checks of a block: a profile must not decide on errors."""
    parts = [read_only(array) for array in arrays]
    result = _call(function, parts, shape, sample, cut)
    values = as_tuple(result)
    outs = check_count(as_outs(out, len(values)), values)
    return like(result, tuple(_put(end, _own(value, parts), dtype) for end, value in zip(outs, values, strict=True)))


def _own(value: Array, parts: Sequence[Any]) -> Array:
    """Return a result that is no view of an input, and may be written to."""
    is_view = any(isinstance(part, np.ndarray) and np.may_share_memory(value, part) for part in parts)
    return value.copy() if is_view or not value.flags.writeable else value


def plain_function(function: Function, arrays: Sequence[Any], out: Any, dtype: DTypeLike | None) -> Any:
    """Call `function(*arrays)`, its results in `out` where that is given and of the dtype where that is."""
    result = function(*arrays)
    if out is None and dtype is None:
        return result
    values = as_tuple(result)
    outs = check_count(as_outs(out, len(values)), values)
    return like(result, tuple(_put(end, value, dtype) for end, value in zip(outs, values, strict=True)))


def _put(out: Array | None, value: Array, dtype: DTypeLike | None) -> Array:
    if out is None:
        return value if dtype is None else value.astype(dtype, casting="same_kind", copy=False)
    check_out(out, value.shape)
    np.copyto(out, value, casting="same_kind")
    return out


class _Target:
    """Destination of a function's results, whose kind is known only after its first call."""

    def __init__(
        self,
        out: Any,
        dtype: DTypeLike | None,
        shape: Callable[[Array], Shape],
        make: Callable[[Shape, DTypeLike], Array],
    ) -> None:
        self._out = out
        self._dtype = dtype
        self._shape = shape
        self._make = make
        self._lock = threading.Lock()
        self._ends: tuple[Array, ...] = ()
        self._example: Any = None

    def store(self, index: Index, result: Any) -> None:
        """Write a block's results to their place; the first block to arrive sets their number and dtypes."""
        values = as_tuple(result)
        if not self._ends:
            with self._lock:
                if not self._ends:
                    self._open(result, values)
        if len(values) != len(self._ends):
            raise UsageError(_differing_counts(len(values), len(self._ends)))
        for end, value in zip(self._ends, values, strict=True):
            np.copyto(end[index], value, casting="same_kind")

    def _open(self, result: Any, values: Sequence[Array]) -> None:
        outs = check_count(as_outs(self._out, len(values)), values)
        for target, value in zip(outs, values, strict=True):
            if target is not None:
                check_out(target, self._shape(value))
        self._example = result if isinstance(result, tuple) else None
        self._ends = tuple(
            self._make(self._shape(value), self._dtype or value.dtype) if target is None else target
            for target, value in zip(outs, values, strict=True)
        )

    def result(self) -> Any:
        """Return the results in the form that the function gives them."""
        return like(self._example, self._ends)


def check_out(out: Array, shape: Shape) -> None:
    if out.shape != shape or not out.flags.writeable:
        flaw = f"has the shape {out.shape}" if out.shape != shape else "is read-only"
        raise UsageError(f"out must be a writable array of shape {shape}; it {flaw}.")


def check_shape(function: Function, result: Any, expected: Shape) -> None:
    for value in as_tuple(result):
        if value.shape[: len(expected)] != expected:
            raise UsageError(
                f"{_name(function)} returned the shape {value.shape} for a block of shape {expected}. "
                "It has to work element by element, or in map_blocks row by row with rows=True."
            )


def check_type(function: Function, result: Any) -> None:
    """Raise UsageError for results that a plain array cannot hold, such as masked arrays."""
    for value in as_tuple(result):
        if type(value) not in PLAIN_TYPES:
            raise UsageError(
                f"{_name(function)} returned a {type(value).__name__}, which cannot be put together from "
                "blocks; call it on the whole array."
            )


def _check_sample(function: Function, parts: Sequence[Any], result: Any, axes: Sequence[int]) -> None:
    index = last_elements(common_shape(parts), axes, SAMPLE)
    compare_sample(function, function(*_cut(parts, index)), result, index)


def _check_sample_with_scratch(
    function: Function, parts: Sequence[Any], kind: np.dtype[Any], axes: Sequence[int]
) -> None:
    """Compare samples of two lengths, each with a Scratch of its own: a result may lie in reused memory."""

    def call(*samples: Any) -> Any:
        return _with_scratch(function, samples, Scratch(kind, axes), common_shape(samples), None)

    call.__name__ = _name(function)
    sample = _cut(parts, last_elements(common_shape(parts), axes, 2 * SAMPLE))
    result = call(*sample)
    check_shape(function, result, common_shape(sample))
    _check_sample(call, sample, result, axes)


def last_elements(shape: Shape, axes: Sequence[int], count: int) -> Index:
    """Return the last elements along the longest axis."""
    longest = max(axes, key=lambda axis: shape[axis])
    return tuple(slice(-count if axis == longest else -1, None) for axis in range(len(shape)))


def _cut(parts: Sequence[Any], index: Index) -> list[Any]:
    shape = common_shape(parts)
    return [cutter(part, shape)(index) for part in parts]


def _cut_rows(parts: Sequence[Any], index: Index) -> list[Any]:
    return [row_cutter(part)(index) for part in parts]


def compare_sample(function: Function, sample: Any, result: Any, index: Index) -> None:
    parts, all_of_them = as_tuple(sample), as_tuple(result)
    if len(parts) != len(all_of_them):
        raise UsageError(_differing_counts(len(parts), len(all_of_them)))
    for alone, within in zip(parts, all_of_them, strict=True):
        part = within[index]
        if alone.shape != part.shape or not _is_close(alone, part):
            raise UsageError(
                f"{_name(function)} gives other values for a part of a block than for the whole block, so it "
                "does not work element by element (nor row by row); call it on the whole array."
            )


def _differing_counts(first: int, second: int) -> str:
    return f"The function returned {first} arrays for one block and {second} for another."


def _is_close(alone: Array, part: Array) -> bool:
    if part.dtype.kind in "fc":
        return bool(np.allclose(alone, part, rtol=SAMPLE_TOLERANCE, equal_nan=True))
    return bool(np.array_equal(alone, part))


def _name(function: Function) -> str:
    return getattr(function, "__name__", None) or repr(function)
