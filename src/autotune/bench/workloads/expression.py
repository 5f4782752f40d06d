"""Several ufuncs over one block while it is in cache: sqrt(x*y + z)."""

from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
from numpy.random import Generator

from autotune.bench.workloads.elementwise import cut, written
from autotune.bench.workloads.inputs import Array, block, extended, repeat_period
from autotune.bench.workloads.workload import Recipe, Work
from autotune.model.configuration import Configuration
from autotune.model.operation import Operation
from autotune.parallel.blocks import map_blocks
from autotune.parallel.scratch import Scratch


def by_block(x: Array, y: Array, z: Array, *, scratch: Scratch) -> Array:
    """The expression on one block, its intermediate results in memory that stays in the cache."""
    t = scratch()
    np.multiply(x, y, out=t)
    t += z
    np.sqrt(t, out=scratch.out)
    return scratch.out


def _prepare(operation: Operation, _layout: str, rng: Generator) -> Work:
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

    return Work(plain=plain, tuned=tuned, check=lambda result: written(result, out, expected()))


RECIPES: Mapping[str, Recipe] = {"expression": Recipe(_prepare)}
