"""Clocks, files, CPU load, power supply, heat and running programs, as the daemon reads them. Nothing is changed."""

import os
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

from autotune.host import kernel_files, pressure
from autotune.host.pressure import TICKS_PER_SECOND, Load
from autotune.host.usable_cpus import online_cpus
from autotune.model.constraints import Bounds

MAX_CLOCK_DRIFT = 5.0
"""Seconds by which two clocks may part between two readings without a suspension or a change of the time."""

Fingerprint = tuple[Annotated[int, Bounds(-(2**64), 2**64)], ...]
"""Values that differ once a file or folder has changed; empty if it does not exist."""


class Moment(NamedTuple):
    """One reading of three clocks, in seconds."""

    running: float
    """CLOCK_MONOTONIC, which stands still while the machine is suspended. Every interval is measured on it."""
    elapsed: float
    """CLOCK_BOOTTIME, which includes suspensions."""
    wall: float
    """Seconds since 1970. Users and time servers may set it."""

    @property
    def day(self) -> str:
        """The local date, as YYYY-MM-DD."""
        return time.strftime("%Y-%m-%d", time.localtime(self.wall))


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSample:
    """The load during a stretch of time. A value that the system does not report is None."""

    began: float
    ended: float
    """Monotonic seconds."""
    foreign_cpus: float | None = None
    """Mean number of CPUs that other processes kept busy."""
    waiting: float | None = None
    """Share of the time during which some task waited for a CPU; None while a trial of ours waits for CPUs too."""
    obstacle: str | None = None
    """Why nothing may be measured at any load: a sentence."""


class MachineSensors:
    """Load, power and programs of this machine, or of a recorded one below another root."""

    def __init__(self, root: Path = Path("/"), *, clock: Callable[[], float] = time.monotonic) -> None:
        self._root = root
        self._clock = clock
        self._cpus = online_cpus()
        self._readings: deque[tuple[float, Load]] = deque()
        self._throttle_count: int | None = None

    def sample(self, busy_seconds: float, *, measuring: bool) -> LoadSample | None:
        """Return the load since the last call; while measuring, over the last `busy_seconds` at least.

        None at the first call.
        """
        now = self._clock()
        load = pressure.read(self._root)
        readings = self._readings
        while len(readings) > 1 and (not measuring or now - readings[1][0] >= busy_seconds):
            readings.popleft()
        began, before = readings[0] if readings else (now, load)
        readings.append((now, load))
        if now <= began:
            return None
        foreign = _rate(before.foreign_seconds, load.foreign_seconds, now - began)
        if foreign is not None:
            # CPU time is charged in whole ticks: subtract what rounding alone may add
            foreign = max(0.0, foreign - self._cpus**0.5 / TICKS_PER_SECOND / (now - began))
        waiting = None if measuring else _rate(before.waiting_seconds, load.waiting_seconds, now - began)
        return LoadSample(began=began, ended=now, foreign_cpus=foreign, waiting=waiting, obstacle=self._obstacle())

    def running_program(self, names: Collection[str]) -> str | None:
        """Return one of these programs that runs now. The kernel keeps 15 bytes of a program's name."""
        wanted = {name.encode()[:15].decode(errors="replace"): name for name in names}
        if not wanted:
            return None
        try:
            processes = [name for name in os.listdir(f"{self._root}/proc") if name.isdigit()]  # noqa: PTH208
        except OSError:
            return None
        commands = (kernel_files.read(f"{self._root}/proc/{process}/comm") for process in processes)
        return next((wanted[command] for command in commands if command in wanted), None)

    def own_seconds(self) -> float | None:
        """Return the CPU time of the daemon and its child processes, ended ones included."""
        return self._readings[-1][1].own_seconds if self._readings else None

    def _obstacle(self) -> str | None:
        if is_on_battery(self._root):
            return "The machine runs on battery."
        count, before = throttle_count(self._root), self._throttle_count
        self._throttle_count = count
        if before is not None and count is not None and count > before:
            return "The CPU is throttled because it is hot."
        return None


def read_clocks() -> Moment:
    """Read all clocks. Without CLOCK_BOOTTIME a suspension looks like a change of the wall clock."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    running = time.monotonic()
    return Moment(running, running if boot is None else time.clock_gettime(boot), time.time())


def clock_jump(before: Moment, after: Moment) -> str | None:
    """Describe a suspension, or a change of the wall clock, between two moments; None if there was none."""
    suspended = (after.elapsed - before.elapsed) - (after.running - before.running)
    if suspended > MAX_CLOCK_DRIFT:
        return f"The machine was suspended for {suspended:.0f} seconds."
    moved = (after.wall - before.wall) - (after.elapsed - before.elapsed)
    if abs(moved) > MAX_CLOCK_DRIFT:
        return f"The clock was set {'forward' if moved > 0 else 'back'} by {abs(moved):.0f} seconds."
    return None


def fingerprint(path: str | Path) -> Fingerprint:
    """Return the fingerprint of a file or folder.

    Files are polled because network file systems send no change notices.
    """
    try:
        status = os.stat(path)  # noqa: PTH116 - called for every watched file each half minute
    except (OSError, ValueError):
        return ()
    return status.st_mtime_ns, status.st_size, status.st_ino, status.st_mode, status.st_uid


def is_on_battery(root: Path = Path("/")) -> bool | None:
    """Say whether the machine's own battery is being discharged; None where the system does not report it.

    Batteries of mice and keyboards have the scope "Device" (sysfs-class-power).
    """
    folder = f"{root}/sys/class/power_supply"
    try:
        supplies = os.listdir(folder)  # noqa: PTH208
    except OSError:
        return None
    mains: list[bool] = []
    batteries: list[str | None] = []
    for supply in supplies:
        kind = kernel_files.read(f"{folder}/{supply}/type")
        if kind in {"Mains", "USB"}:
            mains.append((kernel_files.number(f"{folder}/{supply}/online") or 0) > 0)
        elif kind == "Battery" and kernel_files.read(f"{folder}/{supply}/scope") != "Device":
            batteries.append(kernel_files.read(f"{folder}/{supply}/status"))
    if not batteries:
        return False if mains else None
    return not any(mains) and "Discharging" in batteries


def throttle_count(root: Path = Path("/")) -> int | None:
    """Count how often heat has slowed CPUs down since the start of the machine; None if it is not reported.

    A package counts for all its CPUs (x86: therm_throt.c), so the first and the last CPU suffice.
    """
    folder = f"{root}/sys/devices/system/cpu"
    counts = (
        kernel_files.number(f"{folder}/cpu{cpu}/thermal_throttle/package_throttle_count")
        for cpu in {0, online_cpus() - 1}
    )
    return max((count for count in counts if count is not None), default=None)


def _rate(before: float | None, after: float | None, seconds: float) -> float | None:
    """Return the increase per second between two totals; None if one is unknown, 0 if the total fell."""
    if before is None or after is None or seconds <= 0:
        return None
    return max(0.0, after - before) / seconds
