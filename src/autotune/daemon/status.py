"""What the daemon tells people, and what it tells the metrics."""

from collections import Counter
from collections.abc import Iterable
from math import exp, log
from typing import Any

from autotune.daemon.book import MOST_RECENT, Book
from autotune.daemon.daemon_settings import Interpreter
from autotune.daemon.idle import Window
from autotune.daemon.interpreters import Interpreters
from autotune.daemon.inventory import REFUSED, InventoryEntry
from autotune.daemon.runner import Running


def status(
    book: Book,
    interpreters: Interpreters,
    *,
    window: Window,
    running: Running | None,
    waiting: str,
    staged: int,
) -> dict[str, Any]:
    """What the daemon does, and why. `staged` profiles were pulled and are not in force yet."""
    memory, settings = book.memory, book.settings
    spent = memory.spent
    return {
        "idle": window.open,
        "why": window.why,
        "waiting": waiting,
        "running": None if running is None else _doing(running, book.moment.running),
        "paused_until": memory.paused_until,
        "spent_cpu_seconds": spent.cpu_seconds if spent.day == book.moment.day else 0.0,
        "daily_cpu_seconds": settings.daily_cpu_seconds,
        "interpreters": [_interpreter(one, book, interpreters) for one in settings.interpreters],
        "demand": len(memory.demand),
        "orders": len(memory.wishes),
        "doubts": [row[3] for row in memory.doubts.values()][:MOST_RECENT],
        "counts": memory.counts,
        "recent": list(book.recent),
        "store": None
        if settings.store is None
        else {
            "url": settings.store,
            "pulled": memory.pulled,
            "failures": memory.pull_failures,
            "staged": staged,
            "unpublished": len(memory.unpublished),
        },
    }


def figures(book: Book, interpreters: Interpreters) -> dict[str, Any]:
    """What the metrics show besides the totals."""
    entries = [one for known in interpreters.surveys.values() for one in known.entries]
    own = [one.ratio for one in entries if one.own and one.status == "tuned" and one.ratio]
    counts = book.memory.counts
    checked = counts.get("rechecked_entries", 0.0)
    return {
        "levels": _by_level(entries),
        "oldest_check": min(book.memory.checked.values(), default=None),
        "expected_ratio": exp(sum(map(log, own)) / len(own)) if own else None,
        "rechecked_ratio": exp(counts["rechecked_log_ratio"] / checked) if checked else None,
        "stale": len(book.memory.stale),
    }


def _doing(running: Running, now: float) -> dict[str, Any]:
    return {
        "what": running.job.subject if running.job else " ".join(running.step.arguments[:1]),
        "why": running.job.reason if running.job else "It needs no idle machine.",
        "measuring": running.step.measuring,
        "seconds": now - running.began,
    }


def _interpreter(one: Interpreter, book: Book, interpreters: Interpreters) -> dict[str, Any]:
    known = interpreters.surveys.get(one.name)
    return {
        "name": one.name,
        "problem": interpreters.problems.get(one.name),
        "stale": book.memory.stale.get(one.name),
        "key": known and known.key,
        "profile": known and known.profile,
        "entries": _by_level(known.entries if known else ()),
    }


def _by_level(entries: Iterable[InventoryEntry]) -> dict[str, int]:
    """How many entries apply, for each level."""
    return dict(sorted(Counter(one.level for one in entries if one.status != REFUSED).items()))
