"""Ledgers: the files into which the C core counts calls (`native/recorder.h`). Read at any time, also while written."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from autotune.intercept.operations import Layout
from autotune.recording.recording import NOT_AFTER_BLAS, AfterBlas

MAGIC = b"autotune record\0"
VERSION = 4

_HEADER = struct.Struct("=16s4I2I3q2q4I")
_ROW = struct.Struct("=48scc6s4q4Q3Q")
_STATE_OFFSET = 36
"""Of the word that asks the process to stop recording."""
_ASKED_TO_STOP = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class InnerLoops:
    """Inner loops of calls of a ufunc that the C core could cut into slices (`native/loops.c`)."""

    class_number: int
    layout: int
    rounds: bool
    """Are they sums that only fixed blocks cut?"""
    number: float
    """Mean number of loops in a call."""
    elements: float
    """Mean elements of a loop."""
    after_blas: AfterBlas = NOT_AFTER_BLAS


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRow:
    """Calls of one function by dtype, layout and sizes."""

    name: str
    kind: str
    """u: ufunc, r: a ufunc's method, g: products and linear algebra, s: scipy.linalg, f: other functions."""
    contiguous: bool | None
    types: str
    """Type codes of the first operands that were arrays."""
    sizes: tuple[int, int, int, int]
    """g: the last two sizes of both operands; s: the operation's; others: log2 of the elements; -1: none."""
    calls: int
    timed: int
    seconds: float
    """Of all calls, by the mean of those that were timed; without those of recorded calls inside them."""
    elements: int
    """That the operands are broadcast to, or for g the number of matrices: summed over all calls."""
    loops: InnerLoops | None = None
    """None: the calls have none that is long enough."""
    after_blas: AfterBlas = NOT_AFTER_BLAS
    """Of a part of another row."""
    rows: InnerLoops | None = None
    """All loops of a call as one, where the core can share them as rows; None where it cannot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """All that one process counted."""

    pid: int
    parent: int
    start: float
    """Seconds of CLOCK_MONOTONIC, as the one below."""
    last: float
    """When it was last seen at work."""
    cpu_seconds: float = 0.0
    """Of the process until then."""
    threads: int = 0
    """Threads that called."""
    most_at_once: int = 0
    """Threads in a call at once, at most."""
    turns: int = 0
    """Times that a thread called again after another one had."""
    rows: tuple[LedgerRow, ...] = ()


def read_ledger(path: Path) -> Ledger | None:
    """Read a ledger; None if the file is none, is of another version, or counts nothing."""
    data = path.read_bytes()
    if len(data) < _HEADER.size:
        return None
    magic, version, header, row_bytes, capacity, count, _state, *counts = _HEADER.unpack_from(data)
    pid, parent, start, last, cpu, threads, most, turns, _unused = counts
    if magic != MAGIC or version != VERSION or row_bytes != _ROW.size:
        return None
    if len(data) < header + row_bytes * min(count, capacity):
        return None
    rows = [_row(data, header + number * row_bytes) for number in range(min(count, capacity))]
    return Ledger(
        pid=pid,
        parent=parent,
        start=start * 1e-9,
        last=last * 1e-9,
        cpu_seconds=cpu * 1e-9,
        threads=threads,
        most_at_once=most,
        turns=turns,
        rows=tuple(row for row in _divide_by_loops(rows) if row.calls),
    )


def _divide_by_loops(rows: list[LedgerRow]) -> Iterator[LedgerRow]:
    """Yield the rows of calls, each divided into its calls with loops of each form and those without long ones."""
    parts: dict[int, list[LedgerRow]] = {}
    in_rows: dict[int, InnerLoops] = {}
    for part in rows:
        if part.kind == "l" and part.timed and part.calls:  # counts are written one after the other
            loops = _loops(part)
            if loops.layout == Layout.ROWS:
                in_rows[part.sizes[0]] = loops
            else:
                parts.setdefault(part.sizes[0], []).append(part)
    for number, unmarked in enumerate(rows):
        if unmarked.kind == "l":
            continue
        row = replace(unmarked, rows=in_rows.get(number))
        if not (row.timed and row.calls):
            yield row
            continue
        calls, timed, seconds = row.calls, row.timed, row.seconds
        for part in parts.get(number, ()):
            scale = row.calls / row.timed
            own = replace(
                row,
                calls=min(calls, round(part.timed * scale)),
                timed=part.timed,
                seconds=min(seconds, part.seconds * part.timed / part.calls * scale),
                loops=_loops(part),
            )
            calls, timed, seconds = calls - own.calls, timed - own.timed, seconds - own.seconds
            yield replace(own, elements=round(row.elements * own.calls / row.calls))
        if timed > 0:
            yield replace(
                row, calls=calls, timed=timed, seconds=seconds, elements=round(row.elements * calls / row.calls)
            )


def _loops(part: LedgerRow) -> InnerLoops:
    form = part.sizes[1]
    return InnerLoops(
        class_number=form & 0xFF,
        layout=form >> 8 & 0xFF,
        rounds=bool(form >> 16),
        number=part.calls / part.timed,
        elements=part.elements / part.calls,
        after_blas=part.after_blas,
    )


def stop_ledger(path: Path) -> None:
    """Ask the process that writes a ledger to stop recording. It checks this at every call."""
    with path.open("r+b") as file:
        file.seek(_STATE_OFFSET)
        file.write(struct.pack("=I", _ASKED_TO_STOP))


def _row(data: bytes, offset: int) -> LedgerRow:
    name, kind, layout, types, *numbers = _ROW.unpack_from(data, offset)
    *sizes, calls, timed, nanoseconds, elements, short, medium, default = numbers
    timed_ns = max(1, nanoseconds)
    return LedgerRow(
        name=name.partition(b"\0")[0].decode("utf-8", "replace"),
        kind=kind.decode("ascii", "replace"),
        contiguous={b"C": True, b"S": False}.get(layout),
        types="".join(chr(code) for code in types[:2] if code),
        sizes=tuple(sizes),
        calls=calls,
        timed=timed,
        seconds=nanoseconds * 1e-9 * calls / timed if timed else 0.0,
        elements=elements,
        after_blas=(short / timed_ns, medium / timed_ns, default / timed_ns),
    )
