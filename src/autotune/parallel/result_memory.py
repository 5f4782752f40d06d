"""Memory for results, taken from earlier results that no variable refers to any more.

A fresh large array costs more in page faults than a simple ufunc costs in arithmetic (np.exp over 10 million float64:
24 ms into fresh memory, 12.5 ms into memory that is in use). So the memory of a dropped result is kept for the next
one, up to a limit. An array made here does not own its memory: it refers to a Lease, as do all its views, buffers and
slices; only when the last of them is gone is the Lease deleted and the memory free to be handed out.
"""

from functools import cache
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from autotune.host.memory_limit import usable_bytes

SMALLEST = 1 << 20
"""Bytes; below, the allocator itself reuses memory without giving it back to the system."""
LIMIT = 256 << 20
"""Bytes held at most."""
SHARE = 8
"""Nor more than this part of the memory that the process may use: in a small container, dropped results would be
missed elsewhere."""
WASTE = 1.25
"""A result may sit in memory that is so much larger than itself."""


class Lease:
    """Memory while any array refers to it."""

    __slots__ = ("__array_interface__", "__weakref__", "memory")

    def __init__(self, memory: NDArray[np.uint8]) -> None:
        self.memory = memory
        self.__array_interface__: dict[str, Any] = memory.__array_interface__

    def __del__(self) -> None:
        _held[id(self.memory)] = self.memory
        _trim()


_held: dict[int, NDArray[np.uint8]] = {}
"""By id, oldest first. Only single dict operations touch it: a Lease may be deleted by the garbage collector
in the middle of any of these functions, where a lock would wait for itself."""


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Return an uninitialised array in C order, like np.empty, from released memory where some fits."""
    kind = np.dtype(dtype)
    size = prod(shape) * kind.itemsize
    if not SMALLEST <= size <= _most():
        return np.empty(shape, kind)
    memory = _take(size)
    lease = Lease(np.empty(size, np.uint8) if memory is None else memory)
    return np.asarray(lease)[:size].view(kind).reshape(shape)


def held() -> int:
    """Return the bytes of released results that are kept for the next ones, in this process."""
    return sum(memory.nbytes for memory in list(_held.values()))


@cache
def _most() -> int:
    memory = usable_bytes()
    return LIMIT if memory is None else min(LIMIT, memory // SHARE)


def _take(size: int) -> NDArray[np.uint8] | None:
    for key, memory in list(_held.items()):
        if size <= memory.nbytes <= WASTE * size and _held.pop(key, None) is not None:
            return memory
    return None


def _trim() -> None:
    while held() > _most():
        try:
            del _held[next(iter(_held))]
        except (StopIteration, KeyError, RuntimeError):  # another thread took it meanwhile
            continue
