"""A function of every element, cut into slices.

Both sides write into an array that is there already, so that the gain on record is that of threads alone;
what reused memory adds comes on top.
"""

from collections.abc import Callable, Mapping
from functools import cache
from math import isqrt
from typing import Any

import numpy as np
from numpy.random import Generator

from autotune.bench.workloads.inputs import Array, block, extend_precision, repeat_period
from autotune.bench.workloads.result_checks import elements
from autotune.bench.workloads.workload import Recipe, Work
from autotune.model.configuration import Configuration
from autotune.model.operation import Operation
from autotune.parallel.blocks import fill, map_blocks

Function = Callable[..., Any]

PADDING = 64
"""Elements that separate the rows of a window: it is no single stretch of memory."""


def mapped_work(
    operation: Operation, rng: Generator, plain: Function, inputs: int, *, by_block: Function | None = None
) -> Work:
    """Prepare a function of so many arrays, which writes into `out`, as one call and block by block.

    `by_block` computes a block with scratch memory; None: `plain` does.
    """
    n, dtype = operation.size["n"], operation.dtype
    periods = [block(rng, n, dtype) for _ in range(inputs)]
    arrays = [repeat_period(period, n) for period in periods]
    out = np.zeros(n, dtype)

    @cache  # many a trial needs no check
    def expected() -> Array:
        exact: Array = plain(*(extend_precision(period) for period in periods), out=None).astype(dtype)
        return exact

    def tuned(configuration: Configuration) -> Callable[[], object]:
        workers, chunk = cut(configuration, n)
        where, scratch = configuration.placement, by_block is not None
        function = by_block or plain
        return lambda: map_blocks(function, arrays, out, workers=workers, chunk=chunk, placement=where, scratch=scratch)

    return Work(
        plain=lambda: plain(*arrays, out=out),
        tuned=tuned,
        check=lambda result: output_fault(result, out, expected()),
    )


def _ufunc(function: np.ufunc) -> Recipe:
    return Recipe(lambda operation, _layout, rng: mapped_work(operation, rng, function, function.nin))


def _prepare_copy(operation: Operation, _layout: str, rng: Generator) -> Work:
    n, dtype = operation.size["n"], operation.dtype
    period = block(rng, n, dtype)
    source, target = repeat_period(period, n), np.zeros(n, dtype)

    def plain() -> object:
        np.copyto(target, source)
        return target

    def tuned(configuration: Configuration) -> Callable[[], object]:
        return _filler(target, source, configuration)

    return Work(plain=plain, tuned=tuned, check=lambda result: output_fault(result, target, period))


def _prepare_fill(operation: Operation, layout: str, rng: Generator) -> Work:
    """Rows that follow each other in memory, or a window of a wider array, as a 2-D tile is."""
    n = operation.size["n"]
    rows = next(number for number in range(isqrt(n), 0, -1) if n % number == 0)
    columns = n // rows
    wide = np.zeros((rows, columns if layout == "C" else columns + PADDING), operation.dtype)
    array, value = wide[:, :columns], wide.dtype.type(rng.random() + 1)

    def plain() -> object:
        array[...] = value
        return array

    def check(result: object) -> str | None:
        if result is not array:
            return "The result is not the array that was to be filled."
        low, high = array.min(), array.max()
        spilt = wide[:, columns:].any()
        wide[...] = 0
        if not low == high == value:
            return f"The array holds {low} to {high}, not {value} everywhere."
        return "Elements outside the window were overwritten." if spilt else None

    return Work(plain=plain, tuned=lambda configuration: _filler(array, value, configuration), check=check)


def _filler(array: Array, value: Any, configuration: Configuration) -> Callable[[], object]:
    workers, chunk = cut(configuration, array.size)

    def run() -> object:
        fill(array, value, workers=workers, chunk=chunk, placement=configuration.placement)
        return array

    return run


def cut(configuration: Configuration, whole: int) -> tuple[int, int]:
    """Return workers and chunk; what is not set leaves the work whole."""
    return configuration.workers or 1, configuration.chunk or whole


def output_fault(result: object, out: Array, period: Array) -> str | None:
    """Describe the fault of a written array, or return None; it is spoilt afterwards, so that it passes once only."""
    if result is not out:
        return "The result is not the array that was given to hold it."
    problem = elements(out, period)
    out[...] = 0
    return problem


RECIPES: Mapping[str, Recipe] = {
    "fill": Recipe(_prepare_fill, layouts=("C", "window")),
    "copy": Recipe(_prepare_copy),
    **{name: _ufunc(getattr(np, name)) for name in ("add", "sqrt", "exp", "log", "sin", "power")},
}
