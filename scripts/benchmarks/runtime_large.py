"""Rows of runtime: one NumPy function over large arrays, and one large product."""

from collections.abc import Callable
from multiprocessing.pool import ThreadPool

import numpy as np

from benchmarks.hardware_bounds import PASSES, copying, multiplying, writing
from benchmarks.paired_runs import NotHere, Pair, Program, covered

LENGTH = 10_000_000
SIDE = 4096


def _arrays(count: int, quick: bool) -> list[np.ndarray]:
    """Return numbers from 0.5 to 1.5, and an array for the result that is in memory already."""
    rng = np.random.default_rng(1)
    length = LENGTH // 10 if quick else LENGTH
    return [*(rng.random(length) + 0.5 for _ in range(count)), np.ones(length)]


def against_out(function: np.ufunc) -> Callable[[bool], Pair]:
    def make(quick: bool) -> Pair:
        import autotune

        *arrays, out = _arrays(function.nin, quick)
        covered(function.__name__, n=out.size)
        return Pair(
            plain=lambda: function(*arrays, out=out),
            tuned=lambda: autotune.map_blocks(function, *arrays, out=out),
            asks=(function.__name__, {"n": out.size}),
        )

    return make


def against_allocating(function: np.ufunc) -> Callable[[bool], Pair]:
    """The result's memory comes from the result before it, which the program has dropped."""

    def make(quick: bool) -> Pair:
        import autotune

        *arrays, _ = _arrays(function.nin, quick)
        covered(function.__name__, n=arrays[0].size)
        return Pair(
            plain=lambda: function(*arrays),
            tuned=lambda: autotune.map_blocks(function, *arrays),
            asks=(function.__name__, {"n": arrays[0].size}),
        )

    return make


def against_hand(function: np.ufunc) -> Callable[[bool], Pair]:
    """A loop that its author gave the same workers and chunk, over a pool that is kept."""

    def make(quick: bool) -> Pair:
        import autotune

        *arrays, out = _arrays(function.nin, quick)
        chosen = covered(function.__name__, n=out.size)
        if chosen.workers is None or chosen.chunk is None:
            raise NotHere(f"the profile says {chosen}, which leaves no loop to write by hand")
        slices = [slice(start, start + chosen.chunk) for start in range(0, out.size, chosen.chunk)]
        pool = ThreadPool(chosen.workers)

        def step(part: slice) -> None:
            function(*(array[part] for array in arrays), out=out[part])

        def by_hand() -> np.ndarray:
            pool.map(step, slices, chunksize=1)
            return out

        return Pair(
            plain=by_hand,
            tuned=lambda: autotune.map_blocks(function, *arrays, out=out),
            asks=(function.__name__, {"n": out.size}),
        )

    return make


def fill_share(quick: bool) -> Pair:
    """Against memset."""
    import autotune

    (out,) = _arrays(0, quick)
    covered("fill", n=out.size)
    return Pair(
        plain=writing(out), tuned=lambda: autotune.fill(out, 1.0), asks=("fill", {"n": out.size}), share=1 / PASSES
    )


def copy_share(quick: bool) -> Pair:
    """Against memmove."""
    import autotune

    x, out = _arrays(1, quick)
    covered("copy", n=out.size)
    return Pair(
        plain=copying(out, x), tuned=lambda: autotune.fill(out, x), asks=("copy", {"n": out.size}), share=1 / PASSES
    )


def add_share(quick: bool) -> Pair:
    """Against memmove: of every three arrays that pass, a copy would have moved two."""
    import autotune

    x, y, out = _arrays(2, quick)
    covered("add", n=out.size)
    return Pair(
        plain=copying(out, x),
        tuned=lambda: autotune.map_blocks(np.add, x, y, out=out),
        asks=("add", {"n": out.size}),
        share=3 / 2 / PASSES,
    )


def product_share(quick: bool) -> Pair:
    """With the process-wide count that apply() chooses, against small products by every CPU at once."""
    from threadpoolctl import threadpool_limits

    side = SIDE // 4 if quick else SIDE
    a, b = np.random.default_rng(1).random((2, side, side))
    out = np.empty_like(a)
    peak, flops = multiplying()
    return Pair(
        plain=peak,
        tuned=lambda: np.matmul(a, b, out=out),
        asks=("matmul", {"n": side}),
        around_plain=lambda: threadpool_limits(1, "blas"),
        share=2 * side**3 / flops,
    )


FUNCTIONS = (np.add, np.sqrt, np.exp, np.log, np.power)

PROGRAMS = {
    **{
        f"{function.__name__}_out": Program(
            title=f"{function.__name__} of 10 million numbers, against the plain call with out=",
            make=against_out(function),
        )
        for function in FUNCTIONS
    },
    **{
        f"{function.__name__}_hand": Program(
            title=f"{function.__name__}, against a ThreadPool loop with the same workers, chunk",
            make=against_hand(function),
        )
        for function in FUNCTIONS
    },
    **{
        f"{function.__name__}_allocating": Program(
            title=f"{function.__name__} without out, against the plain call that allocates",
            make=against_allocating(function),
        )
        for function in (np.log, np.sqrt)
    },
    "fill_share": Program(title="fill, as a share of memset's bandwidth", make=fill_share),
    "copy_share": Program(title="copy, as a share of memmove's bandwidth", make=copy_share),
    "add_share": Program(title="add, as a share of memmove's bandwidth", make=add_share),
    "product_share": Program(title="product of 4096 x 4096, as a share of peak flops", make=product_share),
}
