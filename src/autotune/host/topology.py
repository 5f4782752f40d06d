"""CPUs, cores, packages, caches and NUMA nodes, from /sys/devices/system.

Groups are told by the sets of CPUs that the kernel writes ("these CPUs share the core"), not by ids: core ids
repeat within a package on some machines, package ids are -1 on others. Each group is named by its
lowest-numbered online CPU. The readings follow hwloc's, the reference in this field, where kernels disagree.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from autotune.host import cpuinfo
from autotune.host.kernel_files import cpulist, number, read
from autotune.model.machine import Cpu, Machine

X86 = {"x86_64", "i686"}

CPU_KINDS = (("cpu_core", "performance"), ("cpu_atom", "efficiency"), ("cpu_lowpower", "low-power"))
"""Folders of /sys/devices with a list of CPUs each, on hybrid x86."""
SAME_KIND = 0.9
"""Cores whose capacities differ by less than this factor are of one kind, sorted into speed bins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """Structure of a computer, as the kernel describes it."""

    machine: Machine
    """The computer, without its counts and its memory."""
    nodes: Mapping[int, frozenset[int]] | None
    """NUMA node -> its online CPUs (none: memory only); None if unknown."""
    caches_known: bool
    """Would an L3 be seen if there were one?"""


def topology(root: str, sections: Mapping[int, cpuinfo.Section], shared: cpuinfo.Section) -> Topology:
    """Return the structure of the computer whose files stand below root."""
    system = f"{root}/sys/devices/system"
    folders = _numbers_of(f"{system}/cpu", "cpu")
    online = _online(system, folders) or frozenset(sections) or frozenset(cpuinfo.active(shared))
    present = cpulist(read(f"{system}/cpu/present") or "") or frozenset(folders)
    kind = cpuinfo.processor(sections, shared)
    written = cpuinfo.places(sections)
    cores = _cores(system, online, written)
    packages = _packages(system, online, kind, written)
    nodes = _nodes(root, online)
    home = {member: node for node, members in (nodes or {}).items() for member in members}
    kinds = _kinds(root, online)
    l3, sizes = _caches(system, {cpu: cores.get(cpu, cpu) for cpu in online})
    machine = replace(
        kind,
        cpus=tuple(
            Cpu(
                number=cpu,
                package=packages.get(cpu),
                core=cores.get(cpu),
                node=home.get(cpu),
                l3=l3.get(cpu),
                kind=kinds.get(cpu),
            )
            for cpu in sorted(online)
        ),
        core_kinds=tuple(Counter(kinds[cpu] for cpu in sorted(kinds)).items()),
        offline_cpus=tuple(sorted(present - online)),
        smt=max(Counter(cores.values()).values(), default=None),
        l2_bytes=sizes.get(2),
        l3_bytes=sizes.get(3),
    )
    return Topology(machine=machine, nodes=nodes, caches_known=bool(folders))


def _cores(system: str, online: frozenset[int], written: Mapping[int, cpuinfo.Place | None]) -> dict[int, int]:
    """Return CPU -> its core, by the sets of siblings, or else by what /proc/cpuinfo writes.

    Core ids are not asked: in AMD's family 15h the two CPUs of a module keep ids of their own (hwloc counts them as
    cores), but share a floating-point unit, which is what NumPy works with.
    """
    same = _alike(written)
    names = ("core_cpus_list", "thread_siblings_list")
    return _groups(online, lambda cpu: _siblings(system, cpu, names, online) or same.get(cpu))


def _packages(
    system: str, online: frozenset[int], kind: Machine, written: Mapping[int, cpuinfo.Place | None]
) -> dict[int, int]:
    """Return CPU -> its package, by the sets of siblings or its id here, or else by its id in /proc/cpuinfo.

    With cluster-on-die some kernels list only half of a package as siblings: on x86 ids go first. On other
    architectures ids may repeat: s390 numbers its sockets anew in each book.
    """
    same_id = _alike({cpu: _package_id(system, cpu) for cpu in online})
    same = _alike({cpu: place[0] if place else None for cpu, place in written.items()})

    def members_of(cpu: int) -> frozenset[int] | None:
        siblings = _siblings(system, cpu, ("package_cpus_list", "core_siblings_list"), online)
        if kind.architecture in X86:
            return same_id.get(cpu) or siblings or same.get(cpu)
        return siblings or same_id.get(cpu) or same.get(cpu)

    return _groups(online, members_of)


def _groups(online: frozenset[int], members_of: Callable[[int], frozenset[int] | None]) -> dict[int, int]:
    """Return CPU -> lowest-numbered online CPU of its group, for those that have one.

    Only the first CPU of a group is asked, which spares most of the reads of a large computer.
    """
    first_of: dict[int, int] = {}
    for cpu in sorted(online):
        if cpu not in first_of and (members := members_of(cpu)):
            group = members & online
            first = min(group, default=cpu)
            first_of[cpu] = first
            first_of |= {member: first for member in group if member not in first_of and member > cpu}
    return first_of


def _numbers_of(folder: str, prefix: str) -> list[int]:
    """List the numbers of the entries of a folder that are called prefix and number, in order."""
    try:
        names = [entry.name for entry in Path(folder).iterdir()]
    except OSError:
        return []
    return sorted(int(name[len(prefix) :]) for name in names if re.fullmatch(rf"{prefix}\d{{1,5}}", name))


def _is_folder(path: str) -> bool:
    with suppress(OSError):  # before Python 3.14 is_dir() raises where a folder above may not be entered
        return Path(path).is_dir()
    return False


def _online(system: str, folders: Iterable[int]) -> frozenset[int]:
    """Return the CPUs that are switched on; empty where /sys does not say."""
    listed = cpulist(read(f"{system}/cpu/online") or "") or frozenset()
    return frozenset(cpu for cpu in folders if not listed or cpu in listed) or listed


def _siblings(system: str, cpu: int, names: Iterable[str], online: frozenset[int]) -> frozenset[int] | None:
    for name in names:
        members = cpulist(read(f"{system}/cpu/cpu{cpu}/topology/{name}") or "")
        if members and cpu in members:
            return members & online
    return None


def _package_id(system: str, cpu: int) -> int | None:
    value = number(f"{system}/cpu/cpu{cpu}/topology/physical_package_id")
    return value if value is not None and 0 <= value < 2**31 else None


def _alike(ids: Mapping[int, object | None]) -> dict[int, frozenset[int]]:
    """Return CPU -> the CPUs with the same id, for those that have one."""
    members: dict[object, set[int]] = {}
    for cpu, own in ids.items():
        if own is not None:
            members.setdefault(own, set()).add(cpu)
    return {cpu: group for cpus in members.values() for group in [frozenset(cpus)] for cpu in cpus}


def _caches(system: str, cores: Mapping[int, int]) -> tuple[dict[int, int], dict[int, int]]:
    """Return CPU -> its L3 group, and level -> bytes of the largest data or unified cache.

    `cores` names the core of each online CPU. One CPU of each is asked: its caches are its siblings' too.
    """
    groups: dict[int, int] = {}
    sizes: dict[int, int] = {}
    cores_read: set[int] = set()
    for cpu, core in sorted(cores.items()):
        folder = f"{system}/cpu/cpu{cpu}/cache"
        for index in () if core in cores_read else _numbers_of(folder, "index"):
            cores_read.add(core)
            path = f"{folder}/index{index}"
            level = number(f"{path}/level")
            if level not in {2, 3} or read(f"{path}/type") == "Instruction":
                continue
            sizes[level] = max(sizes.get(level, 0), _size(read(f"{path}/size")) or 0)
            if level == 3 and cpu not in groups:
                group = (cpulist(read(f"{path}/shared_cpu_list") or "") or frozenset()) & cores.keys()
                groups |= {each: min(group) for each in group if each not in groups}
    return groups, {level: size for level, size in sizes.items() if size}


def _size(text: str | None) -> int | None:
    match = re.fullmatch(r"(\d{1,12})([KMG]?)", text or "")
    return int(match[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[match[2]] or None if match else None


def _nodes(root: str, online: frozenset[int]) -> Mapping[int, frozenset[int]] | None:
    """Return the NUMA nodes, those without CPUs included, those of graphics cards not.

    A kernel without NUMA has no folder of nodes: all memory is one node then.
    """
    system = f"{root}/sys/devices/system"
    folder = f"{system}/node"
    listed = cpulist(read(f"{folder}/online") or "") or frozenset(_numbers_of(folder, "node"))
    nodes: dict[int, frozenset[int]] = {}
    for node in sorted(listed - _graphics_nodes(root)):
        text = read(f"{folder}/node{node}/cpulist")
        members = None if text is None else cpulist(text)
        # two nodes cannot share a CPU; the second of them is a mistake of the firmware
        if members is not None and not any(members & taken for taken in nodes.values()):
            nodes[node] = members
    if nodes:
        return {node: members & online for node, members in nodes.items()}
    return {0: online} if _is_folder(f"{system}/cpu") else None


def _graphics_nodes(root: str) -> frozenset[int]:
    """Return the nodes whose memory is a graphics card's (POWER9 with V100, Grace Hopper).

    They come and go with the driver, which says so; a computer must not look like another one for that.
    """
    with suppress(OSError):
        texts = [read(f"{card}/numa_status") or "" for card in Path(f"{root}/proc/driver/nvidia/gpus").iterdir()]
        return frozenset(int(node) for text in texts for node in re.findall(r"^Node:\s*(\d{1,5})", text, re.MULTILINE))
    return frozenset()


def _kinds(root: str, online: frozenset[int]) -> dict[int, str]:
    """Return CPU -> kind of its core, on hybrid machines; empty elsewhere."""
    devices = f"{root}/sys/devices"
    named = {
        cpu: kind
        for folder, kind in CPU_KINDS
        for cpu in cpulist(read(f"{devices}/{folder}/cpus") or "") or ()
        if cpu in online
    }
    if not named:
        capacities = {cpu: number(f"{devices}/system/cpu/cpu{cpu}/cpu_capacity") for cpu in online}
        named = _kinds_by_capacity({cpu: value for cpu, value in capacities.items() if value and value > 0})
    return named if len(set(named.values())) > 1 else {}


def _kinds_by_capacity(capacities: Mapping[int, int]) -> dict[int, str]:
    """Distinguish kinds by the kernel's capacity of each CPU, 1024 for the fastest."""
    tops: list[int] = []
    for value in sorted(set(capacities.values()), reverse=True):
        if not tops or value < SAME_KIND * tops[-1]:
            tops.append(value)
    names = dict.fromkeys(tops, "middle")
    names |= {tops[-1]: "efficiency", tops[0]: "performance"} if tops else {}
    return {cpu: names[min(top for top in tops if top >= value)] for cpu, value in capacities.items()}
