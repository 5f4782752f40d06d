"""The daemon's figures: for `status` as JSON values, and for node_exporter as a Prometheus text file.

The text is written by hand: importing prometheus_client takes 109 ms and brings an HTTP server, and the format is one
line a value (Prometheus, Exposition formats, text version 0.0.4).
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from math import exp, log
from typing import Any

from autotune.daemon.context import MAX_RECENT
from autotune.daemon.controller import Controller
from autotune.daemon.daemon_settings import Interpreter
from autotune.daemon.inventory import REFUSED, InventoryEntry
from autotune.daemon.procedures import JobEnd
from autotune.daemon.store_sync import is_pulled


def daemon_status(controller: Controller) -> dict[str, Any]:
    """Return what the daemon does, and why, as JSON values."""
    context, window, running = controller.context, controller.readiness.window, controller.running
    state, settings = context.state, context.settings
    is_today = state.cpu_time.day == context.moment.day
    job = None if running is None else running.job
    activity = running and {
        "what": job.subject if job else running.command.arguments[0],
        "why": job.reason if job else "It needs no idle machine.",
        "measuring": running.command.measuring,
        "seconds": context.moment.running - running.began,
    }
    store = {
        "url": settings.store,
        "pulled": state.pulled,
        "failures": state.pull_failures,
        "staged": sum(is_pulled(context.paths, path) for path in controller.untested_profiles()),
        "unpublished": len(state.unpublished),
    }
    return {
        "idle": window.is_open,
        "why": window.why,
        "waiting": controller.waiting,
        "running": activity,
        "paused_until": state.paused_until,
        "spent_cpu_seconds": state.cpu_time.seconds if is_today else 0.0,
        "daily_cpu_seconds": settings.daily_cpu_seconds,
        "interpreters": [_interpreter_status(each, controller) for each in settings.interpreters],
        "demand": len(state.demand),
        "orders": len(state.orders),
        "doubts": [f"{operation}: {why}" for operation, why in state.doubts.items()][:MAX_RECENT],
        "counts": state.counts,
        "recent": list(context.recent),
        "store": None if settings.store is None else store,
    }


def _interpreter_status(interpreter: Interpreter, controller: Controller) -> dict[str, Any]:
    inventory = controller.inventories.by_name.get(interpreter.name)
    return {
        "name": interpreter.name,
        "problem": controller.inventories.problems.get(interpreter.name),
        "stale": controller.context.state.stale.get(interpreter.name),
        "key": inventory and inventory.key,
        "profile": inventory and inventory.profile,
        "entries": _count_by_level(inventory.entries if inventory else ()),
    }


def _count_by_level(entries: Iterable[InventoryEntry]) -> dict[str, int]:
    return dict(sorted(Counter(entry.level for entry in entries if entry.status != REFUSED).items()))


def metrics_text(controller: Controller) -> str:
    """Return the text of the metrics file. Its time stamp tells a daemon that has died from one that waits."""
    state, counts = controller.context.state, controller.context.state.counts
    entries = [entry for inventory in controller.inventories.by_name.values() for entry in inventory.entries]
    levels = {f'{{level="{level}"}}': number for level, number in _count_by_level(entries).items()}
    ends = {f'{{outcome="{end}"}}': counts.get(end, 0.0) for end in (*JobEnd, "interrupted")}
    claimed = [log(entry.speedup) for entry in entries if entry.is_own and entry.status == "tuned" and entry.speedup]
    mean_claim = exp(sum(claimed) / len(claimed)) if claimed else None
    checked = counts.get("rechecked_entries", 0.0)
    rechecked = exp(counts["rechecked_log_speedup"] / checked) if checked else None
    oldest = min((time for times in state.checked.values() for time in times.values()), default=None)
    families: list[tuple[str, str, str, Mapping[str, float] | float | None]] = [
        ("entries", "gauge", "Profile entries that apply, by fit level.", levels),
        ("jobs_total", "counter", "Jobs by how they ended.", ends),
        ("written_timestamp_seconds", "gauge", "When the daemon wrote this file.", controller.context.moment.wall),
        ("cpu_seconds_total", "counter", "CPU time of measuring.", counts.get("cpu_seconds", 0.0)),
        ("pull_failures_total", "counter", "Pulls that failed.", counts.get("pull_failed", 0.0)),
        ("oldest_check_timestamp_seconds", "gauge", "When the entries checked longest ago were checked.", oldest),
        ("claimed_speedup", "gauge", "Mean speed-up that entries claim at full capacity.", mean_claim),
        ("rechecked_speedup", "gauge", "Mean speed-up in re-timings.", rechecked),
    ]
    return "".join(_family(*family) for family in families)


def _family(name: str, kind: str, meaning: str, values: Mapping[str, float] | float | None) -> str:
    """Return the lines of one metric: a value, or values by their labels; nothing if it is unknown."""
    if values is None:
        return ""
    samples = values if isinstance(values, Mapping) else {"": values}
    lines = (f"autotune_{name}{labels} {value:.10g}\n" for labels, value in samples.items())
    return f"# HELP autotune_{name} {meaning}\n# TYPE autotune_{name} {kind}\n{''.join(lines)}"
