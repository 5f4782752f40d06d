"""Expressions of several ufuncs: sqrt(x*y + z) over one block while it is in cache, or with large temporaries.

Of temporaries only the allocator around the call differs.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.random import Generator

from autotune.bench.workloads.elementwise import mapped_work
from autotune.bench.workloads.inputs import Array, block, extend_precision, repeat_period
from autotune.bench.workloads.result_checks import elements
from autotune.bench.workloads.workload import Recipe, Work
from autotune.model.operation import Operation
from autotune.parallel.scratch import Scratch


def by_block(x: Array, y: Array, z: Array, *, scratch: Scratch) -> Array:
    """Return the expression on one block, its intermediate results in memory that stays in the cache."""
    t = scratch()
    np.multiply(x, y, out=t)
    t += z
    np.sqrt(t, out=scratch.out)
    return scratch.out


def whole(x: Array, y: Array, z: Array, *, out: Array | None) -> Any:
    """Return the expression, its intermediate results as large as the arrays."""
    return np.sqrt(x * y + z, out=out)


def _prepare_blocks(operation: Operation, _layout: str, rng: Generator) -> Work:
    return mapped_work(operation, rng, whole, 3, by_block=by_block)


def _prepare_temporaries(operation: Operation, _layout: str, rng: Generator) -> Work:
    n, dtype = operation.size["n"], operation.dtype
    first, second = block(rng, n, dtype), block(rng, n, dtype)
    x, y = repeat_period(first, n), repeat_period(second, n)

    def run() -> Array:
        result: Array = np.sqrt(x * y + x)
        return result

    def check(result: object) -> str | None:
        a, b = extend_precision(first), extend_precision(second)
        return elements(np.asarray(result), np.sqrt(a * b + a).astype(dtype))

    return Work(plain=run, tuned=lambda _: run, check=check)


RECIPES: Mapping[str, Recipe] = {
    "expression": Recipe(_prepare_blocks),
    "temporaries": Recipe(_prepare_temporaries),
}
