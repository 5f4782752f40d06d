"""Reductions of a long array to one number, in fixed blocks combined in a fixed tree."""

from collections.abc import Callable, Mapping
from math import fsum

import numpy as np
from numpy.random import Generator

from autotune.bench.workloads.elementwise import cut
from autotune.bench.workloads.inputs import Array, block, repeat_period
from autotune.bench.workloads.result_checks import number
from autotune.bench.workloads.workload import Recipe, Work
from autotune.model.configuration import Configuration
from autotune.model.operation import Operation
from autotune.parallel.reductions import reduce_blocks

PEAK = 2.0
"""One element, larger than all others and at a random place."""
EPSILONS = 1000
"""Relative error allowed. NumPy's pairwise sum may be off by 16 + log2(n / 128); this is far from n."""


def _reduction(function: Callable[[Array], object], expected: Callable[[Array, int, int], float]) -> Recipe:
    def prepare(operation: Operation, _layout: str, rng: Generator) -> Work:
        n, dtype = operation.size["n"], operation.dtype
        period = block(rng, n, dtype)
        array, place = repeat_period(period, n), int(rng.integers(n))
        array[place] = PEAK

        def plain() -> object:
            return function(array)

        def tuned(configuration: Configuration) -> Callable[[], object]:
            workers, chunk = cut(configuration, n)
            where = configuration.placement
            return lambda: reduce_blocks(function, (array,), workers=workers, chunk=chunk, placement=where)

        def check(result: object) -> str | None:
            right = expected(period, n, place % len(period))
            tolerance = EPSILONS * float(np.finfo(dtype).eps) * right
            return number("The result", result, right, tolerance)

        return Work(plain=plain, tuned=tuned, check=check)

    return Recipe(prepare)


def _sum(period: Array, n: int, place: int) -> float:
    whole, rest = divmod(n, len(period))
    return fsum(period) * whole + fsum(period[:rest]) - float(period[place]) + PEAK


def _max(_period: Array, _n: int, _place: int) -> float:
    return PEAK


def _var(period: Array, n: int, place: int) -> float:
    mean = _sum(period, n, place) / n
    whole, rest = divmod(n, len(period))
    squares = (period.astype(float) - mean) ** 2
    around = fsum(squares) * whole + fsum(squares[:rest]) - float(squares[place]) + (PEAK - mean) ** 2
    return around / n


RECIPES: Mapping[str, Recipe] = {
    "sum": _reduction(np.sum, _sum),
    "max": _reduction(np.max, _max),
    "var": _reduction(np.var, _var),
}
