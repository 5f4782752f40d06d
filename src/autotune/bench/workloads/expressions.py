"""Expressions of several ufuncs: sqrt(x*y + z) over one block while it is in cache, or with large temporaries.

Of temporaries only the allocator around the call differs.
"""

from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
from numpy.random import Generator

from autotune.bench.workloads.elementwise import cut, output_fault
from autotune.bench.workloads.inputs import Array, block, extended, repeat_period
from autotune.bench.workloads.result_checks import elements
from autotune.bench.workloads.workload import Recipe, Work
from autotune.model.configuration import Configuration
from autotune.model.operation import Operation
from autotune.parallel.blocks import map_blocks
from autotune.parallel.scratch import Scratch


def by_block(x: Array, y: Array, z: Array, *, scratch: Scratch) -> Array:
    """Return the expression on one block, its intermediate results in memory that stays in the cache."""
    t = scratch()
    np.multiply(x, y, out=t)
    t += z
    np.sqrt(t, out=scratch.out)
    return scratch.out


def _prepare_blocks(operation: Operation, _layout: str, rng: Generator) -> Work:
    n, dtype = operation.size["n"], operation.dtype
    periods = [block(rng, n, dtype) for _ in range(3)]
    x, y, z = arrays = [repeat_period(period, n) for period in periods]
    out = np.zeros(n, dtype)

    @cache  # many a trial needs no check
    def expected() -> Array:
        a, b, c = (extended(period) for period in periods)
        exact: Array = np.sqrt(a * b + c).astype(dtype)
        return exact

    def plain() -> object:
        return np.sqrt(x * y + z, out=out)

    def tuned(configuration: Configuration) -> Callable[[], object]:
        workers, chunk = cut(configuration, n)
        where = configuration.placement
        return lambda: map_blocks(
            by_block, arrays, out, workers=workers, chunk=chunk, placement=where, scratch=True
        )

    return Work(plain=plain, tuned=tuned, check=lambda result: output_fault(result, out, expected()))


def _prepare_temporaries(operation: Operation, _layout: str, rng: Generator) -> Work:
    n, dtype = operation.size["n"], operation.dtype
    first, second = block(rng, n, dtype), block(rng, n, dtype)
    x, y = repeat_period(first, n), repeat_period(second, n)

    def run() -> Array:
        result: Array = np.sqrt(x * y + x)
        return result

    def check(result: object) -> str | None:
        a, b = extended(first), extended(second)
        return elements(np.asarray(result), np.sqrt(a * b + a).astype(dtype))

    return Work(plain=run, tuned=lambda _: run, check=check)


RECIPES: Mapping[str, Recipe] = {
    "expression": Recipe(_prepare_blocks),
    "temporaries": Recipe(_prepare_temporaries),
}
