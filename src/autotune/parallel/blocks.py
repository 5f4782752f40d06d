"""A function of every element, or of every row, computed block by block by several threads.

NumPy releases the GIL inside its loops, so threads that work on disjoint slices run side by side; blocks that fit the
cache spare expressions the way through memory. Disjoint slices need no locks, with and without the GIL.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import DTypeLike

from autotune.controls.placement import Placed
from autotune.errors import UsageError
from autotune.model.configuration import Placement
from autotune.parallel import thread_pool
from autotune.parallel.block_functions import map_function, map_rows, map_with_scratch, plain_function
from autotune.parallel.operands import (
    Array,
    Outs,
    Shape,
    as_outs,
    check_overlap,
    common_order,
    common_shape,
    cutter,
    is_cuttable,
    memory_order,
    new_result,
)
from autotune.parallel.tiles import TileGrid, check_counts

STRETCH_BYTES = 2**17
"""Of what fill copies: in every core's second-level cache, and enough for a copy to run at full speed (shorter ones
took 5 to 20 % longer, longer ones nothing less)."""


def map_blocks(
    function: Callable[..., Any],
    arrays: Sequence[Any],
    out: Any = None,
    *,
    workers: int,
    chunk: int,
    placement: Placement | None = None,
    dtype: DTypeLike | None = None,
    rows: bool = False,
    scratch: bool = False,
) -> Any:
    """Compute `function(*arrays)` on blocks of about `chunk` elements (rows, with `rows`).

    `out` is an array, or a tuple of them with None for those to be made. Arrays may be broadcast, empty, of
    any strides; `out` may be one of the inputs. Subclasses, objects, records, strings and anything that is
    not an array or a number go to the plain call. With `rows` every array is cut along its first axis, of
    one common length, and with several workers BLAS runs with one thread in each. With `scratch` the
    function gets a `Scratch`. `placement` says on which CPUs the workers run, this thread during the call too.

    Raises UsageError if `out` overlaps an input partly, if the function returns blocks of another shape, or
    if a sample shows that it does not work element by element; NumPy's own exceptions for an `out` that
    does not fit. Exceptions of the function carry a note that names the block.
    """
    check_counts(workers, chunk)
    if rows and scratch:
        raise UsageError("map_blocks takes rows=True or scratch=True, not both.")
    outs = as_outs(out)
    check_overlap(arrays, outs)
    if not all(map(is_cuttable, arrays)) or not all(each is None or is_cuttable(each) for each in outs):
        return plain(function, arrays, out, dtype=dtype, scratch=scratch)
    with Placed(placement):
        if rows:
            return map_rows(function, arrays, out, workers, chunk, dtype)
        if scratch:
            return map_with_scratch(function, arrays, out, workers, chunk, dtype)
        if isinstance(function, np.ufunc):
            return _map_ufunc(function, arrays, out, workers, chunk, dtype)
        return map_function(function, arrays, out, workers, chunk, dtype)


def plain(
    function: Callable[..., Any],
    arrays: Sequence[Any],
    out: Any = None,
    *,
    dtype: DTypeLike | None = None,
    scratch: bool = False,
) -> Any:
    """Return the same call without blocks and threads. A function with `scratch` gets the arrays as one block."""
    if scratch:
        return map_with_scratch(function, arrays, out, 1, None, dtype)
    if not isinstance(function, np.ufunc):
        return plain_function(function, arrays, out, dtype)
    options = {name: value for name, value in (("out", out), ("dtype", dtype)) if value is not None}
    return function(*arrays, **options)


def fill(array: Array, value: Any, *, workers: int, chunk: int, placement: Placement | None = None) -> None:
    """Assign `array[...] = value` block by block; `value` is a number, or an array that broadcasts to `array`."""
    check_counts(workers, chunk)
    check_overlap((value,), (array,))
    shape = np.shape(value) if is_cuttable(value) else None
    if (
        shape is None
        or not is_cuttable(array)
        or not np.size(array)
        or not np.ndim(array)
        or not array.flags.writeable
        or not _broadcasts(shape, array.shape)
    ):
        array[...] = value  # NumPy does it, or says what is wrong
        return
    grid = TileGrid(array.shape, memory_order(array), chunk, workers)
    target = array.view(np.ndarray)
    if shape:
        cut = cutter(value, array.shape)

        def step(block: int) -> None:
            index = grid[block]
            target[index] = cut(index)

    else:
        stretch = np.empty(min(target.size, STRETCH_BYTES // target.itemsize), target.dtype)
        stretch[...] = value

        def step(block: int) -> None:
            _stamp(target[grid[block]], stretch)

    with Placed(placement):
        thread_pool.run(lambda: step, len(grid), workers)


def _stamp(part: Array, stretch: Array) -> None:
    """Fill `part` with copies of a stretch of equal elements.

    A copy overwrites whole lines of cache; NumPy's loop that stores one number stores element by element, and each
    line is read before it is written: 10.4 ms of CPU time for 80 MB, and 8.2 with copies, as with memset.
    """
    flat = part.T if part.flags.f_contiguous else part
    if not flat.flags.c_contiguous:
        part[...] = stretch[0]
        return
    flat = flat.reshape(-1)
    end = flat.size - flat.size % stretch.size
    flat[:end].reshape(-1, stretch.size)[...] = stretch
    flat[end:] = stretch[: flat.size - end]


def _broadcasts(shape: Shape, target: Shape) -> bool:
    tail = target[len(target) - len(shape) :] if len(shape) <= len(target) else ()
    return len(tail) == len(shape) and all(length in {1, end} for length, end in zip(shape, tail, strict=True))


def _map_ufunc(
    function: np.ufunc, arrays: Sequence[Any], out: Any, workers: int, chunk: int, dtype: DTypeLike | None
) -> Any:
    if function.signature is not None:
        raise UsageError(f"{function.__name__} does not work element by element; it needs rows=True.")
    outs = as_outs(out, function.nout)
    dtypes = _result_dtypes(function, arrays, outs, dtype)
    shape = common_shape(arrays)
    if dtypes is None or 0 in shape or not _fit(outs, shape, dtypes):
        # there is nothing to cut, or NumPy says what is wrong
        return plain(function, arrays, out, dtype=dtype)
    axes = common_order(shape, [*outs, *arrays])
    grid = TileGrid(shape, axes, chunk, workers)
    if not shape or (len(grid) == 1 and all(target is not None for target in outs)):
        return plain(function, arrays, out, dtype=dtype)
    targets = tuple(
        new_result(shape, kind, axes) if out is None else out for out, kind in zip(outs, dtypes, strict=True)
    )
    cuts = [cutter(array, shape) for array in arrays]
    ends = [target.view(np.ndarray) for target in targets]
    options = {} if dtype is None else {"dtype": dtype}

    def step(block: int) -> None:
        index = grid[block]
        function(*[cut(index) for cut in cuts], out=tuple([end[index] for end in ends]), **options)

    thread_pool.run(lambda: step, len(grid), workers)
    return targets if function.nout > 1 else targets[0]


def _result_dtypes(
    function: np.ufunc, arrays: Sequence[Any], outs: Outs, dtype: DTypeLike | None
) -> tuple[np.dtype[Any], ...] | None:
    """Return the dtypes of the ufunc's results; None where NumPy will refuse the call."""
    if len(arrays) != function.nin or len(outs) != function.nout:
        return None
    kinds = (*map(_kind, arrays), *[None] * function.nout)
    try:
        wanted = None if dtype is None else np.dtype(dtype)
        resolved = function.resolve_dtypes(kinds, signature=(*[None] * function.nin, *[wanted] * function.nout))
    except TypeError:
        return None
    return cast("tuple[np.dtype[Any], ...]", tuple(resolved[function.nin :]))


def _kind(value: Any) -> Any:
    """Return an operand as resolve_dtypes takes it; a Python number by its type, since it has no dtype (NEP 50)."""
    if hasattr(value, "dtype"):
        return value.dtype
    return np.dtype(np.bool) if type(value) is bool else type(value)


def _fit(outs: Outs, shape: Shape, dtypes: Sequence[np.dtype[Any]]) -> bool:
    return all(
        target is None
        or (target.shape == shape and target.flags.writeable and np.can_cast(kind, target.dtype, "same_kind"))
        for target, kind in zip(outs, dtypes, strict=True)
    )
