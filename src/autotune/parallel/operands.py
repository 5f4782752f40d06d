"""The arguments and results of a call: which of them can be cut into blocks, and how."""

from collections.abc import Callable, Sequence
from operator import index
from typing import Any, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray

from autotune.errors import UsageError
from autotune.parallel import result_memory
from autotune.parallel.shared_array import SharedArray
from autotune.parallel.tiles import WHOLE

Array = NDArray[Any]
Index = tuple[slice, ...]
Shape = tuple[int, ...]
Outs = tuple[Array | None, ...]

PLAIN_TYPES: frozenset[type] = frozenset({np.ndarray, np.memmap, SharedArray})
"""Arrays whose type changes nothing about arithmetic. Every other subclass gets the plain call."""
PLAIN_KINDS = frozenset("biufcmM")
"""Kinds of dtype whose loops release the GIL; objects, records and strings get the plain call."""
OVERLAP_WORK = 1000
"""Candidates that np.shares_memory may try before an overlap is taken for granted; slices need a few."""


def is_cuttable(value: Any) -> bool:
    """Is it an array that may be cut into blocks, or a number that goes with each of them?"""
    kind = type(value)
    if kind in PLAIN_TYPES:
        return value.dtype.kind in PLAIN_KINDS
    return kind in {int, float, complex, bool} or isinstance(value, np.number | np.bool)


def cutter(value: Any, shape: Shape) -> Callable[[Index], Any]:
    """Return the function that slices an operand for a block of the broadcast shape."""
    if not isinstance(value, np.ndarray) or not value.ndim:
        return lambda _: value
    value = value.view(np.ndarray)
    if value.shape == shape:
        return cast("Callable[[Index], Any]", value.__getitem__)
    skipped = len(shape) - value.ndim
    wide = [length != 1 for length in value.shape]
    return lambda index: value[tuple(part if cut else WHOLE for part, cut in zip(index[skipped:], wide, strict=True))]


def row_cutter(value: Any) -> Callable[[Index], Any]:
    """Return the function that slices an operand for a block of rows."""
    if not isinstance(value, np.ndarray) or not value.ndim:
        return lambda _: value
    return cast("Callable[[Index], Any]", value.view(np.ndarray).__getitem__)


def read_only(value: Any) -> Any:
    """Return a view that a user's function cannot write to."""
    if not isinstance(value, np.ndarray):
        return value
    view = value.view(np.ndarray)
    view.flags.writeable = False
    return view


def common_shape(values: Sequence[Any]) -> Shape:
    """Return the shape that the arrays among the values broadcast to; () without any. Raises NumPy's ValueError."""
    return np.broadcast_shapes(*(value.shape for value in values if isinstance(value, np.ndarray)))


def shape_of(lengths: Any) -> Shape:
    """Return a shape from a length or several of them, NumPy's integers included. Raises UsageError."""
    try:
        return (index(lengths),) if np.ndim(lengths) == 0 else tuple(map(index, lengths))
    except (TypeError, ValueError):
        raise UsageError(f"A shape is a whole number or a tuple of them, not {lengths!r}.") from None


def memory_order(array: Array) -> tuple[int, ...]:
    """Return the array's axes, from the outermost in memory to the innermost."""
    return common_order(array.shape, [array])


def common_order(shape: Shape, values: Sequence[Any]) -> tuple[int, ...]:
    """Return the axes from the outermost to the innermost, in NumPy's order for these operands and their result.

    Its own stable insertion sort (`npyiter_sort_axes`): of two axes the one with the smaller stride is the inner one;
    a broadcast axis tells nothing; where operands disagree, and where none tells, they stay as in C order.
    """
    arrays = [value for value in values if isinstance(value, np.ndarray) and value.ndim]
    axes = list(range(len(shape)))
    if all(array.flags.c_contiguous and array.shape == shape for array in arrays):
        return tuple(axes)
    strides = [_strides(array, len(shape)) for array in arrays]
    for axis in reversed(axes[:-1]):
        place = at = axes.index(axis)
        for inner in axes[at + 1 :]:
            steps = [(abs(row[axis]), abs(row[inner])) for row in strides if row[axis] and row[inner]]
            at += 1
            if steps and not all(outer_step < inner_step for outer_step, inner_step in steps):
                break
            if steps:
                place = at
        axes.remove(axis)
        axes.insert(place, axis)
    return tuple(axes)


def _strides(array: Array, count: int) -> tuple[int, ...]:
    """Return the strides along the last `count` axes; 0 where the array has none or one element, which is broadcast."""
    strides = (stride if length != 1 else 0 for stride, length in zip(array.strides, array.shape, strict=True))
    return (0,) * (count - array.ndim) + tuple(strides)


def new_result(shape: Shape, dtype: DTypeLike, axes: Sequence[int]) -> Array:
    """Return a result whose axes lie in memory as the input's do, as NumPy makes them."""
    made = result_memory.empty(tuple(shape[axis] for axis in axes), dtype)
    return made.transpose(np.argsort(axes)) if len(axes) > 1 else made


def as_outs(out: Any, count: int = 1) -> Outs:
    """Return `out` as NumPy takes it, None or an array or a tuple, as a tuple of arrays and Nones.

    Raises TypeError for anything else, which could not be written to.
    """
    outs = out if isinstance(out, tuple) else (out,) * count if out is None else (out,)
    for array in outs:
        if array is not None and not hasattr(array, "shape"):  # arrays of other libraries get the plain call
            raise TypeError(f"out must be an array, or a tuple of arrays, not {type(array).__name__}.")
    return outs


def as_tuple(result: Any) -> tuple[Array, ...]:
    return tuple(map(np.asanyarray, result if isinstance(result, tuple) else (result,)))


def like(example: Any, values: tuple[Any, ...]) -> Any:
    """Return the values in the form of what the function returned: one array, a tuple or a named one."""
    if not isinstance(example, tuple):
        return values[0]
    return type(example)(*values) if hasattr(example, "_fields") else values


def check_count(outs: Outs, values: Sequence[Array]) -> Outs:
    """Return the outs for as many results. Raises UsageError if there are more or fewer."""
    if len(outs) != len(values):
        raise UsageError(f"out names {len(outs)} arrays, but the function returns {len(values)}.")
    return outs


def check_overlap(values: Sequence[Any], outs: Outs) -> None:
    """Raise UsageError where a result shares memory with an input without being the very same elements."""
    for place, out in enumerate(outs):
        if out is None:
            continue
        for operand in (*values, *outs[:place]):
            if isinstance(operand, np.ndarray) and np.may_share_memory(out, operand) and _overlaps(out, operand):
                raise UsageError(
                    "out overlaps an input or another out in memory without being the same array. Blocks "
                    "would read what others have already written: copy the input, or give another out."
                )


def _overlaps(out: Array, operand: Array) -> bool:
    """Do they share memory without being the same elements in the same order?"""
    has_one_layout = (out.shape, out.strides, out.dtype) == (operand.shape, operand.strides, operand.dtype)
    if has_one_layout and out.__array_interface__["data"][0] == operand.__array_interface__["data"][0]:
        return False
    try:
        return np.shares_memory(out, operand, max_work=OVERLAP_WORK)  # type: ignore[arg-type] # any count is allowed
    except np.exceptions.TooHardError:
        return True
