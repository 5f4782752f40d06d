"""A function on the blocks of an array, computed by several processes.

They are started for the call, by multiprocessing's start method, and end with it. Each has its fixed share of the
blocks: every workers-th one. The calling process hands out and collects; it never runs the function, which may use
OpenMP (and then a fork could hang), or end its process.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from typing import NamedTuple

import numpy as np

from autotune.errors import SharedMemoryError, UnsupportedPlatform, UsageError
from autotune.model.configuration import Method
from autotune.parallel import thread_pool
from autotune.parallel.block_functions import SAMPLE, check_out, check_shape, check_type, compare_sample, last_elements
from autotune.parallel.copying_channels import Channel, channel_by
from autotune.parallel.operands import PLAIN_TYPES, Array, check_overlap, is_cuttable, read_only
from autotune.parallel.shared_array import SharedArray
from autotune.parallel.shared_memory import (
    SHARING,
    Handle,
    Inherited,
    attach,
    check_memory,
    receive_handle,
    send_handle,
    shared,
)
from autotune.parallel.tiles import TileGrid, check_counts
from autotune.parallel.worker_processes import (
    NoChildren,
    Worker,
    may_have_children,
    receive_all,
    shortages_as_no_children,
    start,
    start_context,
)

BlockFunction = Callable[[Array], Array | None]


SENDABLE = (Method.SHARED_MEMORY, Method.MEMMAP, Method.MEMFD)
"""Methods whose arrays can be handed to a process that runs already."""
PROCESS_BYTES = 2**25
"""Memory of a process without arrays: a spawned one loads Python and NumPy anew, which take 30 MB."""
PIPE_CHUNK = 2**17
"""Elements that are on their way at most, to each process, where memory is too short to share the array."""


def process_map(
    function: BlockFunction,
    array: Array,
    out: Array | None = None,
    *,
    method: Method,
    workers: int,
    chunk: int,
    blas_threads: int | None = None,
    context: BaseContext | None = None,
) -> Array:
    """Compute `function(array)` on blocks of about `chunk` elements by `workers` processes.

    The function takes a block, which it cannot write to, and returns one of the same shape; with `out=array` it may
    also change the block and return None. It must pickle unless processes are forked. `array` and `out` may be shared
    arrays, which then are not copied. Nested calls, children of a daemonic process, and processes that a limit allows
    too few children compute alone, in this process. Where memory is too short for a shared copy of the array and of the
    result, or no shared memory can be made, blocks travel through pipes.
    `context` is multiprocessing's, with the start method; without it the program's own.

    Raises UsageError for blocks of another shape, for an `out` that overlaps without being `array`, or if a sample
    shows that the function does not work element by element; UnsupportedPlatform for a method that the start method
    cannot serve, SharedMemoryError if a child is killed (`out` may be written in part). The function's exceptions
    carry a note that names the process and its traceback.
    """
    check_counts(workers, chunk)
    if out is not array:
        check_overlap((array,), (out,))
    if out is not None:
        check_out(out, array.shape)
    if thread_pool.is_inside() or not may_have_children() or not is_cuttable(array) or not (array.ndim and array.size):
        return plain(function, array, out)
    context = context or start_context()
    if method is Method.INHERIT and context.get_start_method() != "fork":
        raise UnsupportedPlatform("The method inherit needs children that are forked; choose another method.")
    work = _Work(function, array, out, context, blas_threads)
    needed = min(workers * chunk, array.size) * array.itemsize + workers * PROCESS_BYTES
    try:
        if method in SHARING:
            with suppress(_NoSharedMemory):
                return _map_shared(work, method, needed, *_cut(array, chunk, workers))
            method, chunk = Method.PIPE, min(chunk, PIPE_CHUNK)
        return _map_copied(work, method, *_cut(array, chunk, workers))
    except NoChildren:
        return plain(function, array, out)


class _Work(NamedTuple):
    """A function to be computed on the blocks of an array, and the processes for it."""

    function: BlockFunction
    array: Array
    out: Array | None
    context: BaseContext
    blas_threads: int | None

    @property
    def is_in_place(self) -> bool:
        return self.out is self.array


class _NoSharedMemory(Exception):
    """No memory can be shared: too little is left, or a limit of files or a filter of system calls forbids it."""


def _cut(array: Array, chunk: int, workers: int) -> tuple[TileGrid, list[range]]:
    """Return the blocks of an array, and the numbers of those of each process."""
    grid = TileGrid(array.shape, range(array.ndim), chunk, workers)
    workers = min(workers, len(grid))
    return grid, [range(worker, len(grid), workers) for worker in range(workers)]


def forks() -> bool:
    """Are child processes forked, so that they inherit memory?"""
    return start_context().get_start_method() == "fork"


def plain(function: BlockFunction, array: Array, out: Array | None = None) -> Array:
    """Compute the same in this process, with the whole array as one block."""
    result = _answer(function, array, is_in_place=out is array)
    if out is None:
        return result.copy() if np.may_share_memory(result, array) else result
    check_out(out, array.shape)
    if result is not out:
        np.copyto(out, result, casting="same_kind")
    return out


def _answer(function: BlockFunction, block: Array, *, is_in_place: bool, is_sampled: bool = False) -> Array:
    """Call the function on a block. With `is_sampled`, raise UsageError if a part of the block gives other values."""
    index = last_elements(block.shape, range(block.ndim), SAMPLE) if is_sampled else ()
    sample = block[index].copy() if is_sampled else None
    result = function(block if is_in_place or type(block) not in PLAIN_TYPES else read_only(block))
    if result is None:
        if not is_in_place:
            raise UsageError("The function returned None; that means it changed its block, and needs out=array.")
        result = block
    check_shape(function, result, block.shape)
    if type(block) in PLAIN_TYPES:
        check_type(function, result)
    if sample is not None:
        compare_sample(function, _answer(function, sample, is_in_place=is_in_place), result, index)
    return result


def _map_shared(work: _Work, method: Method, needed: int, grid: TileGrid, shares: Sequence[range]) -> Array:
    with ExitStack() as stack:
        try:
            source, target = _shared_operands(stack, work, method, needed)
        except SharedMemoryError as error:
            raise _NoSharedMemory from error
        handles = (source.handle, None if target is None else target.handle)
        tasks = [(work.function, *handles, grid, share) for share in shares]
        with start(work.context, _compute_shared, tasks, work.blas_threads) as workers:
            if target is None:
                target = _make_target(source, workers, method)
            receive_all(workers)
        if work.out is None:
            return target.view(np.ndarray)
        if work.out is not target:
            np.copyto(work.out, target)
        return work.out


def _shared_operands(
    stack: ExitStack, work: _Work, method: Method, needed: int
) -> tuple[SharedArray, SharedArray | None]:
    """Return the array and `out`, if it is given, in memory that children can open.

    Raises SharedMemoryError if there is none for what is not shared yet, for the result and for `needed` bytes more.
    """

    def reachable(each: Array) -> SharedArray:
        if _is_shared(each, work.context):
            return each  # type: ignore[return-value] # as _is_shared looks at its type
        return stack.enter_context(shared(each.shape, each.dtype, method=method, for_strangers=False))

    array, out = work.array, work.out
    needed += 0 if _is_shared(array, work.context) else array.nbytes
    if out is None or not (work.is_in_place or _is_shared(out, work.context)):
        needed += (array if out is None else out).nbytes
    check_memory(needed, method)
    source = reachable(array)
    target = source if work.is_in_place else None if out is None else reachable(out)
    if source is not array:
        np.copyto(source, array)
    return source, target


def _make_target(array: Array, workers: Sequence[Worker], method: Method) -> SharedArray:
    """Make the memory of the result once the first blocks tell its dtype, and hand it to the processes."""
    dtype, *_ = receive_all(workers)
    way = method if method in SENDABLE else Method.MEMFD if hasattr(os, "memfd_create") else Method.SHARED_MEMORY
    try:
        target = shared(array.shape, dtype, method=way, for_strangers=False)
        for worker in workers:
            with suppress(ConnectionError):  # `receive` says that it has ended
                send_handle(target.handle, worker.connection)
    except TimeoutError:  # the program's own, of a handler of signals
        raise
    except OSError as error:  # too little room, or a filter of system calls that forbids sendmsg
        raise _NoSharedMemory from error
    return target


def _is_shared(array: Array, context: BaseContext) -> bool:
    """Can children open this array where it is?"""
    if not isinstance(array, SharedArray) or array.handle is None:
        return False
    return context.get_start_method() == "fork" or not isinstance(array.handle.place, Inherited)


def _compute_shared(
    connection: Connection,
    function: BlockFunction,
    source: Handle,
    target: Handle | None,
    grid: TileGrid,
    share: Iterable[int],
) -> None:
    """Do a child's part, on memory that it shares."""
    array = attach(source)
    is_in_place = target == source
    inputs = array.view(np.ndarray)
    outputs: Array | None = inputs if is_in_place else None if target is None else attach(target).view(np.ndarray)
    for number in share:
        index = grid[number]
        block = inputs[index]
        is_sampled = not number and len(grid) > 1
        result = _answer(function, block, is_in_place=is_in_place, is_sampled=is_sampled)
        if outputs is None:
            connection.send((None, np.asarray(result).dtype))
            outputs = _receive_target(connection).view(np.ndarray)
        if not (is_in_place and result is block):
            np.copyto(outputs[index], result, casting="same_kind")
    connection.send((None, None))


def _receive_target(connection: Connection) -> Array:
    try:
        return attach(receive_handle(connection))
    except TimeoutError:  # the program's own, of a handler of signals
        raise
    except OSError as error:  # a filter of system calls that forbids recvmsg
        raise _NoSharedMemory from error


def _map_copied(work: _Work, method: Method, grid: TileGrid, shares: Sequence[range]) -> Array:
    whole, result = work.array.view(np.ndarray), work.out
    by_argument = method is Method.ARGUMENT
    with ExitStack() as stack:
        with shortages_as_no_children():
            channels = [channel_by(method, work.context, stack) for _ in shares]
        tasks = []
        for channel, share in zip(channels, shares, strict=True):
            blocks = [whole[grid[number]] for number in share] if by_argument else None
            tasks.append((work.function, work.is_in_place, channel, blocks, not share[0] and len(grid) > 1))
        workers = stack.enter_context(start(work.context, _compute_copied, tasks, work.blas_threads))
        lines = list(zip(workers, channels, shares, strict=True))
        for place in range(len(shares[0])):
            busy = [(worker, channel, share[place]) for worker, channel, share in lines if place < len(share)]
            if not by_argument:
                for worker, channel, number in busy:
                    worker.send((channel.there.pack(whole[grid[number]]),))
            answers = receive_all([worker for worker, _, _ in busy])
            for (_, channel, number), answer in zip(busy, answers, strict=True):
                block = channel.back.unpack(answer)
                if result is None:
                    result = np.empty(whole.shape, block.dtype)
                np.copyto(result[grid[number]], block, casting="same_kind")
    assert result is not None
    return result


def _compute_copied(
    connection: Connection,
    function: BlockFunction,
    is_in_place: bool,
    channel: Channel,
    blocks: Sequence[Array] | None,
    has_first: bool,
) -> None:
    """Do a child's part, on blocks that are copied to it."""
    for block in _receive_blocks(connection, channel) if blocks is None else blocks:
        result = _answer(function, block, is_in_place=is_in_place, is_sampled=has_first)
        has_first = False
        connection.send((None, channel.back.pack(result)))


def _receive_blocks(connection: Connection, channel: Channel) -> Iterator[Array]:
    """Yield blocks as they come, until the parent has closed the connection."""
    while True:
        try:
            message = connection.recv()
        except (EOFError, ConnectionError):
            return
        yield channel.there.unpack(message[0])
