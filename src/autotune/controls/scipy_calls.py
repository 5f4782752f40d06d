"""Calls of scipy.linalg, met below its public names.

scipy.linalg's functions get LAPACK's from `get_lapack_funcs`, or from a compiled module, by global names of the
private modules that they are written in. While this is in force those names stand for others, whose functions
are called between `begin` and `end`; what `scipy.linalg` and `scipy.linalg.lapack` offer stays as it is. SciPy is
not imported for it: it is met once the program has done that.

Whatever is written in terms of these functions (pinv, orth, null_space, cho_factor, qr_multiply, polar, ...) is
met in what it calls. Left alone are calls whose work is not what was measured: other LAPACK drivers, structures that
the caller names, generalised problems, subsets, eigenvalues alone, full factors of rectangles, many right-hand
sides at once.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple

from autotune.controls.arrivals import expect_no_longer, when_imported
from autotune.controls.intercept import Around, Decide, Named, Shape, lstsq, solve
from autotune.controls.switch import Calls

KNOWN_SCIPY = frozenset({"1.13", "1.14", "1.15", "1.16", "1.17"})
"""Versions of SciPy on which it was tried."""

_HOMES = tuple(
    f"scipy.linalg.{name}" for name in ("_basic", "_decomp", "_decomp_cholesky", "_decomp_qr", "_decomp_svd")
)


class ScipyIntercept:
    """The compiled functions of scipy.linalg, each called between `begin` and `end`."""

    def __init__(
        self, its_own: Callable[[], tuple[Around, Decide] | str], refused: Callable[[str], object]
    ) -> None:
        """`its_own` is asked once SciPy is there, since only then its BLAS library is: what is around calls, and
        what they get; or a sentence why they are to be left alone. `refused` is told that sentence, or one
        why this SciPy is not known.
        """
        self._its_own = its_own
        self._refused = refused
        self._replaced: list[tuple[dict[str, Any], str, Any, Any]] = []
        """(names of a module, name, what it was, what it is)."""

    def install(self) -> None:
        """Put it in force, now or once scipy.linalg has been imported."""
        when_imported(_HOMES, self._take_up)

    def remove(self) -> None:
        """Take it off. Names that somebody has given another meaning since, keep that."""
        expect_no_longer(_HOMES)
        while self._replaced:
            names, name, before, ours = self._replaced.pop()
            if names.get(name) is ours:
                names[name] = before

    def _take_up(self) -> None:
        found = _unknown_scipy() or self._its_own()
        if isinstance(found, str):
            self._refused(f"Calls of scipy.linalg are left alone: {found}")
            return
        meeting = _Meeting(*found)
        for home in _HOMES:
            names = vars(sys.modules[home])
            self._replace(names, "get_lapack_funcs", meeting.routines(names["get_lapack_funcs"]))
        names = vars(sys.modules[_HOMES[0]])
        self._replace(names, "find_det_from_lu", meeting.met(names["find_det_from_lu"], _square("det")))
        if "_batched_linalg" in names:  # from 1.17 on
            batched = names["_batched_linalg"]
            copy = ModuleType(batched.__name__, batched.__doc__)
            vars(copy).update(vars(batched))
            vars(copy).update({name: meeting.met(vars(batched)[name], one) for name, one in _BATCHED.items()})
            self._replace(names, "_batched_linalg", copy)

    def _replace(self, names: dict[str, Any], name: str, ours: Any) -> None:
        self._replaced.append((names, name, names[name], ours))
        names[name] = ours


class _Meeting:
    """Makes what stands for a compiled function."""

    def __init__(self, around: Around, decide: Decide) -> None:
        self._around = around
        self._decide = decide

    def routines(self, get_lapack_funcs: Callable[..., Any]) -> Callable[..., Any]:
        """What stands for get_lapack_funcs: those that it gives for an operation are met."""

        def met(names: Any, arrays: Sequence[Any] = (), dtype: Any = None, ilp64: Any = False) -> Any:
            found = get_lapack_funcs(names, arrays, dtype, ilp64)
            operations = None if isinstance(names, str) else _ROUTINES.get(tuple(names))
            if operations is None:
                return found
            known = _DTYPES.get(found[0].typecode, "complex")
            return [
                function if operation is None else self.met(function, operation, known, arrays)
                for function, operation in zip(found, operations, strict=True)
            ]

        return met

    def met(
        self, function: Any, operation: "_Operation", dtype: str | None = None, arrays: Sequence[Any] = ()
    ) -> "_Met":
        """What stands for one of them; its dtype is that of its matrix if it is not said."""

        def meet(args: tuple[Any, ...], keywords: Mapping[str, Any]) -> Calls | None:
            call = _Call(args, keywords, arrays)
            named = operation(call)
            return (
                None if named is None else self._decide(named[0], dtype or call.matrix.dtype.name, named[1])
            )

        return _Met(function, meet, self._around)


class _Met:
    """A compiled function, called between `begin` and `end`, with the attributes of the one that it stands for."""

    def __init__(self, function: Any, meet: "_Meet", around: Around) -> None:
        self._function = function
        self._meet = meet
        self._around = around

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        calls = self._meet(args, keywords)
        if calls is None:
            return self._function(*args, **keywords)
        calls.count += 1
        begun = None
        try:
            begun = self._around.begin(calls)
            return self._function(*args, **keywords)
        finally:
            self._around.end(begun)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._function, name)


# --- which operation a compiled function is --------------------------------------------------


class _Call(NamedTuple):
    """One call of a compiled function, and the arrays that it was chosen for."""

    args: tuple[Any, ...]
    keywords: Mapping[str, Any]
    arrays: Sequence[Any]

    @property
    def matrix(self) -> Any:
        return self.args[0] if self.args else self.keywords["a"]

    @property
    def shape(self) -> Shape:
        """Of the matrix."""
        shape: Shape = self.matrix.shape
        return shape

    @property
    def only_asks(self) -> bool:
        """For the size of its work space, and computes nothing."""
        return "lwork" in self.keywords and int(self.keywords["lwork"]) == -1


_Operation = Callable[[_Call], Named | None]
_Meet = Callable[[tuple[Any, ...], Mapping[str, Any]], Calls | None]
_DTYPES = {"s": "float32", "d": "float64"}


def _square(name: str) -> _Operation:
    return lambda call: (name, {"n": call.shape[-1]})


def _svd(call: _Call) -> Named | None:
    rows, columns = call.shape
    full = call.keywords["compute_uv"] and call.keywords["full_matrices"]
    return None if full and rows != columns else ("svd", {"m": rows, "n": columns})


def _qr(call: _Call) -> Named | None:
    return None if call.only_asks else ("qr", {"m": call.shape[0], "n": call.shape[1]})


def _q(call: _Call) -> Named | None:
    """The second half of QR; as in numpy.linalg, the full form of a tall matrix is another work."""
    return _qr(call) if len(call.args[1]) == call.shape[1] else None


def _eig(call: _Call) -> Named | None:
    wanted = (call.keywords["compute_vl"], call.keywords["compute_vr"])
    return ("eig", {"n": call.shape[0]}) if wanted == (False, True) else None


def _eigh(call: _Call) -> Named | None:
    """All eigenvectors, by either algorithm. numpy.linalg's is evd, the usual one here evr: they share the
    reduction to a tridiagonal matrix, and the rest of evr gains less from threads.
    """
    keywords = call.keywords
    return ("eigh", {"n": call.shape[0]}) if keywords["compute_v"] and "range" not in keywords else None


def _lstsq(call: _Call) -> Named | None:
    return lstsq(call.shape, _columns(call.args[1]))


def _solve(call: _Call) -> Named | None:
    """The factors for a solution; what they are used for was given to get_lapack_funcs."""
    return solve(call.shape, _columns(call.arrays[1]))


_ANY, _GENERAL = -1, 0
"""Structures of a matrix: to be found out, and none (`_common_array_utils.hh`). What is found out may be one for which
Cholesky's half of the work is enough, that threads help less; other ways need no BLAS."""


def _batched_solve(call: _Call) -> Named | None:
    structure = call.args[2]
    return solve(call.shape, _columns(call.args[1])) if structure in {_ANY, _GENERAL} else None


def _batched_inv(call: _Call) -> Named | None:
    return ("inv", {"n": call.shape[-1]}) if call.args[1] in {_ANY, _GENERAL} else None


def _columns(right: Any) -> Shape:
    """The shape of right-hand sides, a vector being one."""
    shape: Shape = right.shape
    return shape if len(shape) > 1 else (*shape, 1)


_ROUTINES: Mapping[tuple[str, ...], tuple[_Operation | None, ...]] = {
    ("gesdd", "gesdd_lwork"): (_svd, None),
    ("geqrf",): (_qr,),
    ("orgqr",): (_q,),
    ("potrf",): (_square("cholesky"),),
    ("geev", "geev_lwork"): (_eig, None),
    ("syevr", "syevr_lwork"): (_eigh, None),
    ("syevd", "syevd_lwork"): (_eigh, None),
    ("gelsd", "gelsd_lwork"): (_lstsq, None),
    ("gecon", "getrf", "getrs"): (None, _solve, None),
    ("getrf", "getri", "getri_lwork"): (_square("inv"), _square("inv"), None),
}
"""What scipy.linalg asks for together, and the operations that it then calls. The last two: before 1.17."""

_BATCHED: Mapping[str, _Operation] = {"_solve": _batched_solve, "_inv": _batched_inv}


def _unknown_scipy() -> str | None:
    """Why calls of this SciPy are not met, as a sentence; None if they can be."""
    version = str(getattr(sys.modules["scipy"], "__version__", "of unknown version"))
    if ".".join(version.split(".")[:2]) not in KNOWN_SCIPY:
        known = sorted(KNOWN_SCIPY, key=lambda text: int(text.split(".")[1]))
        return (
            f"SciPy {version} is not among the versions whose calls can be met ({known[0]} to {known[-1]})."
        )
    lapack = getattr(sys.modules.get("scipy.linalg.lapack"), "get_lapack_funcs", None)
    basic = vars(sys.modules[_HOMES[0]])
    usual = all(vars(sys.modules[home]).get("get_lapack_funcs") is lapack for home in _HOMES)
    batched = basic.get("_batched_linalg")
    if (
        not usual
        or "find_det_from_lu" not in basic
        or (batched and not _BATCHED.keys() <= vars(batched).keys())
    ):
        return "SciPy is not built as this version's usually is (another tool may have changed it)."
    return None
