"""What one profile comes to: its gains, how near the machine's limits it is, how sure all that is, and the machine."""

from collections.abc import Sequence
from math import exp, log
from statistics import median

from autotune.model.entry import Status
from autotune.report.pieces import (
    ENTRY,
    KEY_PAIR,
    KEY_STATUS,
    by_label,
    fastest,
    figure,
    finding,
    percent,
    seconds,
    section,
    told,
    work,
)
from autotune.report.rows import Row
from autotune.report.subject import Subject
from autotune.report.table import Column, Table, text

MOST_SHARE = 2.0
"""Of a limit that is drawn: data that stay in a larger cache than was counted would squeeze all others together."""


def header(subject: Subject, entries: Sequence[Row]) -> str:
    key, made = subject.profile.key, subject.profile.provenance
    software = key.software
    blas = " ".join(part for part in (software.blas, software.blas_version) if part) or "unknown BLAS"
    cpus = f"{key.usable_cpus} usable CPU{'s' * (key.usable_cpus != 1)}"
    blas += f" ({software.kernels})" if software.kernels else ""
    line = f"{cpus} &middot; {text(blas)} &middot; NumPy {text(software.numpy or 'unknown')}"
    tuned = [row for row in entries if row["status"] == Status.TUNED]
    gains = [row["speedup"] for row in tuned]
    kept = sum(row["status"] == Status.DEFAULT_KEPT for row in entries)
    figures = [(f"{len(gains)}<small> of {len(entries)}</small>", "entries run faster than plain NumPy")]
    if gains:
        mean = exp(sum(map(log, gains)) / len(gains))
        figures += [
            (f"{mean:.2f}&times;", "as fast where a choice was proved, in the geometric mean"),
            (f"{max(gains):.2f}&times;", f"at most: {text(work(fastest(tuned)))}"),
        ]
    figures.append((str(kept), "keep NumPy&rsquo;s default: nothing was proved faster"))
    other = len(entries) - len(gains) - kept
    if other:
        figures.append((str(other), "could not be told or measured"))
    items = "".join(f"<div><dt>{what}</dt><dd>{number}</dd></div>" for number, what in figures)
    return (
        f'<header><p class="kicker">autotune report</p><h1>{_headline(tuned, of=len(entries))}</h1>'
        f'<p class="lead">{text(made.cpu or "Unknown CPU")}<br>{line}</p><dl class="stats">{items}</dl></header>'
    )


def _headline(tuned: Sequence[Row], *, of: int) -> str:
    """What was gained, in a few words."""
    if not of:
        return "Nothing was measured yet"
    if not tuned:
        return "NumPy&rsquo;s own defaults stay: nothing was proved faster"
    return f"NumPy runs up to {fastest(tuned)['speedup']:.1f} times as fast here"


def gain(entries: Sequence[Row]) -> str:
    best = {row["label"]: 0.0 for row in entries}
    for row in entries:
        best[row["label"]] = max(best[row["label"]], row["speedup"])
    ordered = sorted(entries, key=lambda row: (-best[row["label"]], row["label"], row["size"]))
    columns = [
        Column("label", "operation"),
        *ENTRY,
    ]
    summary = told(ordered)
    return section(
        "gain",
        "What is gained",
        "Each dot is one size, the band its 95&nbsp;% interval over fresh processes. Hollow dots at 1&times; keep "
        "NumPy&rsquo;s default.",
        figure(
            "gain",
            finding(ordered),
            Table("Every entry, with its evidence", columns, ordered),
            summary,
            key=KEY_STATUS,
        ),
    )


def limits(entries: Sequence[Row]) -> str:
    known = [row for row in entries if row["limit_seconds"] is not None and row["default_seconds"]]
    largest = [max(group, key=lambda row: row["limit_seconds"]) for _, group in by_label(known)]
    shown = [
        {
            **row,
            "default_share": default,
            "share": share,
            "default_drawn": min(default, MOST_SHARE),
            "drawn": min(share, MOST_SHARE),
        }
        for row in largest
        for default, share in [_shares(row)]
    ]
    if not shown:
        return section(
            "limits",
            "How near the machine&rsquo;s limits",
            "The profile holds no measurement of them; <code>autotune calibrate</code> with a budget of at least a "
            "minute takes one.",
        )
    columns = [
        Column("label", "operation"),
        Column("sizes", "sizes"),
        Column("bound", "held by"),
        Column("status", "entry"),
        Column("limit_seconds", "least time", seconds),
        Column("default_share", "plain NumPy reaches", percent),
        Column("share", "with autotune", percent),
        Column("default_drawn", "", str),
        Column("drawn", "", str),
    ]
    left_out = any(row["dtype"] != "float64" and row["limit_seconds"] is None for row in entries)
    single = " float32 arithmetic has no share: the self-test measures float64&rsquo;s peak only." * left_out
    return section(
        "limits",
        "How near the machine&rsquo;s limits",
        "At each operation&rsquo;s largest size: the least time that its arithmetic, or moving its data once, takes at "
        "the rates of the self-test, divided by the time it took. What fits into the last cache need not be moved; "
        "above 100&nbsp;% more stays in caches than was counted, and the drawing ends at 200&nbsp;%. Functions such "
        f"as log and random numbers are held by their own arithmetic, which is not counted.{single}",
        figure(
            "limits",
            _nearer(shown),
            Table("Largest size of each operation", columns, shown),
            "; ".join(f"{row['label']} {row['share']:.0%}" for row in shown[:12]),
            key=KEY_PAIR,
        ),
    )


def _nearer(shown: Sequence[Row]) -> str:
    """What came nearest to its limit by being tuned, in one sentence."""

    def step(row: Row) -> float:
        return float(min(row["share"], 1.0) - min(row["default_share"], 1.0))

    best = max(shown, key=step)
    if step(best) <= 0:
        return "Part of the machine's limit that is reached"
    return f"{best['label']} reaches {best['share']:.0%} of its limit instead of {best['default_share']:.0%}"


def _shares(row: Row) -> tuple[float, float]:
    """The part of its limit that an entry reaches: plain NumPy, and what is used."""
    default, used = row["default_seconds"], row["seconds"]
    return row["limit_seconds"] / default, row["limit_seconds"] / (used or default)


def noise(entries: Sequence[Row], subject: Subject) -> str:
    resolution = subject.profile.provenance.resolution
    shown = [
        {**row, "half_width": log(row["ratio_high"] / row["ratio_low"]) / 2, "resolution": resolution}
        for row in entries
        if row["ratio_low"] and row["ratio_high"] and row["default_seconds"]
    ]
    said = (
        f"Two identical configurations can be told apart from {resolution:.1%} on (the dashed line); no smaller gain "
        "is claimed."
        if resolution is not None
        else "How finely this machine can tell was not measured."
    )
    if not shown:
        return section("noise", "How sure", f"{said} No entry was put to a test.")
    columns = [
        Column("label", "operation"),
        Column("sizes", "sizes"),
        Column("status", "entry"),
        Column("default_seconds", "plain NumPy", seconds),
        Column("half_width", "half the interval", percent),
        Column("processes", "processes", str),
        Column("pairs", "pairs", str),
        Column("resolution", "", str),
    ]
    return section(
        "noise",
        "How sure",
        f"{said} Each dot is half of the 95&nbsp;% interval of one test, over the time of one call.",
        figure(
            "noise",
            f"Half of the tests are sure to ±{percent(median(row['half_width'] for row in shown))} or better",
            Table("Every entry that was put to a test", columns, shown),
            f"{len(shown)} tests, half-widths from {min(row['half_width'] for row in shown):.1%} to "
            f"{max(row['half_width'] for row in shown):.1%}",
        ),
    )
