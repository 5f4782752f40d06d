"""Numbers for people. Everywhere else there are only seconds, bytes and elements."""

import re
from datetime import UTC, datetime

from autotune.errors import BadBudget
from autotune.report.units import memory, seconds, speedup, speedup_interval

__all__ = ["budget", "clock", "memory", "moment", "seconds", "speedup", "speedup_interval"]

_SPAN = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m(?:in)?)?(?:(\d+(?:\.\d+)?)s?)?", re.ASCII)
LONGEST_BUDGET = 30 * 24 * 3600.0


def clock(value: float) -> str:
    """A long time as on a clock: `0:45`, `12:05`, `1:02:05`."""
    whole = max(0, round(value))
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def moment(value: float) -> str:
    """Seconds since 1970 as the clock here shows them: `2026-11-22 09:30`."""
    return datetime.fromtimestamp(value, UTC).astimezone().strftime("%Y-%m-%d %H:%M")


def budget(text: str) -> float:
    """Seconds of `90s`, `5m`, `1h30m` or `300`.

    Raises BadBudget for anything else, for nothing at all, and for more than 30 days.
    """
    found = _SPAN.fullmatch(text.strip().lower())
    if not found or not any(found.groups()):
        raise BadBudget(f"{text!r} is not a time. Write it as 90s, 5m, 1h30m, or in seconds: 300.")
    hours, minutes, rest = (float(part or 0) for part in found.groups())
    total = hours * 3600 + minutes * 60 + rest
    if not 0 < total <= LONGEST_BUDGET:
        raise BadBudget(
            f"A budget of {text!r} makes no sense: it must be more than nothing and at most 30 days."
        )
    return total
