"""Tables of text: columns side by side, notes under each row, and a list where the terminal is too narrow."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

from autotune.model.record import Record

if TYPE_CHECKING:
    from autotune.model.operation import Operation

NARROW = 72
"""Least width of the terminal, in columns, for a table; on a narrower one it becomes a list."""
_GAP = "  "


class TextColumn(Record):
    """A column of a table."""

    title: str
    width: int | None = None
    """None: an equal part of the width that the other columns leave."""
    right: bool = False
    """Align to the right, as numbers are."""


class TextTable:
    """Formats rows one at a time, so that they can be printed as they are measured."""

    def __init__(self, columns: Sequence[TextColumn], width: int) -> None:
        self._columns = columns
        self._width = width
        fixed = [column.width for column in columns if column.width is not None]
        shares = max(1, len(columns) - len(fixed))
        rest = width - sum(fixed) - len(_GAP) * (len(columns) - 1)
        self._widths = [column.width or max(8, rest // shares) for column in columns]
        self.is_list = width < NARROW

    def heading(self) -> list[str]:
        """Format the titles; nothing for a list."""
        return [] if self.is_list else [*self._columns_of([column.title for column in self._columns])]

    def row(self, cells: Sequence[str], *notes: str) -> list[str]:
        """Format one row, whose first cell is its name, and its notes over the whole width."""
        cells = [printable(cell, keep="\n") for cell in cells]
        if self.is_list:
            rest = ", ".join(self._label(cells))
            lines = [*wrap(cells[0], self._width), *wrap(rest, self._width, indent=2)]
        else:
            lines = [*self._columns_of(cells)]
        for note in notes:
            lines += wrap(note, self._width, indent=2 if self.is_list else 4)
        return lines

    def _label(self, cells: Sequence[str]) -> Iterator[str]:
        """Return the cells of a list: numbers after the title of their column, unknown ones left out."""
        for column, cell in zip(self._columns[1:], cells[1:], strict=True):
            if cell.strip(" -\n"):
                text = cell.replace("\n", " ")
                yield f"{column.title} {text}" if column.title and column.right else text

    def _columns_of(self, cells: Sequence[str]) -> Iterator[str]:
        """Place cells side by side, each folded within its column."""
        folded = [_fold(cell, width) for cell, width in zip(cells, self._widths, strict=True)]
        for parts in zip_longest(*folded, fillvalue=""):
            placed = (
                _pad(part, width, right=column.right)
                for part, width, column in zip(parts, self._widths, self._columns, strict=True)
            )
            yield _GAP.join(placed).rstrip()


def wrap(text: str, width: int, *, indent: int = 0) -> list[str]:
    """Fold a text into lines of at most `width` columns; a longer word, such as a path, stays whole."""
    lead = " " * indent
    lines = printable(text, keep="\n").split("\n")
    if not text.isascii():
        width = max(1, width - indent)
        return [lead + part for line in lines for part in _wide(line, width) if part]
    if max(map(len, lines)) + indent <= width:
        return [lead + line.rstrip() for line in lines if line.strip()]
    from textwrap import wrap

    return [
        part
        for line in lines
        for part in wrap(
            line,
            max(width, indent + 1),
            initial_indent=lead,
            subsequent_indent=lead,
            break_long_words=False,
            break_on_hyphens=False,
        )
    ]


def printable(text: str, keep: str = "") -> str:
    """Spell out control characters, line ends and direction marks, which could act on a terminal."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() or letter in keep else letter.encode("unicode_escape").decode()
        for letter in text
    )


def _fold(cell: str, width: int) -> list[str]:
    """Fold a cell; a word that is longer than the column is cut."""
    lines = cell.split("\n")
    if not cell.isascii():
        return [part for line in lines for part in _wide(line, width, cut=True) or [""]]
    if max(map(len, lines)) <= width:
        return [line.rstrip() for line in lines]
    from textwrap import wrap

    return [part for line in lines for part in wrap(line, width) or [""]]


def operation_name(operation: "Operation") -> str:
    """Return an operation as a table shows it; float64 is left out."""
    sizes = [f"{name}={value}" for name, value in operation.sizes]
    dtype = [] if operation.dtype == "float64" else [operation.dtype]
    return printable(" ".join([operation.name, *dtype, *sizes]))


def _wide(line: str, width: int, *, cut: bool = False) -> list[str]:
    """Fold a line whose letters may take two columns."""
    lines = [""]
    for word in line.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if _cells(longer) <= width:
            lines[-1] = longer
            continue
        lines.append("")
        for letter in word if cut else [word]:
            if lines[-1] and _cells(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    return [line for line in lines if line]


def _pad(text: str, width: int, *, right: bool) -> str:
    width -= _cells(text) - len(text)
    return text.rjust(width) if right else text.ljust(width)


def _cells(text: str) -> int:
    """Count the columns that a text takes on a terminal (Unicode Standard Annex 11; combining marks take none)."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(letter) else 1 + (east_asian_width(letter) in "WF") for letter in text)
