"""One call into BLAS or LAPACK. Plain and tuned are the same call: only the BLAS threads around it differ.

NumPy's LAPACK wrappers copy their inputs into Fortran order, which is cheaper where they already are; so both
orders are measured.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.random import Generator

from autotune.bench.workloads.inputs import Array, uniform
from autotune.bench.workloads.work import Recipe, Work
from autotune.bench.workloads.wrong import number, residual
from autotune.model.operation import Operation

Inputs = tuple[Array, ...]
Make = Callable[[Generator, Mapping[str, int], str, str], Inputs]
Check = Callable[[Inputs, Any], str | None]

norm = np.linalg.norm


def _linalg(call: Callable[..., object], make: Make, check: Check) -> Recipe:
    def prepare(operation: Operation, layout: str, rng: Generator) -> Work:
        inputs = make(rng, operation.size, operation.dtype, layout)

        def run() -> object:
            return call(*inputs)

        return Work(plain=run, tuned=lambda _: run, check=lambda result: check(inputs, result))

    return Recipe(prepare, layouts=("C", "F"))


# --- inputs -----------------------------------------------------------------------------


def _factors(rng: Generator, size: Mapping[str, int], dtype: str, layout: str) -> Inputs:
    return (
        uniform(rng, size["m"], size["k"], dtype=dtype, layout=layout),
        uniform(rng, size["k"], size["n"], dtype=dtype, layout=layout),
    )


def _rectangle(rng: Generator, size: Mapping[str, int], dtype: str, layout: str) -> Inputs:
    return (uniform(rng, size["m"], size["n"], dtype=dtype, layout=layout),)


def _square(rng: Generator, size: Mapping[str, int], dtype: str, layout: str) -> Inputs:
    return (uniform(rng, size["n"], size["n"], dtype=dtype, layout=layout),)


def _matrix_and_vector(rng: Generator, size: Mapping[str, int], dtype: str, layout: str) -> Inputs:
    return (*_rectangle(rng, size, dtype, layout), uniform(rng, size["n"], dtype=dtype))


def _matrix_and_right_side(rng: Generator, size: Mapping[str, int], dtype: str, layout: str) -> Inputs:
    return (
        *_rectangle(rng, {"m": size["n"], **size}, dtype, layout),
        uniform(rng, size.get("m", size["n"]), dtype=dtype),
    )


def _symmetric(rng: Generator, size: Mapping[str, int], dtype: str, layout: str) -> Inputs:
    (a,) = _square(rng, size, dtype, layout)
    return (_ordered((a + a.T) / 2, layout),)


def _positive_definite(rng: Generator, size: Mapping[str, int], dtype: str, layout: str) -> Inputs:
    """Symmetric noise has eigenvalues down to -sqrt(2 n) (Wigner's semicircle); twice sqrt(n) lifts them."""
    (a,) = _symmetric(rng, size, dtype, layout)
    a[np.diag_indices_from(a)] += 2 * size["n"] ** 0.5
    return (a,)


def _of_determinant_two(rng: Generator, size: Mapping[str, int], dtype: str, layout: str) -> Inputs:
    """Unit triangles multiplied, one entry doubled; an even rotation of the rows makes the pivoting work."""
    n = size["n"]
    (a,) = _square(rng, size, dtype, layout)
    a /= n
    lower, upper = np.tril(a, -1), np.triu(a, 1)
    lower[np.diag_indices(n)] = upper[np.diag_indices(n)] = 1
    upper[-1, -1] = 2
    return (_ordered(np.roll(lower @ upper, n // 4 * 2, axis=0), layout),)


def _ordered(a: Array, layout: str) -> Array:
    return np.asarray(a, order="C" if layout == "C" else "F")


# --- checks -----------------------------------------------------------------------------


def product(inputs: Inputs, c: Array) -> str | None:
    """(A B) v against A (B v): three products with a vector see any error of it (Freivalds 1977)."""
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
    """The gradient A^T (A x - b) vanishes at the least squares solution."""
    (a, b), x = inputs, result[0]
    scale = float(norm(a) * (norm(a) * norm(x) + norm(b)))
    return residual("A^T (A x - b) = 0", a.T @ (a @ x - b), scale, dtype=a.dtype, size=max(a.shape))


def pseudo_inverse(inputs: Inputs, p: Array) -> str | None:
    """The first of Penrose's four conditions, and the shape that the others would give."""
    (a,) = inputs
    if p.shape != a.shape[::-1]:
        return f"The pseudo-inverse of a {a.shape} matrix has shape {p.shape}."
    scale = float(norm(a) ** 2 * norm(p))
    return residual("A P A = A", a @ p @ a - a, scale, dtype=a.dtype, size=max(a.shape))


def lower_factor(inputs: Inputs, low: Array) -> str | None:
    (a,) = inputs
    if np.triu(low, 1).any():
        return "The factor is not lower triangular."
    return residual("L L^T = A", low @ low.T - a, float(norm(low) ** 2), dtype=a.dtype, size=len(a))


def orthogonal_triangular(inputs: Inputs, result: tuple[Array, Array]) -> str | None:
    (a,), (q, r) = inputs, result
    if np.tril(r, -1).any():
        return "The factor R is not upper triangular."
    return _orthonormal("Q", q) or residual(
        "Q R = A", q @ r - a, float(norm(a)), dtype=a.dtype, size=max(a.shape)
    )


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
        or _orthonormal("V", vh.T)
        or residual("U S V^T = A", (u * s) @ vh - a, float(norm(a)), dtype=a.dtype, size=max(a.shape))
    )


def _orthonormal(name: str, q: Array) -> str | None:
    difference = q.T @ q - np.eye(q.shape[1], dtype=q.dtype)
    return residual(f"{name}^T {name} = 1", difference, q.shape[1] ** 0.5, dtype=q.dtype, size=len(q))


def reduced_svd(a: Array) -> object:
    """The form that tall matrices are taken apart in; the full one would need m x m numbers for U."""
    return np.linalg.svd(a, full_matrices=False)


def lstsq(a: Array, b: Array) -> object:
    return np.linalg.lstsq(a, b, rcond=None)


RECIPES: Mapping[str, Recipe] = {
    "matmul": _linalg(np.matmul, _factors, product),
    "matvec": _linalg(np.matmul, _matrix_and_vector, matrix_vector),
    "solve": _linalg(np.linalg.solve, _matrix_and_right_side, solution),
    "inv": _linalg(np.linalg.inv, _square, inverse),
    "det": _linalg(np.linalg.det, _of_determinant_two, determinant),
    "lstsq": _linalg(lstsq, _matrix_and_right_side, least_squares),
    "pinv": _linalg(np.linalg.pinv, _rectangle, pseudo_inverse),
    "cholesky": _linalg(np.linalg.cholesky, _positive_definite, lower_factor),
    "qr": _linalg(np.linalg.qr, _rectangle, orthogonal_triangular),
    "eigh": _linalg(np.linalg.eigh, _symmetric, symmetric_eigen),
    "eig": _linalg(np.linalg.eig, _square, eigen),
    "svd": _linalg(reduced_svd, _rectangle, singular_values),
}
