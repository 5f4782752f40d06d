"""Functions of NumPy and SciPy whose calls and seconds a recording counts. The C core meets them (`native/recorder.c`).

Ufuncs, products and linear algebra are recorded by dtype and size; so are the other compiled functions of NumPy that
work on whole arrays, assignments to parts of arrays and reads by arrays of indices, random numbers, FFTs, and those of
SciPy's compiled modules that run no Python function of the caller's. Views and single elements are not met.
"""

import sys
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from autotune.controls.import_hooks import when_imported
from autotune.intercept.array_loops import ArrayLoops, compiled_functions, ufunc_of
from autotune.intercept.numpy_calls import DTYPES
from autotune.intercept.scipy_calls import ScipyCalls

if TYPE_CHECKING:
    from autotune.native._core import Calls

_CODES = {dtype: code for code, dtype in DTYPES.items()}

_BY_SHAPE = ("dot", "inner", "vdot")
_FUNCTIONS = """
    concatenate where lexsort copyto putmask count_nonzero c_einsum correlate correlate2 bincount interp
    interp_complex packbits unpackbits arange zeros array ascontiguousarray asfortranarray
    """
_METHODS = """
    argmax argmin argpartition argsort astype byteswap choose clip compress copy cumprod cumsum fill flatten
    nonzero partition put ravel repeat round searchsorted sort take tobytes trace
    """
_UFUNC_METHODS = ("reduce", "accumulate", "reduceat", "outer", "at")
_GENERATOR = """
    random beta exponential standard_exponential integers choice uniform standard_normal normal standard_gamma
    gamma chisquare poisson binomial lognormal multivariate_normal shuffle permutation permuted
    """
_RANDOM_STATE = "random_sample randint rand randn normal uniform standard_normal shuffle permutation choice"
_SCIPY_MODULES = (
    "scipy.fft._pocketfft.pypocketfft",
    "scipy.fft._duccfft.pyduccfft",
    "scipy.sparse._sparsetools",
    "scipy.signal._sigtools",
    "scipy.ndimage._nd_image",
    "scipy.spatial._distance_pybind",
    "scipy.spatial._distance_wrap",
    "scipy.sparse.linalg._dsolve._superlu",
    "scipy.interpolate._dierckx",
    "scipy.optimize._lsap",
)
"""Modules whose built-in functions are recorded, as far as this SciPy has them."""
_SCIPY_UFUNCS = "scipy.special._ufuncs"
_LEAST_LOOP = 4096
"""Elements of the shortest inner loop that is recorded, as LEAST of recorder.c: well below any that is cut."""


class RecordedCalls:
    """All functions that a recording counts."""

    def __init__(self, core: Any) -> None:
        self._core = core
        self.refusals: list[str] = []
        """Sentences about what could not be met."""
        self._routines: dict[tuple[str, str], Calls] = {}

    def install(self) -> None:
        """Record NumPy's functions from now on, and SciPy's once it is imported."""
        ArrayLoops(self._core).install()
        self._core.record_loops(_LEAST_LOOP)
        missed = [name for target, name, kind in _targets() if not self._meet(target, name, kind)]
        if not self._core.record_indexing():
            missed.append("indexing")
        if missed:
            self.refusals.append(f"Calls of {', '.join(missed)} are not recorded: NumPy is not built as usual.")
        for module in _SCIPY_MODULES:
            when_imported((module,), partial(self._meet_module, module))
        when_imported((_SCIPY_UFUNCS,), self._meet_special)
        self._linalg = ScipyCalls(self._core, lambda: (None, self._row), self.refusals.append, self._other)
        self._linalg.install()

    def _meet(self, target: Any, name: str, kind: str) -> bool:
        return bool(self._core.record_function(target, name, kind))

    def _meet_module(self, module: str) -> None:
        short = module.split(".")[1]
        for name, target in vars(sys.modules[module]).items():
            if type(target) is type(len):
                self._meet(target, f"{short}.{name}"[:39], "f")

    def _meet_special(self) -> None:
        for target, name, kind in _ufuncs(vars(sys.modules[_SCIPY_UFUNCS])):
            self._meet(target, name, kind)

    def _other(self, routine: str, dtype: str) -> "Calls":
        """Return the Calls of a routine of LAPACK that is no operation."""
        if (routine, dtype) not in self._routines:
            self._routines[routine, dtype] = calls = self._core.Calls("", dtype, {})
            self._core.record_calls(calls, routine, _CODES.get(dtype, "O"))
        return self._routines[routine, dtype]

    def _row(self, operation: str, dtype: str, sizes: dict[str, int], *, follows: bool = False) -> "Calls":
        """Return the Calls of one operation of scipy.linalg, which `native._core.Met` counts."""
        calls: Calls = self._core.Calls(operation, dtype, sizes)
        name = f"{operation}_reduced" if follows else operation
        self._core.record_calls(calls, name, _CODES.get(dtype, "O"), *sizes.values())
        return calls


def _targets() -> Iterator[tuple[Any, str, str]]:
    """Yield every function of NumPy that is recorded, with its name in the recording and its kind (`recorder.h`)."""
    from numpy.linalg import _umath_linalg

    yield from _ufuncs(vars(np))
    yield from _ufuncs({name: ufunc_of(name) for name in ("clip",)})  # np.clip is a function that calls it
    yield from _ufuncs(vars(_umath_linalg))
    yield from _ufuncs(vars(sys.modules.get("numpy.fft._pocketfft_umath", np)))
    for name in _UFUNC_METHODS:
        yield vars(np.ufunc)[name], name, "r"
    compiled = compiled_functions()
    for name in _BY_SHAPE:
        yield compiled[name], name, "g"
    yield vars(np.ndarray)["dot"], "dot", "g"
    for name in _FUNCTIONS.split():
        if name in compiled:
            yield compiled[name], name, "f"
    for name in _METHODS.split():
        yield vars(np.ndarray)[name], name, "f"
    yield from _random_functions()


def _ufuncs(names: Mapping[str, Any]) -> Iterator[tuple[Any, str, str]]:
    for name, target in names.items():
        if isinstance(target, np.ufunc):
            yield target, name, "u"


def _random_functions() -> Iterator[tuple[Any, str, str]]:
    for kind, names in ((np.random.Generator, _GENERATOR), (np.random.RandomState, _RANDOM_STATE)):
        for name in names.split():
            if name in vars(kind):
                yield vars(kind)[name], f"random.{name}", "f"
