"""A shape cut into blocks of about one chunk, outermost axis first."""

from collections.abc import Sequence
from math import gcd

from autotune.errors import UsageError

WHOLE = slice(None)

LANES = 64
"""Blocks begin at multiples of this number of elements where they can: NumPy's vector loops then have the same
lanes, alignment and remainders as in one call over the whole array, so results are the same to the bit."""


class TileGrid:
    """A sequence of indices, each a tuple of slices; together they cover the shape once.

    `axes` lists the shape's axes from the outermost in memory to the innermost. One axis is cut into slices
    of about `chunk` elements, those inside it stay whole and those outside it are taken one by one. No
    block is larger than 1.5 chunks or smaller than half of one, unless the shape leaves no choice.

    For several `workers` the slices are equally long, and as many for each, unless steps of LANES are too coarse: of 10
    million elements in slices of 2**20 two workers would do 5.24 and 4.76 million, at best 1.91 times as fast as one.
    """

    __slots__ = ("_axis", "_outer", "_parts", "_rows", "shape")

    def __init__(self, shape: Sequence[int], axes: Sequence[int], chunk: int, workers: int = 1) -> None:
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
            rows = max(1, chunk // inner)
            self._rows, self._parts = _cut(self.shape[self._axis], rows, LANES // gcd(LANES, inner), workers)

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


def _cut(length: int, rows: int, step: int, workers: int) -> tuple[int, int]:
    """Return length and number of the slices of an axis; whole steps if a slice holds one."""
    step = step if rows >= step else 1
    rows -= rows % step
    parts = max(1, (length + rows // 2) // rows)
    if not 1 < workers <= parts:
        return rows, parts
    as_many = -(-parts // workers) * workers
    even = -(-length // as_many)
    even += -even % step
    last = length - (as_many - 1) * even
    return (even, as_many) if 2 * last >= rows else (rows, parts)


def check_counts(workers: int, chunk: int) -> None:
    """Raise UsageError for less than one worker, or blocks of less than one element."""
    if workers < 1 or chunk < 1:
        raise UsageError(f"workers and chunk must be at least 1, not {workers} and {chunk}.")
