"""Entries on a terminal: each a line of columns, and below it, over the whole width, its reason."""

from collections.abc import Sequence
from dataclasses import dataclass
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
        from rich.padding import Padding
        from rich.text import Text

        if self._console.width < NARROW:
            self._console.print(Text(cells[0], style="bold", overflow="fold"))
            said = ", ".join(cell for cell in cells[1:] if cell.strip(" -"))
            for text, look in ((said, style), (reason, "")):
                if text:
                    self._console.print(Padding(Text(text, style=look, overflow="fold"), (0, 0, 0, 2)))
            return
        if not self._headed:
            self._line([column.title for column in self._columns], "bold")
            self._headed = True
        self._line(cells, style)
        if reason:
            self._console.print(Padding(Text(reason, style="dim", overflow="fold"), (0, 0, 0, 4)))

    def _line(self, cells: Sequence[str], style: str) -> None:
        from rich.table import Table

        table = Table.grid(padding=(0, 1), expand=True, pad_edge=False)
        for column in self._columns:
            if column.width is None:
                table.add_column(ratio=1, overflow="fold")
            else:
                table.add_column(width=column.width, justify="right", overflow="fold")
        table.add_row(*cells, style=style)
        self._console.print(table)
