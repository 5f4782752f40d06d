"""A shape cut into blocks of about one chunk, outermost axis first."""

from collections.abc import Sequence
from math import gcd

WHOLE = slice(None)

LANES = 64
"""Blocks begin at multiples of so many elements where they can: NumPy's vector loops then meet the same
lanes, alignment and remainders as in one call over the whole array, so results are the same to the bit."""


class Grid:
    """A sequence of indices, each a tuple of slices; together they cover the shape once.

    `axes` lists the shape's axes from the outermost in memory to the innermost. One axis is cut into slices
    of about `chunk` elements, those inside it stay whole and those outside it are taken one by one. No
    block is larger than 1.5 chunks or smaller than half of one, unless the shape leaves no choice.
    """

    __slots__ = ("_axis", "_outer", "_parts", "_rows", "shape")

    def __init__(self, shape: Sequence[int], axes: Sequence[int], chunk: int) -> None:
        self.shape = tuple(shape)
        inner = 1
        place = len(axes)
        while place and inner * self.shape[axes[place - 1]] <= chunk:
            place -= 1
            inner *= self.shape[axes[place]]
        self._axis = axes[place - 1] if place else None
        self._outer = tuple(reversed(axes[: place - 1])) if place else ()
        if self._axis is None:
            self._rows, self._parts = 1, 1
        else:
            self._rows = _rows(max(1, chunk // inner), inner)
            self._parts = max(1, (self.shape[self._axis] + self._rows // 2) // self._rows)

    def __len__(self) -> int:
        count = self._parts
        for axis in self._outer:
            count *= self.shape[axis]
        return count

    def __getitem__(self, block: int) -> tuple[slice, ...]:
        index = [WHOLE] * len(self.shape)
        if self._axis is not None:
            block, part = divmod(block, self._parts)
            start = part * self._rows
            index[self._axis] = slice(start, start + self._rows if part + 1 < self._parts else None)
        for axis in self._outer:
            block, at = divmod(block, self.shape[axis])
            index[axis] = slice(at, at + 1)
        return tuple(index)


def _rows(rows: int, inner: int) -> int:
    step = LANES // gcd(LANES, inner)
    return rows - rows % step if rows >= step else rows
