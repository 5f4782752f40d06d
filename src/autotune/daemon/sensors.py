"""What the daemon sees of the machine: load, power, heat, who else runs. Reads, never changes."""

import os
from collections import deque
from collections.abc import Callable, Collection
from pathlib import Path
from time import monotonic
from typing import Protocol

from autotune.daemon.idle import Sample
from autotune.host import kernel_files, pressure
from autotune.host.pressure import TICKS_PER_SECOND, Load
from autotune.host.usable_cpus import online_cpus


class Senses(Protocol):
    """What the service asks of the world."""

    def sample(self, busy_seconds: float, *, measuring: bool) -> Sample | None:
        """What it was like lately; None when asked for the first time."""
        ...

    def running(self, names: Collection[str]) -> str | None:
        """One of these programs that runs now."""
        ...

    def own_seconds(self) -> float | None:
        """CPU time of the daemon and its children so far."""
        ...


class World:
    """This machine, or the recording of one below another root."""

    def __init__(self, root: Path = Path("/"), *, clock: Callable[[], float] = monotonic) -> None:
        self._root = root
        self._clock = clock
        self._cpus = online_cpus()
        self._readings: deque[tuple[float, Load]] = deque()
        self._throttles: tuple[float, int | None] | None = None

    def sample(self, busy_seconds: float, *, measuring: bool) -> Sample | None:
        """What it was like since the last time; while measuring, over the last `busy_seconds` at least."""
        now = self._clock()
        load = pressure.read(self._root)
        readings = self._readings
        while len(readings) > 1 and (not measuring or now - readings[1][0] >= busy_seconds):
            readings.popleft()
        before = readings[0] if readings else None
        readings.append((now, load))
        if before is None or now <= before[0]:
            return None
        seconds = now - before[0]
        foreign = rate(before[1].foreign_seconds, load.foreign_seconds, seconds)
        if foreign is not None:
            # ticks are charged whole: what cannot be told from rounding is not held against anybody
            foreign = max(0.0, foreign - self._cpus**0.5 / TICKS_PER_SECOND / seconds)
        return Sample(
            began=before[0],
            ended=now,
            foreign_cpus=foreign,
            waiting=None if measuring else rate(before[1].waiting_seconds, load.waiting_seconds, seconds),
            obstacle=self._obstacle(now),
        )

    def running(self, names: Collection[str]) -> str | None:
        """One of these programs that runs now, by the name that the kernel gives it (15 bytes of it)."""
        wanted = {name.encode()[:15].decode(errors="replace"): name for name in names}
        if not wanted:
            return None
        try:
            processes = [each for each in os.listdir(f"{self._root}/proc") if each.isdigit()]  # noqa: PTH208
        except OSError:
            return None
        found = (wanted.get(kernel_files.read(f"{self._root}/proc/{each}/comm") or "") for each in processes)
        return next(filter(None, found), None)

    def own_seconds(self) -> float | None:
        """CPU time of the daemon and its children so far, those that have ended included."""
        return self._readings[-1][1].own_seconds if self._readings else None

    def _obstacle(self, now: float) -> str | None:
        if on_battery(self._root):
            return "The machine runs on battery."
        count = throttles(self._root)
        before, self._throttles = self._throttles, (now, count)
        if before is not None and before[1] is not None and count is not None and count > before[1]:
            return "The CPU is throttled because it is hot."
        return None


def rate(before: float | None, after: float | None, seconds: float) -> float | None:
    """What was used of each second between two totals; None if one is unknown, 0 if it ran backwards."""
    if before is None or after is None or seconds <= 0:
        return None
    return max(0.0, after - before) / seconds


def on_battery(root: Path = Path("/")) -> bool | None:
    """Is the machine's own battery being emptied? None where the system does not say.

    Batteries of mice and keyboards have the scope "Device" (sysfs-class-power).
    """
    folder = f"{root}/sys/class/power_supply"
    try:
        supplies = os.listdir(folder)  # noqa: PTH208
    except OSError:
        return None
    mains: list[bool] = []
    batteries: list[str | None] = []
    for each in supplies:
        place = f"{folder}/{each}"
        kind = kernel_files.read(f"{place}/type")
        if kind in {"Mains", "USB"}:
            mains += [(kernel_files.number(f"{place}/online") or 0) > 0]
        elif kind == "Battery" and kernel_files.read(f"{place}/scope") != "Device":
            batteries += [kernel_files.read(f"{place}/status")]
    if not batteries:
        return False if mains else None
    return not any(mains) and "Discharging" in batteries


def throttles(root: Path = Path("/")) -> int | None:
    """How often CPUs have been slowed down because of heat since the machine started; None if it does not say.

    The first and the last CPU are asked: packages count for all their CPUs (x86: therm_throt.c).
    """
    counts = [
        kernel_files.number(
            f"{root}/sys/devices/system/cpu/cpu{each}/thermal_throttle/package_throttle_count"
        )
        for each in {0, online_cpus() - 1}
    ]
    known = [count for count in counts if count is not None]
    return max(known) if known else None
