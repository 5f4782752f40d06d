"""The daemon's figures: for `status` as JSON values, and for node_exporter as a Prometheus text file.

The text is written by hand: importing prometheus_client takes 109 ms and brings an HTTP server, and the format is one
line a value (Prometheus, Exposition formats, text version 0.0.4).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from math import exp, log
from typing import Any

from autotune.daemon.context import MAX_RECENT, DaemonContext
from autotune.daemon.daemon_settings import Interpreter
from autotune.daemon.inventory import REFUSED, Inventories, InventoryEntry
from autotune.daemon.procedures import JobEnd
from autotune.daemon.readiness import IdleWindow


def daemon_status(
    context: DaemonContext,
    inventories: Inventories,
    *,
    window: IdleWindow,
    running: dict[str, Any] | None,
    waiting: str,
    staged: int,
) -> dict[str, Any]:
    """Return what the daemon does, and why. `staged` profiles were pulled and wait for their canary."""
    state, settings = context.state, context.settings
    is_today = state.cpu_time.day == context.moment.day
    store = {
        "url": settings.store,
        "pulled": state.pulled,
        "failures": state.pull_failures,
        "staged": staged,
        "unpublished": len(state.unpublished),
    }
    return {
        "idle": window.is_open,
        "why": window.why,
        "waiting": waiting,
        "running": running,
        "paused_until": state.paused_until,
        "spent_cpu_seconds": state.cpu_time.seconds if is_today else 0.0,
        "daily_cpu_seconds": settings.daily_cpu_seconds,
        "interpreters": [_interpreter_status(each, context, inventories) for each in settings.interpreters],
        "demand": len(state.demand),
        "orders": len(state.orders),
        "doubts": [f"{operation}: {why}" for operation, why in state.doubts.items()][:MAX_RECENT],
        "counts": state.counts,
        "recent": list(context.recent),
        "store": None if settings.store is None else store,
    }


def _interpreter_status(interpreter: Interpreter, context: DaemonContext, inventories: Inventories) -> dict[str, Any]:
    inventory = inventories.by_name.get(interpreter.name)
    return {
        "name": interpreter.name,
        "problem": inventories.problems.get(interpreter.name),
        "stale": context.state.stale.get(interpreter.name),
        "key": inventory and inventory.key,
        "profile": inventory and inventory.profile,
        "entries": _count_by_level(inventory.entries if inventory else ()),
    }


def _count_by_level(entries: Iterable[InventoryEntry]) -> dict[str, int]:
    """Count the entries that apply, by fit level."""
    return dict(sorted(Counter(entry.level for entry in entries if entry.status != REFUSED).items()))


def metrics_text(context: DaemonContext, inventories: Inventories, status: Mapping[str, Any]) -> str:
    """Return the text of the metrics file. Its time stamp tells a daemon that has died from one that waits."""
    return "".join(f"{line}\n" for line in _lines(context, inventories, status))


def _lines(context: DaemonContext, inventories: Inventories, status: Mapping[str, Any]) -> Iterator[str]:
    counts, state = context.state.counts, context.state
    entries = [entry for inventory in inventories.by_name.values() for entry in inventory.entries]
    yield from _family("entries", "gauge", "Profile entries that apply, by fit level.")
    for level, number in _count_by_level(entries).items():
        yield _sample("entries", number, level=level)
    yield from _family("jobs_total", "counter", "Jobs by how they ended.")
    for end in (*JobEnd, "interrupted"):
        yield _sample("jobs_total", counts.get(end, 0.0), outcome=end)
    claimed = [log(entry.speedup) for entry in entries if entry.is_own and entry.status == "tuned" and entry.speedup]
    checked = counts.get("rechecked_entries", 0.0)
    rechecked = exp(counts["rechecked_log_speedup"] / checked) if checked else None
    oldest = min((time for times in state.checked.values() for time in times.values()), default=None)
    is_measuring = bool(status["running"] and status["running"]["measuring"])
    for name, kind, meaning, value in (
        ("written_timestamp_seconds", "gauge", "When the daemon wrote this file.", context.moment.wall),
        ("idle", "gauge", "Whether the machine is idle enough to measure.", float(status["idle"])),
        ("measuring", "gauge", "Whether a trial runs.", float(is_measuring)),
        ("cpu_seconds_total", "counter", "CPU time of measuring.", counts.get("cpu_seconds", 0.0)),
        ("retimings_total", "counter", "Times that entries were timed again.", counts.get("retimings", 0.0)),
        ("changes_total", "counter", "Changes of software or limits.", counts.get("changes", 0.0)),
        ("pulls_total", "counter", "Pulls that succeeded.", counts.get("pull_done", 0.0)),
        ("pull_failures_total", "counter", "Pulls that failed.", counts.get("pull_failed", 0.0)),
        (
            "oldest_check_timestamp_seconds",
            "gauge",
            "When the entries checked longest ago were checked.",
            oldest,
        ),
        ("stale_interpreters", "gauge", "Interpreters whose entries are stale.", len(state.stale)),
        ("demand", "gauge", "Operations that programs called without an entry.", len(state.demand)),
        ("expected_speedup", "gauge", "Mean speed-up that entries claim.", _mean(claimed)),
        ("rechecked_speedup", "gauge", "Mean speed-up in re-timings.", rechecked),
    ):
        if value is not None:
            yield from _family(name, kind, meaning)
            yield _sample(name, value)


def _mean(logs: list[float]) -> float | None:
    """Return the geometric mean of values given by their logarithms."""
    return exp(sum(logs) / len(logs)) if logs else None


def _family(name: str, kind: str, meaning: str) -> tuple[str, str]:
    return f"# HELP autotune_{name} {meaning}", f"# TYPE autotune_{name} {kind}"


def _sample(name: str, value: float, **labels: str) -> str:
    pairs = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
    return f"autotune_{name}{{{pairs}}} {value:g}" if pairs else f"autotune_{name} {value:.10g}"


def _escaped(label: str) -> str:
    return label.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
