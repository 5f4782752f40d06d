"""Entries on a terminal: each a line of columns, and below it, over the whole width, its reason."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from textwrap import wrap
from typing import TYPE_CHECKING

from autotune.cli.terminal import NARROW

if TYPE_CHECKING:
    from rich.console import Console

WIDE = 96
"""From so many columns a speed-up and its interval stand on one line."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column; without a width it takes its part of what the others leave."""

    title: str
    width: int | None = None


def gain_width(console: "Console") -> int:
    """Columns for a speed-up with its interval, below it or beside it."""
    return 23 if console.width >= WIDE else 14


def gain(speedup: str, interval: str, console: "Console") -> str:
    """A speed-up with its interval."""
    if not interval:
        return speedup
    return (
        f"{speedup} ({interval})"
        if console.width < NARROW or console.width >= WIDE
        else f"{speedup}\n{interval}"
    )


class Ledger:
    """Writes entries as they come. Columns with a width are numbers and stand right; a narrow terminal gets a list."""

    def __init__(self, console: "Console", columns: Sequence[Column]) -> None:
        self._console = console
        self._columns = columns
        self._headed = False

    def write(self, cells: Sequence[str], reason: str = "", *, style: str = "") -> None:
        """One entry: its cells, and a sentence or several lines on why. The first cell is its name."""
        width = self._console.width
        if width < NARROW:
            said = ", ".join(self._named(cells))
            self._out(wrapped(cells[0], width), "bold")
            self._out([f"  {line}" for line in wrapped(said, width - 2)], style)
            self._out([f"  {line}" for line in wrapped(reason, width - 2)], "")
            return
        if not self._headed:
            self._out(self._lines([column.title for column in self._columns]), "bold")
            self._headed = True
        self._out(self._lines(cells), style)
        self._out([f"    {line}" for line in wrapped(reason, width - 4)], "dim")

    def _named(self, cells: Sequence[str]) -> Iterator[str]:
        """What is known of an entry; numbers under the titles of their columns, which a list does not have."""
        for column, cell in zip(self._columns[1:], cells[1:], strict=True):
            if cell.strip(" -"):
                yield f"{column.title} {cell}" if column.title and column.width is not None else cell

    def _out(self, lines: Iterable[str], style: str) -> None:
        """Rich's own tables take half a millisecond each: a profile of 10,000 entries would take seconds."""
        text = "\n".join(lines)
        if text:
            self._console.out(text, style=style or None, highlight=False)

    def _lines(self, cells: Sequence[str]) -> Iterator[str]:
        """Cells side by side, each folded within its column."""
        fixed = [column.width for column in self._columns if column.width is not None]
        shared = self._console.width - sum(fixed) - len(self._columns) + 1
        share = shared // (len(self._columns) - len(fixed))
        folded = [
            wrapped(cell, column.width or share) for cell, column in zip(cells, self._columns, strict=True)
        ]
        for parts in zip_longest(*folded, fillvalue=""):
            placed = (
                padded(part, share) if column.width is None else padded(part, column.width, right=True)
                for part, column in zip(parts, self._columns, strict=True)
            )
            yield " ".join(placed).rstrip()


def wrapped(text: str, width: int) -> list[str]:
    """The text in lines of at most so many columns; words that are longer are cut."""
    if text.isascii():
        return [part for line in text.split("\n") if line for part in wrap(line, width)]
    return [part for line in text.split("\n") if line for part in _wide(line, width)]


def padded(text: str, width: int, *, right: bool = False) -> str:
    """The text with spaces up to this width, before or behind it."""
    if not text.isascii():
        from rich.cells import cell_len

        width -= cell_len(text) - len(text)
    return text.rjust(width) if right else text.ljust(width)


def _wide(line: str, width: int) -> list[str]:
    """As wrapped, where letters may take two columns."""
    from rich.cells import cell_len, chop_cells

    lines = [""]
    for word in line.split(" "):
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if cell_len(joined) <= width:
            lines[-1] = joined
        else:
            lines += chop_cells(word, width)
    return [one for one in lines if one]
