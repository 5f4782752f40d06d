"""Names of the rows of a ledger: the call for people, and the operation that a profile may hold. Pure."""

from collections.abc import Mapping
from contextlib import suppress

from autotune.intercept.array_loops import CLASSES, REDUCING_FUNCTIONS, TYPES, loop_names, measured_like
from autotune.intercept.operations import FUNCTIONS, PRODUCTS, Layout, Match, linalg_matcher
from autotune.model.catalogue import row_of
from autotune.model.operation import DTYPES as MEASURED
from autotune.model.operation import Operation
from autotune.recording import recording
from autotune.recording.ledger import InnerLoops, LedgerRow
from autotune.recording.recording import NOT_AFTER_BLAS, SHORT_LOOP, SHORT_REDUCTION, AfterBlas, Call, Loop

_NAMES = """
    bool int8 uint8 int16 uint16 int32 uint32 int64 uint64 int64 uint64
    float16 float32 float64 longdouble complex64 complex128 clongdouble other
    """
DTYPES = dict(zip("?bBhHiIlLqQefdgFDGO", _NAMES.split(), strict=True))
"""By type code."""
_SECOND_HALVES = frozenset({"qr_reduced", "qr_complete"})
"""Second compiled function of a QR decomposition, which is not counted as a call."""
_REDUCTIONS = {ufunc: name for name, ufunc in reversed(REDUCING_FUNCTIONS.items())}
_SHARED = frozenset(name for row in CLASSES.values() for name in row.ufuncs.split())
"""Ufuncs whose loops the C core shares if they are long."""
_BY_LAYOUT = {Layout.STRIDED: " strided", Layout.BROADCAST: " and a number"}


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
        return _ufunc_call(row, name, recording.REDUCTIONS, size, is_shared=name in _REDUCTIONS.values())
    if row.kind == "u":
        return _ufunc_call(row, row.name, recording.ARRAYS, size, is_shared=row.name in _SHARED)
    return _call(row, row.name, recording.OTHERS, size, None)


def _ufunc_call(row: LedgerRow, name: str, group: str, size: str, *, is_shared: bool) -> Call:
    """Name a ufunc's call. What can be done for it depends on the inner loops in which NumPy runs it."""
    loops, rows = row.loops, row.rows
    least = SHORT_LOOP if group == recording.ARRAYS else SHORT_REDUCTION
    is_large = row.elements >= least * row.calls and is_shared and all(code in TYPES for code in row.types)
    is_short = is_large and rows is None and (loops is None or loops.elements < least)
    first = rows or loops
    if first is None:
        return _call(row, name, group, f"{size} in short loops" if is_short else size, None, is_in_short_loops=is_short)
    if rows is not None:
        loop, inner = _loop(rows), None if loops is None else _loop(loops)
        size += " in rows"
    else:
        loop, inner = _loop(first), None
        size += f" by {first.elements:.2g}" if first.number >= 1.5 else ""
        size += _BY_LAYOUT.get(first.layout, "")
    sizes = (("n", loop.elements),)
    operation = Operation(name=loop_names(loop.kind, loop.layout)[0], dtype=loop.dtype, sizes=sizes)
    return _call(
        row,
        name,
        group,
        size,
        None if is_short else operation,
        needs_reductions=first.rounds,
        loop=loop,
        inner=inner,
        after_blas=first.after_blas,
        is_in_short_loops=is_short,
    )


def _loop(loops: InnerLoops) -> Loop:
    kind, dtype, scale = measured_like(loops.class_number)
    elements = round(loops.elements) + (kind == "reductions")  # of a minimum or maximum, the loop has one less
    return Loop(kind=kind, dtype=dtype, layout=loops.layout, elements=max(1, elements // scale))


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
        return _call(row, row.name.removesuffix("_lo").removesuffix("_up"), group, size, None)
    calls = 0 if row.name in _SECOND_HALVES else row.calls
    return _linalg(row, match[0], match[1], calls=calls)


def _linalg(row: LedgerRow, name: str, sizes: Mapping[str, int], *, calls: int) -> Call:
    dtype = dtype_name(row.types)
    operation = Operation(name=name, dtype=dtype, sizes=tuple(sizes.items())) if "+" not in dtype else None
    if dtype not in MEASURED or min(sizes.values()) < 1:
        operation = None
    size = " ".join(f"{size}={value}" for size, value in sizes.items())
    return _call(row, name, recording.LINALG, size, operation, calls=calls)


def _call(
    row: LedgerRow,
    name: str,
    group: str,
    size: str,
    operation: Operation | None,
    *,
    calls: int | None = None,
    needs_reductions: bool = False,
    loop: Loop | None = None,
    inner: Loop | None = None,
    after_blas: AfterBlas = NOT_AFTER_BLAS,
    is_in_short_loops: bool = False,
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
        loop=loop,
        inner=inner,
        after_blas=after_blas,
        is_in_short_loops=is_in_short_loops,
    )


def dtype_name(types: str) -> str:
    """Name the dtypes of the first operands: one name where they agree, else both."""
    return "+".join(dict.fromkeys(DTYPES.get(code, "other") for code in types))
