"""Three clocks, and what their differences tell: whether the machine slept, whether somebody set the time."""

import time
from typing import NamedTuple

LARGEST_DRIFT = 5.0
"""Seconds by which clocks may part between two looks without anybody having done anything."""


class Moment(NamedTuple):
    """One moment on three clocks, in seconds."""

    running: float
    """Stands still while the machine sleeps (CLOCK_MONOTONIC); every interval of the daemon is on it."""
    elapsed: float
    """Goes on while the machine sleeps (CLOCK_BOOTTIME)."""
    wall: float
    """Seconds since 1970, which anybody may set."""

    @property
    def day(self) -> str:
        """The local date."""
        return time.strftime("%Y-%m-%d", time.localtime(self.wall))


def now() -> Moment:
    """This moment. Where the system has no clock that goes on, a sleep looks like a jump of the wall clock."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    running = time.monotonic()
    return Moment(running, running if boot is None else time.clock_gettime(boot), time.time())


def jump(before: Moment, after: Moment) -> str | None:
    """What happened between two moments besides the passing of time: a sentence, or None."""
    slept = (after.elapsed - before.elapsed) - (after.running - before.running)
    if slept > LARGEST_DRIFT:
        return f"The machine was suspended for {slept:.0f} seconds."
    moved = (after.wall - before.wall) - (after.elapsed - before.elapsed)
    if abs(moved) > LARGEST_DRIFT:
        return f"The clock was set {'forward' if moved > 0 else 'back'} by {abs(moved):.0f} seconds."
    return None
