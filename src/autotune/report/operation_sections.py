"""Operation by operation: time over size, what was measured of every knob, and how the search went."""

from collections.abc import Iterable, Sequence
from itertools import groupby

from autotune.model.entry import Status
from autotune.model.units import count_of
from autotune.report import html, rows
from autotune.report.html import CONFIGURATION, ENTRY, KEY_CELLS, KEY_PAIR, MOST_OPERATIONS, HtmlTable
from autotune.report.rows import Row, Subject


def operations(subject: Subject, entries: Sequence[Row]) -> Iterable[str]:
    trials, points = (_by_name(made(subject)) for made in (rows.trials, rows.points))
    groups = [(label, list(group)) for label, group in html.by_label(entries)]
    said = (
        "The journal of this profile&rsquo;s last calibration is on this machine: each search is shown too."
        if subject.sessions
        else "No journal of its calibration is on this machine, so the search is not shown."
    )
    if len(groups) > MOST_OPERATIONS:
        said += f" The first {MOST_OPERATIONS} of {len(groups)} operations are drawn; the table above holds all."
    shown = groups[:MOST_OPERATIONS]
    links = "".join(f'<a href="#op-{place}">{html.text(label)}</a>' for place, (label, _) in enumerate(shown))
    yield html.section("operations", "Operation by operation", said, f'<nav aria-label="Operations">{links}</nav>')
    for place, (label, group) in enumerate(shown):
        name = (group[0]["operation"], group[0]["dtype"])
        yield _operation(place, label, group, trials.get(name, []), points.get(name, []))


def _operation(place: int, label: str, entries: list[Row], trials: Sequence[Row], points: Sequence[Row]) -> str:
    chosen = {(row["sizes"], row["choice"]) for row in entries if row["status"] == Status.TUNED}
    marked = [{**row, "chosen": int((row["sizes"], row["choice"]) in chosen)} for row in map(html.display_row, points)]
    figures = [_time(label, entries), *_heats(label, marked), _chunks(label, marked), _search(label, trials)]
    tuned = sum(row["status"] == Status.TUNED for row in entries)
    best = max(row["speedup"] for row in entries)
    said = (
        f"{tuned} of {len(entries)} sizes tuned, up to {best:.2f}&times;"
        if tuned
        else f"{count_of(len(entries), 'size')}, default throughout"
    )
    return (
        f'<section class="operation" id="op-{place}" aria-labelledby="op-{place}-h">'
        f'<h3 id="op-{place}-h">{html.text(label)} <span>{said}</span></h3>'
        f'<div class="grid">{"".join(figure for figure in figures if figure)}</div></section>'
    )


def _time(label: str, entries: Sequence[Row]) -> str:
    shown = sorted((row for row in entries if row["default_seconds"]), key=lambda row: (row["shape"], row["size"]))
    shown_columns = [*ENTRY, *html.columns("size shape seconds")]
    if not shown:
        return HtmlTable(f"{label}: entries", shown_columns, entries).html()
    return html.figure(
        "time",
        html.finding(shown),
        HtmlTable(f"{label}: time over size", shown_columns, shown),
        html.screen_reader_text(shown),
        key=KEY_PAIR,
    )


def _heats(label: str, points: Sequence[Row]) -> Iterable[str]:
    both = [row for row in points if row["blas_threads"] is not None and row["workers"] is not None]
    shown_columns = [CONFIGURATION, *html.columns("blas_threads workers speedup processes chosen")]
    for sizes, group in groupby(sorted(both, key=lambda row: (row["size"], row["sizes"])), lambda row: row["sizes"]):
        # of several chunks or methods the best fills its cell
        cells: dict[tuple[int, int], Row] = {}
        for row in sorted(group, key=lambda row: row["speedup"]):
            cells[row["blas_threads"], row["workers"]] = row
        name = f"{label} {sizes}: BLAS threads by workers"
        title = f"{name}. {html.best_of(cells.values())}"
        yield html.figure(
            "heat",
            title,
            HtmlTable(f"{name}, as the search found it", shown_columns, list(cells.values())),
            "As the search found it",
            fixed=True,
            key=KEY_CELLS,
        )


def _chunks(label: str, points: Sequence[Row]) -> str:
    shown = sorted(
        (row for row in points if row["chunk"] is not None),
        key=lambda row: (row["size"], row["sizes"], row["chunk"], row["workers"] or 0),
    )
    if not shown:
        return ""
    shown_columns = [CONFIGURATION, *html.columns("sizes chunk workers speedup processes chosen at")]
    return html.figure(
        "chunk",
        f"{label}: speed-up over chunk size. {html.best_of(shown)}",
        HtmlTable(f"{label}: every point that was measured", shown_columns, shown),
        "Every point that was measured",
    )


def _search(label: str, trials: Sequence[Row]) -> str:
    if not trials:
        return ""
    shown_columns = [CONFIGURATION, *html.columns("sizes process elapsed speedup best failure at")]
    shown = sorted(trials, key=lambda row: (row["size"], row["sizes"], row["elapsed"]))
    return html.figure(
        "search",
        f"{label}: {len(shown)} trials in {max(row['elapsed'] for row in shown):.0f} s; the line is what led",
        HtmlTable(f"{label}: trials in order", shown_columns, shown),
        f"The best leader ran {html.times(max(row['best'] for row in shown))} as fast",
    )


def _by_name(rows: Iterable[Row]) -> dict[tuple[str, str], list[Row]]:
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["operation"], row["dtype"]), []).append(row)
    return groups
