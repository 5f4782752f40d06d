"""CPU seconds a day. Pure."""

from dataclasses import dataclass
from datetime import date, timedelta


@dataclass(frozen=True, slots=True)
class Spent:
    """What was spent on the last day that anything was."""

    day: str = ""
    """ISO date, local."""
    cpu_seconds: float = 0.0


def spend(spent: Spent, today: str, cpu_seconds: float) -> Spent:
    """After so many more. A clock that jumps back by a day gives nothing back."""
    if _new(spent, today):
        return Spent(today, cpu_seconds)
    return Spent(spent.day, spent.cpu_seconds + cpu_seconds)


def left(spent: Spent, today: str, daily: float | None) -> float | None:
    """CPU seconds that may still be spent today; None: no limit."""
    if daily is None:
        return None
    return daily if _new(spent, today) else max(0.0, daily - spent.cpu_seconds)


def _new(spent: Spent, today: str) -> bool:
    """Is this another day than the one that was spent on?

    A day far ahead is no reason to wait for it: the clock was wrong then.
    """
    if today > spent.day:
        return True
    try:
        return date.fromisoformat(today) + timedelta(days=1) < date.fromisoformat(spent.day)
    except ValueError:
        return False
