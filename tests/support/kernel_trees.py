"""Writes a structure of CPUs as kernels of different ages write it below /sys."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autotune.model.machine import Cpu


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """One way of writing the same facts."""

    siblings: tuple[str, str] = ("core_cpus", "package_cpus")
    """Names of the files that list the CPUs of a core and of a package; `thread_siblings` and `core_siblings`
    until Linux 5.3."""
    end: str = "\n"
    dies: bool = False
    """Are dies and clusters written as well? They tell nothing about packages or cores."""
    package_id: str = "ordinal"
    """Or "unknown" (-1), "huge" (made of the number of a board), or "paired" (two packages with one id)."""


OLD = Kernel(siblings=("thread_siblings", "core_siblings"), end="\n\0\0\0")
NEW = Kernel(dies=True)
KERNELS = {
    "3.10": OLD,
    "5.10": NEW,
    "ids of boards": Kernel(siblings=OLD.siblings, package_id="huge"),
    "ids unknown": Kernel(siblings=OLD.siblings, package_id="unknown"),
    "ids in pairs": Kernel(siblings=OLD.siblings, package_id="paired"),
    "no line ends": Kernel(end=""),
}


def write_kernel(
    root: Path,
    cpus: Sequence[Cpu],
    kernel: Kernel = NEW,
    *,
    offline: Iterable[int] = (),
    memory_nodes: Iterable[int] = (),
    l3_size: str = "8192K",
) -> None:
    """Writes /sys/devices/system/cpu and node for these CPUs, each group named by its lowest-numbered CPU."""
    system = root / "sys/devices/system"
    online = [cpu.number for cpu in cpus]
    for cpu in cpus:
        folder = system / f"cpu/cpu{cpu.number}"
        core, package = (_members(cpus, name, getattr(cpu, name)) for name in ("core", "package"))
        topology: dict[str, str] = {}
        _put(topology, f"{kernel.siblings[0]}_list", core)
        _put(topology, f"{kernel.siblings[1]}_list", package)
        if kernel.dies:
            _put(topology, "die_cpus_list", core or online)
            _put(topology, "cluster_cpus_list", [cpu.number])
        if cpu.package is not None:
            ordinal = sorted({each.package for each in cpus if each.package is not None}).index(cpu.package)
            ids = {"ordinal": ordinal, "unknown": -1, "huge": 65536 * ordinal + 7, "paired": ordinal // 2}
            topology["physical_package_id"] = str(ids[kernel.package_id])
        if cpu.core is not None:
            # core ids begin anew in each package
            within = sorted({each.core for each in cpus if each.package == cpu.package and each.core is not None})
            topology["core_id"] = str(within.index(cpu.core))
        (folder / "topology").mkdir(parents=True)
        _write(folder / "topology", topology, kernel)
        _write_caches(folder / "cache", cpus, cpu, kernel, l3_size)
    for number in offline:
        (system / f"cpu/cpu{number}").mkdir()
        _write(system / f"cpu/cpu{number}", {"online": "0"}, kernel)
    _write(system / "cpu", {"online": listed(online), "present": listed([*online, *offline])}, kernel)
    _write_nodes(system / "node", cpus, memory_nodes, kernel)


def _write_caches(folder: Path, cpus: Sequence[Cpu], cpu: Cpu, kernel: Kernel, l3_size: str) -> None:
    """First-level caches for data and instructions, a second level of the core, and the third if there is one."""
    own = _members(cpus, "core", cpu.core) or [cpu.number]
    levels = [("1", "Data", "32K", own), ("1", "Instruction", "32K", own), ("2", "Unified", "512K", own)]
    if cpu.l3 is not None:
        levels.append(("3", "Unified", l3_size, _members(cpus, "l3", cpu.l3)))
    for index, (level, kind, size, sharers) in enumerate(levels):
        files = {"level": level, "type": kind, "size": size, "shared_cpu_list": listed(sharers)}
        (folder / f"index{index}").mkdir(parents=True)
        _write(folder / f"index{index}", files, kernel)


def _write_nodes(folder: Path, cpus: Sequence[Cpu], memory_nodes: Iterable[int], kernel: Kernel) -> None:
    homes = {cpu.node: _members(cpus, "node", cpu.node) for cpu in cpus if cpu.node is not None}
    homes |= {node: [] for node in memory_nodes}
    for node, members in homes.items():
        (folder / f"node{node}").mkdir(parents=True)
        _write(folder / f"node{node}", {"cpulist": listed(members)}, kernel)
    if homes:
        _write(folder, {"online": listed(homes)}, kernel)


def _members(cpus: Sequence[Cpu], group: str, name: int | None) -> list[int]:
    return [cpu.number for cpu in cpus if name is not None and getattr(cpu, group) == name]


def _put(files: dict[str, str], name: str, members: Sequence[int]) -> None:
    """Add a set of CPUs; a group that is not known has no file."""
    if members:
        files[name] = listed(members)


def _write(folder: Path, files: Mapping[str, str], kernel: Kernel) -> None:
    for name, text in files.items():
        (folder / name).write_text(text + kernel.end)


def listed(numbers: Iterable[int]) -> str:
    """As the kernel writes a list: ranges where numbers follow each other."""
    ranges: list[list[int]] = []
    for number in sorted(numbers):
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join(f"{first}" if first == last else f"{first}-{last}" for first, last in ranges)
