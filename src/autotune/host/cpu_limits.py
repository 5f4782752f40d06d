"""Each limit on the CPUs that this process may use, with its source."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from autotune.host import cgroup, cpu_variables
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
    quotas = ((cgroup.quota({"cpu": [[folder]]}), folder) for tree in folders["cpu"] for folder in tree)
    quota, folder = min(
        ((value, folder) for value, folder in quotas if value is not None),
        default=(None, "cpu.max of every control group"),
    )
    caps = cpu_variables.caps(environ)
    tightest = min(caps, key=lambda name: caps[name], default=cpu_variables.CAP)
    processes = sharing(environ, allowed, folders, online)
    launcher = (
        cpu_variables.PROCESSES
        if cpu_variables.count(environ.get(cpu_variables.PROCESSES))
        else cpu_variables.ranks(environ)[0]
    )
    return (
        CpuLimit(name="CPUs that are switched on", value=online, source="/sys/devices/system/cpu/online"),
        CpuLimit(
            name="affinity mask and cpuset",
            value=None if allowed is None else len(allowed),
            source="sched_getaffinity(2)",
        ),
        CpuLimit(name="CPU quota", value=quota, source=folder),
        CpuLimit(name="cap of the job or container", value=caps.get(tightest), source=_variable(environ, tightest)),
        CpuLimit(
            name="processes that share the CPUs",
            value=processes if processes > 1 else None,
            source=_variable(
                environ, launcher or (cpu_variables.PROCESSES if processes == 1 else "this program's workers")
            ),
        ),
        CpuLimit(
            name="CPUs of this task",
            value=cpu_variables.task_cap(environ),
            source=_variable(environ, "SLURM_CPUS_PER_TASK"),
        ),
    )


def _variable(environ: Mapping[str, str], name: str) -> str:
    """Return a variable with its value, and whether that is ignored."""
    value = environ.get(name)
    if value is None:
        return name
    ignored = ", which is not a whole number and is ignored" if name in cpu_variables.invalid(environ) else ""
    return f"{name}={value}{ignored}"
