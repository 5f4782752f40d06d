"""How many CPUs this process may keep busy, by the shortest way: every tuned program asks at start."""

import os
from collections.abc import Mapping

from autotune.host import cgroup, shares
from autotune.model.allocation import Limit, allocate


def usable_cpus(processes: int | None = None) -> tuple[int, Limit]:
    """The `usable_cpus` and `limit` of this process's Allocation, without making one.

    Read anew at each call, since quotas change while a process runs. `processes` is the number of processes
    that share the CPUs, if the caller knows better than the environment.
    """
    folders = cgroup.folders()
    allowed = affinity()
    online = online_cpus()
    allowed_cpus = online if allowed is None else len(allowed)
    return allocate(
        allowed_cpus=allowed_cpus,
        online_cpus=online,
        quota_cpus=cgroup.quota(folders),
        cap=shares.cap(os.environ),
        processes=processes or sharing(os.environ, allowed, folders, online),
    )


def affinity() -> frozenset[int] | None:
    """CPUs that the calling thread may run on, cpusets included; None where the system does not say."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    return frozenset(os.sched_getaffinity(0))


def schedulable_cpus() -> int:
    """CPUs that the calling thread may run on: what plain NumPy goes by, whatever a quota or a cap leaves."""
    return len(affinity() or ()) or online_cpus()


def online_cpus() -> int:
    """CPUs of this computer that are switched on.

    Not os.cpu_count(), which follows PYTHON_CPU_COUNT from Python 3.13 on.
    """
    try:
        return max(1, os.sysconf("SC_NPROCESSORS_ONLN"))
    except (AttributeError, ValueError, OSError):
        return os.cpu_count() or 1


def sharing(
    environ: Mapping[str, str], allowed: frozenset[int] | None, folders: cgroup.Folders, online: int
) -> int:
    """Processes that share this process's CPUs, by the environment."""
    given = cgroup.cpus(folders)
    return shares.processes(
        environ,
        affinity_cpus=None if allowed is None else len(allowed),
        host_cpus=online if given is None else min(online, len(given)),
    )
