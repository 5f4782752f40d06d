"""Several profiles side by side: machines, or before and after."""

from collections.abc import Sequence
from statistics import geometric_mean
from typing import Any

from autotune.model.entry import Status
from autotune.report import html, rows
from autotune.report.html import ENTRY, KEY_CELLS, MOST_OPERATIONS, HtmlColumn, HtmlTable
from autotune.report.rows import Row, Subject


def comparison(subjects: Sequence[Subject]) -> str:
    entries = [html.display_row(row) for subject in subjects for row in rows.entries(subject)]
    machines = [rows.machine(subject) for subject in subjects]
    shown = [
        HtmlColumn("profile", "profile"),
        HtmlColumn("cpu", "CPU"),
        HtmlColumn("usable_cpus", "CPUs", str),
        HtmlColumn("blas", "BLAS"),
        HtmlColumn("blas_version", "version"),
        HtmlColumn("kernels", "kernels"),
        HtmlColumn("numpy", "NumPy"),
        HtmlColumn("tuned", "tuned", str),
        HtmlColumn("entries", "entries", str),
        HtmlColumn("resolution", "resolution", html.percent),
        HtmlColumn("created", "measured"),
    ]
    head = (
        f'<header><p class="kicker">autotune report</p><h1>{len(subjects)} profiles compared</h1></header>'
        + html.section("glance", "The profiles", "", HtmlTable("Machine and software of each", shown, machines).html())
    )
    operations = sorted(html.by_label(entries), key=lambda pair: pair[0])
    compared = "".join(_compare(label, group) for label, group in operations[:MOST_OPERATIONS])
    body = html.section(
        "operations",
        "Operation by operation",
        "Time over size with autotune; dashed: plain NumPy there.",
        f'<div class="grid">{compared}</div>',
    )
    return f"<main>\n{head}{_matrix(subjects, entries)}{body}\n</main>"


def _matrix(subjects: Sequence[Subject], entries: Sequence[Row]) -> str:
    cells: dict[tuple[str, str], list[float]] = {}
    for row in entries:
        cells.setdefault((row["label"], row["profile"]), []).append(row["speedup"])
    shown: list[dict[str, Any]] = [
        {"label": label, "profile": profile, "speedup": geometric_mean(gains), "sizes": len(gains)}
        for (label, profile), gains in cells.items()
    ]
    best = {cell["label"]: cell["speedup"] for cell in sorted(shown, key=lambda cell: cell["speedup"])}
    order = [subject.label for subject in subjects]
    shown.sort(key=lambda cell: (-best[cell["label"]], cell["label"], order.index(cell["profile"])))
    shown_columns = [*html.columns("label profile speedup"), HtmlColumn("sizes", "sizes", str)]
    if not shown:
        return "<p>None of the profiles has entries.</p>"
    return html.section(
        "gain",
        "What is gained where",
        "Speed-up over plain NumPy on the same machine, the geometric mean over its measured sizes.",
        html.figure(
            "matrix",
            "Speed-up by operation and profile",
            HtmlTable("Geometric mean over sizes", shown_columns, shown),
            html.best_of(shown),
            fixed=True,
            key=KEY_CELLS,
            most=MOST_OPERATIONS * len(subjects),
        ),
    )


def _compare(label: str, entries: Sequence[Row]) -> str:
    shown = [row for row in entries if row["default_seconds"]]
    shown_columns = [*html.columns("profile"), *ENTRY, *html.columns("size shape seconds")]
    table = HtmlTable(f"{label}: time over size, profile by profile", shown_columns, shown or entries)
    if not shown:
        return f"<div>{table.html()}</div>"
    return html.figure("times", f"{label}: {_finding(shown)}", table, html.screen_reader_text(shown))


def _finding(entries: Sequence[Row]) -> str:
    """Name the profile and operation of the largest gain."""
    best = html.fastest(entries)
    if best["status"] != Status.TUNED:
        return "nothing was proved faster in any profile"
    return f"{html.times(best['speedup'])} as fast at {best['sizes'] or 'best'} in profile {best['profile']}"
