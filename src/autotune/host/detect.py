"""This computer, or the recording of another, as a Machine and an Allocation."""

import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from autotune.host import cgroup, cpu_variables, cpuinfo
from autotune.host.kernel_files import read
from autotune.host.topology import Topology, topology
from autotune.host.usable_cpus import affinity, online_cpus, sharing
from autotune.model.allocation import allocate
from autotune.model.machine import Allocation, Counts, Cpu, Machine, count


def detect(root: Path = Path("/")) -> tuple[Machine, Allocation]:
    """Return the computer, and the part of it that this process may use.

    With another root the recording of a computer is read: its CPUs, and its control groups by the mounts and
    the membership in `root/proc`. This process's affinity and environment say nothing about it then.

    Reads only. Never raises for what the files hold; what cannot be read is None.
    """
    own = root.resolve() == Path("/").resolve()
    prefix = "" if own else str(root)
    sections, shared = cpuinfo.sections(read(f"{prefix}/proc/cpuinfo") or "")
    structure = topology(prefix, sections, shared)
    machine = structure.machine
    if own:
        cpus = machine.cpus or tuple(Cpu(number=each) for each in range(online_cpus()))
        machine = replace(machine, cpus=cpus, architecture=platform.machine() or machine.architecture)
        structure = replace(structure, machine=machine)
    counts = _counts(structure, machine.cpus, _homes(structure))
    machine = replace(machine, counts=counts, memory_bytes=_memory(prefix))
    return machine, _allocation(prefix, replace(structure, machine=machine), own=own)


def _allocation(root: str, structure: Topology, *, own: bool) -> Allocation:
    machine, folders = structure.machine, cgroup.folders(root)
    environ: Mapping[str, str] = os.environ if own else {}
    mask = affinity() if own else None
    allowed = cgroup.cpus(folders) if mask is None else mask
    chosen = [cpu for cpu in machine.cpus if allowed is None or cpu.number in allowed]
    online = online_cpus() if own else max(1, len(machine.cpus))
    quota, cap = cgroup.quota(folders), cpu_variables.cap(environ)
    sharers = sharing(environ, mask, folders, online) if own else 1
    usable, limit = allocate(
        allowed_cpus=max(1, len(chosen)) if mask is None else len(mask),
        online_cpus=online,
        quota_cpus=quota,
        cap=cap,
        processes=sharers,
        task_cap=cpu_variables.task_cap(environ),
    )
    return Allocation(
        usable_cpus=usable,
        limit=limit,
        affinity_cpus=None if mask is None else len(mask),
        quota_cpus=quota,
        cap=cap,
        processes=sharers,
        memory_bytes=min(filter(None, (machine.memory_bytes, cgroup.memory(folders))), default=None),
        counts=_counts(structure, chosen, _usable_homes(structure, chosen, folders)),
        cpus=tuple(cpu.number for cpu in chosen),
    )


def _homes(structure: Topology, nodes: frozenset[int] | None = None) -> list[list[Cpu]] | None:
    """Return the CPUs of each NUMA node, or of each of some of them; None where nodes are unknown."""
    if structure.nodes is None:
        return None
    return [
        [cpu for cpu in structure.machine.cpus if cpu.number in members]
        for node, members in structure.nodes.items()
        if nodes is None or node in nodes
    ]


def _usable_homes(structure: Topology, chosen: Sequence[Cpu], folders: cgroup.Folders) -> list[list[Cpu]] | None:
    """Return the nodes whose memory the process may use; None where only its affinity takes CPUs away."""
    given, nodes = cgroup.cpus(folders), cgroup.nodes(folders)
    in_cpuset = given is not None and any(cpu.number not in given for cpu in structure.machine.cpus)
    in_memory_set = nodes is not None and not nodes.issuperset(structure.nodes or ())
    if in_cpuset or in_memory_set or len(chosen) == len(structure.machine.cpus):
        return _homes(structure, nodes)
    return None


def _counts(structure: Topology, cpus: Sequence[Cpu], homes: list[list[Cpu]] | None) -> Counts:
    """Count CPUs; None for what this system does not show."""
    counts = count(cpus, homes)
    l3_groups = counts.l3_groups if structure.caches_known else None
    return replace(counts, logical_cpus=counts.logical_cpus or None, l3_groups=l3_groups)


def _memory(root: str) -> int | None:
    match = re.search(r"^MemTotal:\s+(\d{1,18}) kB", read(f"{root}/proc/meminfo") or "", re.MULTILINE)
    return int(match[1]) * 1024 if match else None
