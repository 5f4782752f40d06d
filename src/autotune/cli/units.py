"""Numbers for people. Everywhere else there are only seconds, bytes and elements."""

import re

from autotune.errors import BadBudget

_SCALES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))
_SPAN = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m(?:in)?)?(?:(\d+(?:\.\d+)?)s?)?", re.ASCII)
LONGEST_BUDGET = 30 * 24 * 3600.0


def seconds(value: float | None) -> str:
    """A short time to three digits, such as `12.3 ms`; a dash for None."""
    if value is None:
        return "-"
    scale, unit = next((pair for pair in _SCALES if value >= pair[0] * 0.9995), _SCALES[-1])
    return f"{_digits(value / scale)} {unit}"


def clock(value: float) -> str:
    """A long time as on a clock: `0:45`, `12:05`, `1:02:05`."""
    whole = max(0, round(value))
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def speedup(ratio: float | None) -> str:
    """How many times as fast, from a ratio of times: 0.5 is `2.00x`; a dash for None."""
    return f"{1 / ratio:.2f}x" if ratio else "-"


def speedup_interval(low: float | None, high: float | None) -> str:
    """The interval of a ratio of times as one of speeds, such as `1.39 to 1.52`; empty if unknown."""
    return f"{1 / high:.2f} to {1 / low:.2f}" if low and high else ""


def memory(count: int | None) -> str:
    """Bytes, such as `15.6 GiB`; a dash for None."""
    if count is None:
        return "-"
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{_digits(value)} {unit}" if unit != "B" else f"{count} B"
        value /= 1024
    return f"{_digits(value)} TiB"


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


def _digits(value: float) -> str:
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:.0f}"
