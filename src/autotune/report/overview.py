"""The sections about a whole profile: speed-ups, machine and method."""

from collections.abc import Iterator, Sequence
from statistics import geometric_mean

from autotune.model.allocation import LIMITED_BY
from autotune.model.entry import Status
from autotune.model.profile import Key, Provenance
from autotune.model.units import count_of, memory
from autotune.report import html
from autotune.report.html import ENTRY, KEY_STATUS, HtmlTable
from autotune.report.rows import Row, Subject


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
        figures.append((str(rest), "could not be told or measured"))
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
        "NumPy&rsquo;s default.",
        html.figure(
            "gain",
            html.finding(ordered),
            HtmlTable("Every entry, with its evidence", [*html.columns("label"), *ENTRY], ordered),
            html.screen_reader_text(ordered),
            key=KEY_STATUS,
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
