"""Random inputs that cost less than a few calls of the work they are for."""

from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Array = NDArray[Any]
Inputs = tuple[Array, ...]

PARTS = {"complex64": "float32", "complex128": "float64"}
"""Dtypes of the parts of complex numbers."""
PERIOD = 65_521
"""Elements after which a large input repeats. A prime: no slice of an array begins where another one does."""


def uniform(rng: Generator, *shape: int, dtype: str, layout: str = "C") -> Array:
    """Draw independent numbers of mean 0 and variance 1 (of each part, if complex), in memory order "C" or "F".

    Uniform ones, which take 2 ns each where normal ones take 10.
    """
    if dtype in PARTS:
        return _join_parts(dtype, *(uniform(rng, *shape, dtype=PARTS[dtype], layout=layout) for _ in range(2)))
    numbers = rng.random(shape if layout == "C" else shape[::-1], dtype=dtype)  # type: ignore[call-overload]
    numbers -= 0.5
    numbers *= 12**0.5
    return numbers if layout == "C" else numbers.T  # type: ignore[no-any-return]


def block(rng: Generator, n: int, dtype: str) -> Array:
    """Draw up to one period of numbers from 0.5 to 1.5, where every function of the catalogue is well behaved.

    The same holds for both parts of complex numbers.
    """
    if dtype in PARTS:
        return _join_parts(dtype, *(block(rng, n, PARTS[dtype]) for _ in range(2)))
    return rng.random(min(n, PERIOD), dtype=dtype) + np.dtype(dtype).type(0.5)  # type: ignore[call-overload,no-any-return]


def extend_precision(numbers: Array) -> Array:
    """Return the same numbers in extended precision."""
    return numbers.astype(np.result_type(numbers, np.longdouble))


def _join_parts(dtype: str, real: Array, imaginary: Array) -> Array:
    numbers: Array = np.empty_like(real, dtype)  # in the same memory order
    numbers.real, numbers.imag = real, imaginary
    return numbers


def repeated_block(rng: Generator, n: int, dtype: str) -> tuple[Array, Array]:
    """Return an array of n numbers, and the block of numbers that it repeats."""
    period = block(rng, n, dtype)
    return repeat_period(period, n), period


def repeat_period(period: Array, n: int) -> Array:
    """Return an array of n elements that repeats a period; made at the speed of a copy."""
    array = np.empty(n, period.dtype)
    for start in range(0, n, len(period)):
        part = array[start : start + len(period)]
        part[...] = period[: len(part)]
    return array
