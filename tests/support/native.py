"""The C core with every loop cut, for tests that look at results and not at speed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest

from autotune.intercept.array_loops import CLASSES, ArrayLoops
from autotune.intercept.operations import Layout, Range
from autotune.model.operation import DTYPES
from autotune.native import core

if TYPE_CHECKING:
    from autotune.native._core import Calls

CORE: Any = core()

needs_core = pytest.mark.skipif(isinstance(CORE, str), reason=str(CORE))

WHOLE = tuple(map(int, version("numpy").split(".")[:2])) >= (2, 3)
"""Does NumPy reduce a contiguous array by one call of its loop? Before 2.3 it came in pieces of 8,192 elements."""


@contextmanager
def loops_cut(*, elements: int = 128, chunk: int = 64, workers: int = 4, reductions: bool = False) -> Iterator[Any]:
    """Within a `with`, cut every loop of `elements` or more."""
    CORE.configure(workers)
    loops = ArrayLoops(CORE)
    assert loops.install() is None
    for kind in [*CLASSES, "reductions"]:
        for dtype in DTYPES:
            for layout in Layout.ALL:
                loops.plan(kind, dtype, layout, [Range(elements, chunk, workers)])
    CORE.reductions(reductions)
    try:
        yield CORE
    finally:
        loops.remove()


def error_of(call: Callable[[], object]) -> tuple[type[Exception], str]:
    """Return the type and the words of the error that a call raises."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 - whatever it is, the same is expected of another call
        return type(error), str(error)
    raise AssertionError("The call raised no error.")


class Recording:
    """Decides nothing, and notes which operations were asked for and how often they were called."""

    def __init__(self) -> None:
        self.asked: list[Calls] = []

    def decide(self, operation: str, dtype: str, sizes: dict[str, int], *, follows: bool = False) -> "Calls":
        calls: Calls = CORE.Calls(operation, dtype, sizes)
        self.asked.append(calls)
        return calls

    @property
    def met(self) -> list[tuple[Any, ...]]:
        """Every call as (operation, dtype, sizes ...), by operation in the order of their first calls."""
        return [
            (calls.operation, calls.dtype, *calls.sizes.values()) for calls in self.asked for _ in range(calls.count)
        ]
