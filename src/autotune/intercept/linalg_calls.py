"""Calls into LAPACK, met below the public names of numpy.linalg.

numpy.linalg's functions look up their compiled functions in a module of their own, `_umath_linalg`, by a
global name of numpy.linalg._linalg. While an intercept is in force that name stands for a copy of the module
in which each compiled function is called between `begin` and `end`. No public object is replaced: imported
names, identity, pickles, signatures, `__array_function__` and whoever calls the compiled functions directly
notice nothing. norm, cond, matrix_rank, pinv and tensorsolve are met in what they call.
"""

import sys
from collections.abc import Callable, Mapping
from functools import cache
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from autotune.controls.switch import Calls
from autotune.host.numeric_libraries import python_build, series

KNOWN_NUMPY = frozenset({"2.0", "2.1", "2.2", "2.3", "2.4", "2.5"})
"""Versions of NumPy on which it was tried with NumPy's own tests."""

Shape = tuple[int, ...]
Named = tuple[str, dict[str, int]]
Naming = Callable[[Shape, Shape], Named | None]
"""Which operation a call is, and its sizes, by the shapes of its operands; None: one that was not measured."""
Decide = Callable[[str, str, dict[str, int]], Calls]
"""What calls of an operation get, by its name, dtype and sizes."""
_Meet = Callable[..., Calls]

MOST_SHAPES = 4096
"""Shapes remembered for each function; a program with more of them asks again."""

_FEW = 10
"""Right-hand sides are measured one at a time. A tenth of n of them add a third to the work of `solve`
(2 n^2 each, to 2/3 n^3 for the factors), and calls with more of them are others than were measured."""


class Around(Protocol):
    """What is done before and after each call."""

    def begin(self, calls: Calls, /) -> object:
        """One of these calls begins in this thread."""

    def end(self, begun: Any, /) -> None:
        """The thread's call is over, also by an exception; `begun` is what begin() returned, None if it was
        interrupted.
        """


class Nothing:
    """Calls are counted, and run as they would without."""

    def begin(self, _calls: Calls) -> None: ...

    def end(self, _begun: object) -> None: ...


# --- which operation a compiled function is --------------------------------------------------


def square(name: str) -> Naming:
    """This operation, of an n x n matrix."""
    return lambda a, _: (name, {"n": a[-1]})


def rectangle(name: str) -> Naming:
    """This operation, of an m x n matrix."""
    return lambda a, _: (name, {"m": a[-2], "n": a[-1]})


def solve(a: Shape, b: Shape) -> Named | None:
    """A number on the right-hand side is NumPy's to refuse."""
    return ("solve", {"n": a[-1]}) if b and b[-1] * _FEW <= a[-1] else None


def lstsq(a: Shape, b: Shape) -> Named | None:
    return ("lstsq", {"m": a[-2], "n": a[-1]}) if (b[-1] - 1) * _FEW <= min(a[-2:]) else None


def _full(name: str) -> Naming:
    """The full form of a tall or wide factor is much more work than the reduced one that was measured."""
    return lambda a, _: (name, {"m": a[-2], "n": a[-1]}) if a[-2] == a[-1] else None


_OPERATIONS: Mapping[str, Naming] = {
    "solve": solve,
    "solve1": square("solve"),
    "inv": square("inv"),
    "det": square("det"),
    "slogdet": square("det"),
    "cholesky_lo": square("cholesky"),
    "cholesky_up": square("cholesky"),
    "eigh_lo": square("eigh"),
    "eigh_up": square("eigh"),
    "eig": square("eig"),
    "qr_r_raw": rectangle("qr"),
    "qr_reduced": rectangle("qr"),
    "qr_complete": _full("qr"),
    "svd": rectangle("svd"),
    "svd_s": rectangle("svd"),
    "svd_f": _full("svd"),
    "lstsq": lstsq,
}
"""eigvals and eigvalsh are left out: their work is not that of eig and eigh, and it was not measured. Singular
values alone are taken as svd: of the two halves of its work the one that threads help least remains."""

_TWO_OPERANDS = frozenset({"solve", "lstsq"})
_OLD_NAMES = {
    "svd_m": "svd",
    "svd_n": "svd",
    "svd_m_s": "svd_s",
    "svd_n_s": "svd_s",
    "svd_m_f": "svd_f",
    "svd_n_f": "svd_f",
    "qr_r_raw_m": "qr_r_raw",
    "qr_r_raw_n": "qr_r_raw",
    "lstsq_m": "lstsq",
    "lstsq_n": "lstsq",
}
"""NumPy 2.0 has two functions, for wide and for tall matrices."""


# --- the intercept ---------------------------------------------------------------------------


class Intercept:
    """The compiled functions of numpy.linalg, each called between `begin` and `end`."""

    def __init__(self, decide: Decide, around: Around) -> None:
        self._decide = decide
        self._around = around
        self._names: dict[str, Any] = {}
        """Those of numpy.linalg's module: a program may drop NumPy from sys.modules."""
        self._original: ModuleType | None = None
        self._copy: ModuleType | None = None

    def install(self) -> str | None:
        """Put it in force. Returns None, or a sentence why this NumPy is left alone."""
        refusal = unknown_numpy()
        if refusal is not None:
            return refusal
        from numpy.linalg import _linalg, _umath_linalg

        private = vars(_linalg).get("_umath_linalg")
        missing = [name for name in _OPERATIONS if not _has(private, name)]
        if private is not _umath_linalg or missing:
            return (
                "numpy.linalg is not built as this version's usually is (another tool may have changed it), "
                "so its calls are left alone."
            )
        copy = ModuleType(private.__name__, private.__doc__)
        vars(copy).update({name: self._around_each(name, found) for name, found in vars(private).items()})
        self._names, self._original, self._copy = vars(_linalg), private, copy
        self._names["_umath_linalg"] = copy
        return None

    def remove(self) -> None:
        """Take it off. If somebody has replaced it since, theirs stays."""
        if self._copy is not None and self._names.get("_umath_linalg") is self._copy:
            self._names["_umath_linalg"] = self._original
        self._copy = None

    def _around_each(self, name: str, found: Any) -> Any:
        name = _OLD_NAMES.get(name, name)
        operation = _OPERATIONS.get(name)
        if operation is None or not isinstance(found, np.ufunc):
            return found
        kind = _of_two if name in _TWO_OPERANDS else _of_one if found.nin == 1 else _of_one_beside
        return kind(found, self._meeting(operation), self._around)

    def _meeting(self, operation: Naming) -> _Meet:
        def meet(known: dict[Any, Calls], a: Any, b: Any = None) -> Calls:
            named = operation(a.shape, a.shape if b is None else b.shape)
            if named is None or min(named[1].values()) < 1:
                calls = Calls("", a.dtype.name, {})
            else:
                calls = self._decide(named[0], a.dtype.name, named[1])
            remember(known, _key(a) if b is None else (a.shape, a.dtype, b.shape), calls)
            return calls

        return meet


@cache
def multiarray() -> Mapping[str, Any]:
    """The names of NumPy's compiled module. A program may drop NumPy from sys.modules later."""
    return vars(sys.modules["numpy._core._multiarray_umath"])


def remember(known: dict[Any, Any], key: object, met: object) -> None:
    """Keep what is called for a shape, if need be in place of all others."""
    if len(known) >= MOST_SHAPES:
        known.clear()
    known[key] = met


def unknown_numpy() -> str | None:
    """Why calls of this NumPy are not met, as a sentence; None if they can be."""
    if series(np.__version__) in KNOWN_NUMPY:
        return None
    return (
        f"NumPy {np.__version__} is not among the versions whose calls can be met "
        f"({min(KNOWN_NUMPY)} to {max(KNOWN_NUMPY)}), so they are left alone."
    )


def unknown_structures() -> str | None:
    """Why NumPy's own C structures are left alone, as a sentence; None if they are those that are known.

    Where there is no GIL a thread may be about to call what is just being exchanged, and elsewhere than in CPython
    the id of an object is no address.
    """
    if sys.implementation.name != "cpython":
        return f"Products are met in CPython only, so they are left alone in {sys.implementation.name}."
    if python_build() == "free-threaded":
        return (
            "Products are met in Python with a GIL only, so they are left alone in this free-threaded build."
        )
    return unknown_numpy()


def _has(private: Any, name: str) -> bool:
    names = [name, *(old for old, new in _OLD_NAMES.items() if new == name)]
    return any(isinstance(getattr(private, one, None), np.ufunc) for one in names)


# The wrappers are closures, and as many: everything in them is paid at each call. numpy.linalg gives its functions
# operands and a signature: to name these instead of passing on whatever comes saves 0.25 us, and a key that says
# nothing of the usual dtype 0.07 us (CPython 3.11).

_DOUBLE = np.dtype(np.float64)


def _key(a: Any) -> Any:
    """What tells the calls of one matrix apart."""
    return a.shape if a.dtype is _DOUBLE else (a.shape, a.dtype)


def _of_one(function: Callable[..., Any], meet: _Meet, around: Around) -> Callable[..., Any]:
    """The function of one operand."""
    known: dict[Any, Calls] = {}
    double, begin, end = _DOUBLE, around.begin, around.end

    def counted(a: Any, signature: Any = None) -> Any:
        try:
            known[a.shape if a.dtype is double else (a.shape, a.dtype)].count += 1
        except KeyError:
            meet(known, a).count += 1
        return function(a, signature=signature)

    def call(a: Any, signature: Any = None) -> Any:
        try:
            calls = known[a.shape if a.dtype is double else (a.shape, a.dtype)]
        except KeyError:
            calls = meet(known, a)
        calls.count += 1
        begun = None
        try:
            begun = begin(calls)
            return function(a, signature=signature)
        finally:
            end(begun)

    return counted if isinstance(around, Nothing) else call


def _of_one_beside(function: Callable[..., Any], meet: _Meet, around: Around) -> Callable[..., Any]:
    """The function of two operands, the second of which tells nothing: one right-hand side, or QR's tau."""
    known: dict[Any, Calls] = {}
    double, begin, end = _DOUBLE, around.begin, around.end

    def counted(a: Any, b: Any, signature: Any = None) -> Any:
        try:
            known[a.shape if a.dtype is double else (a.shape, a.dtype)].count += 1
        except KeyError:
            meet(known, a).count += 1
        return function(a, b, signature=signature)

    def call(a: Any, b: Any, signature: Any = None) -> Any:
        try:
            calls = known[a.shape if a.dtype is double else (a.shape, a.dtype)]
        except KeyError:
            calls = meet(known, a)
        calls.count += 1
        begun = None
        try:
            begun = begin(calls)
            return function(a, b, signature=signature)
        finally:
            end(begun)

    return counted if isinstance(around, Nothing) else call


def _of_two(function: Callable[..., Any], meet: _Meet, around: Around) -> Callable[..., Any]:
    """The function of two operands, and of a cut-off if it is lstsq's."""
    known: dict[Any, Calls] = {}
    begin, end = around.begin, around.end

    def counted(a: Any, b: Any, *cut_off: Any, signature: Any = None) -> Any:
        try:
            known[a.shape, a.dtype, b.shape].count += 1
        except KeyError:
            meet(known, a, b).count += 1
        return function(a, b, *cut_off, signature=signature)

    def call(a: Any, b: Any, *cut_off: Any, signature: Any = None) -> Any:
        try:
            calls = known[a.shape, a.dtype, b.shape]
        except KeyError:
            calls = meet(known, a, b)
        calls.count += 1
        begun = None
        try:
            begun = begin(calls)
            return function(a, b, *cut_off, signature=signature)
        finally:
            end(begun)

    return counted if isinstance(around, Nothing) else call
