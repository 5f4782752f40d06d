"""The C core with every loop cut, for tests that look at results and not at speed."""

from contextlib import contextmanager

import pytest

from autotune.intercept.array_loops import CLASSES, ArrayLoops, Layout, Range
from autotune.model.operation import DTYPES
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
        for dtype in DTYPES:
            for layout in Layout:
                loops.plan(kind, dtype, layout, [Range(elements, chunk, workers)])
    CORE.reductions(reductions)
    try:
        yield CORE
    finally:
        loops.remove()


class Recording:
    """Decides nothing, and notes which operations were asked for and how often they were called."""

    def __init__(self):
        self.asked = []

    def decide(self, operation, dtype, sizes, *, follows=False):
        calls = CORE.Calls(operation, dtype, sizes)
        self.asked.append(calls)
        return calls

    @property
    def met(self):
        """Every call as (operation, dtype, sizes ...), by operation in the order of their first calls."""
        return [
            (calls.operation, calls.dtype, *calls.sizes.values())
            for calls in self.asked
            for _ in range(calls.count)
        ]
