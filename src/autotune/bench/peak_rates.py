"""`python -m autotune.bench.peak_rates CPUS BYTES`: what this machine does at most, for reports to compare with.

Prints one JSON object: `memory_bandwidth`, bytes read and written a second while every CPU copies memory with the C
library's memmove (STREAM's Copy; McCalpin, IEEE TCCA Newsletter 1995), and `peak_flops`, float64 operations a
second while every CPU multiplies matrices that stay in its cache, each with one BLAS thread. Both are rates that
a program does reach, below what a data sheet says. `selftest` starts it in a fresh process.
"""

import ctypes
import json
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

SIDE = 512
"""Of the matrices: 6.3 MB for the three of a thread. With one thread larger ones were not faster."""
PRODUCTS = 4
"""Of every thread in one go."""
PASSES = 2
"""Over its part that a thread makes in one go: handing out the parts then takes less than one per cent."""
GOES = 5
"""The fastest counts: a neighbour can only slow one down."""


def fastest(go: Callable[[int], object], cpus: int) -> float:
    """Return the seconds in which every CPU did its part, in the best of all goes but the first, which warms up."""
    with ThreadPoolExecutor(cpus) as pool:
        spans = []
        for _ in range(1 + GOES):
            begin = perf_counter()
            list(pool.map(go, range(cpus)))
            spans.append(perf_counter() - begin)
    return min(spans[1:])


def memory_bandwidth(cpus: int, size: int) -> float:
    """Return the bytes read and written a second in copies of an array of `size` bytes."""
    import numpy as np

    target, source = (np.ones(max(1, size // 8)) for _ in range(2))
    parts = [
        (into.ctypes.data, of.ctypes.data, of.nbytes)
        for into, of in zip(*(np.array_split(array, cpus) for array in (target, source)), strict=True)
    ]

    def copy(number: int) -> None:
        for _ in range(PASSES):
            ctypes.memmove(*parts[number])

    return 2.0 * source.nbytes * PASSES / fastest(copy, cpus)


def peak_flops(cpus: int) -> float:
    """Measure the floating-point operations a second in products of float64 matrices."""
    import numpy as np

    from autotune.controls.apply_configuration import ConfigurationScope
    from autotune.model.configuration import Configuration

    rng = np.random.default_rng(1)
    matrices = [[rng.random((SIDE, SIDE)) for _ in range(3)] for _ in range(cpus)]

    def multiply(number: int) -> None:
        a, b, product = matrices[number]
        for _ in range(PRODUCTS):
            np.matmul(a, b, out=product)

    with ConfigurationScope(Configuration(blas_threads=1), usable_cpus=cpus):
        return 2.0 * SIDE**3 * PRODUCTS * cpus / fastest(multiply, cpus)


if __name__ == "__main__":
    cpus, size = map(int, sys.argv[1:])
    rates = {"memory_bandwidth": memory_bandwidth(cpus, size), "peak_flops": peak_flops(cpus)}
    sys.stdout.write(json.dumps(rates) + "\n")
