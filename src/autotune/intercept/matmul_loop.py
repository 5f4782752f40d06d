"""Calls of np.matmul and `@`, met in the inner loop of the ufunc.

NumPy's C interface for ufuncs can exchange an inner loop (PyUFunc_ReplaceLoopBySignature); the ufunc object,
its dispatch and everything around it stay what they are. The loops for float64 and float32 call back into
Python, which calls NumPy's own loop between `begin` and `end`. dot and inner call BLAS without a ufunc: see
`dot_calls`.

NumPy releases the GIL around a loop. The call back takes it to decide, gives it up for the product, and takes
it again: 2 us, more while other threads hold it.

What remains: where Python cannot even enter the call back (the last two levels of its recursion limit, or no memory
left for a frame) nobody makes the product; ctypes prints the error, and NumPy returns memory that was not written to.
"""

import atexit
import ctypes
from collections.abc import Callable
from ctypes import CFUNCTYPE, POINTER, PYFUNCTYPE, c_char, c_char_p, c_int, c_ulong, c_void_p, py_object
from opcode import opmap
from struct import unpack
from threading import get_ident
from types import FunctionType
from typing import Any

import numpy as np

from autotune.controls.switch import Calls
from autotune.intercept.linalg_calls import Around, Decide, Nothing, multiarray, remember, unknown_structures

_Loop = CFUNCTYPE(None, c_void_p, POINTER(c_char), c_void_p, c_void_p)
"""char **args, npy_intp const *dimensions, npy_intp const *steps, void *data. Called, it gives up the GIL."""

_SIGNATURE = "(n?,k),(k,m?)->(n?,m?)"
_TYPES = {"float32": "ff->f", "float64": "dd->d"}
_UFUNC_TYPE, _REPLACE_LOOP = 0, 30
"""Places in NumPy's table of C functions; its ABI keeps them (`numpy/__ufunc_api.h`)."""

_INTP = np.dtype(np.intp).itemsize
_SIZES = slice(_INTP, 4 * _INTP)
"""dimensions[1:4] as bytes: rows, inner length, columns. dimensions[0] counts the matrices of a stack."""


class MatmulLoops:
    """matmul's loops for float64 and float32, each called between `begin` and `end`."""

    def __init__(self, decide: Decide, around: Around) -> None:
        self._decide = decide
        self._around = around

    def install(self) -> str | None:
        """Put them in force. Returns None, or a sentence why this NumPy is left alone."""
        refusal = unknown_structures() or _unknown_structure()
        if refusal is None:
            for dtype in _TYPES:
                if dtype not in _loops:
                    _loops[dtype] = _CallBack(dtype)
                _loops[dtype].install(self._decide, self._around)
        return refusal

    def remove(self) -> None:
        """Put NumPy's own loops back. If somebody has replaced ours since, theirs stay."""
        for loop in _loops.values():
            loop.remove()


class _CallBack:
    """What stands in for one loop. It lives as long as the process: a call in flight may still return to it."""

    def __init__(self, dtype: str) -> None:
        self._dtype = dtype
        self._decide: Decide | None = None
        self._around: Around = Nothing()
        self._known: dict[bytes, Calls] = {}
        self._native = _Loop(_in_force(dtype))
        self._loop = _Loop(_unchecked_at_entry(self._call()))
        atexit.register(self.remove)  # a product made after Python's end must not come here

    def install(self, decide: Decide, around: Around) -> None:
        self._known = {}
        self._decide, self._around = decide, around
        found = _in_force(self._dtype)
        if found != _address(self._loop):
            self._native = _Loop(found)
            _replace(self._dtype, self._loop)

    def remove(self) -> None:
        if _in_force(self._dtype) == _address(self._loop):
            _replace(self._dtype, self._native)
        self._known = {}
        self._decide, self._around = None, Nothing()

    def _call(self) -> Callable[..., None]:
        """The loop in Python. Whatever interrupts it, the product is made, and the interruption follows.

        An exception cannot leave a call back: ctypes prints it, and NumPy would return memory that nobody has
        written to. Signal handlers may raise at any of these lines, so all of them are inside the try. To
        make a product twice does no harm: it reads the operands, which NumPy keeps apart from the result. (A
        second exception, raised while the first is being dealt with, is printed and lost.)
        """
        sizes_in = _SIZES

        def loop(args: int, dimensions: Any, steps: int, data: int) -> None:
            begun = None
            around = self._around
            try:
                sizes = dimensions[sizes_in]
                calls = self._known.get(sizes) or self._meet(sizes)
                calls.count += 1
                begun = around.begin(calls)
                self._native(args, dimensions, steps, data)
                around.end(begun)
            except BaseException as error:  # noqa: BLE001 - it goes on as soon as the product is made
                self._native(args, dimensions, steps, data)
                around.end(begun)
                _raise_later(error)

        return loop

    def _meet(self, sizes: bytes) -> Calls:
        rows, inner, columns = unpack("nnn", sizes)
        decide = self._decide  # another thread may take it off meanwhile
        if decide is None or min(rows, inner, columns) < 1 or rows == 1:
            calls = Calls("", self._dtype, {})  # a vector before a matrix is not what was measured as matvec
        elif columns == 1:
            calls = decide("matvec", self._dtype, {"m": rows, "n": inner})
        else:
            calls = decide("matmul", self._dtype, {"m": rows, "k": inner, "n": columns})
        remember(self._known, sizes, calls)
        return calls


_loops: dict[str, _CallBack] = {}

_set_async_exception = PYFUNCTYPE(c_int, c_ulong, py_object)(("PyThreadState_SetAsyncExc", ctypes.pythonapi))


def _raise_later(error: BaseException) -> None:
    """Raise an exception of this type in this thread as soon as it is back in Python code.

    Python looks for such exceptions after each call that the code makes, and would raise it here at once. It
    does not after unpacking, which makes the call of this map.
    """
    pending = map(_set_async_exception, (get_ident(),), (type(error),))
    (_,) = pending


def _unchecked_at_entry(function: Callable[..., None]) -> Callable[..., None]:
    """The function without the look for signals that a function begins with, before any try.

    That look is part of the instruction RESUME with argument 0 (the documentation of `dis`); with 2, as after
    `yield from`, it is left out.
    """
    assert isinstance(function, FunctionType)
    code = function.__code__
    instructions = bytearray(code.co_code)
    resume = instructions.index(opmap["RESUME"])
    while resume % 2:
        resume = instructions.index(opmap["RESUME"], resume + 1)
    instructions[resume + 1] = 2
    return FunctionType(
        code.replace(co_code=bytes(instructions)),
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )


# --- NumPy's C structures --------------------------------------------------------------------


def _unknown_structure() -> str | None:
    """Why matmul cannot be met here, as a sentence; None if everything is where it is known to be."""
    if np.matmul.signature != _SIGNATURE or not set(_TYPES.values()) <= set(np.matmul.types):
        return "np.matmul has other loops than this version's usually has, so products are left alone."
    if _c_functions()[_UFUNC_TYPE] != id(np.ufunc) or _Ufunc.from_address(id(np.matmul)).counts[2] != 3:
        return "NumPy's table of C functions is not laid out as it is known, so products are left alone."
    return None


class _Ufunc(ctypes.Structure):
    """The beginning of PyUFuncObject (`numpy/ufuncobject.h`)."""

    _fields_ = (
        ("head", c_char * object.__basicsize__),
        ("counts", c_int * 4),  # inputs, outputs, operands, identity
        ("functions", POINTER(c_void_p)),
    )


def _in_force(dtype: str) -> int:
    """Address of the loop that matmul has for this dtype."""
    functions = _Ufunc.from_address(id(np.matmul)).functions
    return int(functions[np.matmul.types.index(_TYPES[dtype])] or 0)


def _replace(dtype: str, loop: Any) -> None:
    """Give matmul another loop for this dtype."""
    replace = PYFUNCTYPE(c_int, py_object, c_void_p, POINTER(c_int), POINTER(c_void_p))(
        _c_functions()[_REPLACE_LOOP]
    )
    types = (c_int * 3)(*[np.dtype(dtype).num] * 3)
    replace(np.matmul, _address(loop), types, None)


def _c_functions() -> Any:
    """NumPy's table of C functions for ufuncs."""
    pointer = PYFUNCTYPE(c_void_p, py_object, c_char_p)(("PyCapsule_GetPointer", ctypes.pythonapi))
    return (c_void_p * (_REPLACE_LOOP + 1)).from_address(pointer(multiarray()["_UFUNC_API"], None))


def _address(loop: Any) -> int:
    return int(ctypes.cast(loop, c_void_p).value or 0)
