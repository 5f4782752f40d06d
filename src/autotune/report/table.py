"""A table of a page. Its figure is drawn from the very cells, so the two cannot disagree."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any


@dataclass(frozen=True, slots=True)
class Column:
    """A column: the field of a row that it shows, and how."""

    field: str
    title: str = ""
    """Empty for a column that only the figure needs."""
    shown: Callable[[Any], str] | None = None
    """How a number is written for people; None for text, which stands as it is."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under columns."""

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Any]]

    def html(self) -> str:
        """The table as HTML; numbers stand beside their words, exact, in `data-v`."""
        heads = "".join(_head(column) for column in self.columns)
        rows = "\n".join(f"<tr>{self._cells(row)}</tr>" for row in self.rows)
        return (
            f'<div class="scroll" tabindex="0" role="region" aria-label="{text(self.caption)}"><table>'
            f"<caption>{text(self.caption)}</caption>\n"
            f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>"
        )

    def _cells(self, row: Mapping[str, Any]) -> str:
        first, *others = self.columns
        head = f'<th scope="row">{text(row[first.field])}</th>'
        return head + "".join(_cell(column, row.get(column.field)) for column in others)


def text(value: object) -> str:
    """Any text, safe between tags and within quotes; control characters, which HTML has no way to write, as `?`."""
    kept = "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in str(value))
    return escape(kept, quote=True)


def _head(column: Column) -> str:
    number = "" if column.shown is None else ' class="n"'
    hidden = "" if column.title else " hidden"
    return f'<th scope="col" data-field="{column.field}"{number}{hidden}>{text(column.title)}</th>'


def _cell(column: Column, value: Any) -> str:
    if not column.title:
        return f'<td hidden data-v="{"" if value is None else text(value)}"></td>'
    if column.shown is None:
        return f"<td>{'' if value is None else text(value)}</td>"
    if value is None:
        return '<td class="n"></td>'
    return f'<td class="n" data-v="{value!r}">{text(column.shown(value))}</td>'
