"""Rows of runtime: sqrt(x*y + z) over 10 million numbers, with scratch, and by others' means.

Everybody has the workers that the profile gives map_blocks. Plain NumPy makes its result anew; so does map_blocks
next to it. The others write into an array that is there, each in the way its documentation shows.
"""

from collections.abc import Callable
from importlib.util import find_spec
from itertools import pairwise

import numpy as np

from autotune.bench.workloads.array_work import by_block
from benchmarks.paired_runs import NotHere, Pair, Program, covered

LENGTH = 10_000_000

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""x, y, z and the result."""

Peer = Callable[[Arrays, int], Callable[[], object]]
"""From the arrays and a number of workers to a call."""


def _arrays(quick: bool) -> Arrays:
    length = LENGTH // 10 if quick else LENGTH
    rng = np.random.default_rng(1)
    return rng.random(length), rng.random(length), rng.random(length), np.ones(length)


def against_numpy(quick: bool) -> Pair:
    import autotune

    x, y, z, _ = _arrays(quick)
    covered("expression", n=x.size)
    return Pair(
        plain=lambda: np.sqrt(x * y + z),
        tuned=lambda: autotune.map_blocks(by_block, x, y, z, scratch=True),
        asks=("expression", {"n": x.size}),
    )


def against(package: str, peer: Peer) -> Callable[[bool], Pair]:
    def make(quick: bool) -> Pair:
        import autotune

        if find_spec(package) is None:
            raise NotHere(f"{package} is not installed")
        x, y, z, out = _arrays(quick)
        workers = covered("expression", n=x.size).workers or 1
        return Pair(
            plain=peer((x, y, z, out), workers),
            tuned=lambda: autotune.map_blocks(by_block, x, y, z, out=out, scratch=True),
            asks=("expression", {"n": x.size}),
        )

    return make


def numexpr(arrays: Arrays, workers: int) -> Callable[[], object]:
    import numexpr

    x, y, z, out = arrays
    numexpr.set_num_threads(workers)
    return lambda: numexpr.evaluate("sqrt(x*y + z)", local_dict={"x": x, "y": y, "z": z}, out=out)


def joblib(arrays: Arrays, workers: int) -> Callable[[], object]:
    """One slice for each thread of a pool that is kept: joblib takes 10 ms for a call of few tasks."""
    from joblib import Parallel, delayed

    x, y, z, out = arrays
    edges = [x.size * number // workers for number in range(workers + 1)]
    slices = [slice(*pair) for pair in pairwise(edges)]
    pool = Parallel(n_jobs=workers, backend="threading").__enter__()

    def step(part: slice) -> None:
        t = x[part] * y[part]
        t += z[part]
        np.sqrt(t, out=out[part])

    def call() -> np.ndarray:
        pool(delayed(step)(part) for part in slices)
        return out

    return call


def dask(arrays: Arrays, workers: int) -> Callable[[], object]:
    """One chunk for each thread: dask.array takes about 1 ms for an operation on a chunk."""
    import dask.array as da

    *inputs, out = arrays
    chunk = -(-out.size // workers)
    x, y, z = (da.from_array(array, chunks=chunk) for array in inputs)

    def call() -> np.ndarray:
        da.store(da.sqrt(x * y + z), out, lock=False, scheduler="threads", num_workers=workers)
        return out

    return call


def numba(arrays: Arrays, workers: int) -> Callable[[], object]:
    """Compiled by the first call, which is not timed."""
    from math import sqrt

    from numba import config, njit, prange, set_num_threads

    @njit(parallel=True)  # type: ignore[untyped-decorator]  # numba has no types
    def loop(x: np.ndarray, y: np.ndarray, z: np.ndarray, out: np.ndarray) -> None:
        for place in prange(x.size):
            out[place] = sqrt(x[place] * y[place] + z[place])

    set_num_threads(min(workers, config.NUMBA_NUM_THREADS))
    loop(*(array[:1] for array in arrays))

    def call() -> np.ndarray:
        loop(*arrays)
        return arrays[-1]

    return call


PROGRAMS = {
    "expression_numpy": Program(title="sqrt(x*y + z) with scratch, against plain NumPy", make=against_numpy),
    "expression_numexpr": Program(
        title="sqrt(x*y + z) with scratch, against numexpr", make=against("numexpr", numexpr)
    ),
    "expression_joblib": Program(
        title="sqrt(x*y + z) with scratch, against joblib's threads", make=against("joblib", joblib)
    ),
    "expression_dask": Program(title="sqrt(x*y + z) with scratch, against dask.array", make=against("dask", dask)),
    "expression_numba": Program(
        title="sqrt(x*y + z) with scratch, against numba, parallel", make=against("numba", numba)
    ),
}
