"""Many independent tasks that each load two matrices and multiply them.

The files were just written, so they come from the system's cache. A few tasks stand for all of them
(`ladder.measured_tasks`).
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import numpy as np
from numpy.random import Generator

from autotune.bench.ladder import measured_tasks
from autotune.bench.workloads.inputs import Array, uniform
from autotune.bench.workloads.work import Recipe, Work
from autotune.bench.workloads.wrong import residual
from autotune.controls.executor import Executor
from autotune.host.allocation import usable_cpus
from autotune.model.configuration import Configuration
from autotune.model.operation import Operation


def _prepare(operation: Operation, _layout: str, rng: Generator) -> Work:
    n, tasks = operation.size["n"], operation.size["tasks"]
    measured = measured_tasks(n, tasks, usable_cpus=usable_cpus()[0])
    folder = TemporaryDirectory(prefix="autotune-tasks-")
    paths = [Path(folder.name, name) for name in ("a.npy", "b.npy")]
    a, b = (uniform(rng, n, n, dtype=operation.dtype) for _ in paths)
    np.save(paths[0], a)
    np.save(paths[1], b)

    def task(number: int) -> Array:
        """One row of the product, another one for each task."""
        first, second = (np.load(path) for path in paths)
        return cast("Array", (first @ second)[number % n].copy())

    def plain() -> object:
        return [task(number) for number in range(measured)]

    def tuned(configuration: Configuration) -> Callable[[], object]:
        def run() -> object:
            with Executor(configuration.workers or 1, configuration.blas_threads) as pool:
                return list(pool.map(task, range(measured)))

        return run

    def check(result: object) -> str | None:
        rows = cast("list[Array]", result)
        if len(rows) != measured:
            return f"{len(rows)} tasks have a result, not {measured}."
        scale = float(np.linalg.norm(b))
        for number, row in enumerate(rows):
            left = a[number % n]
            difference, norm = row - left @ b, float(np.linalg.norm(left)) * scale
            problem = residual("A B = C", difference, norm, dtype=b.dtype, size=n)
            if problem:
                return f"Task {number}: {problem}"
        return None

    return Work(plain=plain, tuned=tuned, check=check, share=measured / tasks, close=folder.cleanup)


RECIPES: Mapping[str, Recipe] = {"batch_matmul": Recipe(_prepare)}
