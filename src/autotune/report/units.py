"""Numbers as people read them. Everywhere else there are only seconds, bytes and elements."""

_SCALES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))


def seconds(value: float | None) -> str:
    """A short time to three digits, such as `12.3 ms`; a dash for None."""
    if value is None:
        return "-"
    scale, unit = next((pair for pair in _SCALES if value >= pair[0] * 0.9995), _SCALES[-1])
    return f"{digits(value / scale)} {unit}"


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
            return f"{digits(value)} {unit}" if unit != "B" else f"{count} B"
        value /= 1024
    return f"{digits(value)} TiB"


def digits(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:.0f}"
