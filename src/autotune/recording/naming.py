"""Names of the rows of a ledger: the call for people, and the operation that a profile may hold. Pure."""

from collections.abc import Mapping
from contextlib import suppress

from autotune.intercept.array_loops import CLASSES
from autotune.intercept.operations import FUNCTIONS, PRODUCTS, Match, linalg_matcher
from autotune.model.catalogue import row_of
from autotune.model.operation import DTYPES as MEASURED
from autotune.model.operation import Operation
from autotune.recording import recording
from autotune.recording.ledger import LedgerRow
from autotune.recording.recording import Call

_NAMES = """
    bool int8 uint8 int16 uint16 int32 uint32 int64 uint64 int64 uint64
    float16 float32 float64 longdouble complex64 complex128 clongdouble other
    """
DTYPES = dict(zip("?bBhHiIlLqQefdgFDGO", _NAMES.split(), strict=True))
"""By type code."""
_SECOND_HALVES = frozenset({"qr_reduced", "qr_complete"})
"""A QR decomposition calls two compiled functions: this is the second, and no call of its own."""
_REDUCTIONS = {"add": "sum", "multiply": "prod", "maximum": "max", "minimum": "min", "logical_or": "any",
               "logical_and": "all"}  # fmt: skip
_LOOPS = {name: row.cheapest for row in CLASSES.values() for name in row.ufuncs.split()}
"""The operation of the catalogue that covers the loops of each ufunc."""
_LOOP_OF_REDUCTION = {"sum": "loop_sum", "prod": "loop_sum", "max": "loop_max", "min": "loop_max"}


def call_of(row: LedgerRow) -> Call:
    if row.kind == "g":
        return _by_shape(row)
    if row.kind == "s":
        follows = row.name in _SECOND_HALVES
        kind = row_of("qr" if follows else row.name)
        if kind is None:
            return _call(row, f"lapack.{row.name}", recording.OTHERS, "", None)
        sizes = dict(zip(kind.size_names, row.sizes, strict=False))
        return _linalg(row, kind.name, sizes, calls=0 if follows else row.calls)
    mean = row.elements / row.calls
    size = f"n~{mean:.2g}" if row.elements else ""
    if row.kind == "r":
        ufunc, _, method = row.name.rpartition(".")
        name = _REDUCTIONS.get(ufunc, row.name) if method == "reduce" else row.name
        operation = _array_operation(_LOOP_OF_REDUCTION.get(name), row, mean)
        return _call(row, name, recording.REDUCTIONS, size, operation, needs_reductions=name in {"sum", "prod"})
    if row.kind == "u":
        covering = _LOOPS.get(row.name)
        if row.sizes[1] < 0:
            return _call(row, row.name, recording.ARRAYS, size, _array_operation(covering, row, mean))
        length = 1.5 * 2.0 ** row.sizes[1]  # the middle of what has this logarithm
        operation = _array_operation(covering, row, length) if length >= recording.SHORT_LOOP else None
        size = f"{size} by {length:.2g}"
        return _call(row, row.name, recording.ARRAYS, size, operation, loop_elements=length)
    return _call(row, row.name, recording.OTHERS, size, None)


def _by_shape(row: LedgerRow) -> Call:
    """Name a product or a compiled function of numpy.linalg."""
    matcher = FUNCTIONS.get(row.name) or PRODUCTS.get(row.name) or linalg_matcher(row.name)
    shapes = [tuple(size for size in pair if size >= 0) for pair in (row.sizes[:2], row.sizes[2:])]
    match: Match | None = None
    with suppress(IndexError):  # shapes that NumPy refused
        match = None if matcher is None else matcher(shapes[0], shapes[1])
    if match is None or min(match[1].values()) < 1:
        size = " and ".join("x".join(map(str, shape)) for shape in shapes if shape)
        group = recording.LINALG if matcher is not None else recording.OTHERS
        return _call(row, row.name, group, size, None)
    calls = 0 if row.name in _SECOND_HALVES else row.calls
    return _linalg(row, match[0], match[1], calls=calls)


def _linalg(row: LedgerRow, name: str, sizes: Mapping[str, int], *, calls: int) -> Call:
    dtype = dtype_name(row.types)
    operation = Operation(name=name, dtype=dtype, sizes=tuple(sizes.items())) if "+" not in dtype else None
    if dtype not in MEASURED or min(sizes.values()) < 1:
        operation = None
    size = " ".join(f"{size}={value}" for size, value in sizes.items())
    return _call(row, name, recording.LINALG, size, operation, calls=calls)


def _array_operation(name: str | None, row: LedgerRow, mean: float) -> Operation | None:
    dtype = dtype_name(row.types)
    kind = None if name is None else row_of(name)
    if kind is None or dtype not in kind.dtypes or mean < 1:
        return None
    return Operation(name=kind.name, dtype=dtype, sizes=(("n", round(mean)),))


def _call(
    row: LedgerRow,
    name: str,
    group: str,
    size: str,
    operation: Operation | None,
    *,
    needs_reductions: bool = False,
    calls: int | None = None,
    loop_elements: float | None = None,
) -> Call:
    return Call(
        name=name,
        group=group,
        dtype=dtype_name(row.types),
        size=size,
        elements=row.elements / row.calls if row.elements else None,
        contiguous=row.contiguous,
        calls=row.calls if calls is None else calls,
        seconds=row.seconds,
        operation=operation,
        needs_reductions=needs_reductions,
        loop_elements=loop_elements,
    )


def dtype_name(types: str) -> str:
    """Name the dtypes of the first operands: one name where they agree, else both."""
    return "+".join(dict.fromkeys(DTYPES.get(code, "other") for code in types))
