"""Large temporaries made and dropped. Only the allocator around the call differs."""

from collections.abc import Mapping

import numpy as np
from numpy.random import Generator

from autotune.bench.workloads.inputs import Array, block, repeat_period
from autotune.bench.workloads.result_checks import elements
from autotune.bench.workloads.workload import Recipe, Work
from autotune.model.operation import Operation


def _prepare(operation: Operation, _layout: str, rng: Generator) -> Work:
    n, dtype = operation.size["n"], operation.dtype
    first, second = block(rng, n, dtype), block(rng, n, dtype)
    x, y = repeat_period(first, n), repeat_period(second, n)

    def run() -> Array:
        result: Array = np.sqrt(x * y + x)
        return result

    def check(result: object) -> str | None:
        a, b = first.astype(np.longdouble), second.astype(np.longdouble)
        return elements(np.asarray(result), np.sqrt(a * b + a).astype(dtype))

    return Work(plain=run, tuned=lambda _: run, check=check)


RECIPES: Mapping[str, Recipe] = {"temporaries": Recipe(_prepare)}
