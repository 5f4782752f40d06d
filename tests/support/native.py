"""The C core with every loop cut, for tests that look at results and not at speed."""

from contextlib import contextmanager

import pytest

from autotune.intercept.array_loops import CLASSES, ArrayLoops, Range
from autotune.native import core

CORE = core()

needs_core = pytest.mark.skipif(isinstance(CORE, str), reason=str(CORE))


@contextmanager
def loops_cut(*, elements=128, chunk=64, workers=4, reductions=False):
    """Within a `with`, cut every loop of so many elements or more."""
    CORE.configure(workers)
    loops = ArrayLoops(CORE)
    assert loops.install() is None
    for kind in [*CLASSES, "reductions"]:
        for dtype in ("float64", "float32"):
            loops.plan(kind, dtype, [Range(elements, chunk, workers)])
    CORE.reductions(reductions)
    try:
        yield CORE
    finally:
        loops.remove()
