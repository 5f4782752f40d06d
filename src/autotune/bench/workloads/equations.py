"""The equations that results of linear algebra satisfy: what is wrong with a result, as a sentence, or None."""

import numpy as np

from autotune.bench.workloads.inputs import Array, Inputs, extend_precision
from autotune.bench.workloads.result_checks import number, residual

norm = np.linalg.norm


def product(inputs: Inputs, c: Array) -> str | None:
    """Compare (A B) v with A (B v): three products with a vector show any error (Freivalds 1977)."""
    a, b = inputs
    v = np.linspace(-1, 1, b.shape[1], dtype=b.dtype) if b.ndim == 2 else b.dtype.type(1)
    return residual(
        "A B = C",
        c @ v - a @ (b @ v),
        float(norm(a) * norm(b) * norm(v)),
        dtype=c.dtype,
        size=max(a.shape + b.shape),
    )


def matrix_vector(inputs: Inputs, y: Array) -> str | None:
    a, x = inputs
    u = np.linspace(-1, 1, a.shape[0], dtype=a.dtype)
    return residual(
        "A x = y", u @ y - (u @ a) @ x, float(norm(u) * norm(a) * norm(x)), dtype=y.dtype, size=max(a.shape)
    )


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
    return residual(
        "A A^-1 = 1",
        a @ x - np.eye(len(a), dtype=a.dtype),
        float(norm(a) * norm(x)),
        dtype=a.dtype,
        size=len(a),
    )


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
