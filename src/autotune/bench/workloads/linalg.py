"""One call into BLAS or LAPACK. Plain and tuned are the same call: only the BLAS threads around it differ.

NumPy's LAPACK wrappers copy their inputs into Fortran order, which is cheaper where they already are; so both
orders are measured.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.random import Generator

from autotune.bench.workloads import equations
from autotune.bench.workloads.inputs import Array, Inputs, uniform
from autotune.bench.workloads.workload import Recipe, Work
from autotune.model.operation import Operation

Make = Callable[[Generator, Mapping[str, int], str, str], Inputs]
Check = Callable[[Inputs, Any], str | None]


def _linalg(call: Callable[..., object], make: Make, check: Check) -> Recipe:
    def prepare(operation: Operation, layout: str, rng: Generator) -> Work:
        inputs = make(rng, operation.size, operation.dtype, layout)

        def run() -> object:
            return call(*inputs)

        return Work(plain=run, tuned=lambda _: run, check=lambda result: check(inputs, result))

    return Recipe(prepare, layouts=("C", "F"))


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


def _vectors(rng: Generator, size: Mapping[str, int], dtype: str, _layout: str) -> Inputs:
    return uniform(rng, size["n"], dtype=dtype), uniform(rng, size["n"], dtype=dtype)


def _matrix_and_right_side(rng: Generator, size: Mapping[str, int], dtype: str, layout: str) -> Inputs:
    return (
        *_rectangle(rng, {"m": size["n"], **size}, dtype, layout),
        uniform(rng, size.get("m", size["n"]), dtype=dtype),
    )


def _symmetric(rng: Generator, size: Mapping[str, int], dtype: str, layout: str) -> Inputs:
    """Return a symmetric matrix; of complex numbers a Hermitian one."""
    (a,) = _square(rng, size, dtype, layout)
    return (_in_memory_order((a + a.conj().T) / 2, layout),)


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
    return (_in_memory_order(np.roll(lower @ upper, n // 4 * 2, axis=0), layout),)


def _in_memory_order(a: Array, layout: str) -> Array:
    return np.asarray(a, order="C" if layout == "C" else "F")


def reduced_svd(a: Array) -> object:
    """Decompose in the reduced form of tall matrices: the full form would need m x m numbers for U."""
    return np.linalg.svd(a, full_matrices=False)


def lstsq(a: Array, b: Array) -> object:
    return np.linalg.lstsq(a, b, rcond=None)


RECIPES: Mapping[str, Recipe] = {
    "matmul": _linalg(np.matmul, _factors, equations.product),
    "matvec": _linalg(np.matmul, _matrix_and_vector, equations.matrix_vector),
    "vdot": _linalg(np.vdot, _vectors, equations.vectors),
    "solve": _linalg(np.linalg.solve, _matrix_and_right_side, equations.solution),
    "inv": _linalg(np.linalg.inv, _square, equations.inverse),
    "det": _linalg(np.linalg.det, _of_determinant_two, equations.determinant),
    "lstsq": _linalg(lstsq, _matrix_and_right_side, equations.least_squares),
    "pinv": _linalg(np.linalg.pinv, _rectangle, equations.pseudo_inverse),
    "cholesky": _linalg(np.linalg.cholesky, _positive_definite, equations.lower_factor),
    "qr": _linalg(np.linalg.qr, _rectangle, equations.orthogonal_triangular),
    "eigh": _linalg(np.linalg.eigh, _symmetric, equations.symmetric_eigen),
    "eig": _linalg(np.linalg.eig, _square, equations.eigen),
    "svd": _linalg(reduced_svd, _rectangle, equations.singular_values),
}
