"""A function on the blocks of an array, computed by several processes.

The calling process is one of them; the others are started for the call, by multiprocessing's start method,
and end with it. Each has its fixed share of the blocks: every workers-th one.
"""

import multiprocessing
import queue
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from autotune.controls import pool
from autotune.controls.functions import check_out, check_shape
from autotune.controls.grid import Grid
from autotune.controls.operands import check_overlap, is_cuttable
from autotune.controls.shared_array import SharedArray
from autotune.controls.sharing import SHARING, Handle, attach, shared
from autotune.errors import SharedMemoryError, UnsupportedPlatform, UsageError
from autotune.model.configuration import Method

Array = NDArray[Any]
Function = Callable[[Array], Array | None]

QUEUE_SECONDS = 60.0
"""How long an answer may be on its way through a queue after the child has said that it is there."""


def process_map(
    function: Function, array: Array, out: Array | None = None, *, method: Method, workers: int, chunk: int
) -> Array:
    """`function(array)`, computed on blocks of about `chunk` elements by `workers` processes.

    The function takes a block and returns one of the same shape; with `out=array` it may also change the
    block and return None. It must pickle unless processes are forked. `array` and `out` may be shared
    arrays, which then are not copied. Nested calls, and children of a daemonic process, compute alone.

    Raises UsageError for blocks of another shape or an `out` that overlaps without being `array`,
    UnsupportedPlatform for a method that the start method cannot serve, SharedMemoryError if there is too
    little room or a child is killed (`out` may be written in part). The function's exceptions carry a note
    that names the process and its traceback.
    """
    if workers < 1 or chunk < 1:
        raise UsageError(f"workers and chunk must be at least 1, not {workers} and {chunk}.")
    if out is not array:
        check_overlap((array,), (out,))
    if out is not None:
        check_out(out, array.shape)
    context = multiprocessing.get_context()
    grid = Grid(array.shape, range(array.ndim), chunk)
    workers = min(workers, len(grid))
    alone = pool.is_inside() or multiprocessing.current_process().daemon or not is_cuttable(array)
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
            first = np.asarray(_answer(function, source[grid[0]], is_in_place=False))
        target: Array = source
        if out is not array:
            kind = out.dtype if out is not None else np.asarray(first).dtype
            target = out if out is not None and _is_open(out) else shared(array.shape, kind, method=method)
        handles = source.handle, target.handle  # type: ignore[attr-defined] # both are SharedArrays
        tasks = [(function, *handles, grid, share) for share in shares[1:]]
        with _children(context, _share, tasks) as children:
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
    source, is_in_place = source.view(np.ndarray), source is target
    target = source if is_in_place else target.view(np.ndarray)
    for number in share:
        index = grid[number]
        block = source[index]
        result = _answer(function, block, is_in_place=is_in_place)
        if result is not block:
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
    whole = array.view(np.ndarray)
    is_in_place = out is array
    result = out

    def put(number: int, block: Array) -> None:
        nonlocal result
        if result is None:
            result = np.empty(array.shape, block.dtype)
        np.copyto(result[grid[number]], block, casting="same_kind")

    with ExitStack() as stack:
        channels = [_channel(method, context, stack) for _ in shares[1:]]
        given = [
            [whole[grid[n]] for n in share] if method is Method.ARGUMENT else None for share in shares[1:]
        ]
        tasks = [
            (function, is_in_place, channel, blocks) for channel, blocks in zip(channels, given, strict=True)
        ]
        children = stack.enter_context(_children(context, _answer_all, tasks))
        lines = list(zip(children, channels, shares[1:], strict=True))
        for place in range(len(shares[0])):
            busy = [(child, channel, share[place]) for child, channel, share in lines if place < len(share)]
            if method is not Method.ARGUMENT:
                for child, channel, number in busy:
                    child.connection.send((channel.there.pack(whole[grid[number]]),))
            mine = shares[0][place]
            put(mine, _answer(function, whole[grid[mine]], is_in_place=is_in_place))
            for child, channel, number in busy:
                put(number, channel.back.unpack(child.receive()))
        if method is not Method.ARGUMENT:
            for child in children:
                child.connection.send(None)
    assert result is not None
    return result


class _Pipe:
    """A block travels in the message itself."""

    def pack(self, block: Array) -> Any:
        return block

    def unpack(self, message: Any) -> Array:
        return message  # type: ignore[no-any-return]


class _Queue:
    """A block travels through a queue; the message says that one is there."""

    def __init__(self, context: BaseContext) -> None:
        self._queue: multiprocessing.Queue[Array] = context.Queue()
        self._queue.cancel_join_thread()  # a block for a dead child must not hold up the end of this program

    def close(self) -> None:
        self._queue.close()

    def pack(self, block: Array) -> Any:
        self._queue.put(block)

    def unpack(self, message: Any) -> Array:
        del message
        try:
            return self._queue.get(timeout=QUEUE_SECONDS)
        except queue.Empty:
            raise SharedMemoryError("A block was lost on its way through a queue.") from None


class _Manager:
    """A block waits in a dictionary of a manager process; the message is its key."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def pack(self, block: Array) -> Any:
        key = f"{multiprocessing.current_process().name} {id(block)}"
        self._store[key] = block
        return key

    def unpack(self, message: Any) -> Array:
        return self._store.pop(message)  # type: ignore[no-any-return]


class _Channel(NamedTuple):
    """How blocks travel to one child, and back."""

    there: _Pipe | _Queue | _Manager
    back: _Pipe | _Queue | _Manager


def _channel(method: Method, context: BaseContext, stack: ExitStack) -> _Channel:
    if method is Method.QUEUE:
        there, back = (stack.enter_context(closing(_Queue(context))) for _ in range(2))
        return _Channel(there, back)
    if method is Method.MANAGER:
        manager = stack.enter_context(context.Manager())
        return _Channel(_Manager(manager.dict()), _Manager(manager.dict()))
    return _Channel(_Pipe(), _Pipe())


def _answer_all(
    connection: Connection,
    function: Function,
    is_in_place: bool,
    channel: _Channel,
    blocks: list[Array] | None,
) -> None:
    """A child's part, on blocks that are copied to it."""
    for block in _arriving(connection, channel) if blocks is None else blocks:
        result = _answer(function, block, is_in_place=is_in_place)
        connection.send((None, channel.back.pack(result)))


def _arriving(connection: Connection, channel: _Channel) -> Iterator[Array]:
    """Blocks as they come, until the parent says that there are no more, or is gone."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    while connection in wait([connection, parent.sentinel]):
        message = connection.recv()
        if message is None:
            return
        yield channel.there.unpack(message[0])


class _Child(NamedTuple):
    """A process at work, and the line to it."""

    process: BaseProcess
    connection: Connection

    def receive(self) -> Any:
        """Its next answer. Raises what the function raised there, or SharedMemoryError if it ended early."""
        try:
            error, answer = self.connection.recv()
        except EOFError:
            self.process.join()
            raise SharedMemoryError(
                f"A worker process ended with code {self.process.exitcode} (negative: by that signal) before "
                "its work was done; the result may be written in part."
            ) from None
        if error is not None:
            raise error
        return answer


@contextmanager
def _children(
    context: BaseContext, work: Callable[..., None], tasks: Sequence[tuple[Any, ...]]
) -> Iterator[list[_Child]]:
    """Processes that do `work(connection, *task)`; ended at once if anything goes wrong here."""
    children: list[_Child] = []
    try:
        for task in tasks:
            here, there = context.Pipe()
            process = context.Process(target=_run, args=(there, work, task), daemon=True)  # type: ignore[attr-defined]
            process.start()
            there.close()
            children.append(_Child(process, here))
        yield children
    except BaseException:
        for child in children:
            child.process.terminate()
        raise
    finally:
        for child in children:
            child.connection.close()
            child.process.join()
            child.process.close()


def _run(connection: Connection, work: Callable[..., None], task: tuple[Any, ...]) -> None:
    pool.enter()
    try:
        work(connection, *task)
    except BrokenPipeError:
        return  # the parent is gone, or wants no more
    except BaseException as error:  # noqa: BLE001 - raised again in the parent, whatever it is
        connection.send((_portable(error), None))


def _portable(error: BaseException) -> BaseException:
    """The error with its traceback as a note; in words, if it does not pickle."""
    import pickle

    text = "".join(traceback.format_exception(error))
    try:
        copy: BaseException = pickle.loads(pickle.dumps(error))  # noqa: S301 - made in the same line
    except Exception:  # noqa: BLE001 - pickling runs the exception's own code
        copy = RuntimeError(f"{type(error).__name__}: {error}")
    copy.add_note(f"Raised in process {multiprocessing.current_process().name}:\n{text}")
    return copy
