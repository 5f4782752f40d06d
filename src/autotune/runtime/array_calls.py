"""Work on large arrays by the measured workers and chunk; plain NumPy where nothing was measured."""

from collections.abc import Callable
from math import prod
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from numpy.typing import DTypeLike, NDArray

from autotune.model.catalogue import CATALOGUE, Family, row_of
from autotune.model.configuration import DEFAULT
from autotune.parallel import blocks, random_streams, reductions
from autotune.parallel.operands import as_outs, check_overlap, common_shape, shape_of
from autotune.runtime.lookup_configuration import config

if TYPE_CHECKING:
    from autotune.model.configuration import Configuration, Placement

SMALL = 10_000
"""Elements up to which NumPy is called at once: two threads were slower for every ufunc (add 30 times, sin 3)."""
SCRATCH_CHUNK = 32_768
"""Elements in a block of a function with scratch, while nothing is measured: the temporaries of an expression then stay
in the cache, which alone made it 2 to 3 times as fast for 100 thousand to 10 million elements."""
WHOLE = 2**62
"""Elements in a block that is not cut."""
CHUNKS_A_WORKER = 4
"""Chunks for each worker if a profile names workers only: 2 to 8 were best, 64 always lost."""
UNMEASURED = frozenset({"any", "all"})
"""Reductions that no row of the catalogue stands for: they may end at their first elements."""
NAMES = {"positive": "copy"}
"""Functions whose row of the catalogue has another name."""


class _CutKeywords(TypedDict):
    """Keywords by which `autotune.parallel` cuts work."""

    workers: int
    chunk: int
    placement: "Placement | None"


def map_blocks(
    function: Callable[..., Any],
    *arrays: Any,
    out: Any = None,
    dtype: DTypeLike | None = None,
    rows: bool = False,
    scratch: bool = False,
    operation: str | None = None,
) -> Any:
    """Compute `function(*arrays)` block by block with the measured number of workers.

    Parameters
    ----------
    function : callable
        Works element by element: a ufunc, or any function that takes blocks of the arrays, which it must not write
        to, and returns an array of their shape, or a tuple of them.
    *arrays : array_like
        May be broadcast, empty, of any strides. Subclasses, masked arrays, objects, records and strings get the
        plain call.
    out : ndarray or tuple of ndarray, optional
        Where results go; one of the arrays may be used.
    dtype : dtype, optional
        That of the results, as for a ufunc.
    rows : bool
        The function works along the first axis, in which all arrays have one length.
    scratch : bool
        Pass a keyword argument `scratch` with memory for intermediate results (`autotune.parallel.scratch.Scratch`).
    operation : str, optional
        The entry of the profile. By default the ufunc's own, "stack_inv" and the like for stacks of square matrices,
        "expression" with `scratch`.

    Returns
    -------
    ndarray or tuple of ndarray
        Results of ufuncs are the plain call's, to the bit. Their memory may be that of earlier results that no variable
        refers to any more (`autotune.parallel.result_memory` says how much is held).

    Raises
    ------
    UsageError
        If `out` overlaps an input without being it, or if a sample of the first block shows that the function does not
        work element by element.
    Exception
        Those of the function, with a note that names the block.

    Notes
    -----
    Scope of effect: this call, on threads that the process keeps for later ones; BLAS threads stay as they are.
    Without an entry for this size and dtype the function is called at once (with `scratch`, the calling thread works
    block by block); the errors are the same.

    Examples
    --------
    >>> import numpy as np
    >>> import autotune
    >>> autotune.map_blocks(np.sqrt, np.array([1.0, 4.0, 9.0]))
    array([1., 2., 3.])
    >>> stack = np.stack([np.eye(2), 2 * np.eye(2)])
    >>> autotune.map_blocks(np.linalg.det, stack, rows=True)
    array([1., 4.])
    >>> def norm(x, y, *, scratch):
    ...     squares = np.multiply(x, x, out=scratch(0))
    ...     squares += np.multiply(y, y, out=scratch(1))
    ...     return np.sqrt(squares, out=scratch.out)
    >>> autotune.map_blocks(norm, np.array([3.0]), np.array([4.0]), scratch=True)
    array([5.])

    """
    if dtype is None and isinstance(function, np.ufunc) and not (rows or scratch) and _is_small(arrays, out):
        return function(*arrays) if out is None else function(*arrays, out=out)
    if operation is None:
        operation = _operation(function, arrays, rows=rows, scratch=scratch)
    chosen = None if operation is None else _choice(operation, arrays, out, rows=rows)
    if chosen is not None and (chosen.workers is not None or chosen.chunk is not None):
        cut = _cut(chosen, max(map(len, filter(np.ndim, arrays)), default=0) if rows else _size(arrays))
    elif operation is not None and (rows or not isinstance(function, np.ufunc) or function.signature is not None):
        # what may have an entry some day is checked now: a profile changes the speed only
        cut = _CutKeywords(workers=1, chunk=SCRATCH_CHUNK if scratch else WHOLE, placement=None)
    else:
        check_overlap(arrays, as_outs(out))
        return blocks.plain(function, arrays, out, dtype=dtype)
    return blocks.map_blocks(function, arrays, out, dtype=dtype, rows=rows, scratch=scratch, **cut)


def reduce_blocks(
    function: Callable[..., Any],
    *arrays: Any,
    axis: int | tuple[int, ...] | None = None,
    dtype: DTypeLike | None = None,
    out: NDArray[Any] | None = None,
    keepdims: bool = False,
) -> Any:
    """Compute np.sum, prod, min, max, mean, var, std, any, all or dot with the measured number of workers.

    Parameters
    ----------
    function : callable
        NumPy's function, or the ufunc whose `reduce` it is (np.add, np.maximum, ...).
    *arrays : array_like
        One array; two for np.dot.
    axis, dtype, out, keepdims
        As for NumPy's function.

    Returns
    -------
    scalar or ndarray
        The reduction.

    Raises
    ------
    UsageError
        For any other function.

    Notes
    -----
    Blocks of 65,536 elements are combined in a fixed tree, also without an entry: the result depends on the array
    alone, not on profile or machine. Integers, min, max, any, all, and reductions of 65,536 or fewer elements to
    one, are NumPy's; other sums are as accurate as NumPy's pairwise ones, or more. Scope of effect: this call.

    Examples
    --------
    >>> import numpy as np
    >>> import autotune
    >>> float(autotune.reduce_blocks(np.add, np.ones(100_000)))
    100000.0

    """
    name = reductions.name_of(function)
    as_outs(out)
    first = arrays[0] if arrays else None
    cut = _CutKeywords(workers=1, chunk=np.iinfo(np.int64).max, placement=None)
    if type(first) is np.ndarray and first.size <= reductions.BLOCK and dtype is None and len(arrays) == 1:
        return reductions.CALLS[name](first, axis=axis, out=out, keepdims=keepdims)
    if isinstance(first, np.ndarray) and first.size > reductions.BLOCK and name not in UNMEASURED:
        chosen = config("sum" if name == "dot" else name, dtype=first.dtype, n=first.size)
        if chosen is not None and chosen.workers is not None:
            cut = _cut(chosen, first.size)
    return reductions.reduce_blocks(function, arrays, axis=axis, dtype=dtype, out=out, keepdims=keepdims, **cut)


def fill(array: NDArray[Any], value: Any) -> None:
    """Assign `array[...] = value` with the measured number of workers.

    Parameters
    ----------
    array : ndarray
        The array to be filled.
    value : number or array_like
        Broadcasts to the array.

    Raises
    ------
    TypeError
        For an `array` that is none: a copy of it would be changed, and lost.

    Notes
    -----
    Scope of effect: this call. Without an entry it is the assignment itself.

    Examples
    --------
    >>> import numpy as np
    >>> import autotune
    >>> y = np.empty(3)
    >>> autotune.fill(y, 0.5)
    >>> y
    array([0.5, 0.5, 0.5])

    """
    if not hasattr(array, "dtype"):
        raise TypeError(f"fill() writes into an array, not into {type(array).__name__}.")
    chosen = None
    if array.size > SMALL:
        chosen = config("copy" if np.ndim(value) else "fill", dtype=array.dtype, n=array.size)
    if chosen is None or chosen.workers is None:
        check_overlap((value,), (array,))
        array[...] = value
    else:
        blocks.fill(array, value, **_cut(chosen, array.size))


def random(
    shape: int | tuple[int, ...],
    /,
    method: str = "standard_normal",
    dtype: DTypeLike = np.float64,
    seed: random_streams.Seed = None,
    *,
    out: NDArray[Any] | None = None,
    **parameters: Any,
) -> NDArray[Any]:
    """Draw random numbers by a method of numpy.random.Generator with the measured number of workers.

    Parameters
    ----------
    shape : int or tuple of int
        Shape in elements.
    method : str
        A method whose numbers are independent, such as "standard_normal", "random", "normal", "exponential".
    dtype : dtype
        That of the numbers.
    seed : int, sequence of int or SeedSequence, optional
        Gives the same numbers on every machine and with every profile (not those of `default_rng(seed)`). Without a
        seed every call gives others.
    out : ndarray, optional
        An array in C order to be filled; its shape and dtype count then.
    **parameters : number
        The method's own, such as loc and scale.

    Returns
    -------
    ndarray
        The numbers.

    Raises
    ------
    UsageError
        For a method whose numbers depend on each other (shuffle, choice, ...).

    Notes
    -----
    Every block of 65,536 elements has its own stream, hashed from the seed and its number. Scope of effect: this
    call; no generator of NumPy's is touched.

    Examples
    --------
    >>> import autotune
    >>> x = autotune.random(1000, "normal", seed=1, loc=3, scale=0.5)
    >>> bool((x == autotune.random(1000, "normal", seed=1, loc=3, scale=0.5)).all())
    True

    """
    (out,) = as_outs(out)
    if out is not None:
        shape, dtype = out.shape, out.dtype
    count = prod(shape_of(shape))
    chosen = (config("random", dtype=np.dtype(dtype), n=count) if count > random_streams.BLOCK else None) or DEFAULT
    return random_streams.random(shape, method, dtype, seed, parameters, out=out, **_cut(chosen, count))


def _is_small(arrays: tuple[Any, ...], out: Any) -> bool:
    """Are these arrays of one shape, not worth a look at the profile? Finding out costs less than 1 us."""
    for array in arrays:
        if type(array) is not np.ndarray or array.size > SMALL or array.shape != arrays[0].shape:
            return False
        if out is not None and out is not array and (isinstance(out, tuple) or np.may_share_memory(out, array)):
            return False
    return True


def _operation(function: Callable[..., Any], arrays: tuple[Any, ...], *, rows: bool, scratch: bool) -> str | None:
    """Return the catalogue's name for this work; None if it has none."""
    if scratch:
        return "expression"
    name = getattr(function, "__name__", "")
    if rows:
        shape: tuple[int, ...] = getattr(arrays[0], "shape", ()) if arrays else ()
        is_stack = len(shape) == 3 and shape[1] == shape[2]
        return f"stack_{name}" if is_stack and f"stack_{name}" in CATALOGUE else None
    row = row_of(NAMES.get(name, name))
    if row is None or row.family is not Family.ELEMENTWISE or not isinstance(function, np.ufunc):
        return None
    return row.name


def _choice(operation: str, arrays: tuple[Any, ...], out: Any, *, rows: bool) -> "Configuration | None":
    """Return the configuration measured for these arrays; None unless they, and an `out`, share one dtype."""
    operands = [array for array in (*arrays, *as_outs(out)) if isinstance(array, np.ndarray)]
    if not operands or any(array.dtype != operands[0].dtype for array in operands):
        return None
    row = row_of(operation)
    if row is not None and row.family is Family.STACK:
        shape: tuple[int, ...] = operands[0].shape
        sizes = {"n": shape[-1], "count": shape[0]} if len(shape) == 3 else {}
    else:
        # arrays that have their rows alone in common do not broadcast
        sizes = {"n": max(map(np.size, arrays)) if rows else _size(arrays)}
    if not sizes or not all(sizes.values()):
        return None
    return config(operation, dtype=operands[0].dtype, **sizes)


def _size(arrays: tuple[Any, ...]) -> int:
    return int(np.prod(common_shape(arrays)))


def _cut(chosen: "Configuration", size: int) -> _CutKeywords:
    """Return how work on `size` elements, or matrices of a stack, is cut."""
    workers = chosen.workers or 1
    chunk = chosen.chunk or max(1, size // (CHUNKS_A_WORKER * workers))
    return _CutKeywords(workers=workers, chunk=chunk, placement=chosen.placement)
