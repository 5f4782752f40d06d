"""Rows of runtime: BLAS threads by the call and by the task."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from statistics import median
from time import perf_counter

import numpy as np

from autotune.host.usable_cpus import usable_cpus
from benchmarks.paired_runs import Pair, Program, covered

FACTORED, FACTORS = 128, 20
"""Side of the matrices whose QR is taken, and how many there are."""
MULTIPLIED = 1024


class Loop:
    """20 QR and one product."""

    def __init__(self, quick: bool) -> None:
        rng = np.random.default_rng(1)
        side = MULTIPLIED // 4 if quick else MULTIPLIED
        self._small = rng.random((FACTORED, FACTORED))
        self._a, self._b = rng.random((2, side, side))
        self._qr_threads = self._product_threads = 1

    def run(self) -> None:
        """With the threads that are there."""
        self.factor()
        self.multiply()

    def run_by_hand(self) -> None:
        """With the best count for each, set where the program turns from one to the other."""
        self._set(self._qr_threads)
        self.factor()
        self._set(self._product_threads)
        self.multiply()

    def factor(self) -> None:
        for _ in range(FACTORS):
            np.linalg.qr(self._small)

    def multiply(self) -> None:
        self._a @ self._b

    @contextmanager
    def by_hand(self) -> Iterator[None]:
        """Find the best counts first: 1 and all were timed for each part."""
        from threadpoolctl import ThreadpoolController

        self._libraries = ThreadpoolController().select(user_api="blas").lib_controllers
        self._qr_threads = self._best(self.factor)
        self._product_threads = self._best(self.multiply)
        yield

    def _best(self, part: Callable[[], None]) -> int:
        cpus, _ = usable_cpus()
        return min((1, cpus), key=lambda threads: self._seconds(part, threads))

    def _seconds(self, part: Callable[[], None], threads: int) -> float:
        self._set(threads)
        part()
        times = []
        for _ in range(5):
            start = perf_counter()
            part()
            times.append(perf_counter() - start)
        return median(times)

    def _set(self, threads: int) -> None:
        for library in self._libraries:
            library.set_num_threads(threads)


def loop_against(ideal: bool) -> Callable[[bool], Pair]:
    def make(quick: bool) -> Pair:
        import autotune

        covered("qr", n=FACTORED)
        loop = Loop(quick)
        return Pair(
            plain=loop.run_by_hand if ideal else loop.run,
            tuned=loop.run,
            asks=("qr", {"n": FACTORED}),
            around_plain=loop.by_hand if ideal else nullcontext,
            around_tuned=autotune.apply,
        )

    return make


def executor(quick: bool) -> Pair:
    """Products of matrices in memory. By hand: the same workers, BLAS threads set once before."""
    from threadpoolctl import threadpool_limits

    import autotune

    n, tasks = (100, 20) if quick else (300, 100)
    chosen = covered("batch_matmul", n=n, tasks=tasks)
    a, b = np.random.default_rng(1).random((2, n, n))

    def task(_number: int) -> float:
        return float((a @ b)[0, 0])

    def by_hand() -> list[float]:
        with ThreadPoolExecutor(chosen.workers or 1) as pool:
            return list(pool.map(task, range(tasks)))

    def tuned() -> list[float]:
        with autotune.executor("batch_matmul", n=n, tasks=tasks) as pool:
            return list(pool.map(task, range(tasks)))

    def limited() -> AbstractContextManager[object]:
        return nullcontext() if chosen.blas_threads is None else threadpool_limits(chosen.blas_threads, "blas")

    return Pair(plain=by_hand, tuned=tuned, asks=("batch_matmul", {"n": n, "tasks": tasks}), around_plain=limited)


PROGRAMS = {
    "loop_default": Program(
        title="20 QR (128) and a product (1024), per call, against default", make=loop_against(ideal=False)
    ),
    "loop_ideal": Program(
        title="20 QR (128) and a product (1024), per call, against counts by hand", make=loop_against(ideal=True)
    ),
    "executor": Program(title="100 products (300), executor against a tuned ThreadPoolExecutor", make=executor),
}
