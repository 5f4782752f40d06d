"""Checks of results: each describes what is wrong with one, as a sentence, or returns None."""

from collections.abc import Callable
from copy import deepcopy

import numpy as np
from numpy.typing import DTypeLike

from autotune.bench.workloads.inputs import Array

ULPS = 8
"""Units in the last place that an element may be off; NumPy's vector loops promise up to 4."""


def residual(equation: str, difference: Array, scale: float, *, dtype: DTypeLike, size: int) -> str | None:
    """Does an equation hold to within rounding?

    `difference` is its left side minus its right side, `scale` the product of the norms of its factors. A
    backward stable algorithm leaves a small multiple of the dtype's eps times `size`, the length of its
    longest sums (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., chapters 3, 9 and 19).
    """
    error, limit = float(np.linalg.norm(difference)), 10 * float(np.finfo(dtype).eps) * size * scale
    if error <= limit:
        return None
    return f"{equation} does not hold: off by {error:.1e}, where rounding explains {limit:.1e}."


def elements(result: Array, period: Array) -> str | None:
    """Does a flat array repeat a period of expected numbers?"""
    tolerance = ULPS * np.finfo(period.dtype).eps * np.abs(period)
    for start in range(0, result.size, len(period)):
        part = result[start : start + len(period)]
        right = np.abs(part - period[: len(part)]) <= tolerance[: len(part)]
        if not right.all():
            first = int(np.argmin(right))
            return f"Element {start + first} is {part[first]!s}, not {period[first]!s}."
    return None


def number(what: str, result: object, expected: float, tolerance: float) -> str | None:
    """Is a number within a tolerance of the expected one?"""
    value = complex(result)  # type: ignore[call-overload]
    return None if abs(value - expected) <= tolerance else f"{what} is {result!s}, not {expected!r}."


def other_than_first() -> Callable[[object], str | None]:
    """Return a check that keeps the first result, which is the default's, and compares all later ones with it."""
    kept: list[object] = []

    def check(result: object) -> str | None:
        if not kept:
            kept.append(deepcopy(result) if _comparable(result) else None)
            return None
        if _equal(kept[0], result):
            return None
        return (
            "It returned another result than with the default. "
            "(If it draws random numbers, seed them; if its result does not matter, return None.)"
        )

    return check


def _comparable(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(_comparable(item) for item in value)
    return isinstance(value, np.ndarray | np.generic | int | float | complex)


def _equal(expected: object, actual: object) -> bool:
    """Are two results equal within the rounding of their dtype? What cannot be compared counts as equal."""
    if expected is None or not _comparable(actual):
        return expected is None
    if isinstance(expected, list | tuple) and isinstance(actual, list | tuple):
        return len(expected) == len(actual) and all(map(_equal, expected, actual))
    if isinstance(expected, list | tuple) or isinstance(actual, list | tuple):
        return False
    left, right = np.asarray(expected), np.asarray(actual)
    if left.shape != right.shape:
        return False
    if not np.issubdtype(left.dtype, np.inexact):
        return bool(np.array_equal(left, right))
    tolerance = float(np.finfo(left.dtype).eps) ** 0.5  # half the digits: blocked sums differ in the last
    scale = float(np.nanmax(np.abs(left), initial=0.0, where=np.isfinite(left)))
    return bool(np.allclose(left, right, rtol=tolerance, atol=tolerance * scale, equal_nan=True))
