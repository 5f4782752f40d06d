"""`python -m autotune.bench.spin_trial CPUS`: time calls of BLAS in a row, and loops right after one, on request.

Answers each line of standard input by a line of JSON: `calls` by the seconds of each kind of call, `loops` by those of
each of LOOPS, plain and cut for all CPUs, pair by pair. `blas_wait` starts it in a fresh process whose environment says
how long idle BLAS threads spin.
"""

import json
import sys
from collections.abc import Callable, Iterator
from time import perf_counter

import numpy as np

from autotune.intercept.array_loops import CLASSES, ArrayLoops
from autotune.intercept.operations import Layout, Range
from autotune.native import core

PAIRS = 5
"""Of each loop, plain and cut."""
CHUNK = 65_536

LOOPS = {"functions": ((np.exp, 1_000_000),), "arithmetic": ((np.add, 1_000_000), (np.add, 4_000_000))}
"""The cheapest member of each class of loops, with numbers of elements, ascending."""


def calls_in_a_row() -> Callable[[], dict[str, float]]:
    """Make the operands. Return a function that measures the seconds of a call of each kind.

    Products wake the threads once, QR many times. The calls of each kind take about ten milliseconds together.
    """
    a, b = (np.random.default_rng(0).random((n, n)) for n in (128, 512))
    c = b[:256, :256].copy()
    calls: dict[str, tuple[Callable[[], object], int]] = {
        "product 128": (lambda: a @ a, 100),
        "product 512": (lambda: b @ b, 3),
        "QR 256": (lambda: np.linalg.qr(c), 3),
    }
    return lambda: {name: _seconds(call, count) for name, (call, count) in calls.items()}


def loops_after_a_call(cpus: int) -> dict[str, list[tuple[int, float, float]]]:
    """Measure each of LOOPS right after a product, plain and cut; nothing without the C core."""
    native = core()
    if isinstance(native, str) or cpus < 2:
        return {}
    cutting = ArrayLoops(native)
    native.configure(cpus)
    if cutting.install() is not None:
        return {}
    try:
        return {
            kind: [pair for ufunc, n in loops for pair in _pairs(cutting, kind, ufunc, n, cpus)]
            for kind, loops in LOOPS.items()
        }
    finally:
        cutting.remove()


def _pairs(cutting: ArrayLoops, kind: str, ufunc: np.ufunc, n: int, cpus: int) -> Iterator[tuple[int, float, float]]:
    """Yield (elements, seconds plain, seconds cut)."""
    assert kind in CLASSES
    square = np.random.default_rng(0).random((512, 512))
    operands, out = [np.ones(n) for _ in range(ufunc.nin)], np.zeros(n)

    def after_product() -> float:
        square @ square
        return _seconds(lambda: ufunc(*operands, out=out), 1)

    for pair in range(1 + PAIRS):
        cutting.plan(kind, "float64", Layout.CONTIGUOUS, [])
        plain = after_product()
        cutting.plan(kind, "float64", Layout.CONTIGUOUS, [Range(1, CHUNK, cpus)])
        cut = after_product()
        if pair:  # the first starts the threads
            yield n, plain, cut


def _seconds(call: Callable[[], object], count: int) -> float:
    begin = perf_counter()
    for _ in range(count):
        call()
    return (perf_counter() - begin) / count


def main() -> None:
    """Answer requests until standard input ends."""
    calls = calls_in_a_row()
    calls()  # starts the threads, and wakes the CPUs
    answers: dict[str, Callable[[], object]] = {"calls": calls, "loops": lambda: loops_after_a_call(int(sys.argv[1]))}
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answers[line.strip()]()) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
