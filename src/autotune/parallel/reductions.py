"""Reductions: fixed blocks, combined in a fixed tree, so that the result does not depend on the threads.

What is reduced to one element is cut into blocks of BLOCK elements (the last one holds half to one and a half; of an
array that is not contiguous, as near to that as whole rows allow). NumPy reduces each block, and the partial results
are combined two by two, neighbours first. Sums are therefore pairwise throughout: as accurate as NumPy's pairwise sum
along a contiguous axis, and more accurate than its running sums along the others (Higham, The accuracy of floating
point summation, SIAM J. Sci. Comput. 14, 1993). Variances are combined as Chan, Golub and LeVeque do (Updating formulae
and a pairwise algorithm for computing sample variances, 1979). Where no more than a block is reduced to one element,
the result is NumPy's own to the bit, and only its elements are divided among the workers.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple
from numpy.typing import DTypeLike

from autotune.controls.placement import Placed
from autotune.errors import UsageError
from autotune.model.configuration import Placement
from autotune.parallel import thread_pool
from autotune.parallel.operands import Array, Index, is_cuttable, memory_order, new_result
from autotune.parallel.tiles import LANES, WHOLE, TileGrid, check_counts

BLOCK = 65_536
"""Elements. Part of what a result is; never tuned."""
BLAS_ROW = 8192
"""Elements; OpenBLAS computes dot products of up to 10,000 in one thread (kernel/x86_64/ddot.c)."""

UFUNCS: dict[str, np.ufunc] = {
    "sum": np.add,
    "prod": np.multiply,
    "min": np.minimum,
    "max": np.maximum,
    "any": np.logical_or,
    "all": np.logical_and,
}
"""Reductions that are a ufunc along the axes; the others are mean, var, std and dot."""

CALLS: dict[str, Callable[..., Any]] = {name: getattr(np, name) for name in (*UFUNCS, "mean", "var", "std", "dot")}
"""The plain calls."""

NAMES: dict[object, str] = {call: name for names in (CALLS, UFUNCS) for name, call in names.items()}
"""The functions that can be reduced by blocks; a ufunc stands for its `reduce`."""
ORDERLESS = frozenset({"min", "max", "any", "all"})
"""Reductions whose result does not depend on the order; so are sums and products of whole numbers."""
WITH_DTYPE = frozenset({"sum", "prod", "mean", "var", "std"})
"""Reductions whose NumPy functions take a dtype."""
COMPUTED = "?bhilqBHILQfdgFDG"
"""Type codes that are cut. Half precision is not: NumPy sums it in single precision, whose rounding at the
end of every block would cost accuracy."""


def name_of(function: object) -> str:
    """Return the name of a reduction: "sum" for np.add and np.sum. Raises UsageError for any other function."""
    try:
        return NAMES[function]
    except (KeyError, TypeError):
        raise UsageError(
            f"reduce_blocks does not know {getattr(function, '__name__', function)!r}; it takes np.sum (or "
            f"np.add), {', '.join('np.' + name for name in list(CALLS)[1:])}."
        ) from None


def reduce_blocks(
    function: object,
    arrays: Sequence[Any],
    *,
    workers: int,
    chunk: int,
    placement: Placement | None = None,
    axis: int | tuple[int, ...] | None = None,
    dtype: DTypeLike | None = None,
    out: Array | None = None,
    keepdims: bool = False,
) -> Any:
    """Compute `np.sum(array, axis, dtype, out, keepdims)`, or another function of NAMES.

    The result is the same for every `workers`, `chunk` (elements that a worker takes at once) and `placement`
    (on which CPUs the workers run, this thread during the call too). Integers,
    min, max, any and all are NumPy's; floats are at least as accurate. Subclasses, objects, half precision
    and dates get the plain call; so do complex variances. Raises UsageError for a function that is not
    known or arguments that it does not take, and NumPy's exceptions for an axis or `out` that does not fit.
    """
    name = name_of(function)
    check_counts(workers, chunk)
    if name == "dot":
        if axis is not None or dtype is not None or keepdims:
            raise UsageError("dot takes no axis, dtype or keepdims.")
        with Placed(placement):
            return _dot(arrays, out, workers, chunk)
    if len(arrays) != 1:
        raise UsageError(f"{name} takes one array, not {len(arrays)}.")
    if dtype is not None and name not in WITH_DTYPE:
        raise UsageError(f"{name} takes no dtype.")
    options: dict[str, Any] = {"axis": axis, **_dtype_option(dtype)}
    options |= {"keepdims": True} if keepdims else {}  # a matrix and other subclasses do not know it
    array = arrays[0]
    if not _is_computed(array) or (name in {"var", "std"} and array.dtype.kind == "c"):
        return CALLS[name](array, out=out, **options)
    axes = normalize_axis_tuple(range(array.ndim) if axis is None else axis, array.ndim)
    cut = _Cut(array, axes, workers, chunk)
    alone = workers == 1 and (cut.depth == 1 or name in ORDERLESS or _result_dtype(name, array, dtype).kind in "biu")
    if len(cut) == 1 or alone:
        return CALLS[name](array, out=out, **options)
    with Placed(placement):
        result = _reduce(name, cut, dtype)
    return _deliver(result, array, axes, out, keepdims)


class _Cut:
    """An array cut into items: `depth` blocks along the reduced axes, times blocks along the kept ones."""

    def __init__(self, array: Array, axes: tuple[int, ...], workers: int, chunk: int) -> None:
        if len(axes) == array.ndim and array.ndim > 1 and (array.flags.c_contiguous or array.flags.f_contiguous):
            array, axes = array.reshape(-1, order="A"), (0,)
        self.array = array.view(np.ndarray)
        self.axes = axes
        self.kept = tuple(axis for axis in range(array.ndim) if axis not in axes)
        self.kept_shape = tuple(array.shape[axis] for axis in self.kept)
        self.kept_order = [self.kept.index(axis) for axis in memory_order(array) if axis in self.kept]
        self.length = prod(array.shape[axis] for axis in axes)
        self._along = _grid(array, axes, BLOCK)
        self._across = _grid(array, self.kept, max(LANES, BLOCK // max(1, min(self.length, BLOCK))))
        self.depth = len(self._along)
        self._workers = workers
        self._at_once = max(1, chunk * len(self) // max(1, self.array.size))

    def __len__(self) -> int:
        return self.depth * len(self._across)

    def item(self, number: int) -> tuple[Array, int, Index]:
        """Return a part of the array, its block along the reduced axes, and the kept elements that it makes."""
        depth, place = divmod(number, len(self._across))
        along, across = self._along[depth], self._across[place]
        index = [WHOLE] * self.array.ndim
        for axis, part in zip((*self.axes, *self.kept), (*along, *across), strict=True):
            index[axis] = part
        return self.array[tuple(index)], depth, across

    def run(self, step: Callable[[range], None]) -> None:
        """Call `step` with the numbers of all items, as many at once as make up a chunk, by the workers."""
        starts = range(0, len(self), self._at_once)

        def run_step(number: int) -> None:
            step(range(starts[number], min(starts[number] + self._at_once, len(self))))

        thread_pool.run(lambda: run_step, len(starts), self._workers)


def _grid(array: Array, axes: tuple[int, ...], chunk: int) -> TileGrid:
    order = [axes.index(axis) for axis in memory_order(array) if axis in axes]
    return TileGrid([array.shape[axis] for axis in axes], order, chunk)


def _reduce(name: str, cut: _Cut, dtype: DTypeLike | None) -> Array:
    kind = _result_dtype(name, cut.array, dtype)
    if cut.depth == 1:
        return _reduce_across(CALLS[name], cut, kind, _dtype_option(dtype))
    if name in {"var", "std"}:
        return _variance(name, cut, kind)
    ufunc = UFUNCS["sum" if name == "mean" else name]
    total = _tree(ufunc, _partials(ufunc, cut, kind))
    return np.divide(total, cut.length, dtype=kind) if name == "mean" else total


def _reduce_across(call: Callable[..., Any], cut: _Cut, kind: np.dtype[Any], options: dict[str, Any]) -> Array:
    result = new_result(cut.kept_shape, kind, cut.kept_order)  # NumPy's order of summation depends on it

    def step(numbers: range) -> None:
        for part, _, across in map(cut.item, numbers):
            # with out= NumPy 2.0 errs on negative strides
            result[across] = call(part, axis=cut.axes, **options)

    cut.run(step)
    return result


def _partials(ufunc: np.ufunc, cut: _Cut, kind: np.dtype[Any]) -> Array:
    """Reduce each block, along the first axis."""
    partials = np.empty((cut.depth, *cut.kept_shape), kind)

    def step(numbers: range) -> None:
        if cut.array.ndim == 1 and len(numbers) > 1:
            numbers = _reduce_rows(ufunc, cut, partials, numbers)
        for part, depth, across in map(cut.item, numbers):
            partials[depth, ...][across] = ufunc.reduce(part, axis=cut.axes, dtype=kind)

    cut.run(step)
    return partials


def _reduce_rows(ufunc: np.ufunc, cut: _Cut, partials: Array, numbers: range) -> range:
    """Reduce whole blocks of a flat array in a single call, to the same bits; return the blocks left over."""
    whole = range(numbers.start, min(numbers.stop, cut.depth - 1))
    if whole:
        rows = cut.array[whole.start * BLOCK : whole.stop * BLOCK].reshape(-1, BLOCK)
        partials[whole.start : whole.stop] = ufunc.reduce(rows, axis=1, dtype=partials.dtype)
    return range(whole.stop, numbers.stop) if whole else numbers


def _tree(ufunc: np.ufunc, partials: Array) -> Array:
    while len(partials) > 1:
        even = len(partials) // 2 * 2
        pairs = ufunc(partials[0:even:2], partials[1:even:2])
        partials = np.concatenate([pairs, partials[even:]])
    return np.asarray(partials[0])


def _variance(name: str, cut: _Cut, kind: np.dtype[Any]) -> Array:
    counts = np.zeros((cut.depth, *[1] * len(cut.kept)), kind)
    means = np.empty((cut.depth, *cut.kept_shape), kind)
    squares = np.empty_like(means)

    def step(numbers: range) -> None:
        for part, depth, across in map(cut.item, numbers):
            count = prod(part.shape[axis] for axis in cut.axes)
            mean = np.add.reduce(part, axis=cut.axes, dtype=kind, keepdims=True) / kind.type(count)
            apart = np.subtract(part, mean, dtype=kind)
            np.multiply(apart, apart, out=apart)
            counts[depth] = count
            means[depth, ...][across] = mean.reshape(means[depth, ...][across].shape)
            squares[depth, ...][across] = np.add.reduce(apart, axis=cut.axes)

    cut.run(step)
    variance = _combined_squares(counts, means, squares) / kind.type(cut.length)
    return np.asarray(np.sqrt(variance) if name == "std" else variance)


def _combined_squares(counts: Array, means: Array, squares: Array) -> Array:
    """Chan, Golub and LeVeque's formula for the sum of squares about the mean, two by two."""
    while len(counts) > 1:
        even = len(counts) // 2 * 2
        (n, m), (a, b) = (counts[0:even:2], counts[1:even:2]), (means[0:even:2], means[1:even:2])
        share = m / (n + m)
        merged = squares[0:even:2] + squares[1:even:2] + (b - a) ** 2 * (n * share)
        squares = np.concatenate([merged, squares[even:]])
        means = np.concatenate([a + (b - a) * share, means[even:]])
        counts = np.concatenate([n + m, counts[even:]])
    return np.asarray(squares[0])


def _dot(arrays: Sequence[Any], out: Array | None, workers: int, chunk: int) -> Any:
    if len(arrays) != 2:
        raise UsageError(f"dot takes two arrays, not {len(arrays)}.")
    left, right = arrays
    vectors = all(_is_computed(array) and array.ndim == 1 for array in arrays)
    if not vectors or left.shape != right.shape or left.size <= BLOCK:
        return np.dot(left, right) if out is None else np.dot(left, right, out=out)
    first, second = (_Cut(array, (0,), workers, chunk) for array in arrays)
    kind = np.result_type(left, right)
    partials = np.empty(first.depth, kind)

    def step(numbers: range) -> None:
        for number in numbers:
            partials[number] = _block_dot(first.item(number)[0], second.item(number)[0], kind)

    first.run(step)
    return _deliver(_tree(np.add, partials), left, (0,), out, keepdims=False)


def _block_dot(left: Array, right: Array, kind: np.dtype[Any]) -> Any:
    """Return the product of two blocks; floats by BLAS, in rows too short for its threads to change the result."""
    if left.dtype != kind or right.dtype != kind or kind.kind != "f":
        return np.add.reduce(np.multiply(left, right, dtype=kind), dtype=kind)
    whole = left.size // BLAS_ROW * BLAS_ROW
    rows = np.vecdot(left[:whole].reshape(-1, BLAS_ROW), right[:whole].reshape(-1, BLAS_ROW))
    return np.add.reduce(rows) + np.vecdot(left[whole:], right[whole:])


def _is_computed(array: Any) -> bool:
    is_array = isinstance(array, np.ndarray) and is_cuttable(array)
    return is_array and array.dtype.char in COMPUTED and array.size > 0 and array.ndim > 0


def _result_dtype(name: str, array: Array, dtype: DTypeLike | None) -> np.dtype[Any]:
    """Return the dtype of NumPy's own result, asked for one element."""
    element = array[(slice(1),) * array.ndim]
    result: np.dtype[Any] = CALLS[name](element, **_dtype_option(dtype)).dtype
    return result


def _dtype_option(dtype: DTypeLike | None) -> dict[str, Any]:
    return {} if dtype is None else {"dtype": dtype}


def _deliver(result: Array, array: Array, axes: tuple[int, ...], out: Array | None, keepdims: bool) -> Any:
    """Return the result in the shape asked for, in `out` if there is one; a number if no axis is left."""
    if keepdims:
        result = result.reshape([1 if axis in axes else length for axis, length in enumerate(array.shape)])
    if out is None:
        return result if result.ndim else result[()]
    if out.shape != result.shape:
        raise ValueError(f"out must have the shape {result.shape}, not {out.shape}")
    np.copyto(out, result, casting="same_kind")
    return out
