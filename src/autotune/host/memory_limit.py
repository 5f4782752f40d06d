"""The memory that this process may use, can still get, and holds."""

import os
import re
from contextlib import suppress

from autotune.host import cgroup
from autotune.host.kernel_files import read


def usable_bytes() -> int | None:
    """Return the memory that this process may use: the computer's, or its control group's limit; None if unknown."""
    limits = [cgroup.memory(cgroup.folders())]
    with suppress(AttributeError, ValueError, OSError):
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min((limit for limit in limits if limit is not None), default=None)


def available_bytes() -> int | None:
    """Return the memory that this process can still get without being killed; None where the system does not say.

    That is what the computer has left, or the tightest control group, with the cache that the kernel would give up
    for it and with the swap that it may use. Address space is another matter: what only reserves it needs none of this.
    """
    fields = dict(re.findall(r"^(MemAvailable|SwapFree):\s+(\d{1,18}) kB", read("/proc/meminfo") or "", re.MULTILINE))
    swap = 1024 * int(fields.get("SwapFree", 0))
    machine = 1024 * int(fields["MemAvailable"]) + swap if "MemAvailable" in fields else None
    left = [machine, cgroup.memory_left(cgroup.folders(), swap)]
    return min((each for each in left if each is not None), default=None)


def resident_bytes(process: int | str = "self") -> int | None:
    """Return the physical memory that a process holds now, this one by default; None where nothing says."""
    pages = (read(f"/proc/{process}/statm") or "").split()[1:2]
    return int(pages[0]) * os.sysconf("SC_PAGE_SIZE") if pages else None
