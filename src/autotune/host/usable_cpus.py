"""The CPUs that this process may keep busy, read by the shortest way: every tuned program asks at start."""

import os
import sys
from collections.abc import Mapping

from autotune.host import cgroup, cpu_variables
from autotune.host.kernel_files import cpulist, read, whole
from autotune.model.allocation import Limit, allocate

BINDINGS = ("OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "KMP_AFFINITY")
"""Variables that make an OpenMP library pin the thread that loads it, and so whatever that thread starts later."""
CLIMBED = 4
"""Processes between a rank and its launcher, at most: a shell, a wrapper, the interpreter, `autotune run`."""

_first_mask: frozenset[int] | None = None
"""The mask of the thread that asked first."""


def usable_cpus(processes: int | None = None) -> tuple[int, Limit]:
    """Return the `usable_cpus` and `limit` of this process's Allocation, without making one.

    Read anew at each call, since quotas change while a process runs. `processes` is the number of processes
    that share the CPUs, if the caller knows better than the environment.
    """
    folders = cgroup.folders()
    allowed = affinity()
    online = online_cpus()
    return allocate(
        allowed_cpus=online if allowed is None else len(allowed),
        online_cpus=online,
        quota_cpus=cgroup.quota(folders),
        cap=cpu_variables.cap(os.environ),
        processes=processes or sharing(os.environ, allowed, folders, online),
        task_cap=cpu_variables.task_cap(os.environ),
    )


def affinity() -> frozenset[int] | None:
    """Return the CPUs that this process may run on, cpusets included; None where the system does not say.

    That is the calling thread's mask, unless an OpenMP library may have pinned it. Then it is what all threads of the
    process may run on together, with what this thread could use when it was first asked.
    """
    global _first_mask  # noqa: PLW0603 - one process, one memory of its mask
    if not hasattr(os, "sched_getaffinity"):
        return None
    try:
        mask = frozenset(os.sched_getaffinity(0))
    except OSError:  # a seccomp filter
        return None
    if _first_mask is None:
        _first_mask = mask
    return _without_pinning(mask) if binding_variables(os.environ) else mask


def binding_variables(environ: Mapping[str, str]) -> list[str]:
    """List the variables of this environment that let OpenMP libraries pin threads."""
    unset = {"", "false", "disabled", "none"}
    return [name for name in BINDINGS if environ.get(name, "").strip().lower() not in unset]


def pinned_from() -> frozenset[int] | None:
    """Return the process's CPUs where the calling thread was pinned to fewer; None where it was not."""
    if not binding_variables(os.environ) or not hasattr(os, "sched_getaffinity"):
        return None
    whole_mask = affinity()
    return None if whole_mask is None or whole_mask == os.sched_getaffinity(0) else whole_mask


def schedulable_cpus() -> int:
    """Count the CPUs that this process may run on. Plain NumPy starts a thread for each, despite a quota or a cap."""
    return len(affinity() or ()) or online_cpus()


def online_cpus() -> int:
    """Count the CPUs of this computer that are switched on.

    Not os.cpu_count(), which follows PYTHON_CPU_COUNT from Python 3.13 on, and sysconf only where /sys says nothing:
    musl, and glibc 2.34, count the affinity mask instead.
    """
    listed = cpulist(read("/sys/devices/system/cpu/online") or "")
    if listed:
        return len(listed)
    try:
        return max(1, os.sysconf("SC_NPROCESSORS_ONLN"))
    except (AttributeError, ValueError, OSError):
        return os.cpu_count() or 1


def sharing(environ: Mapping[str, str], allowed: frozenset[int] | None, folders: cgroup.Folders, online: int) -> int:
    """Count the processes that share this process's CPUs, by the environment and the program's arguments.

    AUTOTUNE_PROCESSES is believed as it stands. Else the ranks of a launcher that share CPUs, times the workers of a
    server or a test run, which share whatever CPUs they have.
    """
    count = cpu_variables.count(environ.get(cpu_variables.PROCESSES))
    if count is not None:
        return count
    name, ranks = cpu_variables.ranks(environ)
    if ranks > 1:
        given = cgroup.cpus(folders)
        host_cpus = online if given is None else min(online, len(given))
        is_bound = allowed is not None and len(allowed) < host_cpus
        masks = _masks_of_ranks(cpu_variables.RANKS[name], ranks) if is_bound else ()
        ranks = cpu_variables.sharing_ranks(ranks, mask=allowed, host_cpus=host_cpus, masks=masks)
    return ranks * _server_workers(environ, online) * cpu_variables.test_workers(environ)


def _server_workers(environ: Mapping[str, str], online: int) -> int:
    """Count the workers of the server that this is; uWSGI tells in a module of its own."""
    uwsgi = getattr(sys.modules.get("uwsgi"), "numproc", None)
    return (
        uwsgi
        if isinstance(uwsgi, int) and uwsgi > 0
        else cpu_variables.workers_of_server(environ, getattr(sys, "argv", ()), online=online)
    )


def _without_pinning(mask: frozenset[int]) -> frozenset[int]:
    """Return the union of the masks of all threads of this process, and of the one that was seen first."""
    masks = [mask, _first_mask or mask]
    masks += [_mask_of(f"/proc/self/task/{thread}") for thread in _names_in("/proc/self/task")]
    return frozenset().union(*masks)


def _masks_of_ranks(mark: str, local: int) -> list[frozenset[int]]:
    """Return the masks of all ranks on this host; none where they cannot be seen.

    The launcher's daemon has all of them as children, or as descendants of its children. `mark` is a variable that
    only ranks have.
    """
    process = os.getpid()
    for _ in range(CLIMBED):
        process = _parent(process)
        if process < 2:
            break
        children = [
            child
            for thread in _names_in(f"/proc/{process}/task")
            for child in (read(f"/proc/{process}/task/{thread}/children") or "").split()
        ]
        ranks = [child for child in children if f"{mark}=" in _environment(child)]
        if len(ranks) >= local:
            return [_mask_of(f"/proc/{rank}") for rank in ranks]
    return []


def _parent(process: int) -> int:
    """Return the number of a process's parent; 0 if it cannot be read. The name, in brackets, may hold anything."""
    fields = (read(f"/proc/{process}/stat") or "").rpartition(")")[2].split()
    return whole(fields[1]) or 0 if len(fields) > 1 else 0


def _environment(process: str) -> str:
    """Return the environment with which a process was started; empty if it may not be read."""
    try:
        with open(f"/proc/{process}/environ", "rb") as file:  # noqa: PTH123 - pathlib takes 4 ms to load
            return "\0" + file.read(1 << 20).decode("utf-8", "replace")
    except OSError:
        return ""


def _mask_of(process: str) -> frozenset[int]:
    lines = (read(f"{process}/status") or "").splitlines()
    text = next((line.partition(":")[2] for line in lines if line.startswith("Cpus_allowed_list:")), "")
    return cpulist(text.strip()) or frozenset()


def _names_in(folder: str) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - pathlib takes 4 ms to load
    except OSError:
        return []
