"""Bounds of this machine, measured without NumPy's loops: bytes moved, products.

Every usable CPU works at once, on a part of its own. Memory is written by the C library's memset and copied by its
memmove, whose stores are the best that its authors know. Products are of 768 x 768 matrices in caches, each
with one BLAS thread: a rate that BLAS does reach, below what the CPU's data sheet says.
"""

import ctypes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from autotune.host.usable_cpus import usable_cpus

PASSES = 4
"""Over its part that a thread makes in one call: starting threads then takes less than one per cent."""

SIDE = 768
"""Of the matrices: 4.7 MB each. Larger ones were not faster with one thread."""

PRODUCTS = 4
"""Of every thread in one call."""

PRODUCT_FLOPS = 2 * SIDE**3


class Everyone:
    """One thread for every usable CPU."""

    def __init__(self) -> None:
        self.count, _ = usable_cpus()
        self._pool = ThreadPoolExecutor(self.count)

    def do(self, work: Callable[[int], object]) -> Callable[[], None]:
        """Return a call in which each thread does its work, given its number."""

        def call() -> None:
            list(self._pool.map(work, range(self.count)))

        return call


def writing(target: np.ndarray) -> Callable[[], None]:
    """Return a call that writes an array in one stretch of memory, PASSES times."""
    everyone = Everyone()
    parts = [(part.ctypes.data, part.nbytes) for part in np.array_split(target, everyone.count)]

    def write(number: int) -> None:
        for _ in range(PASSES):
            ctypes.memset(parts[number][0], 0, parts[number][1])

    return everyone.do(write)


def copying(target: np.ndarray, source: np.ndarray) -> Callable[[], None]:
    """Return a call that copies an array in one stretch of memory into another, PASSES times."""
    everyone = Everyone()
    pairs = zip(*(np.array_split(array, everyone.count) for array in (target, source)), strict=True)
    parts = [(into.ctypes.data, of.ctypes.data, of.nbytes) for into, of in pairs]

    def copy(number: int) -> None:
        for _ in range(PASSES):
            ctypes.memmove(*parts[number])

    return everyone.do(copy)


def multiplying() -> tuple[Callable[[], None], float]:
    """Return a call in which every thread multiplies PRODUCTS times, with the flops of them all.

    BLAS has to have one thread while it runs.
    """
    everyone = Everyone()
    rng = np.random.default_rng(1)
    matrices = [[rng.random((SIDE, SIDE)) for _ in range(3)] for _ in range(everyone.count)]

    def multiply(number: int) -> None:
        a, b, c = matrices[number]
        for _ in range(PRODUCTS):
            np.matmul(a, b, out=c)

    return everyone.do(multiply), float(everyone.count * PRODUCTS * PRODUCT_FLOPS)
