"""The parts that every section of a page is made of: sections, figures and tables. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any

from autotune.model import units
from autotune.model.configuration import DEFAULT
from autotune.model.entry import Evidence, Status
from autotune.model.record import Record
from autotune.report import rows
from autotune.report.rows import Row

MOST_OPERATIONS = 120
"""Operations with figures of their own; the catalogue has 35, in two dtypes. The tables hold all."""
MOST_DRAWN = 400
"""Rows of a table that its figure shows, those with the largest gain first: more would not be legible."""


class HtmlColumn(Record):
    """A column: the field of a row that it shows, and how."""

    field: str
    title: str = ""
    """Empty for a column that only the figure needs."""
    shown: Callable[[Any], str] | None = None
    """Return the function that formats a column's numbers for people; None for text."""


class HtmlTable(Record):
    caption: str
    columns: Sequence[HtmlColumn]
    rows: Sequence[Mapping[str, Any]]

    def html(self) -> str:
        """Return the table as HTML; the exact number of each cell is in its `data-v`."""
        heads = "".join(_head(column) for column in self.columns)
        rows = "\n".join(f"<tr>{self._cells(row)}</tr>" for row in self.rows)
        return (
            f'<div class="scroll" tabindex="0" role="region" aria-label="{text(self.caption)}"><table>'
            f"<caption>{text(self.caption)}</caption>\n"
            f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>"
        )

    def _cells(self, row: Mapping[str, Any]) -> str:
        first, *rest = self.columns
        head = f'<th scope="row">{text(row[first.field])}</th>'
        return head + "".join(_cell(column, row.get(column.field)) for column in rest)


def text(value: object) -> str:
    """Escape text for use between tags and in quotes; control characters, which HTML cannot write, become `?`."""
    kept = "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in str(value))
    return escape(kept, quote=True)


def _head(column: HtmlColumn) -> str:
    number = "" if column.shown is None else ' class="n"'
    hidden = "" if column.title else " hidden"
    return f'<th scope="col" data-field="{column.field}"{number}{hidden}>{text(column.title)}</th>'


def _cell(column: HtmlColumn, value: Any) -> str:
    if not column.title:
        return f'<td hidden data-v="{"" if value is None else text(value)}"></td>'
    if column.shown is None:
        return f"<td>{'' if value is None else text(value)}</td>"
    if value is None:
        return '<td class="n"></td>'
    return f'<td class="n" data-v="{value!r}">{text(column.shown(value))}</td>'


def section(name: str, title: str, lead: str, *parts: str) -> str:
    said = f'<p class="say">{lead}</p>' if lead else ""
    head = f'<h2 id="{name}-h">{title}</h2>{said}'
    return f'<section id="{name}" aria-labelledby="{name}-h">{head}{"".join(parts)}</section>'


def figure(
    kind: str, title: str, table: HtmlTable, summary: str, *, key: str = "", fixed: bool = False, most: int = MOST_DRAWN
) -> str:
    """Return a figure, what a screen reader says of it, and its table.

    `fixed`: as wide as its cells ask, not as its column.
    """
    count = len(table.rows)
    wide = ' class="fixed"' if fixed else ""
    note = f". The first {most} of {count} rows are drawn." if count > most else ""
    return (
        f'<figure data-kind="{kind}" data-most="{most}"{wide}><figcaption>{text(title)}{note} {key}</figcaption>'
        f'<div class="plot" role="img" aria-label="{text(f"{title}. {summary}"[:600])}"></div>'
        f"<details><summary>Table of {units.count_of(count, 'row')}</summary>{table.html()}</details></figure>"
    )


def display_row(row: Row) -> Row:
    """Return a row with what figures and tables say of it: speeds, not times; a kept default runs at 1.

    Where the speed-up expected over the states of the machine differs from that at full capacity, it goes first.
    """
    status = row.get("status")
    speedup = row["speedup"] if status in {None, Status.TUNED} else 1.0
    claimed = speedup is not None and status == Status.TUNED
    states = Evidence(
        speedup=speedup,
        expected_speedup=row.get("expected_speedup"),
        full_capacity_share=row.get("full_capacity_share"),
    )
    depends = claimed and states.depends_on_capacity
    return {
        **row,
        "label": row["operation"] if row["dtype"] == "float64" else f"{row['operation']} {row['dtype']}",
        "speedup": (states.leading_speedup if claimed else speedup) or 1.0,
        "low": row.get("speedup_low") if claimed and not depends else None,
        "high": row.get("speedup_high") if claimed and not depends else None,
        "choice": row["choice"] if status in {None, Status.TUNED} else rows.brief(DEFAULT),
        "full_speedup": speedup if depends else None,
    }


def by_label(entries: Iterable[Row]) -> Iterable[tuple[str, Sequence[Row]]]:
    """Yield the entries of each operation and dtype, small sizes first, wherever they stand in the profile."""
    groups: dict[str, list[Row]] = {}
    for row in entries:
        groups.setdefault(str(row["label"]), []).append(row)
    for label, group in groups.items():
        yield label, sorted(group, key=lambda row: (row["size"], row["sizes"]))


def screen_reader_text(entries: Sequence[Row]) -> str:
    """Describe entries for a screen reader: the largest gains."""
    tuned = sorted((row for row in entries if row["status"] == Status.TUNED), key=lambda row: -row["speedup"])
    said = [f"{row['label']} {row['sizes']} {row['speedup']:.2f} times as fast" for row in tuned[:6]]
    return f"{len(tuned)} of {len(entries)} entries tuned. {'; '.join(said)}"


def fastest(tuned: Iterable[Row]) -> Row:
    return max(tuned, key=lambda row: row["speedup"])


def work(row: Row) -> str:
    """Return an entry's work in a few letters: `svd at n=1000`."""
    return f"{row['label']} at {row['sizes']}" if row["sizes"] else str(row["label"])


def finding(entries: Sequence[Row]) -> str:
    """Summarize entries in one sentence: the largest gain, its interval and its choice."""
    tuned = [row for row in entries if row["status"] == Status.TUNED]
    if not tuned:
        return "NumPy's default stays: nothing was proved faster"
    best = fastest(tuned)
    sure = f" ({best['low']:.2f} to {best['high']:.2f})" if best["low"] and best["high"] else ""
    return f"{work(best)} runs {times(best['speedup'])} as fast{sure} with {best['choice']}"


def best_of(points: Iterable[Row]) -> str:
    best = max(points, key=lambda row: row["speedup"])
    return f"Best: {best.get('choice') or best['label']} with a speed-up of {best['speedup']:.2f}"


def times(value: float) -> str:
    return f"{value:.2f}×"


def percent(value: float) -> str:
    return f"{value:.1%}" if value < 0.1 else f"{value:.0%}"


def seconds(value: float) -> str:
    return units.seconds(value).replace("us", "µs")


_COLUMNS = {
    column.field: column
    for column in (
        HtmlColumn("label", "operation"),
        HtmlColumn("profile", "profile"),
        HtmlColumn("sizes", "sizes"),
        HtmlColumn("choice", "choice"),
        HtmlColumn("status", "entry"),
        HtmlColumn("default_seconds", "plain NumPy", seconds),
        HtmlColumn("tuned_seconds", "tuned", seconds),
        HtmlColumn("speedup", "speed-up", times),
        HtmlColumn("low", "from", times),
        HtmlColumn("high", "to", times),
        HtmlColumn("full_speedup", "at full capacity", times),
        HtmlColumn("full_capacity_share", "time at full capacity", percent),
        HtmlColumn("processes", "processes", str),
        HtmlColumn("pairs", "pairs", str),
        HtmlColumn("reason", "reason"),
        HtmlColumn("bound", "held by"),
        HtmlColumn("limit_seconds", "least time", seconds),
        HtmlColumn("default_share", "plain NumPy reaches", percent),
        HtmlColumn("share", "with autotune", percent),
        HtmlColumn("half_width", "half the interval", percent),
        HtmlColumn("blas_threads", "BLAS threads", str),
        HtmlColumn("workers", "workers", str),
        HtmlColumn("chunk", "chunk", rows.amount),
        HtmlColumn("process", "process", str),
        HtmlColumn("elapsed", "after", "{:.1f} s".format),
        HtmlColumn("best", "leader", times),
        HtmlColumn("failure", "failure"),
        # of figures only
        HtmlColumn("at"),
        HtmlColumn("shape"),
        *(
            HtmlColumn(field, "", str)
            for field in ("size", "seconds", "chosen", "default_drawn", "drawn", "resolution")
        ),
    )
}


def columns(fields: str) -> list[HtmlColumn]:
    """Return the columns of these fields, which are separated by spaces."""
    return [_COLUMNS[field] for field in fields.split()]


ENTRY = columns(
    "sizes choice status default_seconds tuned_seconds speedup low high full_speedup full_capacity_share processes "
    "pairs reason"
)
CONFIGURATION = HtmlColumn("choice", "configuration")

KEY_STATUS = (
    '<span class="key"><i class="dot tuned"></i>tuned <i class="dot"></i>default kept '
    '<i class="dot noisy"></i>too noisy, or not measured</span>'
)
KEY_PAIR = '<span class="key"><i class="dot"></i>plain NumPy <i class="dot tuned"></i>with autotune</span>'
KEY_CELLS = (
    '<span class="key"><i class="cell c0"></i>half as fast <i class="cell c3"></i>the same '
    '<i class="cell c7"></i>2.5 times as fast</span>'
)
