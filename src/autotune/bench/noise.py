"""Was the machine busy with something else while a round ran? Pure.

A busy round is repeated whole, never one arm of it, and never because of its timings: choosing by the timings
would bias them.
"""

from collections.abc import Sequence

from autotune.host.pressure import TICKS_PER_SECOND, Load

LARGEST_STEAL = 0.01
"""Share of one CPU that the hypervisor may take."""

LARGEST_FOREIGN = 0.05
"""Share of one CPU that other processes may take."""

FEWEST_TICKS = 2
"""The kernel charges whole ticks to whoever runs when one ends: a single one may be ours or nobody's."""

ROUNDING = 1e-6
"""Seconds lost in differences of large totals."""


def busy(before: Load, after: Load, wall: float) -> bool:
    """Did others get more than their share of the CPUs during the `wall` seconds between two readings?

    More than 1 % of one CPU stolen by the hypervisor, or 5 % used by processes other than this one and its
    children; below two ticks nothing can be told. What the system does not say is not held against it.
    """
    return _exceeds(before.stolen_seconds, after.stolen_seconds, LARGEST_STEAL * wall) or _exceeds(
        before.foreign_seconds, after.foreign_seconds, LARGEST_FOREIGN * wall
    )


def _exceeds(before: float | None, after: float | None, allowed: float) -> bool:
    if before is None or after is None:
        return False
    return after - before > max(allowed, FEWEST_TICKS / TICKS_PER_SECOND) + ROUNDING


def kept(busy_rounds: Sequence[bool], wanted: int) -> tuple[int, ...]:
    """Which rounds count, by position: the quiet ones and, where these are too few, the first busy ones."""
    quiet = [place for place, was_busy in enumerate(busy_rounds) if not was_busy][:wanted]
    rest = [place for place, was_busy in enumerate(busy_rounds) if was_busy][: wanted - len(quiet)]
    return tuple(sorted([*quiet, *rest]))
