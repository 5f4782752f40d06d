"""Many independent tasks that each load two matrices and multiply them.

The files were just written, so they come from the system's cache. A few tasks stand for all of them
(`ladder.measured_tasks`). Threads are made in every call, as a program makes its executor; worker processes, whose
start may take longer than a call, are started before and their start is counted once for all tasks.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import numpy as np
from numpy.random import Generator

from autotune.bench.ladder import measured_tasks
from autotune.bench.workloads.inputs import Array, uniform
from autotune.bench.workloads.result_checks import residual
from autotune.bench.workloads.workload import Recipe, Work
from autotune.host.usable_cpus import usable_cpus
from autotune.model.catalogue import IN_PROCESSES
from autotune.model.configuration import Configuration, Placement
from autotune.model.operation import Operation
from autotune.parallel.process_executor import ProcessExecutor
from autotune.parallel.thread_executor import ThreadExecutor

NAMES = ("a.npy", "b.npy")


def row_of_product(folder: str, n: int, number: int) -> Array:
    """Compute one row of the product. The function stands in the module, where processes find it."""
    first, second = (np.load(Path(folder, name)) for name in NAMES)
    return cast("Array", (first @ second)[number % n].copy())


def _prepare(operation: Operation, _layout: str, rng: Generator, *, in_processes: bool) -> Work:
    n, tasks = operation.size["n"], operation.size["tasks"]
    measured = measured_tasks(n, tasks, usable_cpus=usable_cpus()[0])
    folder = TemporaryDirectory(prefix="autotune-tasks-")
    a, b = (uniform(rng, n, n, dtype=operation.dtype) for _ in NAMES)
    for name, matrix in zip(NAMES, (a, b), strict=True):
        np.save(Path(folder.name, name), matrix)
    task = partial(row_of_product, folder.name, n)
    stack = ExitStack()
    stack.callback(folder.cleanup)

    @cache  # kept from call to call
    def processes(configuration: Configuration) -> tuple[ProcessExecutor, float]:
        """Return the executor of a configuration with all of its workers started, and the seconds of the start."""
        pool = stack.enter_context(ProcessExecutor(*_arguments(configuration)))
        return pool, pool.start()

    def start_seconds(configuration: Configuration) -> float:
        return 0.0 if configuration.is_default or not in_processes else processes(configuration)[1]

    def tuned(configuration: Configuration) -> Callable[[], object]:
        if in_processes:
            pool, _ = processes(configuration)
            return lambda: list(pool.map(task, range(measured)))

        def run() -> object:
            with ThreadExecutor(*_arguments(configuration)) as pool:
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

    return Work(
        plain=lambda: list(map(task, range(measured))),
        tuned=tuned,
        check=check,
        share=measured / tasks,
        once=start_seconds,
        close=stack.close,
    )


def _arguments(configuration: Configuration) -> tuple[int, int | None, Placement | None]:
    return configuration.workers or 1, configuration.blas_threads, configuration.placement


RECIPES: Mapping[str, Recipe] = {
    "batch_matmul": Recipe(partial(_prepare, in_processes=False)),
    f"batch_matmul{IN_PROCESSES}": Recipe(partial(_prepare, in_processes=True)),
}
