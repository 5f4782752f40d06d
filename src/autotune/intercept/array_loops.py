"""Whole-array loops of NumPy's ufuncs: which are met, and which measured operation speaks for each.

Ufuncs of similar cost are one class. A class is used where its cheapest and its dearest member were both measured to
be faster, with what was measured for the cheapest. They are measured on contiguous operands. Others are
cut where the cheapest loop of all gained with such operands, too. Types smaller than float32 get thresholds of as
many bytes as float32's, all types of eight bytes or more those of float64.

Not met: `fill`, `copyto`, `astype` and plain copies, which are no ufuncs, and whose loops cannot be exchanged
through NumPy's C interface. Left alone: `power` of whole numbers (its loop raises Python errors), half and extended
precision, dates, objects, and types of a user's own.
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from functools import cache
from typing import Any, NamedTuple

import numpy as np

TYPES = "?bBhHiIlLqQfdFD"
"""Type codes that are met."""


class Reduction(IntEnum):
    """Treatment of a loop that is called to reduce an array (`loops.h`)."""

    NEVER = 0
    EXACT = 1
    ROUNDED = 2
    ANY = 3
    ALL = 4


class Layout(IntEnum):
    """Placement in memory of the elements of a loop's operands (`loops.h`)."""

    STRIDED = 0
    CONTIGUOUS = 1
    BROADCAST = 2


class Range(NamedTuple):
    """Setting of loops from so many elements on."""

    elements: int
    chunk: int
    workers: int
    placement: int = 0


class LoopClass(NamedTuple):
    """Ufuncs of similar cost, with the catalogue's operations of its cheapest and its dearest member."""

    cheapest: str
    dearest: str
    ufuncs: str
    """Their names, which NumPy has or has not by its version."""


CLASSES: Mapping[str, LoopClass] = {
    "arithmetic": LoopClass(
        "loop_add",
        "loop_sqrt",
        """
        add subtract multiply divide floor_divide remainder fmod divmod negative positive absolute fabs square
        sqrt reciprocal sign signbit copysign conjugate maximum minimum fmax fmin clip rint floor ceil trunc
        equal not_equal less less_equal greater greater_equal isnan isinf isfinite logical_and logical_or
        logical_xor logical_not bitwise_and bitwise_or bitwise_xor invert left_shift right_shift bitwise_count
        heaviside spacing nextafter degrees radians deg2rad rad2deg modf ldexp frexp
        """,
    ),
    "functions": LoopClass(
        "loop_exp",
        "loop_power",
        """
        exp exp2 expm1 log log2 log10 log1p sin cos tan arcsin arccos arctan sinh cosh tanh arcsinh arccosh
        arctanh arctan2 hypot cbrt power float_power logaddexp logaddexp2
        """,
    ),
}
MEASURED_LAYOUTS: Mapping[Layout, str] = {Layout.STRIDED: "loop_strided", Layout.BROADCAST: "loop_scale"}
"""The catalogue's operation of the cheapest loop whose operands lie so."""

REDUCING = LoopClass("loop_max", "loop_sum", "add multiply maximum minimum")
"""Reductions. `any`, `all` and those of bitwise operations are among them: where no order changes the result."""

_ORDERLESS = {
    "maximum": Reduction.EXACT,
    "minimum": Reduction.EXACT,
    "fmax": Reduction.EXACT,
    "fmin": Reduction.EXACT,
    "bitwise_and": Reduction.EXACT,
    "bitwise_or": Reduction.EXACT,
    "bitwise_xor": Reduction.EXACT,
}
_TRUTHS = {"logical_or": Reduction.ANY, "logical_and": Reduction.ALL}
_SUMS = {"add", "multiply"}

_SIZES = (1, 2, 4, 8)
"""Bytes of an element that have a plan of their own; larger ones use the last."""

_NEVER = 2**62
"""More elements than any array has."""


class Loop(NamedTuple):
    """One inner loop: its ufunc, its types as one string, and how it is planned."""

    ufunc: np.ufunc
    types: str
    kind: str
    size: int
    reduction: Reduction


@cache
def loops() -> tuple[Loop, ...]:
    """List every loop that is met, in this NumPy."""
    return tuple(
        Loop(ufunc, types, kind, _size(types), _reduction(name, types))
        for kind, members in CLASSES.items()
        for name in members.ufuncs.split()
        if isinstance(ufunc := getattr(np, name, None), np.ufunc)
        for types in dict.fromkeys(given.replace("->", "") for given in ufunc.types)
        if set(types) <= set(TYPES) and not (name in {"power", "float_power"} and types[0] not in "fdFD")
    )


class ArrayLoops:
    """Whole-array loops in force. One at a time in a process."""

    def __init__(self, core: Any) -> None:
        self._core = core
        self._slots: list[int] = []

    def install(self) -> str | None:
        """Exchange every loop. Return None, or a sentence why none was exchanged."""
        numbers = _class_numbers()
        for loop in loops():
            slot = self._core.meet_loop(
                loop.ufunc,
                loop.types,
                numbers[loop.kind, loop.size],
                numbers["reductions", loop.size],
                loop.reduction,
            )
            if slot >= 0:
                self._slots.append(slot)
        return None if self._slots else "NumPy's loops could not be exchanged."

    def plan(self, kind: str, dtype: str, layout: Layout, ranges: Sequence[Range]) -> None:
        """Set what the loops of a class get whose elements are of this size, "float32" or "float64", and lie so.

        `kind` is one of CLASSES, or "reductions".
        """
        for size, scale in _sizes_like(dtype):
            rows = [
                (max(1, one.elements * scale), max(1, one.chunk * scale), one.workers, one.placement)
                for one in ranges
            ]
            self._core.plan(_class_numbers()[kind, size], layout, rows)

    def after_blas(self, kind: str, dtype: str, elements: int) -> None:
        """Let loops of a class that are at least so long be cut while BLAS threads spin, too."""
        for size, scale in _sizes_like(dtype):
            self._core.after_blas(_class_numbers()[kind, size], elements * scale)

    def remove(self) -> None:
        """Put NumPy's own loops back. Another extension's loop that has replaced one since stays."""
        for number in _class_numbers().values():
            for layout in Layout:
                self._core.plan(number, layout, [])
            self._core.after_blas(number, _NEVER)
        self._core.reductions(False)
        for slot in self._slots:
            self._core.release_loop(slot)
        self._slots = []


def _class_numbers() -> dict[tuple[str, int], int]:
    kinds = [*CLASSES, "reductions"]
    return {(kind, size): number for number, (kind, size) in enumerate((k, s) for k in kinds for s in _SIZES)}


def _sizes_like(dtype: str) -> list[tuple[int, int]]:
    """List the element sizes that go by what was measured for a dtype, each with its elements for one of that."""
    own = np.dtype(dtype).itemsize
    return [(size, own // size) for size in _SIZES if size == own or (own == 4 and size < own)]


def _size(types: str) -> int:
    """The plan that fits a loop's largest element."""
    return min(max(np.dtype(code).itemsize for code in types), _SIZES[-1])


def _reduction(name: str, types: str) -> Reduction:
    if len(set(types)) != 1 or len(types) != 3:
        return Reduction.NEVER
    code = types[0]
    if name in _SUMS and code in "fdFD":
        return Reduction.ROUNDED
    if name in _SUMS and code != "?":
        return Reduction.EXACT
    if code in "FD":
        return (
            Reduction.NEVER
        )  # which of two complex numbers is the larger may depend on NaNs in their halves
    if code == "?":
        return _TRUTHS.get(name, Reduction.NEVER)
    return _ORDERLESS.get(name, Reduction.NEVER)
