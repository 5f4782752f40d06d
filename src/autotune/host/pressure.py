"""Load of the computer: totals since it started, of which the bench takes differences."""

import os
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from autotune.host import kernel_files

_Number = TypeVar("_Number", int, float)

TICKS_PER_SECOND = 100.0
"""In which /proc counts CPU time, on every Linux since 2.6 (USER_HZ); sysconf says so too."""


FEW_THREADS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Totals at one moment, in seconds and counts. None where the kernel does not say."""

    busy_seconds: float | None = None
    """CPU time that all processes used on the CPUs that were asked for, stolen time not included."""
    stolen_seconds: float | None = None
    """CPU time that a hypervisor gave to other guests while this one wanted it."""
    waiting_seconds: float | None = None
    """Time during which threads wanted a CPU and had none: one's own, added up, or those of all processes
    (`some` in /proc/pressure/cpu)."""
    own_seconds: float | None = None
    """CPU time of a process and all its living and reaped descendants."""
    own_preemptions: int | None = None
    """Times that their living threads had to leave a CPU that they still wanted."""

    @property
    def foreign_seconds(self) -> float | None:
        """CPU time that others used."""
        if self.busy_seconds is None or self.own_seconds is None:
            return None
        return self.busy_seconds - self.own_seconds


def read(root: Path = Path("/"), *, pid: int | None = None, cpus: Collection[int] | None = None) -> Load:
    """Return the load now, with `pid` (this process unless given) and its descendants as one's own.

    CPU time of others is counted on these CPUs, on all unless given: what runs elsewhere on a large machine
    disturbs little.

    Takes about half a millisecond. Short-lived children count once their parent has waited for them.
    """
    proc = f"{root}/proc"
    processes = tuple(_tree(proc, os.getpid() if pid is None else pid))
    busy, stolen = _totals(kernel_files.read(f"{proc}/stat") or "", cpus)
    return Load(
        busy_seconds=busy,
        stolen_seconds=stolen,
        waiting_seconds=_waiting(kernel_files.read(f"{proc}/pressure/cpu") or ""),
        own_seconds=_sum(_cpu_seconds(kernel_files.read(f"{proc}/{each}/stat") or "") for each in processes),
        own_preemptions=_sum(_preemptions(f"{proc}/{each}") for each in processes),
    )


def read_own(root: Path = Path("/"), *, cpus: Collection[int] | None = None) -> Load:
    """Return the load now, with this process and its children that have ended as one's own.

    Takes a tenth of a millisecond. CPU times and waiting times of this process are exact to the microsecond. Its
    threads' own waiting (schedstat, Documentation/scheduler/sched-stats.rst) is added up where there are few threads;
    beyond `FEW_THREADS` it would take longer to read than the timings that it is read for.
    """
    import resource  # not on Windows

    proc = f"{root}/proc"
    busy, stolen = _totals(kernel_files.read(f"{proc}/stat") or "", cpus)
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    threads = _threads(f"{proc}/self")
    few = threads if len(threads) <= FEW_THREADS else []
    waiting = _sum(_run_delay(kernel_files.read(f"{thread}/schedstat") or "") for thread in few)
    return Load(
        busy_seconds=busy,
        stolen_seconds=stolen,
        waiting_seconds=_waiting(kernel_files.read(f"{proc}/pressure/cpu") or "") if waiting is None else waiting,
        own_seconds=sum(usage.ru_utime + usage.ru_stime for usage in usages),
        own_preemptions=sum(usage.ru_nivcsw for usage in usages),
    )


def _run_delay(schedstat: str) -> float | None:
    """Return the seconds that a thread was ready to run and had no CPU, of "running waiting slices" in nanoseconds."""
    values = [kernel_files.whole(word) for word in schedstat.split()]
    return None if len(values) != 3 or values[1] is None else values[1] / 1e9


def _totals(stat: str, cpus: Collection[int] | None) -> tuple[float | None, float | None]:
    """Return busy and stolen seconds of /proc/stat, of all CPUs or of these.

    Where it does not list these, as lxcfs renumbers the CPUs of a container, those of all are better than nothing.
    """
    rows = [_row(stat, " " if number is None else f"{number} ") for number in cpus or (None,)]
    if any(busy is None for busy, _ in rows):
        rows = [_row(stat, " ")]
    return _sum(busy for busy, _ in rows), _sum(stolen for _, stolen in rows)


def _row(stat: str, name: str) -> tuple[float | None, float | None]:
    """Return busy and stolen seconds of one line. Guests' time is part of user time already (proc_stat(5))."""
    match = re.search(rf"^cpu{name} *(\d+(?: \d+){{3,9}})", stat, re.MULTILINE)
    if not match:
        return None, None
    user, nice, system, _idle, *rest = (int(each) / TICKS_PER_SECOND for each in match[1].split())
    _iowait, irq, softirq, stolen = (*rest, 0.0, 0.0, 0.0, 0.0)[:4]
    return user + nice + system + irq + softirq, stolen if len(rest) >= 4 else None


def _waiting(pressure: str) -> float | None:
    match = re.search(r"^some .*total=(\d+)", pressure, re.MULTILINE)
    return int(match[1]) / 1e6 if match else None


def _tree(proc: str, pid: int) -> Iterable[int]:
    """Yield a process and its descendants that can be seen (the kernel lists the children of each thread)."""
    waiting = [pid]
    seen: set[int] = set()
    while waiting:
        each = waiting.pop()
        if each in seen:
            continue
        seen.add(each)
        yield each
        for thread in _threads(f"{proc}/{each}"):
            children = (kernel_files.whole(text) for text in (kernel_files.read(f"{thread}/children") or "").split())
            waiting += [child for child in children if child is not None]


def _threads(process: str) -> list[str]:
    try:
        return [str(entry) for entry in Path(f"{process}/task").iterdir()]
    except OSError:  # the process has ended
        return []


def _cpu_seconds(stat: str) -> float | None:
    """Return the CPU time of a process and its reaped children. Its name, in brackets, may hold anything."""
    ticks = [kernel_files.whole(each) for each in stat.rpartition(")")[2].split()[11:15]]
    numbers = [each for each in ticks if each is not None]
    return sum(numbers) / TICKS_PER_SECOND if len(numbers) == 4 else None


def _preemptions(process: str) -> int | None:
    pattern = re.compile(r"^nonvoluntary_ctxt_switches:\s+(\d+)", re.MULTILINE)
    matches = (pattern.search(kernel_files.read(f"{thread}/status") or "") for thread in _threads(process))
    return _sum(int(each[1]) for each in matches if each)


def _sum(values: Iterable[_Number | None]) -> _Number | None:
    """Return the sum of what is known; None if nothing is."""
    numbers = [value for value in values if value is not None]
    return sum(numbers[1:], numbers[0]) if numbers else None
