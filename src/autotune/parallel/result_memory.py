"""Memory for results, taken from earlier results that no variable refers to any more.

A fresh large array costs more in page faults than a simple ufunc costs in arithmetic (np.exp over 10 million float64:
24 ms into fresh memory, 12.5 ms into memory that is in use). So the memory of a dropped result is kept for the next
one, up to a limit. An array made here does not own its memory: it refers to a Lease, as do all its views, buffers and
slices; only when the last of them is gone is the Lease deleted and the memory free to be handed out.
"""

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

    __slots__ = ("__array_interface__", "__weakref__", "memory", "owner")

    def __init__(self, memory: NDArray[np.uint8], owner: "KeptMemory") -> None:
        self.memory = memory
        self.owner = owner
        self.__array_interface__: dict[str, Any] = memory.__array_interface__

    def __del__(self) -> None:
        self.owner.keep(self.memory)


class KeptMemory:
    """Memory of dropped results, up to a limit.

    Only single dict operations touch it: a Lease may be deleted by the garbage collector in the middle of any of these
    methods, where a lock would wait for itself.
    """

    def __init__(self, most: int | None = None) -> None:
        """Keep at most `most` bytes; None: as many as suit the memory that this process may use."""
        self._most = most
        self._by_id: dict[int, NDArray[np.uint8]] = {}
        """Oldest first."""

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return an uninitialised array in C order, like np.empty, from released memory where some fits."""
        kind = np.dtype(dtype)
        size = prod(shape) * kind.itemsize
        if not SMALLEST <= size <= self._limit():
            return np.empty(shape, kind)
        memory = self._take(size)
        lease = Lease(np.empty(size, np.uint8) if memory is None else memory, self)
        return np.asarray(lease)[:size].view(kind).reshape(shape)

    def total_bytes(self) -> int:
        """Return the bytes of released results that are kept for the next ones."""
        return sum(memory.nbytes for memory in list(self._by_id.values()))

    def keep(self, memory: NDArray[np.uint8]) -> None:
        """Keep this memory, and no more than the limit."""
        self._by_id[id(memory)] = memory
        while self.total_bytes() > self._limit():
            try:
                del self._by_id[next(iter(self._by_id))]
            except (StopIteration, KeyError, RuntimeError):  # another thread took it meanwhile
                continue

    def _limit(self) -> int:
        if self._most is None:
            self._most = most_bytes(usable_bytes())
        return self._most

    def _take(self, size: int) -> NDArray[np.uint8] | None:
        for key, memory in list(self._by_id.items()):
            if size <= memory.nbytes <= WASTE * size and self._by_id.pop(key, None) is not None:
                return memory
        return None


def most_bytes(usable: int | None) -> int:
    """Return the most bytes to keep where a process may use `usable` bytes; None: unknown."""
    return LIMIT if usable is None else min(LIMIT, usable // SHARE)


_kept = KeptMemory()

empty = _kept.empty
kept_bytes = _kept.total_bytes
