"""The programs of a course on concurrent NumPy, each plain and with autotune: what does autotune gain?

Prints a table, with --json JSON: plain time / time with autotune (above 1 is faster) and its 95 % interval.
Both programs are started in fresh processes, one after the other in random order, only while the machine is
quiet. The row ends with what the profile chose for the program's operation and size.
"""

import sys
import tempfile
from collections.abc import Callable
from multiprocessing import Pool
from pathlib import Path

import numpy as np

from benchmarks.paired_runs import Pair, Program, main

RNG = np.random.default_rng(1)


def large_product(quick: bool) -> Pair:
    n = 512 if quick else 4096
    a, b = RNG.random((n, n)), RNG.random((n, n))

    def multiply() -> object:
        return a @ b

    return Pair(plain=multiply, tuned=multiply, asks=("matmul", {"n": n}))


def products(quick: bool) -> Pair:
    n = 256 if quick else 1024
    a, b = RNG.random((n, n)), RNG.random((n, n))

    def multiply() -> None:
        for _ in range(10):
            a @ b

    return Pair(plain=multiply, tuned=multiply, asks=("matmul", {"n": n}))


def fill_by_rows(quick: bool) -> Pair:
    import autotune

    array = _largest(quick)
    bands = [array[row : row + 256] for row in range(0, len(array), 256)]

    def plain() -> None:
        for band in bands:
            band[...] = 1.0

    def tuned() -> None:
        for band in bands:
            autotune.fill(band, 1.0)

    return Pair(plain=plain, tuned=tuned, asks=("fill", {"n": bands[0].size}))


def fill_by_tiles(quick: bool) -> Pair:
    import autotune

    array, side = _largest(quick), 2048
    corners = range(0, len(array), side)
    tiles = [array[row : row + side, column : column + side] for row in corners for column in corners]

    def plain() -> None:
        for tile in tiles:
            tile[...] = 1.0

    def tuned() -> None:
        for tile in tiles:
            autotune.fill(tile, 1.0)

    return Pair(plain=plain, tuned=tuned, asks=("fill", {"n": tiles[0].size}))


def _largest(quick: bool) -> np.ndarray:
    """Return a square array, as large as a quarter of the memory allows, that is in memory already."""
    from autotune.host.detect import detect

    _, allocation = detect()
    bytes_allowed = (allocation.memory_bytes or 2**32) / 4
    side = 2048 if quick else int((bytes_allowed / 8) ** 0.5) // 2048 * 2048
    return np.ones((max(side, 2048),) * 2)


def logarithm(quick: bool) -> Pair:
    return _element_by_element(np.log, quick)


def square_root(quick: bool) -> Pair:
    return _element_by_element(np.sqrt, quick)


def _element_by_element(function: np.ufunc, quick: bool) -> Pair:
    import autotune

    x = RNG.random(1_000_000 if quick else 10_000_000) + 0.5
    y = np.empty_like(x)

    def plain() -> object:
        return function(x, out=y)

    def tuned() -> object:
        return autotune.map_blocks(function, x, out=y)

    return Pair(plain=plain, tuned=tuned, asks=(function.__name__, {"n": x.size}))


def tasks_of_2000(quick: bool) -> Pair:
    return _independent_products(400, 10) if quick else _independent_products(2000, 100)


def tasks_of_300(quick: bool) -> Pair:
    return _independent_products(300, 30 if quick else 300)


def _independent_products(n: int, tasks: int) -> Pair:
    """Load two matrices in each task and multiply them; the files are in the system's cache."""
    import autotune

    folder = tempfile.TemporaryDirectory()
    for name in ("a", "b"):
        np.save(Path(folder.name, name), RNG.random((n, n)))

    def task(_number: int) -> float:
        a, b = (np.load(Path(folder.name, f"{name}.npy")) for name in ("a", "b"))
        return float((a @ b)[0, 0])

    def plain() -> object:
        return [task(number) for number in range(tasks)]

    def tuned() -> object:
        with autotune.executor("batch_matmul", n=n, tasks=tasks) as pool:
            return list(pool.map(task, range(tasks)))

    return Pair(plain=plain, tuned=tuned, asks=("batch_matmul", {"n": n, "tasks": tasks}))


def increment(part: np.ndarray) -> np.ndarray:
    """Add one; in the module, where other processes find it."""
    part += 1
    return part


def shared_array(quick: bool) -> Pair:
    import autotune
    from autotune.host.usable_cpus import usable_cpus

    n, (processes, _) = 1_000_000 if quick else 10_000_000, usable_cpus()

    def plain() -> object:
        array = np.zeros(n)
        with Pool(processes) as pool:
            return np.concatenate(pool.map(increment, np.array_split(array, processes))).sum()

    def tuned() -> object:
        with autotune.shared((n,)) as array:
            return autotune.process_map(increment, array, out=array).sum()

    return Pair(plain=plain, tuned=tuned, asks=("share", {"n": n}))


def qr_in_a_loop(quick: bool) -> Pair:
    return _in_a_loop("qr", np.linalg.qr, quick)


def svd_in_a_loop(quick: bool) -> Pair:
    return _in_a_loop("svd", np.linalg.svd, quick)


def _in_a_loop(operation: str, function: Callable[..., object], quick: bool) -> Pair:
    import autotune

    matrices = [RNG.random((128, 128)) for _ in range(5 if quick else 50)]

    def plain() -> None:
        for matrix in matrices:
            function(matrix)

    def tuned() -> None:
        with autotune.tuned(operation, n=128):
            for matrix in matrices:
                function(matrix)

    return Pair(plain=plain, tuned=tuned, asks=(operation, {"n": 128}))


def stack_of_small_matrices(quick: bool) -> Pair:
    import autotune

    count = 1000 if quick else 10_000
    stack = RNG.random((count, 16, 16)) + 16 * np.eye(16)

    def plain() -> object:
        return np.linalg.inv(stack)

    def tuned() -> object:
        return autotune.map_blocks(np.linalg.inv, stack, rows=True, operation="stack_inv")

    return Pair(plain=plain, tuned=tuned, asks=("stack_inv", {"n": 16, "count": count}))


BAD = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""One thread, as it comes from a cluster's login script. What a user sets wins over any profile, so autotune
leaves it alone where it finds it; its advice (`autotune doctor`) is to remove it. Both are compared."""

PROGRAMS = {
    "large_product": Program(title="one large matrix product", make=large_product),
    "products_limited": Program(
        title="products with 1 thread in the environment; autotune leaves it",
        make=products,
        plain_environment=BAD,
        tuned_environment=BAD,
    ),
    "products_freed": Program(
        title="products with 1 thread in the environment; with autotune it is removed",
        make=products,
        plain_environment=BAD,
    ),
    "fill_by_rows": Program(title="fill a quarter of the memory, 256 rows at a time", make=fill_by_rows),
    "fill_by_tiles": Program(title="fill a quarter of the memory, by tiles of 2048 x 2048", make=fill_by_tiles),
    "log": Program(title="log of 10 million numbers into a given array", make=logarithm),
    "sqrt": Program(title="sqrt of 10 million numbers into a given array", make=square_root),
    "tasks_of_2000": Program(title="100 tasks: load two 2000 x 2000 matrices, multiply", make=tasks_of_2000),
    "tasks_of_300": Program(title="300 tasks: load two 300 x 300 matrices, multiply", make=tasks_of_300),
    "shared_array": Program(title="10 million numbers incremented by several processes", make=shared_array),
    "qr_in_a_loop": Program(title="50 QR of 128 x 128", make=qr_in_a_loop),
    "svd_in_a_loop": Program(title="50 SVD of 128 x 128", make=svd_in_a_loop),
    "stack": Program(title="inverses of a stack of 10,000 matrices of 16 x 16", make=stack_of_small_matrices),
}

if __name__ == "__main__":
    sys.exit(main("benchmarks.course", __doc__, PROGRAMS))
