"""Random numbers. Plain is one stream, tuned one for every fixed block: other numbers, of the same kind."""

from collections.abc import Callable, Iterator, Mapping
from itertools import count, repeat

import numpy as np
from numpy.random import Generator, SeedSequence, default_rng

from autotune.bench.workloads.elementwise import cut
from autotune.bench.workloads.inputs import Array
from autotune.bench.workloads.workload import Recipe, Work
from autotune.model.configuration import Configuration
from autotune.model.operation import Operation
from autotune.parallel import random_streams

SIGMAS = 6
"""Standard errors that mean and variance may be off; chance alone does that twice in a thousand million."""


def _prepare(operation: Operation, _layout: str, rng: Generator) -> Work:
    n, dtype, seed = operation.size["n"], np.dtype(operation.dtype), int(rng.integers(2**31))
    out, from_blocks = np.zeros(n, dtype), np.zeros(n, dtype)

    def plain() -> object:
        return default_rng(seed).standard_normal(n, dtype, out=out)

    def tuned(configuration: Configuration) -> Callable[[], object]:
        workers, chunk = cut(configuration, n)
        where = configuration.placement
        return lambda: random_streams.random(
            n,
            "standard_normal",
            dtype,
            seed,
            {},
            workers=workers,
            chunk=chunk,
            placement=where,
            out=from_blocks,
        )

    def check(result: object) -> str | None:
        if result is out:
            return _problem(out, repeat(default_rng(seed)))
        if result is from_blocks:
            return _problem(from_blocks, _generators(seed))
        return "The result is not the array that was given to hold it."

    return Work(plain=plain, tuned=tuned, check=check)


def _generators(seed: int) -> Iterator[Generator]:
    return (random_streams.generator(SeedSequence(seed), block) for block in count())


def _problem(out: Array, generators: Iterator[Generator]) -> str | None:
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


RECIPES: Mapping[str, Recipe] = {"random": Recipe(_prepare)}
