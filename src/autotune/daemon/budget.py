"""CPU seconds a day. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spent:
    """What was spent on the last day that anything was."""

    day: str = ""
    """ISO date, local."""
    cpu_seconds: float = 0.0


def spend(spent: Spent, today: str, cpu_seconds: float) -> Spent:
    """After so many more. A clock that jumps back gives nothing back."""
    if today > spent.day:
        return Spent(today, cpu_seconds)
    return Spent(spent.day, spent.cpu_seconds + cpu_seconds)


def left(spent: Spent, today: str, daily: float | None) -> float | None:
    """CPU seconds that may still be spent today; None: no limit."""
    if daily is None:
        return None
    return daily if today > spent.day else max(0.0, daily - spent.cpu_seconds)
