"""Entries in columns, at any width."""

import io

import pytest
from rich.console import Console

from autotune.cli.entry_table import Column, Ledger, gain, gain_width

COLUMNS = (Column("operation"), Column("choice"), Column("default", 8))


def written(width, *entries):
    file = io.StringIO()
    ledger = Ledger(Console(file=file, width=width, markup=False, highlight=False), COLUMNS)
    for entry in entries:
        ledger.write(*entry)
    return [line.rstrip() for line in file.getvalue().splitlines()]


def test_the_heads_stand_once_above_all_entries():
    entry = (("qr n=8", "blas_threads=1", "2.00 ms"), "Because.")
    assert written(80, entry, entry)[0].split() == ["operation", "choice", "default"]
    assert sum("operation" in line for line in written(80, entry, entry)) == 1


def test_the_reason_stands_below_its_entry_over_the_whole_width():
    lines = written(80, (("qr n=8", "blas_threads=1", "2.00 ms"), "word " * 15))
    assert lines[1].split() == ["qr", "n=8", "blas_threads=1", "2.00", "ms"]
    assert lines[2] == "    " + ("word " * 15).strip()


def test_a_narrow_terminal_gets_a_list_without_dashes_for_what_is_unknown():
    assert written(40, (("qr n=8", "default kept", "-"), "Because.")) == [
        "qr n=8",
        "  default kept",
        "  Because.",
    ]


def test_in_a_list_a_number_says_what_it_is():
    """Columns have heads, a list has none."""
    assert written(40, (("qr n=8", "blas_threads=1", "2.00 ms"),))[1] == "  blas_threads=1, default 2.00 ms"


@pytest.mark.parametrize("width", [20, 40, 79, 80, 95, 96, 200])
def test_no_line_is_wider_than_the_terminal(width):
    lines = written(width, (("operation_" * 5, "choice=" * 9, "2.00 ms"), "reason" * 60))
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize(("width", "words"), [(40, "2x (1 to 3)"), (80, "2x\n1 to 3"), (96, "2x (1 to 3)")])
def test_an_interval_stands_where_there_is_room(width, words):
    screen = Console(width=width)
    assert gain("2x", "1 to 3", screen) == words
    assert all(len(line) <= gain_width(screen) for line in words.splitlines())


@pytest.mark.parametrize("width", [20, 80])
def test_letters_of_two_columns_are_counted_as_such(width):
    from rich.cells import cell_len

    lines = written(width, (("測量" * 12, "default kept", "-"), "原因 because " * 9))
    assert max(map(cell_len, lines)) <= width


def test_several_lines_of_reasons_stay_lines():
    assert written(80, (("a", "b", "c"), "one\ntwo"))[2:] == ["    one", "    two"]
