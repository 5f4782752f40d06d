"""pnumpy, the peer of the C core for NumPy 1, against NumPy 1.26: the rows of `native` that it has, too.

It does not load under NumPy 2, so that it has an environment of its own, without autotune:

    python3.11 -m venv pnumpy && pnumpy/bin/pip install numpy==1.26.4 pnumpy
    pnumpy/bin/python scripts/benchmarks/pnumpy_peer.py

One process; plain calls and pnumpy's take turns. Its kernels are its own, so that a part of what it gains is not from
threads. A row is the median of the ratios of adjacent calls, with their quartiles.
"""

import sys
import time
from collections.abc import Callable, Mapping
from statistics import median, quantiles
from typing import Any

PAIRS = 25
LARGE, SMALL = 10_000_000, 10


def main() -> int:
    try:
        import numpy as np
        import pnumpy
    except ImportError as error:
        print(f"{error}: see the head of this file.", file=sys.stderr)
        return 3
    generator = np.random.default_rng(0)
    x, y, z = (generator.random(LARGE) + 0.5 for _ in range(3))
    out, short = np.empty(LARGE), x[:SMALL].copy()
    rows: Mapping[str, Callable[[], Any]] = {
        **{f"np.{name}(x, out=y)": _into(getattr(np, name), x, out) for name in ("log", "exp", "sin", "sqrt")},
        "np.add(x, z, out=y)": lambda: np.add(x, z, out=out),
        "np.log(x)": lambda: np.log(x),
        "sqrt(x*y + z)": lambda: np.sqrt(x * y + z),
        "x*z + y": lambda: x * z + y,
        f"np.add of {SMALL}, a thousand times": lambda: [np.add(short, short, out=out[:SMALL]) for _ in range(1000)],
    }
    print(f"NumPy {np.__version__}, {pnumpy.thread_getworkers()} extra workers; {LARGE:,} float64")
    for title, call in rows.items():
        ratios = [_seconds(call, pnumpy.disable) / _seconds(call, pnumpy.enable) for _ in range(PAIRS + 1)][1:]
        low, _, high = quantiles(ratios)
        print(f"{title:36} {median(ratios):5.2f}x [{low:.2f}, {high:.2f}]", flush=True)
    return 0


def _into(function: Any, x: Any, out: Any) -> Callable[[], Any]:
    return lambda: function(x, out=out)


def _seconds(call: Callable[[], Any], switch: Callable[[], Any]) -> float:
    switch()
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
