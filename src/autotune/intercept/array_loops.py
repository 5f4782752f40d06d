"""Whole-array loops of NumPy's ufuncs: those that are met, and the measured operation that covers each.

Ufuncs of similar cost are one class. A class is used where its cheapest and its dearest member were both measured to
be faster, with what was measured for the cheapest. They are measured on contiguous operands. Others are
cut where the cheapest loop of all gained with such operands, too. Types smaller than float32 get thresholds of as
many bytes as float32's, other real types of eight bytes those of float64. Complex types have their own, and those of
float64 where they were not measured.

Not met: `fill`, `copyto`, `astype` and plain copies, which are no ufuncs, and whose loops cannot be exchanged
through NumPy's C interface. Left alone: `power` of whole numbers (its loop raises Python errors), half and extended
precision, dates, objects, and types of a user's own.
"""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from autotune.intercept.operations import LOOP_KINDS, Layout, Range
from autotune.model.record import Record

if TYPE_CHECKING:
    from autotune.native._core import Calls

TYPES = "?bBhHiIlLqQfdFD"
"""Type codes that are met."""
_INEXACT = "fdFD"
"""Those of `power`, whose loops for whole numbers raise Python errors."""


class Reduction:
    """Treatment of a loop that is called to reduce an array (`loops.h`)."""

    NEVER = 0
    EXACT = 1
    ROUNDED = 2
    ANY = 3
    ALL = 4


class LoopClass(Record):
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
MEASURED_LAYOUTS: Mapping[int, str] = {
    Layout.STRIDED: "loop_strided",
    Layout.BROADCAST: "loop_scale",
    Layout.ROWS: "loop_rows",
}
"""The catalogue's operation of the cheapest loop whose operands lie so."""
REDUCING = LoopClass("loop_max", "loop_sum", "add multiply maximum minimum")
"""Reductions. `any`, `all` and those of bitwise operations are among them: where no order changes the result."""

_REDUCTIONS: Mapping[str, int] = {
    **dict.fromkeys(("add", "multiply"), Reduction.ROUNDED),
    **dict.fromkeys(("maximum", "minimum", "fmax", "fmin"), Reduction.EXACT),
    **dict.fromkeys(("bitwise_and", "bitwise_or", "bitwise_xor"), Reduction.EXACT),
    "logical_or": Reduction.ANY,
    "logical_and": Reduction.ALL,
}
"""Reductions by ufunc; of the types for which they hold (`loops.c`)."""
REDUCING_FUNCTIONS = {
    **dict.fromkeys(("sum", "mean", "var", "std"), "add"),
    "prod": "multiply",
    **dict.fromkeys(("max", "amax"), "maximum"),
    **dict.fromkeys(("min", "amin"), "minimum"),
    "any": "logical_or",
    "all": "logical_and",
}
"""Functions of NumPy that reduce arrays by loops, with the ufunc of these; first of each ufunc is its own reduction."""

_ITEM_BYTES = (1, 2, 4, 8, 8, 16)
"""Bytes of an element of each group of types that has a plan of its own: four of real types, two of complex ones
(`loops.h`)."""
_LIKE: Mapping[str, Sequence[tuple[int, int]]] = {
    "float64": ((3, 1),),
    "float32": ((0, 4), (1, 2), (2, 1)),
    "complex64": ((4, 1),),
    "complex128": ((5, 1),),
}
"""Numbers of the groups that use the measurements of a dtype, each with its elements for one element of that dtype."""

_NEVER = 2**62
"""More elements than any array has."""
_LEARN_FROM = {"arithmetic": 16384, "functions": 4096, "reductions": 32768}
"""Elements of 8 bytes below which no loop of a kind takes 20 us, from which on loops are learned about."""


def class_number(kind: str, dtype: str) -> int:
    """Return the core's number of the class of loops of this kind whose largest type is the dtype."""
    return LOOP_KINDS.index(kind) * len(_ITEM_BYTES) + _LIKE[dtype][-1][0]


def item_bytes(dtype: str) -> int:
    """Return the bytes of an element of a dtype that is measured."""
    return _ITEM_BYTES[_LIKE[dtype][-1][0]]


def loop_names(kind: str, layout: int) -> list[str]:
    """Return the operations that all have to gain for loops of a kind to be cut; the first one's choice is used."""
    members = CLASSES.get(kind, REDUCING)
    names = [members.cheapest, members.dearest]
    if layout in MEASURED_LAYOUTS:
        names.insert(0, MEASURED_LAYOUTS[layout])
    return names


def reduction_of(function: str) -> int:
    """Return the treatment of a function of NumPy that reduces arrays by loops; Reduction.NEVER for others."""
    return _REDUCTIONS.get(REDUCING_FUNCTIONS.get(function, ""), Reduction.NEVER)


def measured_like(class_number: int) -> tuple[str, str, int]:
    """Return the kind of a class of loops, the dtype by whose entries it goes, and its elements for one of that."""
    number, group = divmod(class_number, len(_ITEM_BYTES))
    dtype, scale = next((name, scale) for name, like in _LIKE.items() for own, scale in like if own == group)
    return LOOP_KINDS[number], dtype, scale


def is_loop(operation: str) -> bool:
    """Return whether an operation is a loop of ufuncs, whose threads are workers; others are calls of BLAS."""
    return operation.startswith("loop_")


def ufunc_of(name: str) -> np.ufunc | None:
    """Return NumPy's ufunc of this name; None if its version has none. `np.clip` is a function that calls one."""
    places = (vars(np), compiled_functions())
    return next((place[name] for place in places if isinstance(place.get(name), np.ufunc)), None)


def compiled_functions() -> dict[str, Any]:
    """Return the names of NumPy's compiled module: functions and ufuncs, public or not."""
    return vars(sys.modules["numpy._core._multiarray_umath"])


class ArrayLoops:
    """Whole-array loops in force. One at a time in a process."""

    def __init__(self, core: Any, kinds: Iterable[str] = LOOP_KINDS) -> None:
        """Meet the loops of these kinds only: others stay NumPy's own."""
        self._core = core
        self._kinds = frozenset(kinds)

    def install(self) -> str | None:
        """Exchange every loop. Return None, or a sentence why none was exchanged."""
        met = 0
        for number, (kind, members) in enumerate(CLASSES.items()):
            # whatever can be reduced is arithmetic
            if kind in self._kinds or (kind == "arithmetic" and "reductions" in self._kinds):
                for name in members.ufuncs.split():
                    ufunc = ufunc_of(name)
                    if ufunc is not None:
                        types = _INEXACT if name in {"power", "float_power"} else TYPES
                        reduction = _REDUCTIONS.get(name, Reduction.NEVER)
                        met += self._core.meet_loops(ufunc, types, number, len(CLASSES), reduction)
        return None if met else "NumPy's loops could not be exchanged."

    def plan(self, kind: str, dtype: str, layout: int, ranges: Sequence[Range]) -> None:
        """Set what the loops of a class get whose elements are of this size, or of this complex type, and lie so.

        `kind` is one of LOOP_KINDS; `ranges` hold for elements of the dtype.
        """
        for group, scale in _LIKE[dtype]:
            rows = [
                (max(1, area.elements * scale), max(1, area.chunk * scale), area.workers, self._place(area))
                for area in ranges
            ]
            self._core.plan(LOOP_KINDS.index(kind) * len(_ITEM_BYTES) + group, layout, rows)

    def _place(self, setting: Range) -> int:
        """Return the core's number for the CPUs of the workers; 0 for those that the system chooses."""
        if not setting.placement:
            return 0
        from autotune.controls.placement import cpus_for
        from autotune.model.configuration import Placement

        cpus = cpus_for(Placement(setting.placement), setting.workers)
        return 0 if cpus is None else int(self._core.place(cpus))

    def after_blas(self, kind: str, elements: int) -> None:
        """Let loops of a kind with at least `elements` elements of 8 bytes be cut while BLAS threads spin, too."""
        first = LOOP_KINDS.index(kind) * len(_ITEM_BYTES)
        for group, item in enumerate(_ITEM_BYTES):
            self._core.after_blas(first + group, max(1, elements * 8 // item))

    def learn(self, decide: Callable[[str, str, int], "Calls"]) -> None:
        """Let loops that no plan covers be learned about.

        `decide(operation, dtype, elements)` returns the Calls of a lesson, for the catalogue's operation that covers
        the loop, with as many elements as it has.
        """
        for number in range(len(LOOP_KINDS) * len(_ITEM_BYTES)):
            kind, group = divmod(number, len(_ITEM_BYTES))
            self._core.learn_from(number, _LEARN_FROM[LOOP_KINDS[kind]] * 8 // _ITEM_BYTES[group])
        self._core.learn_loops(partial(_decide, decide))

    def remove(self) -> None:
        """Put NumPy's own loops back. Another extension's loop that has replaced one since stays."""
        self._core.learn_loops(None)
        for number in range(len(LOOP_KINDS) * len(_ITEM_BYTES)):
            self._core.learn_from(number, _NEVER)
            self._core.after_blas(number, _NEVER)
            for layout in Layout.ALL:
                self._core.plan(number, layout, [])
        self._core.reductions(False)
        self._core.release_loops()


def _decide(
    decide: Callable[[str, str, int], "Calls"], class_number: int, rounds: int, layout: int, elements: int
) -> "Calls":
    """Ask `decide` about a loop as the core describes it."""
    kind, dtype, _ = measured_like(class_number)
    if kind in CLASSES:
        operation = MEASURED_LAYOUTS.get(layout, CLASSES[kind].cheapest)
    else:
        operation = REDUCING.dearest if rounds else REDUCING.cheapest
    return decide(operation, dtype, elements)
