"""Catalogue of operations: knobs, sizes and measure of work of each. The runnable work is in bench."""

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from math import nan
from operator import index

from autotune.errors import BadSize, UnknownOperation
from autotune.model.configuration import Knob
from autotune.model.constraints import LARGEST_SIZE
from autotune.model.operation import DTYPES, REAL_DTYPES, Operation
from autotune.model.record import Record

Sizes = Mapping[str, int]
Work = Callable[[Sizes], float]

IN_PROCESSES = "_processes"
"""Suffix of the name of a row whose workers are processes. It is a row and not a knob, since a program has to
agree: tasks that write into arrays of the caller's lose that in another process."""


class Family(StrEnum):
    """Operations of one family run through the same mechanism and share their knobs."""

    LINALG = "linalg"
    """One call into BLAS or LAPACK."""
    STACK = "stack"
    """One call over a stack of small matrices, cut along the stack."""
    ELEMENTWISE = "elementwise"
    """A function of every element, cut into slices."""
    LOOP = "loop"
    """A ufunc of an unchanged program, whose long loops the C core cuts into slices."""
    REDUCTION = "reduction"
    RANDOM = "random"
    EXPRESSION = "expression"
    """Several ufuncs over one block while it is in cache."""
    TASKS = "tasks"
    """Many independent tasks that each call BLAS."""
    SHARING = "sharing"
    """One array worked on by several processes."""
    ALLOCATION = "allocation"
    """Large temporaries made and dropped."""
    ESTIMATOR = "estimator"
    """A fit or a query of a scikit-learn estimator, whose threads are OpenMP's."""
    USER = "user"
    """The user's own function."""


OPEN_UPWARDS = frozenset({Family.ELEMENTWISE, Family.LOOP, Family.REDUCTION, Family.RANDOM, Family.EXPRESSION})
"""Families whose work grows with the elements of an array and with nothing else."""

REAL_ONLY = frozenset(
    {Family.RANDOM, Family.REDUCTION, Family.SHARING, Family.TASKS, Family.ALLOCATION, Family.ESTIMATOR}
)
"""Families that are measured with real numbers only; others also with complex ones."""

KNOBS: Mapping[Family, tuple[Knob, ...]] = {
    # placement comes first: of the corners of a space, which are tried in order, those without one are first
    **dict.fromkeys((Family.STACK, *OPEN_UPWARDS), (Knob.PLACEMENT, Knob.WORKERS, Knob.CHUNK)),
    Family.LINALG: (Knob.BLAS_THREADS,),
    Family.TASKS: (Knob.PLACEMENT, Knob.BLAS_THREADS, Knob.WORKERS),
    Family.SHARING: (Knob.METHOD, Knob.WORKERS, Knob.CHUNK),
    Family.ALLOCATION: (Knob.ALLOCATOR,),
    Family.ESTIMATOR: (Knob.OPENMP_THREADS,),
    Family.USER: (Knob.BLAS_THREADS,),
}


class WorkUnit(StrEnum):
    FLOPS = "flops"
    BYTES = "bytes"


class Kind(Record, kw_only=True):
    """A row of the catalogue."""

    name: str
    family: Family
    size_names: tuple[str, ...]
    work: Work
    """Flops, or bytes read and written per byte of the dtype's item."""
    unit: WorkUnit = WorkUnit.FLOPS
    footprint: Work
    """Elements held at once by a plain call: inputs, results and NumPy's copies."""
    summary: str
    defaults: Mapping[str, int] = {}
    """Sizes that do not follow from the first one."""
    own_knobs: tuple[Knob, ...] | None = None
    """Knobs of a function or a command of the user's; None: those of the family."""

    def complete(self, sizes: Sizes) -> dict[str, int]:
        """Return all sizes, in the catalogue's order: one left out has its own default, or equals `n`.

        Raises BadSize for one that is unknown, or missing without a default.
        """
        names = ", ".join(self.size_names)
        unknown = sorted(set(sizes) - {*self.size_names, "n"})
        if unknown:
            raise BadSize(f"{self.name} has no size {', '.join(unknown)}; its sizes are {names}.")
        values = {name: sizes.get(name, self.defaults.get(name, sizes.get("n"))) for name in self.size_names}
        missing = [name for name, value in values.items() if value is None]
        if missing:
            instead = "" if missing[0] == "n" else ", or n for all"
            raise BadSize(f"{self.name} needs {missing[0]}{instead}; its sizes are {names}.")
        return {name: int(value) for name, value in values.items() if value is not None}

    @property
    def knobs(self) -> tuple[Knob, ...]:
        return KNOBS[self.family] if self.own_knobs is None else self.own_knobs

    @property
    def dtypes(self) -> tuple[str, ...]:
        """Dtypes in which it is measured."""
        reduces = self.name in {"loop_max", "loop_sum"}
        return REAL_DTYPES if self.family in REAL_ONLY or reduces else DTYPES

    def work_of(self, operation: Operation) -> float:
        """Return the flops, or bytes, of one unit of work at these sizes.

        A product and a sum of complex numbers take four times as many flops as those of real ones.
        """
        amount = self.work(operation.size)
        if self.unit is WorkUnit.FLOPS:
            return amount if operation.dtype in REAL_DTYPES else 4 * amount
        return amount * item_size(operation.dtype)

    def bytes_of(self, operation: Operation) -> float:
        """Return the bytes of memory that a plain call holds at once."""
        return self.footprint(operation.size) * item_size(operation.dtype)


def item_size(dtype: str) -> int:
    """Return the bytes of one element of a dtype of the catalogue."""
    return {"float64": 8, "float32": 4, "complex128": 16, "complex64": 8}[dtype]


def user_kind(name: str, size_names: tuple[str, ...], knobs: tuple[Knob, ...], summary: str) -> Kind:
    """Return the row that a function or a command of the user's would have. Its work and memory are unknown: NaN."""
    return Kind(
        name=name,
        family=Family.USER,
        size_names=size_names,
        work=lambda _: nan,
        footprint=lambda _: nan,
        summary=summary,
        own_knobs=knobs,
    )


def _linalg(name: str, sizes: str, flops: Work, footprint: Work, summary: str) -> Kind:
    return Kind(
        name=name,
        family=Family.LINALG,
        size_names=tuple(sizes.split()),
        work=flops,
        footprint=footprint,
        summary=summary,
    )


def _stack(name: str, flops: Work, matrices: int, summary: str) -> Kind:
    return Kind(
        name=name,
        family=Family.STACK,
        size_names=("n", "count"),
        work=lambda s: s["count"] * flops(s),
        footprint=lambda s: matrices * s["count"] * s["n"] ** 2,
        summary=summary,
        defaults={"count": 1000},
    )


def _elements(name: str, family: Family, arrays: float, summary: str) -> Kind:
    return Kind(
        name=name,
        family=family,
        size_names=("n",),
        work=lambda s: arrays * s["n"],
        unit=WorkUnit.BYTES,
        footprint=lambda s: (arrays + 1) * s["n"],
        summary=summary,
    )


def _tasks(name: str, summary: str) -> Kind:
    return Kind(
        name=name,
        family=Family.TASKS,
        size_names=("n", "tasks"),
        work=lambda s: 2.0 * s["tasks"] * s["n"] ** 3,
        footprint=lambda s: 3 * s["n"] ** 2 * 8,
        summary=summary,
        defaults={"tasks": 100},
    )


def _estimator(name: str, work: float, summary: str) -> Kind:
    return Kind(
        name=name,
        family=Family.ESTIMATOR,
        size_names=("rows", "columns"),
        work=lambda s: work * s["rows"] * s["columns"],
        footprint=lambda s: 3.0 * s["rows"] * s["columns"],
        summary=summary,
        defaults={"columns": 20},
    )


def _mn(factor: float) -> Work:
    """Count the flops of a factorisation of an m x n matrix, `factor` the count for a square one over n^3.

    Golub and Van Loan, Matrix Computations, 4th ed.: Householder QR takes 2 n^2 (m - n/3) for m >= n; the
    same shape, scaled, serves for the others.
    """

    def flops(s: Sizes) -> float:
        long, short = max(s["m"], s["n"]), min(s["m"], s["n"])
        return factor * 1.5 * short**2 * (long - short / 3)

    return flops


_ROWS = (
    _linalg(
        "matmul",
        "m k n",
        lambda s: 2.0 * s["m"] * s["k"] * s["n"],
        lambda s: s["m"] * s["k"] + s["k"] * s["n"] + s["m"] * s["n"],
        "a @ b, np.matmul, np.dot, np.einsum",
    ),
    _linalg("matvec", "m n", lambda s: 2.0 * s["m"] * s["n"], lambda s: s["m"] * s["n"] + s["m"] + s["n"], "a @ x"),
    _linalg("vdot", "n", lambda s: 2.0 * s["n"], lambda s: 2 * s["n"], "x @ y, np.dot, np.vdot of vectors"),
    _linalg("solve", "n", lambda s: 2 / 3 * s["n"] ** 3, lambda s: 2 * s["n"] ** 2, "np.linalg.solve"),
    _linalg("inv", "n", lambda s: 2.0 * s["n"] ** 3, lambda s: 4 * s["n"] ** 2, "np.linalg.inv"),
    _linalg("det", "n", lambda s: 2 / 3 * s["n"] ** 3, lambda s: 2 * s["n"] ** 2, "np.linalg.det"),
    _linalg("lstsq", "m n", _mn(8 / 3), lambda s: 3 * s["m"] * s["n"], "np.linalg.lstsq"),
    _linalg("pinv", "m n", _mn(22.0), lambda s: 6 * s["m"] * s["n"], "np.linalg.pinv"),
    _linalg("cholesky", "n", lambda s: 1 / 3 * s["n"] ** 3, lambda s: 2 * s["n"] ** 2, "np.linalg.cholesky"),
    _linalg("qr", "m n", _mn(8 / 3), lambda s: 4 * s["m"] * s["n"], "np.linalg.qr"),
    _linalg("eigh", "n", lambda s: 9.0 * s["n"] ** 3, lambda s: 5 * s["n"] ** 2, "np.linalg.eigh"),
    _linalg("eig", "n", lambda s: 25.0 * s["n"] ** 3, lambda s: 6 * s["n"] ** 2, "np.linalg.eig"),
    _linalg("svd", "m n", _mn(22.0), lambda s: 6 * s["m"] * s["n"], "np.linalg.svd"),
    _stack("stack_matmul", lambda s: 2.0 * s["n"] ** 3, 3, "np.matmul over (count, n, n)"),
    _stack("stack_solve", lambda s: 2 / 3 * s["n"] ** 3, 3, "np.linalg.solve over (count, n, n)"),
    _stack("stack_inv", lambda s: 2.0 * s["n"] ** 3, 2, "np.linalg.inv over (count, n, n)"),
    _stack("stack_cholesky", lambda s: 1 / 3 * s["n"] ** 3, 2, "np.linalg.cholesky over (count, n, n)"),
    _stack("stack_eigh", lambda s: 9.0 * s["n"] ** 3, 3, "np.linalg.eigh over (count, n, n)"),
    _stack("stack_svd", lambda s: 22.0 * s["n"] ** 3, 4, "np.linalg.svd over (count, n, n)"),
    _elements("fill", Family.ELEMENTWISE, 1, "array[...] = value, by rows or 2-D tiles"),
    _elements("copy", Family.ELEMENTWISE, 2, "np.copyto"),
    _elements("add", Family.ELEMENTWISE, 3, "np.add and the other arithmetic"),
    _elements("sqrt", Family.ELEMENTWISE, 2, "np.sqrt"),
    _elements("exp", Family.ELEMENTWISE, 2, "np.exp"),
    _elements("log", Family.ELEMENTWISE, 2, "np.log"),
    _elements("sin", Family.ELEMENTWISE, 2, "np.sin and the other trigonometric functions"),
    _elements("power", Family.ELEMENTWISE, 3, "np.power"),
    _elements("loop_add", Family.LOOP, 3, "np.add as it is written: the cheapest of arithmetic"),
    _elements("loop_sqrt", Family.LOOP, 2, "np.sqrt as it is written: the dearest of arithmetic"),
    _elements("loop_exp", Family.LOOP, 2, "np.exp as it is written: the cheapest of functions"),
    _elements("loop_power", Family.LOOP, 3, "np.power as it is written: the dearest of functions"),
    _elements("loop_scale", Family.LOOP, 2, "np.multiply of an array by one number, as it is written"),
    _elements("loop_strided", Family.LOOP, 4, "np.multiply of every other element, as it is written"),
    _elements("loop_rows", Family.LOOP, 3, "np.add of a part of a matrix and a vector, as it is written"),
    _elements("loop_max", Family.LOOP, 1, "np.max as it is written: the cheapest of reductions"),
    _elements("loop_sum", Family.LOOP, 1, "np.sum as it is written: the dearest of reductions"),
    _elements("sum", Family.REDUCTION, 1, "np.sum, np.mean, np.prod"),
    _elements("max", Family.REDUCTION, 1, "np.max, np.min"),
    _elements("var", Family.REDUCTION, 1, "np.var"),
    _elements("random", Family.RANDOM, 1, "Generator.standard_normal and the other distributions"),
    _elements("expression", Family.EXPRESSION, 4, "sqrt(x*y + z) and other expressions of several ufuncs"),
    _tasks("batch_matmul", "many independent tasks: load two (n, n) matrices, multiply"),
    _tasks(f"batch_matmul{IN_PROCESSES}", "the same tasks in worker processes instead of threads"),
    _elements("share", Family.SHARING, 2, "one array worked on by several processes"),
    # flops of a row and column: ten iterations over eight centres, ten trees, and distances to 200 queries
    _estimator("k_means", 240.0, "KMeans.fit of scikit-learn: 8 clusters, 10 iterations"),
    _estimator("hist_gradient_boosting", 600.0, "HistGradientBoostingRegressor.fit of scikit-learn: 10 trees"),
    _estimator("nearest_neighbours", 400.0, "NearestNeighbors.kneighbors of scikit-learn, brute force, 200 queries"),
    _elements("temporaries", Family.ALLOCATION, 5, "large temporaries, as in sqrt(x*y + x)"),
)

CATALOGUE: Mapping[str, Kind] = {kind.name: kind for kind in _ROWS}

ALIASES: Mapping[str, str] = {
    "dot": "matmul",
    "einsum": "matmul",
    "multiply": "add",
    "subtract": "add",
    "divide": "add",
    "mean": "sum",
    "prod": "sum",
    "min": "max",
    "std": "var",
    "cos": "sin",
    "tan": "sin",
}
"""Other names for a row: work of the same shape and speed, tuned as one."""


def kind(name: str) -> Kind:
    """Return the catalogue's row of this name or alias. Raises UnknownOperation, which holds the nearest names."""
    row = row_of(name)
    if row is None:
        raise UnknownOperation(name, nearest_names(name))
    return row


def nearest_names(name: str, others: Iterable[str] = ()) -> list[str]:
    """Return up to three names of the catalogue, or others, that share most of their letters with a misspelt one."""
    from difflib import get_close_matches  # 2 ms that only a misspelling pays

    return get_close_matches(name, list(dict.fromkeys([*CATALOGUE, *ALIASES, *others])), n=3, cutoff=0.65)


def row_of(name: str) -> Kind | None:
    """Return the catalogue's row of this name or alias; None for a function of the user's."""
    return CATALOGUE.get(ALIASES.get(name, name))


def operation(name: str, *, dtype: str = "float64", **sizes: int) -> Operation:
    """Return the Operation of this name with every size filled in.

    A size left out equals `n`; `tasks` is 100 and `count` 1000. Names that are not in the catalogue are
    taken as a user's function, with the sizes as they are given.

    Raises BadSize for a size that is missing, unknown, or not a whole number from 1 to 2**48, and for a
    dtype in which it is not measured.
    """
    row = row_of(name)
    dtypes = DTYPES if row is None else row.dtypes
    if dtype not in dtypes:
        raise BadSize(f"{name}: dtype must be one of {', '.join(dtypes)}, not {dtype!r}.")
    for size, value in sizes.items():
        if not is_whole(value) or not 1 <= value <= LARGEST_SIZE:
            raise BadSize(f"{name}: {size} must be a whole number from 1 to {LARGEST_SIZE}, not {value!r}.")
    if row is None:
        return Operation(name=name, dtype=dtype, sizes=tuple((key, int(value)) for key, value in sizes.items()))
    return Operation(name=row.name, dtype=dtype, sizes=tuple(row.complete(sizes).items()))


def is_call(operation: Operation) -> bool:
    """Is it one call into BLAS or LAPACK?"""
    row = CATALOGUE.get(operation.name)
    return row is not None and row.family is Family.LINALG


def is_measurable(operation: Operation) -> bool:
    """Is it an operation of the catalogue, with a dtype in which that is measured and valid sizes?"""
    row = CATALOGUE.get(operation.name)
    return (
        row is not None
        and operation.dtype in row.dtypes
        and operation.size.keys() == set(row.size_names)
        and all(1 <= value <= LARGEST_SIZE for value in operation.size.values())
    )


def is_whole(value: object) -> bool:
    """Is it a whole number? NumPy's integers are, truth values are not."""
    if type(value).__name__ == "bool":  # NumPy's too
        return False
    try:
        index(value)  # type: ignore[arg-type]
    except TypeError:
        return False
    return True
