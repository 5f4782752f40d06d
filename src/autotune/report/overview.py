"""The sections about a whole profile: speed-ups, distance to the machine's limits, uncertainty, machine and method."""

from collections.abc import Iterator, Sequence
from math import log
from statistics import geometric_mean, median

from autotune.model.allocation import LIMITED_BY
from autotune.model.entry import Status
from autotune.model.profile import Key, Provenance
from autotune.model.units import count_of, memory
from autotune.report import html
from autotune.report.html import ENTRY, KEY_PAIR, KEY_STATUS, HtmlTable
from autotune.report.rows import Row, Subject

MOST_SHARE = 2.0
"""Of a limit that is drawn: data that stay in a larger cache than was counted would squeeze all others together."""


def header(subject: Subject, entries: Sequence[Row]) -> str:
    key, made = subject.profile.key, subject.profile.provenance
    software = key.software
    blas = " ".join(part for part in (software.blas, software.blas_version) if part) or "unknown BLAS"
    cpus = count_of(key.usable_cpus, "usable CPU")
    blas += f" ({software.kernels})" if software.kernels else ""
    line = f"{cpus} &middot; {html.text(blas)} &middot; NumPy {html.text(software.numpy or 'unknown')}"
    tuned = [row for row in entries if row["status"] == Status.TUNED]
    gains = [row["speedup"] for row in tuned]
    kept = sum(row["status"] == Status.DEFAULT_KEPT for row in entries)
    heading = "; the heading is their geometric mean" * bool(gains)
    figures = [(f"{len(gains)}<small> of {len(entries)}</small>", f"entries are tuned{heading}")]
    if gains:
        figures.append((f"{max(gains):.2f}&times;", f"at most: {html.text(html.work(html.fastest(tuned)))}"))
    figures.append((str(kept), "keep NumPy&rsquo;s default: nothing was proved faster"))
    rest = len(entries) - len(gains) - kept
    if rest:
        figures.append((str(rest), "could not be verified or measured"))
    items = "".join(f"<div><dt>{what}</dt><dd>{number}</dd></div>" for number, what in figures)
    return (
        f'<header><p class="kicker">autotune report</p><h1>{_headline(gains, of=len(entries))}</h1>'
        f'<p class="lead">{html.text(made.cpu or "Unknown CPU")}<br>{line}</p><dl class="stats">{items}</dl></header>'
    )


def _headline(gains: Sequence[float], *, of: int) -> str:
    """Summarize the proved speed-ups in a few words."""
    if not of:
        return "Nothing was measured yet"
    if not gains:
        return "NumPy&rsquo;s own defaults stay: nothing was proved faster"
    return f"{geometric_mean(gains):.2f} times as fast where a choice was proved"


def gain(entries: Sequence[Row]) -> str:
    best = {row["label"]: row["speedup"] for row in sorted(entries, key=lambda row: row["speedup"])}
    ordered = sorted(entries, key=lambda row: (-best[row["label"]], row["label"], row["size"]))
    return html.section(
        "gain",
        "What is gained",
        "Each dot is one size, the band its 95&nbsp;% interval over fresh processes. Hollow dots at 1&times; keep "
        "NumPy&rsquo;s default. Where CPUs were missing, the dot is the speed-up expected over all states of the "
        "machine, without a band.",
        html.figure(
            "gain",
            html.finding(ordered),
            HtmlTable("Every entry, with its evidence", [*html.columns("label"), *ENTRY], ordered),
            html.screen_reader_text(ordered),
            key=KEY_STATUS,
        ),
    )


def limits(entries: Sequence[Row]) -> str:
    bounded = [row for row in entries if row["limit_seconds"] is not None and row["default_seconds"]]
    shown = []
    for _, group in html.by_label(bounded):
        row = max(group, key=lambda row: row["limit_seconds"])
        limit, default = row["limit_seconds"], row["default_seconds"]
        shares = {"default_share": limit / default, "share": limit / (row["seconds"] or default)}
        drawn = {"default_drawn": min(shares["default_share"], MOST_SHARE), "drawn": min(shares["share"], MOST_SHARE)}
        shown.append({**row, **shares, **drawn})
    if not shown:
        return html.section(
            "limits",
            "How near the machine&rsquo;s limits",
            "The profile holds no measurement of them; <code>autotune calibrate</code> with a budget of at least a "
            "minute takes one.",
        )
    fields = "label sizes bound status limit_seconds default_share share default_drawn drawn"
    left_out = any(row["dtype"] != "float64" and row["limit_seconds"] is None for row in entries)
    single = " float32 arithmetic has no share: the self-test measures float64&rsquo;s peak only." * left_out
    return html.section(
        "limits",
        "How near the machine&rsquo;s limits",
        "At each operation&rsquo;s largest size: the least time that its arithmetic, or moving its data once, takes at "
        "the rates of the self-test, divided by the time it took. What fits into the last cache need not be moved; "
        "above 100&nbsp;% more stays in caches than was counted, and the drawing ends at 200&nbsp;%. Functions such "
        f"as log and random numbers are held by their own arithmetic, which is not counted.{single}",
        html.figure(
            "limits",
            _nearer(shown),
            HtmlTable("Largest size of each operation", html.columns(fields), shown),
            "; ".join(f"{row['label']} {row['share']:.0%}" for row in shown[:12]),
            key=KEY_PAIR,
        ),
    )


def _nearer(shown: Sequence[Row]) -> str:
    """Name the tuned entry nearest to its hardware limit, in one sentence."""

    def step(row: Row) -> float:
        return float(min(row["share"], 1.0) - min(row["default_share"], 1.0))

    best = max(shown, key=step)
    if step(best) <= 0:
        return "Part of the machine's limit that is reached"
    return f"{best['label']} reaches {best['share']:.0%} of its limit instead of {best['default_share']:.0%}"


def noise(entries: Sequence[Row], subject: Subject) -> str:
    resolution = subject.profile.provenance.resolution
    shown = [
        {**row, "half_width": log(row["speedup_high"] / row["speedup_low"]) / 2, "resolution": resolution}
        for row in entries
        if row["speedup_low"] and row["speedup_high"] and row["default_seconds"]
    ]
    said = (
        f"Two identical configurations can be told apart from {resolution:.1%} on (the dashed line); no smaller gain "
        "is claimed."
        if resolution is not None
        else "How finely this machine can tell was not measured."
    )
    if not shown:
        return html.section("noise", "How sure", f"{said} No entry was put to a test.")
    fields = "label sizes status default_seconds half_width processes pairs resolution"
    return html.section(
        "noise",
        "How sure",
        f"{said} Each dot is half of the 95&nbsp;% interval of one test, over the time of one call.",
        html.figure(
            "noise",
            f"Half of the tests are sure to ±{html.percent(median(row['half_width'] for row in shown))} or better",
            HtmlTable("Every entry that was put to a test", html.columns(fields), shown),
            f"{len(shown)} tests, half-widths from {min(row['half_width'] for row in shown):.1%} to "
            f"{max(row['half_width'] for row in shown):.1%}",
        ),
    )


def facts(subject: Subject) -> str:
    """Return the values that are not None, as a list."""
    key, made = subject.profile.key, subject.profile.provenance
    pairs = [*_machine(key, made), *_method(key, made), ("Profile", subject.path)]
    items = "".join(f"<div><dt>{html.text(name)}</dt><dd>{html.text(said)}</dd></div>" for name, said in pairs if said)
    return html.section("machine", "Machine and method", "", f'<dl class="facts">{items}</dl>')


def _machine(key: Key, made: Provenance) -> Iterator[tuple[str, str]]:
    hardware, software = key.hardware, key.software
    cores = (
        _count(hardware.packages, "package"),
        _count(hardware.physical_cores, "core"),
        _count(hardware.smt, "hardware thread", "a core"),
        _count(hardware.numa_nodes, "NUMA node"),
    )
    limited = key.limit in LIMITED_BY and f"limited by {LIMITED_BY[key.limit]}"
    kernels = software.kernels and f"kernels {software.kernels}"
    yield "CPU", _words(made.cpu, hardware.architecture)
    yield "Cores", _words(*cores)
    yield "Caches", f"L2 {memory(hardware.l2_bytes)}, L3 {memory(hardware.l3_bytes)}"
    yield "Usable CPUs", _words(key.usable_cpus, limited)
    yield "BLAS", _words(software.blas, software.blas_version, kernels, software.threading)
    yield "NumPy, Python", _words(software.numpy, software.python)
    yield "System", _words(made.kernel, made.governor and f"governor {made.governor}")


def _method(key: Key, made: Provenance) -> Iterator[tuple[str, str]]:
    if made.memory_bandwidth:
        yield "Copies memory at", f"{made.memory_bandwidth / 1e9:.1f} GB/s, all CPUs together"
    if made.peak_flops:
        yield "Multiplies at", f"{made.peak_flops / 1e9:.0f} GFLOP/s in float64, all CPUs together"
    if made.capacity:
        yield "Work of all CPUs", f"{made.capacity:.2f} times one CPU’s, of {key.usable_cpus}"
    if made.resolution is not None:
        yield "Smallest difference told", f"{made.resolution:.1%}"
    if made.expected_wrong is not None:
        wrong = f"at most {made.expected_wrong:.2g} of the {made.rules_tested} that were put to the test"
        yield "Wrongly accepted, as expected", wrong
    yield (
        "Measured",
        _words(
            made.created,
            made.effort and f"effort {made.effort}",
            made.autotune and f"autotune {made.autotune}",
            f"{made.copies} copies at once" if made.copies > 1 else None,
            f"next to {made.neighbours} busy processes" if made.neighbours else None,
            "CPUs renumbered (lxcfs): load of others seen for all together" if made.renumbered_cpus else None,
        ),
    )


def _words(*parts: object) -> str:
    return ", ".join(str(part) for part in parts if part)


def _count(number: int | None, noun: str, rest: str = "") -> str | None:
    return None if number is None else f"{count_of(number, noun)} {rest}".strip()
