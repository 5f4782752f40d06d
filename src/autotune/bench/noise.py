"""Interference: the share of the CPUs that others took while a pair was timed. Pure.

A disturbed pair is repeated because of what the kernel counted, never because of its timings: choosing by the timings
would bias them.
"""

from math import sqrt

from autotune.host.pressure import TICKS_PER_SECOND, Load
from autotune.model.measurement import Pair

LARGEST_INTERFERENCE = 0.02
"""Share of the allocation's CPU time that others may take during a pair that counts as undisturbed."""
LARGEST_STEAL = 0.01
"""Share of one CPU that the hypervisor may take."""
LARGEST_FOREIGN = 0.05
"""Share of one CPU that other processes may take."""
LARGEST_WAIT = 0.05
"""Share of the time during which own threads may wait for a CPU."""
SHORTEST_WAIT = 0.001
"""Seconds of waiting that are never held against a pair: the handling of interrupts makes threads wait, too."""
PREEMPTIONS_PER_SECOND = 20.0
"""A thread that shares its CPU has to leave it about every 4 ms, one that does not for kernel threads only."""
ROUNDING = 1e-6
"""Seconds lost in differences of large totals."""


def is_undisturbed(pair: Pair) -> bool:
    """Was a pair undisturbed, as far as is known?"""
    return pair.interference is None or pair.interference <= LARGEST_INTERFERENCE


def interference(before: Load, after: Load, wall: float, cpus: int, *, crowded: bool = False) -> float | None:
    """Estimate the share of the CPUs' time that others took between two readings, `wall` seconds apart.

    None if unknown. It is more than an undisturbed pair may have, exactly if more than 1 % of one CPU was stolen by
    the hypervisor, or 5 % used by processes other than one's own, provided that the kernel's ticks can tell; or if own
    threads were preempted and waited. With `crowded` own threads may have waited for each other, so that their
    preemptions say nothing.
    """
    if wall <= 0 or (before.foreign_seconds is None and before.own_preemptions is None):
        return None
    floor = blur(cpus)
    counted = (
        _exceeds(before.stolen_seconds, after.stolen_seconds, max(LARGEST_STEAL * wall, floor))
        or _exceeds(before.foreign_seconds, after.foreign_seconds, max(LARGEST_FOREIGN * wall, floor))
    )  # fmt: skip
    waited = not crowded and _was_preempted(before, after, wall)
    share = max(0.0, seconds_taken(before, after) - floor) / (wall * cpus)
    if waited and before.waiting_seconds is not None and after.waiting_seconds is not None:
        share = max(share, (after.waiting_seconds - before.waiting_seconds) / (wall * cpus))
    if counted or waited:
        # a counter has told: the pair must not be accepted, however small the share looks
        return min(1.0, max(share, 2 * LARGEST_INTERFERENCE))
    return min(share, LARGEST_INTERFERENCE)


def _was_preempted(before: Load, after: Load, wall: float) -> bool:
    """Return whether own threads were preempted repeatedly and waited for a CPU.

    Both are counted exactly where CPU time is counted by the tick, so that this tells in a pair of 20 ms what foreign
    CPU time tells in one of a second. Either alone proves nothing: a thread that its own control group throttles, or
    that wakes up, waits without anyone else being there, and kernel threads preempt for microseconds.
    """
    waited = max(LARGEST_WAIT * wall, SHORTEST_WAIT)
    # one preemption may always be a kernel thread's
    left = 1 + PREEMPTIONS_PER_SECOND * wall
    return _exceeds(before.waiting_seconds, after.waiting_seconds, waited) and _exceeds(
        before.own_preemptions, after.own_preemptions, left
    )


def seconds_taken(before: Load, after: Load) -> float:
    """Add up the CPU seconds that others and the hypervisor took between two readings, as far as the system says.

    For one pair it is blurred by the kernel's ticks, below zero too; over many pairs that cancels out.
    """
    differences = ((before.stolen_seconds, after.stolen_seconds), (before.foreign_seconds, after.foreign_seconds))
    return sum(last - first for first, last in differences if first is not None and last is not None)


def blur(cpus: int) -> float:
    """Return the CPU seconds of others that cannot be distinguished from zero on this many CPUs.

    The kernel charges each CPU's whole ticks to the process that runs when a tick ends. The difference of
    two such counts is off by a triangular error with a standard deviation of 0.41 ticks a CPU; three of those for
    the sum, and a tick for the rounding of the process's own time.
    """
    # 0.41 = sqrt(1/6): the difference of two errors that are uniform over one tick; independent CPUs add in quadrature
    return (1 + 3 * 0.41 * sqrt(cpus)) / TICKS_PER_SECOND


def _exceeds(before: float | None, after: float | None, allowed: float) -> bool:
    return before is not None and after is not None and after - before > allowed + ROUNDING
