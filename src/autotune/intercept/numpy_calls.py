"""Calls of numpy.linalg, matmul, dot and the like, each with the BLAS threads that were measured for it.

They are met in C, at the entry of NumPy's compiled functions (`native/calls.c`): no public object is replaced, imported
names, identity, pickles, signatures and `__array_function__` notice nothing. norm, cond, matrix_rank, pinv and
tensorsolve are met in what they call. Python is asked once for each operation, dtype and shape.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from autotune.intercept.array_loops import compiled_functions
from autotune.intercept.operations import FUNCTIONS, PRODUCTS, Matcher, Shape, linalg_matcher

if TYPE_CHECKING:
    from autotune.native._core import Calls, Switch

Decide = Callable[..., "Calls"]
"""Return what calls of an operation get, by its name, dtype and sizes; with `follows=True` the Calls of a function that
always comes after another one of the same operation, and is no operation of its own."""

FOLLOWING = frozenset({"linalg.qr_reduced", "linalg.qr_complete"})
"""Functions that follow another one of the same operation: np.linalg.qr calls qr_r_raw, then one of these."""
DTYPES = {"f": "float32", "d": "float64", "F": "complex64", "D": "complex128"}
"""By type code."""


class NumpyCalls:
    """NumPy's compiled functions of linear algebra and products, each called within a switch."""

    def __init__(self, core: Any, decide: Decide, switch: "Switch | None") -> None:
        """Without a switch, calls are counted only."""
        self._core = core
        self._decide = decide
        self._switch = switch
        self._hooks: list[int] = []

    def install(self) -> str | None:
        """Put it in force. Return None, or a sentence about what could not be met."""
        missed = []
        for name, target, matcher in _targets():
            try:
                self._hooks.append(self._core.meet_call(target, self._decider(name, matcher), self._switch))
            except (TypeError, RuntimeError):
                missed.append(name)
        return f"Calls of {', '.join(missed)} are left alone: NumPy is not built as usual." if missed else None

    def remove(self) -> None:
        """Take it off. What another extension has put in its place since stays."""
        for hook in self._hooks:
            self._core.release_call(hook)
        self._hooks = []

    def _decider(self, name: str, matcher: Matcher) -> Callable[[str, Shape, Shape], "Calls"]:
        decide, new = self._decide, self._core.Calls
        if name in FOLLOWING:
            decide = partial(decide, follows=True)

        def ask(code: str, a: Shape, b: Shape) -> "Calls":
            first, second = (tuple(size for size in shape if size >= 0) for shape in (a, b))
            match = matcher(first, second)
            if match is None or min(match[1].values()) < 1:
                return new("", DTYPES[code], {})  # type: ignore[no-any-return]
            return decide(match[0], DTYPES[code], match[1])

        return ask


def _targets() -> Iterator[tuple[str, Any, Matcher]]:
    """Yield every function that is met: its name, itself, and how its calls are recognised."""
    from numpy.linalg import _umath_linalg

    compiled = compiled_functions()
    for name, matcher in FUNCTIONS.items():  # these first: the core has fewer places for them
        yield name, compiled[name], matcher
    yield "ndarray.dot", vars(np.ndarray)["dot"], FUNCTIONS["dot"]
    for name, matcher in PRODUCTS.items():
        if hasattr(np, name):
            yield name, getattr(np, name), matcher
    for name, target in vars(_umath_linalg).items():
        own_matcher = linalg_matcher(name)
        if own_matcher is not None and isinstance(target, np.ufunc):
            yield f"linalg.{name}", target, own_matcher
