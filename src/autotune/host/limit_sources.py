"""Each limit on the CPUs that this process may use, with its source."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from autotune.host import cgroup, cpu_variables
from autotune.host.usable_cpus import affinity, online_cpus, sharing
from autotune.model.allocation import Limit


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuLimit:
    """One limit."""

    name: str
    value: float | None
    """CPUs, or processes that share them; None where this limit is not set."""
    source: str
    """The file, variable or system call that it comes from."""
    limit: str
    """Its kind: a `Limit`, or openmp."""


def cpu_limits(environ: Mapping[str, str] | None = None) -> tuple[CpuLimit, ...]:
    """List every limit that `usable_cpus` counts, set or not, in the order in which it is applied."""
    environ = os.environ if environ is None else environ
    folders, online, allowed = cgroup.folders(), online_cpus(), affinity()
    each_quota = {folder: cgroup.quota({"cpu": [[folder]]}) for tree in folders["cpu"] for folder in tree}
    quotas = [(quota, folder) for folder, quota in each_quota.items() if quota is not None]
    quota, folder = min(quotas, default=(None, "cpu.max of every control group"))
    caps = cpu_variables.caps(environ)
    tightest = min(caps, key=lambda name: caps[name], default=cpu_variables.CAP)
    processes = sharing(environ, allowed, folders, online)
    is_told = cpu_variables.count(environ.get(cpu_variables.PROCESSES)) is not None
    launcher = cpu_variables.PROCESSES if is_told else cpu_variables.ranks(environ)[0]
    sharers = launcher or (cpu_variables.PROCESSES if processes == 1 else "this program's workers")
    limits = (
        ("CPUs that are switched on", Limit.NONE, online, "/sys/devices/system/cpu/online"),
        ("affinity mask and cpuset", Limit.AFFINITY, None if allowed is None else len(allowed), "sched_getaffinity(2)"),
        ("CPU quota", Limit.QUOTA, quota, folder),
        ("cap of the job or container", Limit.CAP, caps.get(tightest), _variable(environ, tightest)),
        (
            "processes that share the CPUs",
            Limit.SHARED,
            processes if processes > 1 else None,
            _variable(environ, sharers),
        ),
        ("CPUs of this task", Limit.CAP, cpu_variables.task_cap(environ), _variable(environ, "SLURM_CPUS_PER_TASK")),
    )
    return tuple(
        CpuLimit(name=name, limit=str(limit), value=value, source=source) for name, limit, value, source in limits
    )


def _variable(environ: Mapping[str, str], name: str) -> str:
    """Return a variable with its value, and whether that is ignored."""
    value = environ.get(name)
    if value is None:
        return name
    ignored = (
        ", which is not a whole number of at least 1 and is ignored" if name in cpu_variables.invalid(environ) else ""
    )
    return f"{name}={value}{ignored}"
