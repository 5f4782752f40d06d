"""Operations of the catalogue that calls of NumPy and SciPy are, and settings of loops. Pure, without NumPy."""

from collections.abc import Callable, Mapping

from autotune.model.record import Record

Shape = tuple[int, ...]
Sizes = dict[str, int]
Match = tuple[str, Sizes]
"""An operation's name and its sizes."""
Matcher = Callable[[Shape, Shape], Match | None]
"""Tell the operation of a call by the shapes of its operands; None: it was not measured."""

MET = frozenset({
    *("matmul", "matvec", "vdot", "solve", "inv", "det", "lstsq"),
    *("cholesky", "qr", "eigh", "eig", "svd"),
})  # fmt: skip
"""Operations that calls may be."""

_FEW = 10
"""Right-hand sides are measured one at a time. A tenth of n of them add a third to the work of `solve`
(2 n^2 each, to 2/3 n^3 for the factors), and calls with more of them are others than were measured."""


def square(name: str) -> Matcher:
    """Match this operation of an n x n matrix."""
    return lambda a, _: (name, {"n": a[-1]})


def rectangle(name: str) -> Matcher:
    """Match this operation of an m x n matrix."""
    return lambda a, _: (name, {"m": a[-2], "n": a[-1]})


def full(name: str) -> Matcher:
    """Match square matrices: a full factor of a rectangle is much more work than the reduced one."""
    return lambda a, _: (name, {"m": a[-2], "n": a[-1]}) if a[-2] == a[-1] else None


def solve(a: Shape, b: Shape) -> Match | None:
    """Match a system with few right-hand sides. A number in their place is NumPy's to refuse."""
    return ("solve", {"n": a[-1]}) if b and b[-1] * _FEW <= a[-1] else None


def lstsq(a: Shape, b: Shape) -> Match | None:
    """Match a least-squares problem with few right-hand sides."""
    return ("lstsq", {"m": a[-2], "n": a[-1]}) if (b[-1] - 1) * _FEW <= min(a[-2:]) else None


def product(a: Shape, b: Shape) -> Match | None:
    """Match `a @ b`. A vector before a matrix is not what was measured as matvec."""
    if len(a) == 1 and a == b:
        return "vdot", {"n": a[0]}
    if len(a) < 2 or not b or a[-2] < 2 or a[-1] != (b[-2] if len(b) > 1 else b[0]):
        return None
    if len(b) == 1 or b[-1] == 1:
        return "matvec", {"m": a[-2], "n": a[-1]}
    return "matmul", {"m": a[-2], "k": a[-1], "n": b[-1]}


def inner(a: Shape, b: Shape) -> Match | None:
    """Match `np.inner(a, b)`, which multiplies by the transpose of `b`."""
    return product(a, b[::-1])


def vdot(a: Shape, b: Shape) -> Match | None:
    """Match the dot product of two vectors. Of matrices, which it flattens, only the last sizes are known here."""
    return ("vdot", {"n": a[0]}) if len(a) == 1 and a == b else None


def matvec(a: Shape, b: Shape) -> Match | None:
    """Match `np.matvec(a, b)`, whose second operand holds vectors."""
    return product(a, b[-1:])


LINALG: Mapping[str, Matcher] = {
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
    "qr_complete": full("qr"),
    "svd": rectangle("svd"),
    "svd_s": rectangle("svd"),
    "svd_f": full("svd"),
    "lstsq": lstsq,
}
"""Compiled functions of numpy.linalg. eigvals and eigvalsh are left out: their work is not that of eig and eigh, and
was not measured. Singular values alone are taken as svd: of the two halves of its work the one that threads
help least remains."""


def linalg_matcher(name: str) -> Matcher | None:
    """Return how calls of a compiled function of numpy.linalg are matched. NumPy 2.0 has svd_m for wide matrices."""
    return LINALG.get(name.replace("_m", "").replace("_n", ""))


MET_AS: Mapping[str, str] = {
    **dict.fromkeys(("pinv", "matrix_rank", "cond", "svdvals", "orth", "null_space", "polar"), "svd"),
    **dict.fromkeys(("multi_dot", "tensordot", "inner", "matrix_power", "cov", "corrcoef"), "matmul"),
    "slogdet": "det",
    "cho_factor": "cholesky",
    "tensorsolve": "solve",
    "tensorinv": "inv",
    "vecdot": "vdot",
}
"""Functions of NumPy and SciPy whose calls are met in what they call, and the operation that this is."""
NEAREST: Mapping[str, str] = {"eigvals": "eig", "eigvalsh": "eigh"}
"""Functions that are left alone, and the operation whose work is nearest to theirs."""

PRODUCTS: Mapping[str, Matcher] = {"matmul": product, "matvec": matvec, "vecdot": vdot}
"""Ufuncs of numpy, where it has them."""
FUNCTIONS: Mapping[str, Matcher] = {"dot": product, "inner": inner, "vdot": vdot}
"""Functions of numpy that are no ufuncs. tensordot, multi_dot, cov and einsum with `optimize` are met in what they
call; einsum without it calls no BLAS."""


class Layout:
    """Placement in memory of the elements of a loop's operands (`loops.h`)."""

    STRIDED = 0
    CONTIGUOUS = 1
    BROADCAST = 2
    ROWS = 3
    ALL = (STRIDED, CONTIGUOUS, BROADCAST, ROWS)


class Range(Record):
    """Setting of loops from a number of elements on."""

    elements: int
    chunk: int
    workers: int
    placement: str = ""
    """Value of a Placement; empty: the system moves the workers as it likes."""


LOOP_KINDS = ("arithmetic", "functions", "reductions")
"""Kinds of loops that are planned, by the core's numbers: the classes of `array_loops`, then reductions."""
LOOP_DTYPES = ("float64", "float32", "complex128", "complex64")
"""Dtypes that they are planned for (`model.operation.DTYPES`)."""
PLACEMENTS = ("", "cores", "l3", "node")
"""Values of the placement of a Range (`model.configuration.Placement`)."""
MOST_RANGES = 16
"""Of one class of loops (`native/loops.h`)."""
