"""Whole-array operations: functions of every element, expressions of several, reductions, random numbers.

Both sides of a function write into an array that is there already, so that the gain on record is that of threads alone;
what reused memory adds comes on top. Of large temporaries only the allocator around the call differs. Random numbers
are plain of one stream and tuned of one for every fixed block: other numbers, of the same kind.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from itertools import count, repeat
from math import fsum, isqrt
from typing import Any

import numpy as np
from numpy.random import Generator, SeedSequence, default_rng

from autotune.bench.workloads.inputs import Array, extend_precision, repeated_block
from autotune.bench.workloads.result_checks import elements, number
from autotune.bench.workloads.workload import Recipe, Work
from autotune.model.configuration import Configuration
from autotune.model.operation import Operation
from autotune.parallel import random_streams
from autotune.parallel.blocks import fill, map_blocks
from autotune.parallel.reductions import reduce_blocks
from autotune.parallel.scratch import Scratch

Function = Callable[..., Any]

PADDING = 64
"""Elements that separate the rows of a window: it is no single stretch of memory."""
PEAK = 2.0
"""One element of an array that is reduced, larger than all others and at a random place."""
EPSILONS = 1000
"""Relative error allowed in a reduction. NumPy's pairwise sum may be off by 16 + log2(n / 128); this is far from n."""
SIGMAS = 6
"""Standard errors that mean and variance may be off; chance alone does that twice in a thousand million."""


def cut(configuration: Configuration, whole: int) -> dict[str, Any]:
    """Return the arguments that cut the work; what is not set leaves it whole."""
    return {
        "workers": configuration.workers or 1,
        "chunk": configuration.chunk or whole,
        "placement": configuration.placement,
    }


def output_fault(result: object, out: Array, period: Array) -> str | None:
    """Describe the fault of a written array, or return None; it is spoilt afterwards, so that it passes once only."""
    if result is not out:
        return "The result is not the array that was given to hold it."
    problem = elements(out, period)
    out[...] = 0
    return problem


def _block_recipe(plain: Function, inputs: int, *, by_block: Function | None = None) -> Recipe:
    """Compute a function of `inputs` arrays, which writes into `out`, as one call and block by block.

    `by_block` computes a block with scratch memory; None: `plain` does.
    """

    def prepare(operation: Operation, _layout: str, rng: Generator) -> Work:
        n, dtype = operation.size["n"], operation.dtype
        arrays, periods = zip(*(repeated_block(rng, n, dtype) for _ in range(inputs)), strict=True)
        out = np.zeros(n, dtype)

        @cache  # many a trial needs no check
        def expected_result() -> Array:
            exact: Array = plain(*map(extend_precision, periods), out=None).astype(dtype)
            return exact

        function = partial(map_blocks, by_block or plain, arrays, out, scratch=by_block is not None)
        return Work(
            plain=partial(plain, *arrays, out=out),
            tuned=lambda configuration: partial(function, **cut(configuration, n)),
            check=lambda result: output_fault(result, out, expected_result()),
        )

    return Recipe(prepare)


def _prepare_copy(operation: Operation, _layout: str, rng: Generator) -> Work:
    source, period = repeated_block(rng, operation.size["n"], operation.dtype)
    target = np.zeros_like(source)

    def plain() -> object:
        np.copyto(target, source)
        return target

    return Work(
        plain=plain, tuned=partial(_filler, target, source), check=lambda result: output_fault(result, target, period)
    )


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

    return Work(plain=plain, tuned=partial(_filler, array, value), check=check)


def _filler(array: Array, value: Any, configuration: Configuration) -> Callable[[], object]:
    arguments = cut(configuration, array.size)

    def run() -> object:
        fill(array, value, **arguments)
        return array

    return run


def by_block(x: Array, y: Array, z: Array, *, scratch: Scratch) -> Array:
    """Return the expression on one block, its intermediate results in memory that stays in the cache."""
    t = scratch()
    np.multiply(x, y, out=t)
    t += z
    np.sqrt(t, out=scratch.out)
    return scratch.out


def whole(x: Array, y: Array, z: Array, *, out: Array | None) -> Any:
    """Return the expression, its intermediate results as large as the arrays."""
    return np.sqrt(x * y + z, out=out)


def _prepare_temporaries(operation: Operation, _layout: str, rng: Generator) -> Work:
    n, dtype = operation.size["n"], operation.dtype
    (x, first), (y, second) = (repeated_block(rng, n, dtype) for _ in range(2))

    def run() -> Array:
        return whole(x, y, x, out=None)  # type: ignore[no-any-return]

    def check(result: object) -> str | None:
        a, b = extend_precision(first), extend_precision(second)
        return elements(np.asarray(result), whole(a, b, a, out=None).astype(dtype))

    return Work(plain=run, tuned=lambda _: run, check=check)


def _reduction(function: Callable[[Array], object], expected: Callable[[Array, int, int], float]) -> Recipe:
    """Reduce a long array to one number, in fixed blocks combined in a fixed tree."""

    def prepare(operation: Operation, _layout: str, rng: Generator) -> Work:
        n = operation.size["n"]
        array, period = repeated_block(rng, n, operation.dtype)
        place = int(rng.integers(n))
        array[place] = PEAK

        def check(result: object) -> str | None:
            right = expected(period, n, place % len(period))
            return number("The result", result, right, EPSILONS * float(np.finfo(array.dtype).eps) * right)

        return Work(
            plain=partial(function, array),
            tuned=lambda configuration: partial(reduce_blocks, function, (array,), **cut(configuration, n)),
            check=check,
        )

    return Recipe(prepare)


def _sum(period: Array, n: int, place: int) -> float:
    times, rest = divmod(n, len(period))
    return fsum(period) * times + fsum(period[:rest]) - float(period[place]) + PEAK


def _var(period: Array, n: int, place: int) -> float:
    mean = _sum(period, n, place) / n
    times, rest = divmod(n, len(period))
    squares = (period.astype(float) - mean) ** 2
    around = fsum(squares) * times + fsum(squares[:rest]) - float(squares[place]) + (PEAK - mean) ** 2
    return around / n


def _prepare_random(operation: Operation, _layout: str, rng: Generator) -> Work:
    n, dtype, seed = operation.size["n"], np.dtype(operation.dtype), int(rng.integers(2**31))
    out, from_blocks = np.zeros(n, dtype), np.zeros(n, dtype)
    by_blocks = partial(random_streams.random, n, "standard_normal", dtype, seed, {}, out=from_blocks)

    def check(result: object) -> str | None:
        if result is out:
            return _stream_fault(out, repeat(default_rng(seed)))
        if result is from_blocks:
            generators = (random_streams.generator(SeedSequence(seed), block) for block in count())
            return _stream_fault(from_blocks, generators)
        return "The result is not the array that was given to hold it."

    return Work(
        plain=lambda: default_rng(seed).standard_normal(n, dtype, out=out),
        tuned=lambda configuration: partial(by_blocks, **cut(configuration, n)),
        check=check,
    )


def _stream_fault(out: Array, generators: Iterator[Generator]) -> str | None:
    """Are the numbers those of the seed, block after block, and normally distributed? They are spoilt."""
    mean, variance, n = float(out.mean()), float(out.var()), out.size
    same = True
    for start, generator in zip(range(0, n, random_streams.BLOCK), generators, strict=False):
        part = out[start : start + random_streams.BLOCK]
        same &= np.array_equal(part, generator.standard_normal(part.size, out.dtype))
    out[...] = 0
    if not same:
        return "The numbers are not those of the seed."
    if not abs(mean) <= SIGMAS * n**-0.5 or not abs(variance - 1) <= SIGMAS * (2 / n) ** 0.5 + 1 / n:
        return f"Mean {mean:.3g} and variance {variance:.3g} are not those of a standard normal distribution."
    return None


RECIPES: Mapping[str, Recipe] = {
    "fill": Recipe(_prepare_fill, layouts=("C", "window")),
    "copy": Recipe(_prepare_copy),
    **{
        name: _block_recipe(getattr(np, name), getattr(np, name).nin)
        for name in ("add", "sqrt", "exp", "log", "sin", "power")
    },
    "expression": _block_recipe(whole, 3, by_block=by_block),
    "temporaries": Recipe(_prepare_temporaries),
    "sum": _reduction(np.sum, _sum),
    "max": _reduction(np.max, lambda *_: PEAK),
    "var": _reduction(np.var, _var),
    "random": Recipe(_prepare_random),
}
