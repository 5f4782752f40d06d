"""The daemon's figures as a Prometheus text file, for node_exporter's textfile collector.

Written by hand: importing prometheus_client takes 109 ms and brings an HTTP server, and the format is one line
a value (Prometheus, Exposition formats, text version 0.0.4). It stands still while nothing happens, so that nothing
has to be written then.
"""

from collections.abc import Iterator, Mapping
from typing import Any

_ENDS = (
    *("adopted", "fine", "doubted", "quarantined", "left-out", "host-busy", "failed"),
    "interrupted",
)


def text(status: Mapping[str, Any], figures: Mapping[str, Any]) -> str:
    """The file's text."""
    return "".join(f"{line}\n" for line in _lines(status, figures))


def _lines(status: Mapping[str, Any], figures: Mapping[str, Any]) -> Iterator[str]:
    counts = status["counts"]
    yield from _family("entries", "gauge", "Entries that apply, by how well they fit.")
    for level, number in figures["levels"].items():
        yield _value("entries", number, level=level)
    yield from _family("jobs_total", "counter", "Jobs by how they ended.")
    for end in _ENDS:
        yield _value("jobs_total", counts.get(end, 0.0), outcome=end)
    single = (
        ("idle", "gauge", "Is the machine idle enough to measure on?", float(status["idle"])),
        ("measuring", "gauge", "Does a trial run?", float(bool((status["running"] or {}).get("measuring")))),
        ("cpu_seconds_total", "counter", "CPU time used for measuring.", counts.get("cpu_seconds", 0.0)),
        ("retimings_total", "counter", "Times that entries were timed again.", counts.get("retimings", 0.0)),
        ("changes_total", "counter", "Changes of software or limits noticed.", counts.get("changes", 0.0)),
        ("pulls_total", "counter", "Visits to the store that worked.", counts.get("pull_done", 0.0)),
        (
            "pull_failures_total",
            "counter",
            "Visits to the store that failed.",
            counts.get("pull_failed", 0.0),
        ),
        (
            *(
                "oldest_check_timestamp_seconds",
                "gauge",
                "When the entries checked longest ago were checked.",
            ),
            figures["oldest_check"],
        ),
        ("stale_interpreters", "gauge", "Interpreters whose entries are stale.", figures["stale"]),
        ("demand", "gauge", "Operations that programs asked for in vain.", status["demand"]),
        (
            *("expected_ratio", "gauge", "Mean time over the default's that entries claim."),
            figures["expected_ratio"],
        ),
        (
            *("rechecked_ratio", "gauge", "Mean time over the default's that re-timings found."),
            figures["rechecked_ratio"],
        ),
    )
    for name, kind, about, value in single:
        if value is not None:
            yield from _family(name, kind, about)
            yield _value(name, value)


def _family(name: str, kind: str, about: str) -> tuple[str, str]:
    return f"# HELP autotune_{name} {about}", f"# TYPE autotune_{name} {kind}"


def _value(name: str, value: float, **labels: str) -> str:
    marks = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
    return f"autotune_{name}{{{marks}}} {value:g}" if marks else f"autotune_{name} {value:.10g}"


def _escaped(label: str) -> str:
    return label.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
