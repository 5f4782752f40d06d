"""Numbers and tables as people read them. Everywhere else there are only seconds, bytes, elements and speed-ups."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from math import ceil

STATUSES = {
    "tuned": "tuned",
    "default-kept": "default kept",
    "undecided": "undecided",
    "noisy": "too noisy to tell",
    "failed": "could not be measured",
}
_SCALES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))
UNKNOWN = "-"
LARGEST_SEEMING = 10.0
"""Speed-up above which single timings show a disturbance or a large gain, but not its size."""
SPARE_TIME = 1.2
"""Budget that is advised, over the time that is expected to be needed."""
WIDE_INTERVAL = 1.2
"""Upper over lower end of an interval above which pairs that leave both signs open were disturbed, or too few."""


def seconds(value: float | None) -> str:
    """Format a short time to three digits, such as `12.3 ms`; a dash for None."""
    if value is None:
        return UNKNOWN
    scale, unit = next((pair for pair in _SCALES if value >= pair[0] * 0.9995), _SCALES[-1])
    return f"{digits(value / scale)} {unit}"


def clock(value: float) -> str:
    """Format a long time as on a clock: `0:45`, `12:05`, `1:02:05`."""
    whole = max(0, round(value))
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def budget(needed: float) -> str:
    """Format the budget to advise where `needed` seconds are needed, such as `45s` or `12m`, as `--budget` takes it."""
    spare = ceil(SPARE_TIME * needed)
    return f"{spare}s" if spare < 60 else f"{ceil(spare / 60)}m"


def moment(value: float) -> str:
    """Format seconds since 1970 in local time: `2026-11-22 09:30`."""
    return datetime.fromtimestamp(value, UTC).astimezone().strftime("%Y-%m-%d %H:%M")


def speedup(value: float | None) -> str:
    """Format a speed-up, such as `2.00x`; a dash for None."""
    return UNKNOWN if value is None else f"{digits(value)}x"


def seeming(value: float) -> str:
    """Format a speed-up that few timings showed and nothing proved, such as `1.36` or `4.2`; no large numbers."""
    return f"{value:.2f}" if value < 2 else f"{value:.1f}" if value < LARGEST_SEEMING else "over 10"


def cannot_tell(interval: tuple[float, float]) -> bool:
    """Decide whether the interval of a speed-up contains 1 and is too wide to show that nothing changed."""
    low, high = interval
    return low <= 1 <= high and high > WIDE_INTERVAL * low


def interval(ends: tuple[float, float] | None) -> str:
    """Format the interval of a speed-up, such as `1.39 to 1.52`; empty for None."""
    return "" if ends is None else f"{digits(ends[0])} to {digits(ends[1])}"


def memory(count: int | None) -> str:
    """Format bytes, such as `15.6 GiB`; a dash for None."""
    if count is None:
        return UNKNOWN
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{digits(value)} {unit}" if unit != "B" else f"{count} B"
        value /= 1024
    return f"{digits(value)} TiB"


def count_of(number: int, noun: str, plural: str | None = None) -> str:
    """Format a number with its noun: `1 entry`, `2 entries`."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def digits(value: float) -> str:
    """Format a number to three digits, or to all before the point."""
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:.0f}"


def html_table(titles: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str = "") -> str:
    """Return a table with a caption above it. Everything is escaped."""
    from html import escape  # its table of entities takes 2 ms to load

    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    head = f'<caption style="text-align:left;white-space:pre-line">{escape(caption)}</caption>' if caption else ""
    return f"<table>{head}{line(titles, 'th')}{''.join(line(row, 'td') for row in rows)}</table>"
