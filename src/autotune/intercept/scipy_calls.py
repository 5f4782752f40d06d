"""Calls of scipy.linalg, met below its public names.

scipy.linalg's functions get LAPACK's from `get_lapack_funcs`, or from a compiled module, by global names of the
private modules that they are written in. While this is in force those names stand for others, whose functions the C
core calls within a switch (`native._core.Met`); what `scipy.linalg` and `scipy.linalg.lapack` offer stays as it is.
SciPy is not imported for it: it is met once the program has done that.

Whatever is written in terms of these functions (pinv, orth, null_space, cho_factor, qr_multiply, polar, ...) is
met in what it calls. Left alone are calls whose work is not what was measured: other LAPACK drivers, structures that
the caller names, generalised problems, subsets, eigenvalues alone, full factors of rectangles, many right-hand
sides at once.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from autotune.controls.import_hooks import expect_no_longer, when_imported
from autotune.host.numeric_libraries import series
from autotune.intercept.numpy_calls import Decide
from autotune.intercept.operations import Match, Matcher, Shape, lstsq, rectangle, solve, square

if TYPE_CHECKING:
    from autotune.native._core import Calls, Switch

KNOWN_SCIPY = frozenset({"1.13", "1.14", "1.15", "1.16", "1.17", "1.18"})
"""Versions of SciPy on which it was tried."""
MOST_SHAPES = 4096
"""Shapes remembered for each function; a program with more of them asks again."""

_Compiled = Callable[..., Any]
_IsIt = Callable[[tuple[Any, ...], Mapping[str, Any]], bool]
_HOMES = tuple(
    f"scipy.linalg.{name}" for name in ("_basic", "_decomp", "_decomp_cholesky", "_decomp_qr", "_decomp_svd")
)


class ScipyCalls:
    """The compiled functions of scipy.linalg, each called within a switch."""

    def __init__(
        self,
        core: Any,
        choose: Callable[[], "tuple[Switch | None, Decide] | str"],
        report: Callable[[str], object],
        other: "Callable[[str, str], Calls] | None" = None,
    ) -> None:
        """Store what to ask once SciPy is there, since only then its BLAS library is.

        `choose` returns the Switch (None: calls are counted) and what calls get, or a sentence why they are left
        alone. `report` gets that sentence, or the one why this SciPy is not known. `other` returns what counts calls of
        a routine that is no operation, by its name and dtype; None: they are left alone.
        """
        self._core = core
        self._choose = choose
        self._report = report
        self._other = other
        self._switch: Switch | None = None
        self._decide: Decide
        self._replaced: list[tuple[dict[str, Any], str, Any, Any]] = []
        """(names of a module, name, what it was, what it is)."""

    def install(self) -> None:
        """Put it in force, now or once scipy.linalg has been imported."""
        when_imported(_HOMES, self._take_up)

    def remove(self) -> None:
        """Take it off. Names that other code has bound again since keep their new value."""
        expect_no_longer(_HOMES)
        while self._replaced:
            names, name, before, replacement = self._replaced.pop()
            if names.get(name) is replacement:
                names[name] = before

    def _take_up(self) -> None:
        chosen = _unknown_scipy() or self._choose()
        if isinstance(chosen, str):
            self._report(f"Calls of scipy.linalg are left alone: {chosen}")
            return
        self._switch, self._decide = chosen
        for home in _HOMES:
            names = vars(sys.modules[home])
            self._replace(names, "get_lapack_funcs", self._met_routines(names["get_lapack_funcs"]))
            if "_batched_linalg" in names:  # in _basic from 1.17 on, in all of them from 1.18 on
                self._replace(names, "_batched_linalg", self._met_module(names["_batched_linalg"]))
        names = vars(sys.modules[_HOMES[0]])
        det = next(name for name in _DETS if name in names)
        self._replace(names, det, self._met_function(names[det], _BATCHED["_det"]))

    def _replace(self, names: dict[str, Any], name: str, replacement: Any) -> None:
        self._replaced.append((names, name, names[name], replacement))
        names[name] = replacement

    # The stand-in of a compiled function is made once for each shape and way of calling, and found again by these: a
    # call pays for a look into a dictionary, which takes the place of get_lapack_funcs's own. (A stand-in made anew by
    # each call costs 4.5 us.)

    def _met_routines(self, get_lapack_funcs: _Compiled) -> _Compiled:
        """Replace get_lapack_funcs: the routines that it gives for an operation are met."""
        made: dict[Any, Any] = {}

        def give(names: Any, arrays: Sequence[Any] = (), *options: Any, **keywords: Any) -> Any:
            if type(names) is not tuple or names not in _ROUTINES or not arrays:
                return self._others(names, get_lapack_funcs(names, arrays, *options, **keywords))
            key = names
            for array in arrays:
                key += (array.shape, array.dtype, array.flags.fortran)
            functions = made.get(key)
            if functions is None:
                functions = get_lapack_funcs(names, arrays, *options, **keywords)
                shapes = arrays[0].shape, _columns(arrays[-1])
                dtype = _DTYPES[functions[0].typecode]
                functions = [
                    function if routine is None else self._stand_in(function, routine.named(*shapes), dtype, routine)
                    for function, routine in zip(functions, _ROUTINES[names], strict=True)
                ]
                _remember(made, key, functions)
            return functions

        return give

    def _others(self, names: Any, functions: Any) -> Any:
        """Return what stands for routines that are no operation: they are recorded, if anything is."""
        if self._other is None or type(names) is not tuple:
            return functions
        return [
            self._core.Met(function, self._other(name, _DTYPES.get(function.typecode, "")), None)
            for name, function in zip(names, functions, strict=True)
        ]

    def _met_module(self, batched: ModuleType) -> ModuleType:
        """Replace _batched_linalg by a copy, with those of its functions met that are known."""
        copy = ModuleType(batched.__name__, batched.__doc__)
        vars(copy).update(vars(batched))
        for name, named in _BATCHED.items():
            if name in vars(batched):
                vars(copy)[name] = self._met_function(vars(batched)[name], named)
        return copy

    def _met_function(self, function: _Compiled, named: Callable[..., Match | None]) -> _Compiled:
        """Replace a function that takes matrices, and passes them on."""
        made: dict[Any, _Compiled] = {}

        def call(*args: Any) -> Any:
            key = tuple([(value.shape, value.dtype) if isinstance(value, np.ndarray) else value for value in args])
            met = made.get(key)
            if met is None:
                met = self._stand_in(function, named(*args), args[0].dtype.name)
                _remember(made, key, met)
            return met(*args)

        return call

    def _stand_in(
        self, function: _Compiled, match: Match | None, dtype: str, routine: "_Routine | None" = None
    ) -> _Compiled:
        """Return what stands for the function in calls of one shape."""
        if match is None:
            return function
        more = {"follows": True} if routine is not None and routine.follows else {}
        calls: Calls = self._decide(match[0], dtype, match[1], **more)
        met: _Compiled = self._core.Met(function, calls, self._switch)
        is_it = None if routine is None else routine.is_it
        if is_it is None:
            return met

        def call(*args: Any, **keywords: Any) -> Any:
            return met(*args, **keywords) if is_it(args, keywords) else function(*args, **keywords)

        # what SciPy reads from a routine: `typecode`, `dtype`, `prefix`, ...
        vars(call).update(getattr(function, "__dict__", {}))
        return call


def _remember(made: dict[Any, Any], key: object, met: object) -> None:
    """Keep what is called for a shape, if need be in place of all others."""
    if len(made) >= MOST_SHAPES:
        made.clear()
    made[key] = met


# --- which operation a compiled function is --------------------------------------------------


class _Routine(NamedTuple):
    """Name the operation of a routine's call by the shapes of a matrix and of right-hand sides, or return None."""

    named: Matcher
    is_it: _IsIt | None = None
    follows: bool = False
    """Does it follow another routine of the same operation, and is no call of its own?"""


_DTYPES = {"s": "float32", "d": "float64", "c": "complex64", "z": "complex128"}
"""By the letter that a routine's name begins with."""


def _computes(_args: tuple[Any, ...], keywords: Mapping[str, Any]) -> bool:
    """Does it compute, and not only ask for the size of its work space?"""
    return "lwork" not in keywords or int(keywords["lwork"]) != -1


def _is_reduced(args: tuple[Any, ...], keywords: Mapping[str, Any]) -> bool:
    """Is it the second half of a reduced QR? As in numpy.linalg, the full form of a tall matrix is another work."""
    return _computes(args, keywords) and len(args[1]) == args[0].shape[1]


def _is_svd(args: tuple[Any, ...], keywords: Mapping[str, Any]) -> bool:
    rows, columns = args[0].shape
    return rows == columns or not (keywords["compute_uv"] and keywords["full_matrices"])


def _is_eig(_args: tuple[Any, ...], keywords: Mapping[str, Any]) -> bool:
    return (keywords["compute_vl"], keywords["compute_vr"]) == (False, True)


def _is_eigh(_args: tuple[Any, ...], keywords: Mapping[str, Any]) -> bool:
    """Does it compute all eigenvectors, by either algorithm?

    numpy.linalg's is evd, the usual one here evr: they share the reduction to a tridiagonal matrix, and the rest of
    evr gains less from threads.
    """
    return bool(keywords["compute_v"]) and "range" not in keywords


_ROUTINES: Mapping[tuple[str, ...], tuple[_Routine | None, ...]] = {
    ("gesdd", "gesdd_lwork"): (_Routine(rectangle("svd"), _is_svd), None),
    ("geqrf",): (_Routine(rectangle("qr"), _computes),),
    ("orgqr",): (_Routine(rectangle("qr"), _is_reduced, follows=True),),
    ("potrf",): (_Routine(square("cholesky")),),
    ("geev", "geev_lwork"): (_Routine(square("eig"), _is_eig), None),
    ("syevr", "syevr_lwork"): (_Routine(square("eigh"), _is_eigh), None),
    ("syevd", "syevd_lwork"): (_Routine(square("eigh"), _is_eigh), None),
    ("gelsd", "gelsd_lwork"): (_Routine(lstsq), None),
    ("gecon", "getrf", "getrs"): (None, _Routine(solve), None),
    ("getrf", "getri", "getri_lwork"): (_Routine(square("inv")), _Routine(square("inv")), None),
}
"""Routines that scipy.linalg asks for together, and the operations that it then calls. The last two: before 1.17;
all but eigh's: before 1.18."""

_ORDINARY = (-1, 0)
"""Structures of a matrix: to be found out, and none (`_common_array_utils.hh`). What is found out may be one for which
Cholesky's half of the work is enough, that threads help less; other ways need no BLAS."""
_FULL = 1
"""Of QR (`_decomp_qr.qr`, "keep in sync with the C side")."""


def _columns(right: Any) -> Shape:
    """Return the shape of right-hand sides, a vector being one."""
    shape: Shape = right.shape
    return shape if len(shape) > 1 else (*shape, 1)


# The functions of _batched_linalg, whose arguments all go by place.


def _batched_svd(a: Any, driver: str, compute_uv: bool, full_matrices: bool, *_: Any) -> Match | None:
    rows, columns = a.shape[-2:]
    full = compute_uv and full_matrices and rows != columns
    return None if full or driver != "gesdd" else ("svd", {"m": rows, "n": columns})


def _batched_qr(a: Any, _overwrite: bool, mode: int, pivoting: bool, *_: Any) -> Match | None:
    rows, columns = a.shape[-2:]
    full = mode == _FULL and rows > columns
    return None if full or pivoting else ("qr", {"m": rows, "n": columns})


def _batched_eig(a: Any, left: bool, right: bool, *options: Any) -> Match | None:
    generalised = len(options) > 2
    return None if left or not right or generalised else ("eig", {"n": a.shape[-1]})


_BATCHED: Mapping[str, Callable[..., Match | None]] = {
    "_solve": lambda a, b, structure, *_: solve(a.shape, _columns(b)) if structure in _ORDINARY else None,
    "_inv": lambda a, structure, *_: ("inv", {"n": a.shape[-1]}) if structure in _ORDINARY else None,
    "_det": lambda a, *_: ("det", {"n": a.shape[-1]}),
    "_cholesky": lambda a, *_: ("cholesky", {"n": a.shape[-1]}),
    "_svd": _batched_svd,
    "_qr": _batched_qr,
    "_eig": _batched_eig,
    "_lstsq": lambda a, b, _cut_off, driver, *_: lstsq(a.shape, _columns(b)) if driver == "gelsd" else None,
}
"""The first two from 1.17 on, the others from 1.18 on."""

_DETS = ("find_det_from_lu", "_linalg_det")
"""By which of these det calls what computes it."""


def _unknown_scipy() -> str | None:
    """Return why calls of this SciPy are not met, as a sentence; None if they can be."""
    version = str(getattr(sys.modules["scipy"], "__version__", "of unknown version"))
    if series(version) not in KNOWN_SCIPY:
        versions = sorted(KNOWN_SCIPY, key=lambda text: int(text.split(".")[1]))
        return f"SciPy {version} is not among the versions whose calls can be met ({versions[0]} to {versions[-1]})."
    lapack = getattr(sys.modules.get("scipy.linalg.lapack"), "get_lapack_funcs", None)
    basic = vars(sys.modules[_HOMES[0]])
    usual = all(vars(sys.modules[home]).get("get_lapack_funcs") is lapack for home in _HOMES)
    batched = basic.get("_batched_linalg")
    if not usual or not basic.keys() & _DETS or (batched and not {"_solve", "_inv"} <= vars(batched).keys()):
        return "SciPy is not built as this version's usually is (another tool may have changed it)."
    return None
