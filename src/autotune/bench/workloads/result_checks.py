"""Checks of results: each describes what is wrong with one, as a sentence, or returns None.

Results of linear algebra are checked by the equations that they satisfy.
"""

from collections.abc import Callable
from copy import deepcopy

import numpy as np
from numpy.typing import DTypeLike

from autotune.bench.workloads.inputs import Array, Inputs, extend_precision

norm = np.linalg.norm

ULPS = 8
"""Units in the last place that an element may be off; NumPy's vector loops promise up to 4."""


def residual(equation: str, difference: Array, scale: float, *, dtype: DTypeLike, size: int) -> str | None:
    """Does an equation hold to within rounding?

    `difference` is its left side minus its right side, `scale` the product of the norms of its factors. A
    backward stable algorithm leaves a small multiple of the dtype's eps times `size`, the length of its
    longest sums (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., chapters 3, 9 and 19).
    """
    error, limit = float(norm(difference)), 10 * float(np.finfo(dtype).eps) * size * scale
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


def product(inputs: Inputs, c: Array) -> str | None:
    """Compare (A B) v with A (B v): three products with a vector show any error (Freivalds 1977)."""
    a, b = inputs
    v = np.linspace(-1, 1, b.shape[1], dtype=b.dtype) if b.ndim == 2 else b.dtype.type(1)
    scale = float(norm(a) * norm(b) * norm(v))
    return residual("A B = C", c @ v - a @ (b @ v), scale, dtype=c.dtype, size=max(a.shape + b.shape))


def matrix_vector(inputs: Inputs, y: Array) -> str | None:
    a, x = inputs
    u = np.linspace(-1, 1, a.shape[0], dtype=a.dtype)
    scale = float(norm(u) * norm(a) * norm(x))
    return residual("A x = y", u @ y - (u @ a) @ x, scale, dtype=y.dtype, size=max(a.shape))


def vectors(inputs: Inputs, y: object) -> str | None:
    """Compare with the sum of the products in extended precision."""
    a, b = inputs
    difference = np.asarray(y) - (extend_precision(a.conj()) * b).sum()
    return residual("x y = z", difference, float(norm(a) * norm(b)), dtype=a.dtype, size=len(a))


def solution(inputs: Inputs, x: Array) -> str | None:
    a, b = inputs
    return residual("A x = b", a @ x - b, float(norm(a) * norm(x) + norm(b)), dtype=x.dtype, size=len(a))


def inverse(inputs: Inputs, x: Array) -> str | None:
    (a,) = inputs
    difference = a @ x - np.eye(len(a), dtype=a.dtype)
    return residual("A A^-1 = 1", difference, float(norm(a) * norm(x)), dtype=a.dtype, size=len(a))


def determinant(inputs: Inputs, value: object) -> str | None:
    (a,) = inputs
    return number("The determinant", value, 2.0, 100 * len(a) * float(np.finfo(a.dtype).eps))


def least_squares(inputs: Inputs, result: tuple[Array, Array, int, Array]) -> str | None:
    """Check that the gradient A^T (A x - b) vanishes, as it does at the least squares solution."""
    (a, b), x = inputs, result[0]
    scale = float(norm(a) * (norm(a) * norm(x) + norm(b)))
    return residual("A^T (A x - b) = 0", a.conj().T @ (a @ x - b), scale, dtype=a.dtype, size=max(a.shape))


def pseudo_inverse(inputs: Inputs, p: Array) -> str | None:
    """Check the first of Penrose's four conditions, and the shape that the others would give."""
    (a,) = inputs
    if p.shape != a.shape[::-1]:
        return f"The pseudo-inverse of a {a.shape} matrix has shape {p.shape}."
    scale = float(norm(a) ** 2 * norm(p))
    return residual("A P A = A", a @ p @ a - a, scale, dtype=a.dtype, size=max(a.shape))


def lower_factor(inputs: Inputs, low: Array) -> str | None:
    (a,) = inputs
    if np.triu(low, 1).any():
        return "The factor is not lower triangular."
    return residual("L L^T = A", low @ low.conj().T - a, float(norm(low) ** 2), dtype=a.dtype, size=len(a))


def orthogonal_triangular(inputs: Inputs, result: tuple[Array, Array]) -> str | None:
    (a,), (q, r) = inputs, result
    if np.tril(r, -1).any():
        return "The factor R is not upper triangular."
    return _orthonormal("Q", q) or residual("Q R = A", q @ r - a, float(norm(a)), dtype=a.dtype, size=max(a.shape))


def symmetric_eigen(inputs: Inputs, result: tuple[Array, Array]) -> str | None:
    values, vectors = result
    if (np.diff(values) < 0).any():
        return "The eigenvalues are not in ascending order."
    return _orthonormal("V", vectors) or eigen(inputs, result)


def eigen(inputs: Inputs, result: tuple[Array, Array]) -> str | None:
    (a,), (values, vectors) = inputs, result
    scale = float(norm(a) * norm(vectors))
    return residual("A V = V D", a @ vectors - vectors * values, scale, dtype=a.dtype, size=len(a))


def singular_values(inputs: Inputs, result: tuple[Array, Array, Array]) -> str | None:
    (a,), (u, s, vh) = inputs, result
    if (np.diff(s) > 0).any() or (s < 0).any():
        return "The singular values are not positive and in descending order."
    return (
        _orthonormal("U", u)
        or _orthonormal("V", vh.conj().T)
        or residual("U S V^T = A", (u * s) @ vh - a, float(norm(a)), dtype=a.dtype, size=max(a.shape))
    )


def _orthonormal(name: str, q: Array) -> str | None:
    difference = q.conj().T @ q - np.eye(q.shape[1], dtype=q.dtype)
    return residual(f"{name}^T {name} = 1", difference, q.shape[1] ** 0.5, dtype=q.dtype, size=len(q))


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
