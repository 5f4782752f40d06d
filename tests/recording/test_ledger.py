"""Ledgers of processes that still write."""

import struct

from autotune.recording.ledger import MAGIC, VERSION, read_ledger

HEADER = "=16s4I2I3q2q4I"
ROW = "=48scc6s4q4Q3Q"


def ledger(path, *rows):
    """Write a ledger of rows: name, kind, sizes, calls, timed calls, nanoseconds and elements."""
    header, row_bytes = struct.calcsize(HEADER), struct.calcsize(ROW)
    counts = (10, 1, 0, 10**9, 10**9, 1, 1, 0, 0)
    data = struct.pack(HEADER, MAGIC, VERSION, header, row_bytes, 512, len(rows), 0, *counts)
    for name, kind, sizes, *numbers in rows:
        data += struct.pack(ROW, name, kind, b"C", b"dd", *sizes, *numbers, 0, 0, 0)
    path.write_bytes(data)
    return path


CONTIGUOUS, IN_ROWS = 3 | 1 << 8, 3 | 3 << 8
"""Forms of loops: class and layout."""


def add(*, timed):
    return b"add", b"u", (16, 1, -1, -1), 4, timed, 1000 * timed, 400_000


def part(form, *, timed):
    """Loops of timed calls of the first row."""
    return b"add", b"l", (0, form, 16, -1), timed, timed, 1000 * timed, 100_000 * timed


def test_calls_are_divided_by_the_forms_of_their_loops(tmp_path):
    rows = read_ledger(ledger(tmp_path / "a", add(timed=2), part(CONTIGUOUS, timed=1), part(IN_ROWS, timed=1))).rows
    assert [(row.kind, row.calls, row.loops is None) for row in rows] == [("u", 2, False), ("u", 2, True)]
    assert {row.rows.elements for row in rows} == {100_000}


def test_a_row_that_was_read_before_its_first_timed_call_ended_is_not_divided(tmp_path):
    rows = read_ledger(ledger(tmp_path / "a", add(timed=0), part(CONTIGUOUS, timed=1))).rows
    assert [(row.calls, row.timed, row.seconds, row.loops) for row in rows] == [(4, 0, 0.0, None)]


def test_a_row_whose_part_has_seen_a_later_call_has_no_more_calls_than_it_counts(tmp_path):
    rows = read_ledger(ledger(tmp_path / "a", add(timed=1), part(CONTIGUOUS, timed=2))).rows
    assert [(row.calls, row.loops.elements) for row in rows] == [(4, 100_000)]


def test_calls_that_were_read_before_they_were_counted_are_left_out(tmp_path):
    unread = b"add", b"l", (0, CONTIGUOUS, 16, -1), 0, 1, 0, 0
    assert read_ledger(ledger(tmp_path / "a", (b"add", b"u", (16, 1, -1, -1), 0, 1, 1000, 0), unread)).rows == ()
    rows = read_ledger(ledger(tmp_path / "b", add(timed=1), unread)).rows
    assert [(row.calls, row.loops) for row in rows] == [(4, None)]
