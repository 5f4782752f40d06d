"""Arrays for several processes, by the method and the number of processes that were measured."""

import sys
from collections.abc import Callable
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from autotune.errors import UsageError
from autotune.model.configuration import DEFAULT, Method
from autotune.model.constraints import LARGEST_SIZE
from autotune.parallel import process_blocks, shared_memory
from autotune.parallel.operands import Shape, as_outs, shape_of
from autotune.parallel.shared_array import SharedArray
from autotune.parallel.shared_memory import Handle
from autotune.parallel.worker_processes import has_semaphores
from autotune.runtime.lookup_configuration import config, unmeasured_workers

if TYPE_CHECKING:
    from autotune.model.configuration import Configuration

DEFAULT_METHOD = Method.MEMFD if sys.platform.startswith("linux") else Method.SHARED_MEMORY
"""Method if nothing was measured. All that share pages are equally fast within noise; a memfd needs no room in
/dev/shm and cannot be left behind."""


def shared(
    shape: int | tuple[int, ...], dtype: DTypeLike = np.float64, *, method: Method | str | None = None
) -> SharedArray:
    """Make an array of zeros that other processes can open, closed at the end of a `with`.

    Parameters
    ----------
    shape : int or tuple of int
        Shape in elements.
    dtype : dtype
        That of the elements.
    method : Method or str, optional
        By default the one that the profile found best.

    Returns
    -------
    SharedArray
        A context manager whose value is the array. Its `handle` pickles; `attach(handle)` opens it in another
        process. After the `with` every use of the array is an error.

    Raises
    ------
    SharedMemoryError
        If there is too little room, before anything is written.
    UsageError
        For an unknown method, or one that copies.

    Notes
    -----
    Scope of effect: memory of the machine, until the owner closes the array or ends. On Linux nothing is left in
    /dev/shm when owner and users have ended (see `autotune.parallel.shared_memory` for the rest).

    Examples
    --------
    >>> import autotune
    >>> with autotune.shared((2, 2)) as array:
    ...     array += 1
    ...     print(array.sum())
    4.0

    """
    sizes = shape_of(shape)
    return shared_memory.shared(
        sizes, dtype, method=_sharing_method(sizes, dtype) if method is None else _method(method)
    )


def attach(handle: Handle) -> SharedArray:
    """Open the array behind a handle in this process. Closing or dropping it leaves the others' arrays intact.

    Parameters
    ----------
    handle : Handle
        The attribute `handle` of a shared array; it pickles.

    Returns
    -------
    SharedArray
        A context manager whose value is the array.

    Raises
    ------
    SharedMemoryError
        If the owner has closed the array or ended, or if this process is no child of its owner and the method is one
        that only children can use.

    Examples
    --------
    >>> import autotune
    >>> with autotune.shared(3) as array:
    ...     other = autotune.attach(array.handle)
    ...     array[0] = 1
    ...     print(other[0])
    ...     other.close()
    1.0

    """
    return shared_memory.attach(handle)


def process_map(
    function: Callable[[NDArray[Any]], NDArray[Any] | None], array: ArrayLike, out: NDArray[Any] | None = None
) -> NDArray[Any]:
    """Compute `function(array)` on blocks by several processes.

    Parameters
    ----------
    function : callable
        Works element by element, since the array may be cut along any axis: it takes a block, which it cannot write
        to, and returns one of its shape. With `out=array` it may change the block and return None. It must pickle
        (be defined at the top of a module) unless processes are forked.
    array : array_like
        The input. One that is empty, masked or holds objects is worked on in this process.
    out : ndarray, optional
        Where the results go.

    Returns
    -------
    ndarray
        The results.

    Raises
    ------
    UsageError
        If the function returns another shape, or if a sample of the first block shows that it does not work element by
        element.
    SharedMemoryError
        If a process is killed, with `out` perhaps written in part.
    Exception
        Those of the function, with a note that names the process.

    Notes
    -----
    The number of processes, and the way by which they get the array, are those measured to be fastest; without an
    entry one process for each usable CPU maps the array's memory. Processes are for functions that hold the GIL;
    NumPy's own need `map_blocks` only. Each process has the BLAS threads that the usable CPUs leave for it, and none
    of the caller's threads and locks. Where there can be no children (a daemonic process, a task of autotune's, a limit
    of processes or descriptors) the function is called in this process. Where memory is too short for shared copies,
    blocks are sent through pipes.

    Scope of effect: this call, whose processes end with it, or with the process that made it; the program's start
    method of multiprocessing is neither changed nor fixed.

    Examples
    --------
    >>> import numpy as np
    >>> import autotune
    >>> autotune.process_map(np.negative, np.array([1.0, 2.0]))
    array([-1., -2.])

    """
    as_outs(out)
    if not isinstance(array, np.ndarray):
        array = np.asarray(array)
    chosen = _choice(array.size, array.dtype) or DEFAULT
    method = chosen.method or DEFAULT_METHOD
    if (method is Method.INHERIT and not process_blocks.forks()) or (method is Method.QUEUE and not has_semaphores()):
        method = DEFAULT_METHOD
    most, _ = unmeasured_workers()
    workers = chosen.workers or most
    return process_blocks.process_map(
        function,
        array,
        out,
        method=method,
        workers=workers,
        chunk=chosen.chunk or max(1, -(-array.size // workers)),
        blas_threads=max(1, most // workers),
    )


def _sharing_method(shape: Shape, dtype: DTypeLike) -> Method:
    chosen = _choice(prod(shape), dtype)
    method = None if chosen is None else chosen.method
    return method if method in shared_memory.SHARING and method is not None else DEFAULT_METHOD


def _choice(size: int, dtype: DTypeLike) -> "Configuration | None":
    return config("share", dtype=np.dtype(dtype), n=size) if 0 < size <= LARGEST_SIZE else None


def _method(name: Method | str) -> Method:
    try:
        return Method(name)
    except ValueError:
        raise UsageError(f"There is no method {name!r}; it is one of {', '.join(shared_memory.SHARING)}.") from None
