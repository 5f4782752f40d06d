"""How busy others keep this machine, at a glance."""

from time import monotonic, sleep

from autotune.host import pressure
from autotune.model.machine import Allocation

LOOKING_SECONDS = 0.3
"""Thirty of the ticks in which the kernel counts."""


def taken_by_others(allocation: Allocation) -> float | None:
    """Part of the usable CPUs' time that others, and other guests of the host, take during a third of a second."""
    before, begin = pressure.read(cpus=allocation.cpus or None), monotonic()
    sleep(LOOKING_SECONDS)
    after, span = pressure.read(cpus=allocation.cpus or None), monotonic() - begin
    if before.foreign_seconds is None or after.foreign_seconds is None:
        return None
    stolen = (after.stolen_seconds or 0.0) - (before.stolen_seconds or 0.0)
    cpus = len(allocation.cpus) or allocation.usable_cpus
    share = (after.foreign_seconds - before.foreign_seconds + stolen) / (span * cpus)
    return max(0.0, min(1.0, share))
