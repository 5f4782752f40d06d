"""What is wrong with a result, as a sentence, or None."""

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
    value = float(result)  # type: ignore[arg-type]
    return None if abs(value - expected) <= tolerance else f"{what} is {value!r}, not {expected!r}."
