"""Calls into BLAS and LAPACK: one on large matrices, or one over a stack of small ones that is cut along the stack.

Plain and tuned are the same call for large matrices: only the BLAS threads around it differ. NumPy's LAPACK wrappers
copy their inputs into Fortran order, which is cheaper where they already are; so both orders are measured.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.random import Generator

from autotune.bench.workloads import result_checks
from autotune.bench.workloads.array_work import cut
from autotune.bench.workloads.inputs import Array, Inputs, uniform
from autotune.bench.workloads.workload import Recipe, Work
from autotune.model.operation import Operation
from autotune.parallel.blocks import map_blocks

CHECKED = 64
"""Matrices of a stack whose results are checked; the rest are checked for being there at all."""

Make = Callable[[Generator, Operation, str], Inputs]
Check = Callable[[Inputs, Any], str | None]


def _call(call: Callable[..., object], make: Make, check: Check) -> Recipe:
    def prepare(operation: Operation, layout: str, rng: Generator) -> Work:
        inputs = make(rng, operation, layout)
        run = partial(call, *inputs)
        return Work(plain=run, tuned=lambda _: run, check=partial(check, inputs))

    return Recipe(prepare, layouts=("C", "F"))


def _stack(call: Callable[..., object], make: Make, check: Check) -> Recipe:
    def prepare(operation: Operation, layout: str, rng: Generator) -> Work:
        count = operation.size["count"]
        inputs = make(rng, operation, layout)

        def check_some(result: Any) -> str | None:
            parts = result if isinstance(result, tuple) else (result,)
            if any(len(part) != count or not np.isfinite(part).all() for part in parts):
                return f"The result is not {count} matrices of finite numbers."
            for place in np.unique(np.linspace(0, count - 1, CHECKED).astype(int)):
                matrices = [part[place] for part in parts]
                problem = check(tuple(array[place] for array in inputs), matrices if len(matrices) > 1 else matrices[0])
                if problem:
                    return f"Matrix {place}: {problem}"
            for part in parts:
                part[...] = np.nan  # its memory may hold the next result, which must not look right by itself
            return None

        return Work(
            plain=partial(call, *inputs),
            tuned=lambda configuration: partial(map_blocks, call, inputs, rows=True, **cut(configuration, count)),
            check=check_some,
        )

    return Recipe(prepare)


def _arrays(*shapes: str) -> Make:
    """Make independent arrays, or stacks of them. The letters of a shape name sizes; one not given equals `n`."""

    def make(rng: Generator, operation: Operation, layout: str) -> Inputs:
        size = operation.size
        stack = [size["count"]] if "count" in size else []
        lengths = [[*stack, *(size.get(letter, size["n"]) for letter in shape)] for shape in shapes]
        return tuple(uniform(rng, *each, dtype=operation.dtype, layout=layout) for each in lengths)

    return make


def _symmetric(rng: Generator, operation: Operation, layout: str) -> Inputs:
    """Return a symmetric matrix; of complex numbers a Hermitian one."""
    (a,) = _arrays("nn")(rng, operation, layout)
    return (_in_memory_order((a + a.conj().mT) / 2, layout),)


def _positive_definite(rng: Generator, operation: Operation, layout: str) -> Inputs:
    """Return a symmetric matrix, or a stack of them, with positive eigenvalues.

    Those of symmetric noise go down to -sqrt(2 n) (Wigner's semicircle), of small matrices rarely below -2 sqrt(n);
    three times sqrt(n) lifts them.
    """
    (a,) = _symmetric(rng, operation, layout)
    diagonal = np.arange(operation.size["n"])
    a[..., diagonal, diagonal] += 3 * operation.size["n"] ** 0.5
    return (a,)


def _with_right_sides(rng: Generator, operation: Operation, layout: str) -> Inputs:
    return (*_positive_definite(rng, operation, layout), *_arrays("nn")(rng, operation, layout))


def _of_determinant_two(rng: Generator, operation: Operation, layout: str) -> Inputs:
    """Unit triangles multiplied, one entry doubled; an even rotation of the rows makes the pivoting work."""
    n = operation.size["n"]
    (a,) = _arrays("nn")(rng, operation, layout)
    a /= n
    lower, upper = np.tril(a, -1), np.triu(a, 1)
    lower[np.diag_indices(n)] = upper[np.diag_indices(n)] = 1
    upper[-1, -1] = 2
    return (_in_memory_order(np.roll(lower @ upper, n // 4 * 2, axis=0), layout),)


def _in_memory_order(a: Array, layout: str) -> Array:
    return np.asarray(a, order="C" if layout == "C" else "F")


RECIPES: Mapping[str, Recipe] = {
    "matmul": _call(np.matmul, _arrays("mk", "kn"), result_checks.product),
    "matvec": _call(np.matmul, _arrays("mn", "n"), result_checks.matrix_vector),
    "vdot": _call(np.vdot, _arrays("n", "n"), result_checks.vectors),
    "solve": _call(np.linalg.solve, _arrays("mn", "m"), result_checks.solution),
    "inv": _call(np.linalg.inv, _arrays("nn"), result_checks.inverse),
    "det": _call(np.linalg.det, _of_determinant_two, result_checks.determinant),
    "lstsq": _call(partial(np.linalg.lstsq, rcond=None), _arrays("mn", "m"), result_checks.least_squares),
    "pinv": _call(np.linalg.pinv, _arrays("mn"), result_checks.pseudo_inverse),
    "cholesky": _call(np.linalg.cholesky, _positive_definite, result_checks.lower_factor),
    "qr": _call(np.linalg.qr, _arrays("mn"), result_checks.orthogonal_triangular),
    "eigh": _call(np.linalg.eigh, _symmetric, result_checks.symmetric_eigen),
    "eig": _call(np.linalg.eig, _arrays("nn"), result_checks.eigen),
    # the reduced form of tall matrices: the full form would need m x m numbers for U
    "svd": _call(partial(np.linalg.svd, full_matrices=False), _arrays("mn"), result_checks.singular_values),
    "stack_matmul": _stack(np.matmul, _arrays("nn", "nn"), result_checks.product),
    "stack_solve": _stack(np.linalg.solve, _with_right_sides, result_checks.solution),
    "stack_inv": _stack(np.linalg.inv, _arrays("nn"), result_checks.inverse),
    "stack_cholesky": _stack(np.linalg.cholesky, _positive_definite, result_checks.lower_factor),
    "stack_eigh": _stack(np.linalg.eigh, _symmetric, result_checks.symmetric_eigen),
    "stack_svd": _stack(np.linalg.svd, _arrays("nn"), result_checks.singular_values),
}
