"""Number of CPUs that one process may keep busy. Apart from the Machine: every tuned program asks this at start."""

from enum import StrEnum
from math import ceil


class Limit(StrEnum):
    """The limit that makes the allocation smaller than the machine; the tightest one counts."""

    NONE = "none"
    AFFINITY = "affinity"
    """The affinity mask or a cpuset."""
    QUOTA = "quota"
    CAP = "cap"
    SHARED = "shared"


LIMITED_BY = {
    Limit.AFFINITY: "an affinity mask or cpuset",
    Limit.QUOTA: "a CPU quota",
    Limit.CAP: "AUTOTUNE_CPUS, or what a batch system gave this job",
    Limit.SHARED: "the processes that share them",
}
"""Each limit in words; there are none for `Limit.NONE`."""


def allocate(
    *,
    allowed_cpus: int,
    online_cpus: int,
    quota_cpus: float | None = None,
    cap: int | None = None,
    processes: int = 1,
    task_cap: int | None = None,
) -> tuple[int, Limit]:
    """Return how many CPUs one process may keep busy, and which limit says so.

    A quota is rounded up: with 1.5 CPUs' worth of time two threads still finish sooner than one. `cap` is for all
    `processes` together, `task_cap` for this one alone.
    """
    usable, limit = (allowed_cpus, Limit.AFFINITY if allowed_cpus < online_cpus else Limit.NONE)
    if quota_cpus is not None and ceil(quota_cpus) < usable:
        usable, limit = ceil(quota_cpus), Limit.QUOTA
    if cap is not None and cap < usable:
        usable, limit = cap, Limit.CAP
    if processes > 1:
        usable, limit = usable // processes, Limit.SHARED
    if task_cap is not None and task_cap < usable:
        usable, limit = task_cap, Limit.CAP
    return max(1, usable), limit
