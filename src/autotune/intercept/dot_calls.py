"""Calls of np.dot and np.inner, met below the objects that a program names.

Neither is a ufunc. Both are objects of NumPy's that ask `__array_function__` first and then call a compiled
function, to which they hold a reference: while this is in force they refer to a function that calls the
compiled one between `begin` and `end`. Objects, names, signatures and overrides stay what they are. tensordot,
multi_dot, cov, and before NumPy 2.4 einsum with `optimize`, are met in what they call; ndarray.dot, vdot, and
einsum without `optimize`, which calls no BLAS, are not.

The other ways to meet products were tried and left: exchanging the entry for cblas_dgemm in NumPy's table of linked
functions meets ndarray.dot too, but calls back into Python for every matrix of a stack, 2 us each, and writes to
pages that a hardened build protects; a dtype's own `dot` is called for vectors only.
"""

import ctypes
from collections.abc import Callable
from ctypes import c_void_p, py_object
from operator import attrgetter
from typing import Any

import numpy as np

from autotune.controls.switch import Calls
from autotune.intercept.linalg_calls import (
    Around,
    Decide,
    Named,
    Shape,
    multiarray,
    remember,
    unknown_structures,
)

_NAMES = ("dot", "inner")
_compiled: Callable[[Any], Any] = attrgetter("_implementation")
"""What the public object calls: NumPy lets one read it, and nothing else."""


class DotCalls:
    """np.dot and np.inner, each called between `begin` and `end`."""

    def __init__(self, decide: Decide, around: Around) -> None:
        self._decide = decide
        self._around = around

    def install(self) -> str | None:
        """Put it in force. Returns None, or a sentence why this NumPy is left alone."""
        refusal = unknown_structures()
        if refusal is not None:
            return refusal
        for name in _NAMES:
            if name not in _stands:
                if _place(getattr(np, name)) is None:
                    return f"np.{name} is not built as it is known, so calls of np.dot are left alone."
                _stands[name] = _StandIn(name)
        for stand in _stands.values():
            stand.install(self._decide, self._around)
        return None

    def remove(self) -> None:
        """Put NumPy's own functions back. If somebody has replaced ours since, theirs stay."""
        for stand in _stands.values():
            stand.remove()


class _StandIn:
    """What is called in the place of one compiled function. It lives as long as the process, for calls in flight."""

    def __init__(self, name: str) -> None:
        self._public = getattr(np, name)
        self._native: Callable[..., Any] = _compiled(self._public)
        self._last_axis = -2 if name == "inner" else -1
        self._decide: Decide | None = None
        self._known: dict[Any, Calls] = {}
        self._function: Callable[..., Any] | None = None

    def install(self, decide: Decide, around: Around) -> None:
        self.remove()
        if _compiled(self._public) is self._native:
            self._decide, self._known = decide, {}
            self._function = self._around(around)
            _exchange(self._public, self._native, self._function)

    def remove(self) -> None:
        if _compiled(self._public) is self._function:
            _exchange(self._public, self._function, self._native)
        self._decide, self._known = None, {}

    def _around(self, around: Around) -> Callable[..., Any]:
        native, begin, end = self._native, around.begin, around.end

        def call(a: Any, b: Any, *out: Any, **keywords: Any) -> Any:
            try:
                calls = self._known[a.shape, b.shape, a.dtype, b.dtype]
            except Exception:  # noqa: BLE001 - a new shape, or an operand that is no array, whatever that raises
                calls = self._meet(a, b)
            calls.count += 1
            begun = None
            try:
                begun = begin(calls)
                return native(a, b, *out, **keywords)
            finally:
                end(begun)

        return call

    def _meet(self, a: Any, b: Any) -> Calls:
        if not (isinstance(a, np.ndarray) and isinstance(b, np.ndarray)):
            return Calls("", "", {})
        named = _named(a.shape, b.shape if self._last_axis == -1 else b.shape[::-1])
        decide = self._decide  # another thread may take it off meanwhile
        if decide is None or named is None or a.dtype != b.dtype:
            calls = Calls("", a.dtype.name, {})
        else:
            calls = decide(named[0], a.dtype.name, named[1])
        remember(self._known, (a.shape, b.shape, a.dtype, b.dtype), calls)
        return calls


_stands: dict[str, _StandIn] = {}


def _named(a: Shape, b: Shape) -> Named | None:
    """As matmul's loops name it: a vector before a matrix is not what was measured as matvec."""
    if len(a) != 2 or len(b) not in {1, 2} or a[0] < 2 or min(*a, *b) < 1 or a[1] != b[0]:
        return None
    if len(b) == 1 or b[1] == 1:
        return "matvec", {"m": a[0], "n": a[1]}
    return "matmul", {"m": a[0], "k": a[1], "n": b[1]}


# --- NumPy's C structure ---------------------------------------------------------------------


def _place(public: Any) -> int | None:
    """Where in the object the reference to its compiled function lies.

    None unless it is an object of NumPy's own type, whose members lie within its size and are references that it
    owns, and exactly one of them is that function.
    """
    if type(public) is not multiarray().get("_ArrayFunctionDispatcher"):
        return None
    wanted = id(_compiled(public))
    words = (c_void_p * (type(public).__basicsize__ // ctypes.sizeof(c_void_p))).from_address(id(public))
    places = [place for place, word in enumerate(words) if word == wanted]
    return places[0] * ctypes.sizeof(c_void_p) if len(places) == 1 else None


def _exchange(public: Any, before: Any, after: Any) -> None:
    """Let the object refer to another function, and own that reference instead of the former.

    An exception of a signal handler between these lines leaves one reference too many, never one too few.
    """
    place = _place(public)
    assert place is not None
    ctypes.pythonapi.Py_IncRef(py_object(after))
    c_void_p.from_address(id(public) + place).value = id(after)
    ctypes.pythonapi.Py_DecRef(py_object(before))
