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
    masks: bool = True
    lists: bool = True
    online_list: bool = True
    """Is there a list of the CPUs that are on? Else each CPU says so for itself, the first does not."""
    words: int = 1
    """Words of a mask at least: one for each 32 CPUs that the kernel was built for."""
    end: str = "\n"
    dies: bool = False
    """Are dies and clusters written as well? They tell nothing about packages or cores."""
    package_id: str = "ordinal"
    """Or "unknown" (-1), "huge" (made of the number of a board), or "paired" (two packages with one id)."""


OLD = Kernel(siblings=("thread_siblings", "core_siblings"), lists=False, online_list=False, words=8, end="\n\0\0\0")
NEW = Kernel(dies=True)
KERNELS = {
    "2.6": OLD,
    "2.6 of Itanium": Kernel(siblings=("thread_siblings", "core_siblings"), lists=False, words=128, package_id="huge"),
    "3.10": Kernel(siblings=("thread_siblings", "core_siblings"), words=160),
    "5.10": NEW,
    "lists only": Kernel(masks=False),
    "ids unknown": Kernel(siblings=("thread_siblings", "core_siblings"), package_id="unknown"),
    "ids in pairs": Kernel(siblings=("thread_siblings", "core_siblings"), package_id="paired"),
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
        _put(topology, kernel.siblings[0], core, kernel)
        _put(topology, kernel.siblings[1], package, kernel)
        if kernel.dies:
            _put(topology, "die_cpus", core or online, kernel)
            _put(topology, "cluster_cpus", [cpu.number], kernel)
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
        if not kernel.online_list and cpu.number != min(online):
            _write(folder, {"online": "1"}, kernel)
        _write_caches(folder / "cache", cpus, cpu, kernel, l3_size)
    for number in offline:
        (system / f"cpu/cpu{number}").mkdir()
        _write(system / f"cpu/cpu{number}", {"online": "0"}, kernel)
    if kernel.online_list:
        _write(system / "cpu", {"online": listed(online), "present": listed([*online, *offline])}, kernel)
    _write_nodes(system / "node", cpus, memory_nodes, kernel)


def _write_caches(folder: Path, cpus: Sequence[Cpu], cpu: Cpu, kernel: Kernel, l3_size: str) -> None:
    """First-level caches for data and instructions, a second level of the core, and the third if there is one."""
    own = _members(cpus, "core", cpu.core) or [cpu.number]
    levels = [("1", "Data", "32K", own), ("1", "Instruction", "32K", own), ("2", "Unified", "512K", own)]
    if cpu.l3 is not None:
        levels.append(("3", "Unified", l3_size, _members(cpus, "l3", cpu.l3)))
    for index, (level, kind, size, sharers) in enumerate(levels):
        files = {"level": level, "type": kind, "size": size}
        _put(files, "shared_cpu_map", sharers, kernel, listing="shared_cpu_list")
        (folder / f"index{index}").mkdir(parents=True)
        _write(folder / f"index{index}", files, kernel)


def _write_nodes(folder: Path, cpus: Sequence[Cpu], memory_nodes: Iterable[int], kernel: Kernel) -> None:
    homes = {cpu.node: _members(cpus, "node", cpu.node) for cpu in cpus if cpu.node is not None}
    homes |= {node: [] for node in memory_nodes}
    for node, members in homes.items():
        files: dict[str, str] = {}
        _put(files, "cpumap", members, kernel, listing="cpulist")
        (folder / f"node{node}").mkdir(parents=True)
        _write(folder / f"node{node}", files, kernel)
    if homes and kernel.online_list:
        _write(folder, {"online": listed(homes)}, kernel)


def _members(cpus: Sequence[Cpu], group: str, name: int | None) -> list[int]:
    return [cpu.number for cpu in cpus if name is not None and getattr(cpu, group) == name]


def _put(
    files: dict[str, str], name: str, members: Sequence[int], kernel: Kernel, *, listing: str | None = None
) -> None:
    """A set of CPUs, as mask and as list; a group that is not known has no file."""
    if listing is None and not members:
        return
    if kernel.masks:
        files[name] = masked(members, kernel.words)
    if kernel.lists:
        files[listing or f"{name}_list"] = listed(members)


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


def masked(numbers: Iterable[int], words: int = 1) -> str:
    """As the kernel writes a mask: words of 32 bits, the highest first."""
    bits = sum(1 << number for number in numbers)
    words = max(words, -(-bits.bit_length() // 32))
    return ",".join(f"{bits >> 32 * word & 0xFFFFFFFF:08x}" for word in reversed(range(words)))
