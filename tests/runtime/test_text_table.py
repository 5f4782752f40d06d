"""Tables of text, at any width."""

import pytest

from autotune.runtime.text_table import NARROW, TextColumn, TextTable, printable, wrap

COLUMNS = (TextColumn("operation"), TextColumn("choice"), TextColumn("default", 8, right=True))


def written(width, *rows):
    table = TextTable(COLUMNS, width)
    return [*table.heading(), *(line for cells, note in rows for line in table.row(cells, note))]


def test_notes_stand_below_their_row_over_the_whole_width():
    lines = written(80, (("qr n=8", "blas_threads=1", "2.00 ms"), "word " * 15))
    assert lines[0].split() == ["operation", "choice", "default"]
    assert lines[1].split() == ["qr", "n=8", "blas_threads=1", "2.00", "ms"]
    assert lines[2] == "    " + ("word " * 15).strip()


def test_a_narrow_terminal_gets_a_list_without_dashes_for_what_is_unknown():
    assert written(40, (("qr n=8", "default kept", "-"), "Because.")) == ["qr n=8", "  default kept", "  Because."]


def test_in_a_list_a_number_has_the_title_of_its_column():
    assert written(40, (("qr n=8", "blas_threads=1", "2.00 ms"), ""))[1] == "  blas_threads=1, default 2.00 ms"


@pytest.mark.parametrize("width", [20, 40, NARROW - 1, NARROW, 80, 200])
def test_no_line_of_words_is_wider_than_the_terminal(width):
    lines = written(width, (("operation n=8 " * 5, "choice " * 9, "2.00 ms"), "reason " * 60))
    assert max(map(len, lines)) <= width


def test_a_word_that_is_longer_than_its_column_is_cut():
    assert max(map(len, written(80, (("operation_" * 9, "x", "-"), "")))) <= 80


def test_a_path_in_a_note_stays_whole():
    path = "/a/very/long/path/" + "x" * 90
    assert path in written(80, (("a", "b", "c"), f"It is in {path}."))[-1]


@pytest.mark.parametrize("width", [20, 80])
def test_letters_of_two_columns_are_counted_as_such(width):
    from rich.cells import cell_len

    lines = written(width, (("測量 " * 12, "default kept", "-"), "原因 because " * 9))
    assert max(map(cell_len, lines)) <= width


def test_several_lines_of_notes_stay_lines():
    assert written(80, (("a", "b", "c"), "one\ntwo"))[2:] == ["    one", "    two"]


def test_control_characters_cannot_act():
    assert "\x1b" not in "".join(written(80, (("\x1b[2J", "b", "c"), "\x1b[2J")))
    assert printable("a\udc80b\u202e") == "a\\udc80b\\u202e"
    assert wrap("a\x9bb", 40) == ["a\\x9bb"]
