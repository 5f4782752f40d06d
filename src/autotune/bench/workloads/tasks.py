"""Many independent tasks that each load two matrices and multiply them.

The files were just written, so they come from the system's cache. A few tasks stand for all of them
(`ladder.measured_tasks`). Threads are made in every call, as a program makes its executor; worker processes, whose
start may take longer than a call, are started before and their start is counted once for all tasks.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
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
from autotune.model.configuration import Configuration
from autotune.model.operation import Operation
from autotune.parallel.process_executor import ProcessExecutor
from autotune.parallel.thread_executor import ThreadExecutor

NAMES = ("a.npy", "b.npy")


def row_of_product(folder: str, n: int, number: int) -> Array:
    """Compute one row of the product. The function stands in the module, where processes find it."""
    first, second = (np.load(Path(folder, name)) for name in NAMES)
    return cast("Array", (first @ second)[number % n].copy())


class _Processes:
    """Executors of processes, one for each configuration, kept from call to call."""

    def __init__(self) -> None:
        self._open: dict[Configuration, tuple[ProcessExecutor, float]] = {}
        self._stack = ExitStack()
        self.close = self._stack.close

    def get(self, configuration: Configuration) -> ProcessExecutor:
        """Return the executor, all of its workers started."""
        if configuration not in self._open:
            pool = ProcessExecutor(configuration.workers or 1, configuration.blas_threads, configuration.placement)
            self._stack.enter_context(pool)
            self._open[configuration] = pool, pool.start()
        return self._open[configuration][0]

    def start_seconds(self, configuration: Configuration) -> float:
        """Return the seconds of the start; zero for the default, which has no workers."""
        return 0.0 if configuration.is_default else self._open[configuration][1]


def _prepare(operation: Operation, _layout: str, rng: Generator, *, in_processes: bool) -> Work:
    n, tasks = operation.size["n"], operation.size["tasks"]
    measured = measured_tasks(n, tasks, usable_cpus=usable_cpus()[0])
    folder = TemporaryDirectory(prefix="autotune-tasks-")
    a, b = (uniform(rng, n, n, dtype=operation.dtype) for _ in NAMES)
    for name, matrix in zip(NAMES, (a, b), strict=True):
        np.save(Path(folder.name, name), matrix)
    task = partial(row_of_product, folder.name, n)
    processes = _Processes()

    def plain() -> object:
        return [task(number) for number in range(measured)]

    def by_threads(configuration: Configuration) -> Callable[[], object]:
        def run() -> object:
            with ThreadExecutor(
                configuration.workers or 1, configuration.blas_threads, configuration.placement
            ) as pool:
                return list(pool.map(task, range(measured)))

        return run

    def by_processes(configuration: Configuration) -> Callable[[], object]:
        pool = processes.get(configuration)
        return lambda: list(pool.map(task, range(measured)))

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

    def close() -> None:
        processes.close()
        folder.cleanup()

    return Work(
        plain=plain,
        tuned=by_processes if in_processes else by_threads,
        check=check,
        share=measured / tasks,
        once=processes.start_seconds if in_processes else lambda _: 0.0,
        close=close,
    )


RECIPES: Mapping[str, Recipe] = {
    "batch_matmul": Recipe(partial(_prepare, in_processes=False)),
    f"batch_matmul{IN_PROCESSES}": Recipe(partial(_prepare, in_processes=True)),
}
