"""Was the machine busy with something else while a round ran? Pure.

A busy round is repeated whole, never one arm of it, and never because of its timings: choosing by the timings
would bias them.
"""

from collections.abc import Sequence
from math import sqrt

from autotune.host.pressure import TICKS_PER_SECOND, Load
from autotune.model.measurement import Pair

LARGEST_STEAL = 0.01
"""Share of one CPU that the hypervisor may take."""

LARGEST_FOREIGN = 0.05
"""Share of one CPU that other processes may take."""

LARGEST_WAIT = 0.05
"""Share of the time during which some task may wait for a CPU."""

SHORTEST_WAIT = 0.001
"""Seconds of waiting that are never held against a round: the handling of interrupts makes tasks wait, too."""

LARGEST_INTERFERENCE = 0.02
"""Share of the allocation's CPU time that others may take during a pair that counts as undisturbed."""

PREEMPTIONS_PER_SECOND = 20.0
"""A thread that shares its CPU has to leave it about every 4 ms, one that does not for kernel threads only."""

ROUNDING = 1e-6
"""Seconds lost in differences of large totals."""


def busy(before: Load, after: Load, wall: float, cpus: int, *, crowded: bool = False) -> bool:
    """Did others get more than their share of the CPUs during the `wall` seconds between two readings?

    More than 1 % of one CPU stolen by the hypervisor, or 5 % used by processes other than one's own, provided
    that it can be told; or one's own threads preempted by somebody. With `crowded` own threads may have had to
    wait for each other, so that their preemptions say nothing. What the system does not say is not held
    against it.
    """
    floor = blur(cpus)
    return (
        _exceeds(before.stolen_seconds, after.stolen_seconds, max(LARGEST_STEAL * wall, floor))
        or _exceeds(before.foreign_seconds, after.foreign_seconds, max(LARGEST_FOREIGN * wall, floor))
        or (not crowded and _preempted(before, after, wall))
    )


def _preempted(before: Load, after: Load, wall: float) -> bool:
    """Had our threads to leave their CPUs again and again while some task waited for one?

    Both are counted to the microsecond where CPU time is counted by the tick, so that this tells in a round
    of 20 ms what foreign CPU time tells in one of a second. Either alone proves nothing: a task that its own
    control group throttles waits without disturbing anybody, and kernel threads preempt for microseconds.
    """
    waited = max(LARGEST_WAIT * wall, SHORTEST_WAIT)
    left = 1 + PREEMPTIONS_PER_SECOND * wall
    return _exceeds(before.waiting_seconds, after.waiting_seconds, waited) and _exceeds(
        before.own_preemptions, after.own_preemptions, left
    )


def accepted(pair: Pair) -> bool:
    """Was the pair undisturbed, as far as is known?"""
    return pair.interference is None or pair.interference <= LARGEST_INTERFERENCE


def interference(before: Load, after: Load, wall: float, cpus: int, *, disturbed: bool) -> float:
    """Share of the CPUs' time that others took between two readings; more than is accepted if `disturbed`."""
    share = max(0.0, taken(before, after) - blur(cpus)) / (wall * cpus) if wall > 0 else 0.0
    return max(share, 2 * LARGEST_INTERFERENCE) if disturbed else min(share, LARGEST_INTERFERENCE)


def taken(before: Load, after: Load) -> float:
    """CPU seconds that others and the hypervisor took between two readings, as far as the system says.

    For one round it is blurred by the kernel's ticks, below zero too; over many rounds that cancels out.
    """
    pairs = (
        (before.stolen_seconds, after.stolen_seconds),
        (before.foreign_seconds, after.foreign_seconds),
    )
    return sum(last - first for first, last in pairs if first is not None and last is not None)


def blur(cpus: int) -> float:
    """CPU seconds of others below which nothing can be told on this many CPUs.

    The kernel charges each CPU's whole ticks to whoever runs when one ends. The difference of two such counts
    is off by a triangular error with a standard deviation of 0.41 ticks a CPU; three of those for the sum,
    and a tick for the rounding of the process's own time.
    """
    return (1 + 3 * 0.41 * sqrt(cpus)) / TICKS_PER_SECOND


def _exceeds(before: float | None, after: float | None, allowed: float) -> bool:
    return before is not None and after is not None and after - before > allowed + ROUNDING


def kept(busy_rounds: Sequence[bool], wanted: int) -> tuple[int, ...]:
    """Which rounds count, by position: the quiet ones and, where these are too few, the first busy ones."""
    quiet = [place for place, was_busy in enumerate(busy_rounds) if not was_busy][:wanted]
    rest = [place for place, was_busy in enumerate(busy_rounds) if was_busy][: wanted - len(quiet)]
    return tuple(sorted([*quiet, *rest]))
