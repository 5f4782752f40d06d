"""Temporaries that a worker uses again for every block."""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


class Scratch:
    """Scratch memory that a function called with `scratch=True` gets as its keyword argument `scratch`.

    `scratch()`, `scratch(1)`, ... are uninitialised temporaries of the block's shape, each number another one; they
    stay in the cache since the next block gets the same memory. `scratch.out` is where the result may be written
    (`np.sqrt(t, out=scratch.out)`); a function that returns it, or None, saves a copy. One worker, one Scratch.
    """

    out: NDArray[Any]

    def __init__(self, dtype: DTypeLike, axes: Sequence[int]) -> None:
        self._dtype = np.dtype(dtype)
        self._axes = tuple(axes)
        self._inverse = tuple(np.argsort(self._axes))
        self._shape: tuple[int, ...] = ()
        self._memory: dict[tuple[object, np.dtype[Any]], NDArray[Any]] = {}
        self._arrays: dict[tuple[object, np.dtype[Any]], NDArray[Any]] = {}

    def __call__(self, number: object = 0, dtype: DTypeLike | None = None) -> NDArray[Any]:
        """Return the temporary of this number, of the result's dtype unless another is named."""
        key = number, self._dtype if dtype is None else np.dtype(dtype)
        array = self._arrays.get(key)
        if array is None:
            array = self._arrays[key] = self._make(key)
        return array

    def begin(self, shape: tuple[int, ...], out: NDArray[Any] | None) -> None:
        """Turn to a block of this shape. Without `out`, as when it is an input, a temporary takes its place."""
        if shape != self._shape:
            self._shape = shape
            self._arrays.clear()
        self.out = self("out") if out is None else out

    def _make(self, key: tuple[object, np.dtype[Any]]) -> NDArray[Any]:
        size = prod(self._shape)
        memory = self._memory.get(key)
        if memory is None or memory.size < size:
            memory = self._memory[key] = np.empty(size, key[1])
        return memory[:size].reshape([self._shape[axis] for axis in self._axes]).transpose(self._inverse)
