"""What one profile comes to: its gains, how near the machine's limits it is, how sure all that is, and the machine."""

from collections.abc import Sequence
from math import exp, log

from autotune.model.tuning import Status
from autotune.report.pieces import (
    ENTRY,
    KEY_PAIR,
    KEY_STATUS,
    by_label,
    figure,
    percent,
    seconds,
    section,
    told,
)
from autotune.report.rows import Row
from autotune.report.subject import Subject
from autotune.report.table import Column, Table, text


def header(subject: Subject, entries: Sequence[Row]) -> str:
    key, made = subject.profile.key, subject.profile.provenance
    software = key.software
    blas = " ".join(part for part in (software.blas, software.blas_version) if part) or "unknown BLAS"
    cpus = f"{key.usable_cpus} usable CPU{'s' * (key.usable_cpus != 1)}"
    blas += f" ({software.kernels})" if software.kernels else ""
    line = f"{cpus} &middot; {text(blas)} &middot; NumPy {text(software.numpy or 'unknown')}"
    gains = [row["speedup"] for row in entries if row["status"] == Status.TUNED]
    kept = sum(row["status"] == Status.DEFAULT_KEPT for row in entries)
    figures = [(f"{len(gains)}<small> of {len(entries)}</small>", "entries run faster than plain NumPy")]
    if gains:
        mean = exp(sum(map(log, gains)) / len(gains))
        figures += [
            (f"{mean:.2f}&times;", "as fast where a choice was proved, in the geometric mean"),
            (f"{max(gains):.2f}&times;", "at most"),
        ]
    figures.append((str(kept), "keep NumPy&rsquo;s default: nothing was proved faster"))
    other = len(entries) - len(gains) - kept
    if other:
        figures.append((str(other), "could not be told or measured"))
    items = "".join(f"<div><dt>{what}</dt><dd>{number}</dd></div>" for number, what in figures)
    return (
        f'<header><p class="kicker">autotune report</p><h1>{text(made.cpu or "Unknown CPU")}</h1>'
        f'<p class="lead">{line}</p><dl class="stats">{items}</dl></header>'
    )


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
            "Speed-up over plain NumPy",
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
            "default_share": row["limit_seconds"] / row["default_seconds"],
            "share": row["limit_seconds"] / (row["seconds"] or row["default_seconds"]),
        }
        for row in largest
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
    ]
    return section(
        "limits",
        "How near the machine&rsquo;s limits",
        "At each operation&rsquo;s largest size: the least time that its arithmetic, or moving its data once, takes at "
        "the rates of the self-test, divided by the time it took. Above 100&nbsp;% the data stay in caches. "
        "Functions such as log and random numbers are held by their own arithmetic, which is not counted.",
        figure(
            "limits",
            "Part of the machine's limit that is reached",
            Table("Largest size of each operation", columns, shown),
            "; ".join(f"{row['label']} {row['share']:.0%}" for row in shown[:12]),
            key=KEY_PAIR,
        ),
    )


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
            "Half-width of each interval",
            Table("Every entry that was put to a test", columns, shown),
            f"{len(shown)} tests, half-widths from {min(row['half_width'] for row in shown):.1%} to "
            f"{max(row['half_width'] for row in shown):.1%}",
        ),
    )
