"""The ways that copy an array into another process, and its results back."""

import multiprocessing
import queue
from contextlib import ExitStack, closing
from multiprocessing.context import BaseContext
from typing import Any, NamedTuple

from autotune.errors import SharedMemoryError
from autotune.model.configuration import Method
from autotune.parallel.operands import Array

QUEUE_SECONDS = 60.0
"""Seconds that an answer may travel through a queue after the child has announced it."""


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


class Channel(NamedTuple):
    """Channel of blocks to one child, and back."""

    there: _Pipe | _Queue | _Manager
    back: _Pipe | _Queue | _Manager


def channel_by(method: Method, context: BaseContext, stack: ExitStack) -> Channel:
    """Return the channel of a method that copies; what it needs lasts as long as the stack."""
    if method is Method.QUEUE:
        there, back = (stack.enter_context(closing(_Queue(context))) for _ in range(2))
        return Channel(there, back)
    if method is Method.MANAGER:
        manager = stack.enter_context(context.Manager())
        return Channel(_Manager(manager.dict()), _Manager(manager.dict()))
    return Channel(_Pipe(), _Pipe())
