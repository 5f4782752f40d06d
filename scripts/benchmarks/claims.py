"""Figures that the project promises, each against what a careful user could do by hand.

Element-wise work over 10 million float64 against the plain call that allocates its result and against the
plain call with `out=`; QR, SVD and Cholesky at n=128 against every fixed thread count (the smallest of these
ratios is the one against the best count). Prints a table, with --json JSON: above 1 autotune is faster.
"""

import sys
from collections.abc import Callable

import numpy as np

from autotune.host.usable_cpus import usable_cpus
from benchmarks.paired_runs import Pair, Program, main

LENGTH = 10_000_000
MATRICES = 100


def _numbers(quick: bool) -> np.ndarray:
    return np.random.default_rng(1).random(LENGTH // 10 if quick else LENGTH) + 0.5


def against_allocating(function: np.ufunc) -> Callable[[bool], Pair]:
    """Compare with a call that allocates; the tuned result's memory is that of the result before it, now dropped."""

    def make(quick: bool) -> Pair:
        import autotune

        x = _numbers(quick)
        return Pair(
            plain=lambda: function(x),
            tuned=lambda: autotune.map_blocks(function, x),
            asks=(function.__name__, {"n": x.size}),
        )

    return make


def against_out(function: np.ufunc) -> Callable[[bool], Pair]:
    def make(quick: bool) -> Pair:
        import autotune

        x = _numbers(quick)
        y = np.ones_like(x)
        return Pair(
            plain=lambda: function(x, out=y),
            tuned=lambda: autotune.map_blocks(function, x, out=y),
            asks=(function.__name__, {"n": x.size}),
        )

    return make


def fill_against_allocating(quick: bool) -> Pair:
    import autotune

    y = np.ones_like(_numbers(quick))
    return Pair(plain=lambda: np.full(y.size, 1.0), tuned=lambda: autotune.fill(y, 1.0), asks=("fill", {"n": y.size}))


def fill_against_out(quick: bool) -> Pair:
    import autotune

    y = np.ones_like(_numbers(quick))
    return Pair(plain=lambda: y.fill(1.0), tuned=lambda: autotune.fill(y, 1.0), asks=("fill", {"n": y.size}))


def against_fixed(operation: str, function: Callable[[np.ndarray], object], threads: int) -> Callable[[bool], Pair]:
    def make(quick: bool) -> Pair:
        from threadpoolctl import threadpool_limits

        import autotune

        noise = np.random.default_rng(1).random((128, 128))
        matrix = noise @ noise.T + 128 * np.eye(128)
        count = MATRICES // 10 if quick else MATRICES

        def plain() -> None:
            with threadpool_limits(threads, "blas"):
                for _ in range(count):
                    function(matrix)

        def tuned() -> None:
            with autotune.tuned(operation, n=128):
                for _ in range(count):
                    function(matrix)

        return Pair(plain=plain, tuned=tuned, asks=(operation, {"n": 128}))

    return make


def _thread_counts() -> list[int]:
    cpus, _ = usable_cpus()
    return sorted({1, cpus, *(2**power for power in range(cpus.bit_length()) if 2**power <= cpus)})


PROGRAMS = {
    "fill_allocating": Program(title="fill, against np.full", make=fill_against_allocating),
    "log_allocating": Program(title="log, against np.log(x)", make=against_allocating(np.log)),
    "sqrt_allocating": Program(title="sqrt, against np.sqrt(x)", make=against_allocating(np.sqrt)),
    "fill_out": Program(title="fill, against y.fill(1.0)", make=fill_against_out),
    "log_out": Program(title="log, against np.log(x, out=y)", make=against_out(np.log)),
    "sqrt_out": Program(title="sqrt, against np.sqrt(x, out=y)", make=against_out(np.sqrt)),
    **{
        f"{operation}_{threads}": Program(
            title=f"{operation} of 128 x 128, against BLAS threads fixed at {threads}",
            make=against_fixed(operation, function, threads),
        )
        for operation, function in (("qr", np.linalg.qr), ("svd", np.linalg.svd), ("cholesky", np.linalg.cholesky))
        for threads in _thread_counts()
    },
}

if __name__ == "__main__":
    sys.exit(main("benchmarks.claims", __doc__, PROGRAMS))
