"""One array incremented by several processes, started for the call."""

from collections.abc import Callable, Mapping
from functools import partial
from multiprocessing import Pool
from typing import cast

import numpy as np
from numpy.random import Generator

from autotune.bench.workloads.inputs import PERIOD, Array, repeat_period
from autotune.bench.workloads.result_checks import elements
from autotune.bench.workloads.workload import Recipe, Work
from autotune.host.usable_cpus import usable_cpus
from autotune.model.configuration import Configuration, Method
from autotune.model.operation import Operation
from autotune.parallel.process_blocks import process_map


def increment(part: Array) -> Array:
    """Add one to each element, in place. Stands in the module, where processes that are spawned find it."""
    part += 1
    return part


def _prepare(operation: Operation, _layout: str, rng: Generator) -> Work:
    n, dtype = operation.size["n"], operation.dtype
    period = rng.integers(1000, size=min(n, PERIOD)).astype(dtype)
    array, processes = repeat_period(period, n), usable_cpus()[0]

    def plain() -> object:
        """Send the parts to a pool's processes and back, as textbooks do."""
        with Pool(processes) as pool:
            np.concatenate(pool.map(increment, np.array_split(array, processes)), out=array)
        return array

    def tuned(configuration: Configuration) -> Callable[[], object]:
        method, workers = configuration.method or Method.ARGUMENT, configuration.workers or 1
        chunk = configuration.chunk or n
        return partial(process_map, increment, array, array, method=method, workers=workers, chunk=chunk)

    def check(result: object) -> str | None:
        """Each call adds one to what the calls before it have left; whole numbers show it exactly."""
        if result is not array:
            return "The result is not the array that was to be incremented."
        calls = cast("float", array[0] - period[0])
        problem = elements(array, period + calls) if calls >= 1 else "The array was not incremented."
        array[:] = repeat_period(period, n)
        return problem

    return Work(plain=plain, tuned=tuned, check=check)


RECIPES: Mapping[str, Recipe] = {"share": Recipe(_prepare)}
