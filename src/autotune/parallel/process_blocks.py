"""A function on the blocks of an array, computed by several processes.

The calling process is one of them; the others are started for the call, by multiprocessing's start method,
and end with it. Each has its fixed share of the blocks: every workers-th one.
"""

import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext

import numpy as np

from autotune.errors import UnsupportedPlatform, UsageError
from autotune.model.configuration import Method
from autotune.parallel import thread_pool
from autotune.parallel.block_functions import check_out, check_shape, check_type
from autotune.parallel.copying_channels import Channel, channel_by
from autotune.parallel.forked_children import start
from autotune.parallel.operands import PLAIN_TYPES, Array, check_overlap, is_cuttable, read_only
from autotune.parallel.shared_array import SharedArray
from autotune.parallel.shared_memory import SHARING, Handle, attach, shared
from autotune.parallel.tiles import Grid, check_counts

Function = Callable[[Array], Array | None]


def process_map(
    function: Function, array: Array, out: Array | None = None, *, method: Method, workers: int, chunk: int
) -> Array:
    """`function(array)`, computed on blocks of about `chunk` elements by `workers` processes.

    The function takes a block, which it cannot write to, and returns one of the same shape; with `out=array` it may
    also change the block and return None. It must pickle unless processes are forked. `array` and `out` may be shared
    arrays, which then are not copied. Nested calls, and children of a daemonic process, compute alone.

    Raises UsageError for blocks of another shape or an `out` that overlaps without being `array`,
    UnsupportedPlatform for a method that the start method cannot serve, SharedMemoryError if there is too
    little room or a child is killed (`out` may be written in part). The function's exceptions carry a note
    that names the process and its traceback.
    """
    check_counts(workers, chunk)
    if out is not array:
        check_overlap((array,), (out,))
    if out is not None:
        check_out(out, array.shape)
    context = multiprocessing.get_context()
    grid = Grid(array.shape, range(array.ndim), chunk, workers)
    workers = min(workers, len(grid))
    alone = thread_pool.is_inside() or multiprocessing.current_process().daemon or not is_cuttable(array)
    if alone or workers == 1 or not array.size:
        return plain(function, array, out)
    if method is Method.INHERIT and not forks():
        raise UnsupportedPlatform("The method inherit needs children that are forked; choose another method.")
    shares = [range(worker, len(grid), workers) for worker in range(workers)]
    work = _map_shared if method in SHARING else _map_copied
    return work(function, array, out, method, grid, shares, context)


def forks() -> bool:
    """Are child processes forked, so that they inherit memory?"""
    return multiprocessing.get_start_method() == "fork"


def plain(function: Function, array: Array, out: Array | None = None) -> Array:
    """The same in this process, with the whole array as one block."""
    result = _answer(function, array, is_in_place=out is array)
    if out is None:
        return result
    check_out(out, array.shape)
    if result is not out:
        np.copyto(out, result, casting="same_kind")
    return out


def _answer(function: Function, block: Array, *, is_in_place: bool) -> Array:
    result = function(block)
    if result is None:
        if not is_in_place:
            raise UsageError(
                "The function returned None; that means it changed its block, and needs out=array."
            )
        return block
    check_shape(function, result, block.shape)
    if type(block) in PLAIN_TYPES:
        check_type(function, result)
    return result


def _map_shared(
    function: Function,
    array: Array,
    out: Array | None,
    method: Method,
    grid: Grid,
    shares: Sequence[range],
    context: BaseContext,
) -> Array:
    with ExitStack() as stack:
        source = (
            array if _is_open(array) else stack.enter_context(shared(array.shape, array.dtype, method=method))
        )
        if source is not array:
            np.copyto(source, array)
        first = None
        if out is None:
            first = np.asarray(_answer(function, read_only(source)[grid[0]], is_in_place=False))
        target: Array = source
        if out is not array:
            kind = out.dtype if out is not None else np.asarray(first).dtype
            target = out if out is not None and _is_open(out) else shared(array.shape, kind, method=method)
        handles = source.handle, target.handle  # type: ignore[attr-defined] # both are SharedArrays
        tasks = [(function, *handles, grid, share) for share in shares[1:]]
        with start(context, _share, tasks) as children:
            if first is not None:
                target[grid[0]] = first
            _do(function, source, target, grid, shares[0] if first is None else shares[0][1:])
            for child in children:
                child.receive()
        if out is None:
            return target.view(np.ndarray)
        if out is not target:
            np.copyto(out, target)
        return out


def _is_open(array: Array) -> bool:
    return isinstance(array, SharedArray) and array.handle is not None


def _do(function: Function, source: Array, target: Array, grid: Grid, share: Iterable[int]) -> None:
    is_in_place = source is target
    target = target.view(np.ndarray)
    source = target if is_in_place else read_only(source)
    for number in share:
        index = grid[number]
        block = source[index]
        result = _answer(function, block, is_in_place=is_in_place)
        if not (is_in_place and result is block):
            np.copyto(target[index], result, casting="same_kind")


def _share(
    connection: Connection,
    function: Function,
    source: Handle,
    target: Handle,
    grid: Grid,
    share: Sequence[int],
) -> None:
    """A child's part, on memory that it shares."""
    array = attach(source)
    _do(function, array, array if target == source else attach(target), grid, share)
    connection.send((None, None))


def _map_copied(
    function: Function,
    array: Array,
    out: Array | None,
    method: Method,
    grid: Grid,
    shares: Sequence[range],
    context: BaseContext,
) -> Array:
    is_in_place = out is array
    whole = array.view(np.ndarray) if is_in_place else read_only(array)
    result = out

    def put(number: int, block: Array) -> None:
        nonlocal result
        if result is None:
            result = np.empty(array.shape, block.dtype)
        np.copyto(result[grid[number]], block, casting="same_kind")

    with ExitStack() as stack:
        channels = [channel_by(method, context, stack) for _ in shares[1:]]
        given = [
            [whole[grid[n]] for n in share] if method is Method.ARGUMENT else None for share in shares[1:]
        ]
        tasks = [
            (function, is_in_place, channel, blocks) for channel, blocks in zip(channels, given, strict=True)
        ]
        children = stack.enter_context(start(context, _answer_all, tasks))
        lines = list(zip(children, channels, shares[1:], strict=True))
        for place in range(len(shares[0])):
            busy = [(child, channel, share[place]) for child, channel, share in lines if place < len(share)]
            if method is not Method.ARGUMENT:
                for child, channel, number in busy:
                    child.send((channel.there.pack(whole[grid[number]]),))
            mine = shares[0][place]
            put(mine, _answer(function, whole[grid[mine]], is_in_place=is_in_place))
            for child, channel, number in busy:
                put(number, channel.back.unpack(child.receive()))
        if method is not Method.ARGUMENT:
            for child in children:
                child.send(None)
    assert result is not None
    return result


def _answer_all(
    connection: Connection,
    function: Function,
    is_in_place: bool,
    channel: Channel,
    blocks: list[Array] | None,
) -> None:
    """A child's part, on blocks that are copied to it."""
    for block in _arriving(connection, channel) if blocks is None else blocks:
        result = _answer(function, block, is_in_place=is_in_place)
        connection.send((None, channel.back.pack(result)))


def _arriving(connection: Connection, channel: Channel) -> Iterator[Array]:
    """Blocks as they come, until the parent says that there are no more, or is gone."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    while connection in wait([connection, parent.sentinel]):
        message = connection.recv()
        if message is None:
            return
        yield channel.there.unpack(message[0])
