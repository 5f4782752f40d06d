"""Each limit on the CPUs that this process may use, with its source."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from autotune.host import cgroup, shares
from autotune.host.usable_cpus import affinity, online_cpus, sharing


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuLimit:
    """One limit."""

    name: str
    value: float | None
    """CPUs, or processes that share them; None where this limit is not set."""
    source: str
    """The file, variable or system call that it comes from."""


def cpu_limits(environ: Mapping[str, str] | None = None) -> tuple[CpuLimit, ...]:
    """List every limit that `usable_cpus` counts, set or not, in the order in which they apply."""
    environ = os.environ if environ is None else environ
    folders = cgroup.folders()
    online, allowed = online_cpus(), affinity()
    processes = sharing(environ, allowed, folders, online)
    quota, folder = min(
        ((quota, folder) for folder in _folders(folders) if (quota := cgroup.quota({"cpu": [[folder]]}))),
        default=(None, "cpu.max of every control group"),
    )
    launcher = next((name for name in (shares.PROCESSES, *shares.LOCAL_PROCESSES) if environ.get(name)), None)
    return (
        CpuLimit(name="CPUs that are switched on", value=online, source="sysconf(_SC_NPROCESSORS_ONLN)"),
        CpuLimit(
            name="affinity mask and cpuset",
            value=None if allowed is None else len(allowed),
            source="sched_getaffinity(2)",
        ),
        CpuLimit(name="CPU quota", value=quota, source=folder),
        CpuLimit(name="cap", value=shares.cap(environ), source=_variable(environ, shares.CAP)),
        CpuLimit(
            name="processes that share the CPUs",
            value=processes if processes > 1 else None,
            source=_variable(environ, launcher or shares.PROCESSES),
        ),
    )


def _folders(folders: cgroup.Folders) -> list[str]:
    return [folder for hierarchy in folders["cpu"] for folder in hierarchy]


def _variable(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name)
    if value is None:
        return name
    return (
        f"{name}={value!r}, which is not a whole number and is ignored"
        if name in shares.invalid(environ)
        else f"{name}={value}"
    )
