"""Whole-array loops of NumPy's ufuncs: which are met, and which measured operation speaks for each.

Ufuncs of similar cost are one class. A class is used where its cheapest and its dearest member were both measured to
be faster, with what was measured for the cheapest. They are measured on contiguous operands. Others are
cut where the cheapest loop of all gained with such operands, too. Types smaller than float32 get thresholds of as
many bytes as float32's, other real types of eight bytes those of float64. Complex types have their own, and those of
float64 where they were not measured.

Not met: `fill`, `copyto`, `astype` and plain copies, which are no ufuncs, and whose loops cannot be exchanged
through NumPy's C interface. Left alone: `power` of whole numbers (its loop raises Python errors), half and extended
precision, dates, objects, and types of a user's own.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from functools import cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from autotune.native._core import Calls

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

_GROUPS = (1, 2, 4, 8, "F", "D")
"""Bytes of a real element that have a plan of their own, and the complex types."""
_COMPLEX = {"complex64": "F", "complex128": "D"}

_NEVER = 2**62
"""More elements than any array has."""

_LEARN_FROM = {"arithmetic": 16384, "functions": 4096, "reductions": 32768}
"""Elements of 8 bytes below which no loop of a kind takes 20 us, from which on loops are learned about."""


class Loop(NamedTuple):
    """One inner loop: its ufunc, its types as one string, and how it is planned."""

    ufunc: np.ufunc
    types: str
    kind: str
    group: int | str
    """One of _GROUPS."""
    reduction: Reduction


def is_loop(operation: str) -> bool:
    """Return whether an operation is a loop of ufuncs, whose threads are workers; others are calls of BLAS."""
    return operation.startswith("loop_")


@cache
def loops() -> tuple[Loop, ...]:
    """List every loop that is met, in this NumPy."""
    return tuple(
        Loop(ufunc, types, kind, _group(types), _reduction(name, types))
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
        self._slots: dict[int, Loop] = {}

    def install(self) -> str | None:
        """Exchange every loop. Return None, or a sentence why none was exchanged."""
        numbers = _class_numbers()
        for loop in loops():
            slot = self._core.meet_loop(
                loop.ufunc,
                loop.types,
                numbers[loop.kind, loop.group],
                numbers["reductions", loop.group],
                loop.reduction,
            )
            if slot >= 0:
                self._slots[slot] = loop
        return None if self._slots else "NumPy's loops could not be exchanged."

    def plan(self, kind: str, dtype: str, layout: Layout, ranges: Sequence[Range]) -> None:
        """Set what the loops of a class get whose elements are of this size, or of this complex type, and lie so.

        `kind` is one of CLASSES, or "reductions".
        """
        for group, scale in _groups_like(dtype):
            rows = [
                (max(1, area.elements * scale), max(1, area.chunk * scale), area.workers, area.placement)
                for area in ranges
            ]
            self._core.plan(_class_numbers()[kind, group], layout, rows)

    def after_blas(self, kind: str, dtype: str, elements: int) -> None:
        """Let loops of a class that are at least so long be cut while BLAS threads spin, too."""
        for group, scale in _groups_like(dtype):
            self._core.after_blas(_class_numbers()[kind, group], elements * scale)

    def learn(self, decide: Callable[[str, str, int], "Calls"]) -> None:
        """Let loops that no plan covers be learned about.

        `decide(operation, dtype, elements)` returns the Calls of a lesson, for the catalogue's operation that speaks
        for the loop, with as many elements as it has.
        """
        for (kind, group), number in _class_numbers().items():
            item = group if isinstance(group, int) else np.dtype(group).itemsize
            self._core.learn_from(number, _LEARN_FROM[kind] * 8 // item)
        self._core.learn_loops(partial(self._decide, decide))

    def _decide(
        self, decide: Callable[[str, str, int], "Calls"], slot: int, reduces: int, layout: int, elements: int
    ) -> "Calls":
        loop = self._slots[slot]
        operation = MEASURED_LAYOUTS.get(Layout(layout), CLASSES[loop.kind].cheapest)
        if reduces:
            operation = REDUCING.dearest if loop.reduction is Reduction.ROUNDED else REDUCING.cheapest
        real = "float64" if loop.group == 8 else "float32"
        dtype = next((name for name, code in _COMPLEX.items() if code == loop.group), real)
        return decide(operation, dtype, elements)

    def remove(self) -> None:
        """Put NumPy's own loops back. Another extension's loop that has replaced one since stays."""
        self._core.learn_loops(None)
        for number in _class_numbers().values():
            self._core.learn_from(number, _NEVER)
            for layout in Layout:
                self._core.plan(number, layout, [])
            self._core.after_blas(number, _NEVER)
        self._core.reductions(False)
        for slot in self._slots:
            self._core.release_loop(slot)
        self._slots = {}


def _class_numbers() -> dict[tuple[str, int | str], int]:
    kinds = [*CLASSES, "reductions"]
    return {key: number for number, key in enumerate((kind, group) for kind in kinds for group in _GROUPS)}


def _groups_like(dtype: str) -> list[tuple[int | str, int]]:
    """List the groups that go by what was measured for a dtype, each with its elements for one of that."""
    if dtype in _COMPLEX:
        return [(_COMPLEX[dtype], 1)]
    own = np.dtype(dtype).itemsize
    return [(size, own // size) for size in (1, 2, 4, 8) if size == own or (own == 4 and size < own)]


def _group(types: str) -> int | str:
    """Return the group of a loop, by the largest of its types."""
    named = [code for code in ("D", "F") if code in types]
    return named[0] if named else max(np.dtype(code).itemsize for code in types)


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
