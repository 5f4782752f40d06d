"""Results of loops, cut by the C core and plain, to be compared to the bit."""

import ctypes
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from support.native import CORE, loops_cut


def operand(
    code: str, n: int, seed: int, *, layout: str = "contiguous", swapped: bool = False, misaligned: bool = False
) -> Any:
    """Values of all kinds, NaN, infinities and zeros of both signs among them."""
    generator = np.random.default_rng(seed)
    dtype = np.dtype(code)
    values: Any
    if code == "?":
        values = generator.random(n) < 0.5
    elif dtype.kind in "iu":
        info = np.iinfo(dtype)
        values = generator.integers(info.min, info.max, n, dtype=dtype, endpoint=True)
        values[generator.random(n) < 0.3] = 3
    else:
        values = generator.standard_normal(n) * 10.0 ** generator.integers(-5, 5, n)
        special = np.array([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, 5e-324, 1e300])
        values = np.where(generator.random(n) < 0.05, special[generator.integers(0, len(special), n)], values)
        with np.errstate(all="ignore"):
            values = values.astype(dtype)
        if dtype.kind == "c":
            values = values + np.array(1j, dtype) * values[::-1]
    room = np.empty(2 * n + 1, dtype)
    if layout == "contiguous":
        result = room[:n]
    elif layout == "every other":
        result = room[: 2 * n : 2]
    elif layout == "backwards":
        result = room[:n][::-1]
    else:
        result = np.broadcast_to(room[:1], (n,))
        room[0] = values[0] if n else 0
        return result
    if misaligned:
        raw = np.empty(n * dtype.itemsize + 1, np.uint8)
        result = raw[1:].view(dtype)
    result[...] = values
    return result.astype(dtype.newbyteorder()) if swapped else result


def signed_nans(code: str, n: int, seed: int) -> Any:
    """NaNs of both signs, among numbers."""
    generator = np.random.default_rng(seed)
    numbers = generator.standard_normal(2 * n)
    numbers = np.where(generator.random(2 * n) < 0.5, np.copysign(np.nan, numbers), numbers)
    return numbers.astype({"F": "f", "D": "d"}.get(code, code)).view(code)[:n]


def same(a: Any, b: Any) -> bool:
    """Are the arrays equal to the bit?"""
    return bool(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes())


def outcome(call: Callable[[], object]) -> tuple[Any, Any]:
    """The results of a call as a tuple, or the type of what it raised, and the warnings that it gave."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = call()
        except Exception as error:  # noqa: BLE001
            return type(error), str(error)
    messages = sorted({str(warning.message) for warning in caught})
    return tuple(np.array(array) for array in (result if isinstance(result, tuple) else (result,))), messages


def agree(call: Callable[[], object], **cutting: Any) -> bool:
    """Compare a call with loops cut and plain; return whether any was cut."""
    plain = outcome(call)
    with loops_cut(**cutting) as core:
        before = core.status()["cut"]
        cut = outcome(call)
        happened = core.status()["cut"] > before
    if isinstance(plain[0], type):
        assert plain == cut
    else:
        assert plain[1] == cut[1]
        assert all(same(a, b) for a, b in zip(plain[0], cut[0], strict=True))
    return bool(happened)


def cut_by(call: Callable[[], object]) -> int:
    """Return how many loops a call has cut."""
    before = CORE.status()["cut"]
    call()
    return int(CORE.status()["cut"] - before)


def replace_loop(ufunc: np.ufunc, address: int | None, types: str) -> int | None:
    """Act as another extension: put its own loop in the place of a ufunc's (numpy/__ufunc_api.h)."""
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    table = ctypes.cast(
        pointer(vars(sys.modules["numpy._core._multiarray_umath"])["_UFUNC_API"], None), ctypes.POINTER(ctypes.c_void_p)
    )
    kind = ctypes.PYFUNCTYPE(
        ctypes.c_int, ctypes.py_object, ctypes.c_void_p, ctypes.POINTER(ctypes.c_int), ctypes.c_void_p
    )
    old = ctypes.c_void_p()
    numbers = (ctypes.c_int * len(types))(*(np.dtype(code).num for code in types))
    assert kind(table[30])(ufunc, address, numbers, ctypes.addressof(old)) == 0
    return old.value
