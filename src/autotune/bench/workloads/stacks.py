"""One call over a stack of small matrices, cut along the stack."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.random import Generator

from autotune.bench.workloads import equations
from autotune.bench.workloads.elementwise import cut
from autotune.bench.workloads.inputs import Inputs, uniform
from autotune.bench.workloads.workload import Recipe, Work
from autotune.model.configuration import Configuration
from autotune.model.operation import Operation
from autotune.parallel.blocks import map_blocks

CHECKED = 64
"""Matrices of a stack whose results are checked; the rest are checked for being there at all."""


def _stack(
    call: Callable[..., object],
    make: Callable[[Generator, Mapping[str, int], str], Inputs],
    check: Callable[[Inputs, Any], str | None],
) -> Recipe:
    def prepare(operation: Operation, _layout: str, rng: Generator) -> Work:
        size = operation.size
        count = size["count"]
        inputs = make(rng, size, operation.dtype)

        def tuned(configuration: Configuration) -> Callable[[], object]:
            workers, chunk = cut(configuration, count)
            where = configuration.placement
            return lambda: map_blocks(call, inputs, workers=workers, chunk=chunk, placement=where, rows=True)

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

        return Work(plain=lambda: call(*inputs), tuned=tuned, check=check_some)

    return Recipe(prepare)


def _general(rng: Generator, size: Mapping[str, int], dtype: str) -> Inputs:
    return (uniform(rng, size["count"], size["n"], size["n"], dtype=dtype),)


def _two(rng: Generator, size: Mapping[str, int], dtype: str) -> Inputs:
    return _general(rng, size, dtype) + _general(rng, size, dtype)


def _symmetric(rng: Generator, size: Mapping[str, int], dtype: str) -> Inputs:
    (a,) = _general(rng, size, dtype)
    return ((a + a.mT.conj()) / 2,)


def _positive_definite(rng: Generator, size: Mapping[str, int], dtype: str) -> Inputs:
    """Symmetric noise of small matrices rarely has eigenvalues below -2 sqrt(n); -3 sqrt(n) is safe."""
    (a,) = _symmetric(rng, size, dtype)
    return (a + 3 * size["n"] ** 0.5 * np.eye(size["n"], dtype=dtype),)


def _with_right_sides(rng: Generator, size: Mapping[str, int], dtype: str) -> Inputs:
    return (*_positive_definite(rng, size, dtype), *_general(rng, size, dtype))


RECIPES: Mapping[str, Recipe] = {
    "stack_matmul": _stack(np.matmul, _two, equations.product),
    "stack_solve": _stack(np.linalg.solve, _with_right_sides, equations.solution),
    "stack_inv": _stack(np.linalg.inv, _general, equations.inverse),
    "stack_cholesky": _stack(np.linalg.cholesky, _positive_definite, equations.lower_factor),
    "stack_eigh": _stack(np.linalg.eigh, _symmetric, equations.symmetric_eigen),
    "stack_svd": _stack(np.linalg.svd, _general, equations.singular_values),
}
