"""How much memory this process may use, and how much it holds."""

import os
from contextlib import suppress

from autotune.host import cgroup
from autotune.host.kernel_files import read


def usable_bytes() -> int | None:
    """Memory that this process may use: the computer's, or its control group's limit; None if unknown."""
    limits = [cgroup.memory(cgroup.folders())]
    with suppress(AttributeError, ValueError, OSError):
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min((limit for limit in limits if limit is not None), default=None)


def resident_bytes() -> int | None:
    """Physical memory that this process holds now; None where the system does not say."""
    pages = (read("/proc/self/statm") or "").split()[1:2]
    return int(pages[0]) * os.sysconf("SC_PAGE_SIZE") if pages else None
