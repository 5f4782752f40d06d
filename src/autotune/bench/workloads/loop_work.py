"""A long loop of a ufunc in an unchanged program, cut by the C core.

Both sides make the same call of NumPy. For the tuned one the core holds a plan for this loop while the call lasts, as
the runtime's plan does for good; to set it takes less than a microsecond.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.random import Generator

from autotune.bench.workloads import array_work
from autotune.bench.workloads.inputs import block, repeat_period
from autotune.bench.workloads.workload import Recipe, Work
from autotune.controls.placement import cpus_for
from autotune.errors import UnsupportedPlatform
from autotune.intercept.array_loops import Reduction, class_number
from autotune.intercept.operations import LOOP_KINDS, Layout
from autotune.model.configuration import Configuration
from autotune.model.operation import Operation
from autotune.native import core


def _loop_recipe(name: str, function: np.ufunc, kind: int = Reduction.NEVER) -> Recipe:
    """Make the plain call of another workload, for both sides."""

    def prepare(operation: Operation, layout: str, rng: Generator) -> Work:
        work = array_work.RECIPES[name].make(operation, layout, rng)
        return replace(work, tuned=_tuned_loop(work.plain, function, operation, kind))

    return Recipe(prepare)


def _multiply(layout: int) -> Recipe:
    """Make np.multiply with operands that lie otherwise: every other element, or an array by one number."""

    def prepare(operation: Operation, _layout: str, rng: Generator) -> Work:
        n, dtype = operation.size["n"], operation.dtype
        gap = 2 if layout == Layout.STRIDED else 1
        period = block(rng, n, dtype)
        room, out = np.zeros((2, n, gap), dtype)[..., 0]
        room[:] = repeat_period(period, n)
        factor = room if layout == Layout.STRIDED else np.asarray(1.5, dtype)
        expected = period * (period if layout == Layout.STRIDED else factor)

        plain = partial(np.multiply, room, factor, out=out)
        return Work(
            plain=plain,
            tuned=_tuned_loop(plain, np.multiply, operation, layout=layout),
            check=lambda result: array_work.output_fault(result, out, expected),
        )

    return Recipe(prepare)


_ROW = 1000
"""Elements of a row, about: enough that memory bandwidth decides, not the overhead of each loop."""


def _add_rows(operation: Operation, _layout: str, rng: Generator) -> Work:
    """Add a vector to each row of the inner part of a matrix."""
    n, dtype = operation.size["n"], operation.dtype
    rows = max(2, n // _ROW)
    columns = max(1, n // rows)
    row, vector = (block(rng, columns, dtype) for _ in range(2))
    matrix, out = np.zeros((rows + 2, columns + 2), dtype), np.zeros((rows, columns), dtype)
    part = matrix[1:-1, 1:-1]
    part[:] = row
    plain = partial(np.add, part, vector, out=out)
    flat = out.reshape(-1)
    return Work(
        plain=plain,
        tuned=_tuned_loop(plain, np.add, operation, layout=Layout.ROWS),
        check=lambda result: array_work.output_fault(flat if result is out else result, flat, row + vector),
    )


def _tuned_loop(
    call: Callable[[], object],
    function: np.ufunc,
    operation: Operation,
    kind: int = Reduction.NEVER,
    layout: int = Layout.CONTIGUOUS,
) -> Callable[[Configuration], Callable[[], object]]:
    """Return what makes the call under a configuration. Raises UnsupportedPlatform without the core."""
    native = core()
    if isinstance(native, str):
        raise UnsupportedPlatform(native)
    element_wise, reducing = LOOP_KINDS[0], LOOP_KINDS[-1]
    types = np.dtype(operation.dtype).char
    if native.meet_loops(function, types, LOOP_KINDS.index(element_wise), LOOP_KINDS.index(reducing), kind) < 1:
        raise UnsupportedPlatform(f"The loop of np.{function.__name__} cannot be exchanged.")
    number = class_number(element_wise if kind == Reduction.NEVER else reducing, operation.dtype)

    def tuned(configuration: Configuration) -> Callable[[], object]:
        workers, chunk = configuration.workers or 1, configuration.chunk or operation.size["n"]
        cpus = cpus_for(configuration.placement, workers)
        plan = [(1, chunk, workers, 0 if cpus is None else native.place(cpus))]
        native.configure(max(workers, native.status()["limit"]))

        def run() -> object:
            native.plan(number, layout, plan)
            native.reductions(kind == Reduction.ROUNDED)
            try:
                return call()
            finally:
                native.plan(number, layout, [])
                native.reductions(False)

        return run

    return tuned


RECIPES: Mapping[str, Recipe] = {
    **{f"loop_{name}": _loop_recipe(name, getattr(np, name)) for name in ("add", "sqrt", "exp", "power")},
    "loop_scale": _multiply(Layout.BROADCAST),
    "loop_strided": _multiply(Layout.STRIDED),
    "loop_rows": Recipe(_add_rows),
    "loop_max": _loop_recipe("max", np.maximum, Reduction.EXACT),
    "loop_sum": _loop_recipe("sum", np.add, Reduction.ROUNDED),
}
