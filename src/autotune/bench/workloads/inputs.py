"""Random inputs that cost less than a few calls of the work they are for."""

from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Array = NDArray[Any]
Inputs = tuple[Array, ...]

PERIOD = 65_521
"""Elements after which a large input repeats. A prime: no slice of an array begins where another one does."""


def uniform(rng: Generator, *shape: int, dtype: str, layout: str = "C") -> Array:
    """Independent numbers of mean 0 and variance 1, in memory order "C" or "F".

    Uniform ones, which take 2 ns each where normal ones take 10.
    """
    numbers = rng.random(shape if layout == "C" else shape[::-1], dtype=dtype)  # type: ignore[call-overload]
    numbers -= 0.5
    numbers *= 12**0.5
    return numbers if layout == "C" else numbers.T  # type: ignore[no-any-return]


def block(rng: Generator, n: int, dtype: str) -> Array:
    """Up to one period of numbers from 0.5 to 1.5, where every function of the catalogue is well behaved."""
    return rng.random(min(n, PERIOD), dtype=dtype) + np.dtype(dtype).type(0.5)  # type: ignore[call-overload,no-any-return]


def repeat_period(period: Array, n: int) -> Array:
    """An array of n elements that repeats a period; made at the speed of a copy."""
    array = np.empty(n, period.dtype)
    for start in range(0, n, len(period)):
        part = array[start : start + len(period)]
        part[...] = period[: len(part)]
    return array
