"""The hardware that a profile is for, and the part of it that this process may use."""

from collections.abc import Iterable, Sequence

from autotune.model.allocation import Limit
from autotune.model.constraints import Amount, Quantity
from autotune.model.record import Record


class Cpu(Record, kw_only=True):
    """One logical CPU. What could not be read is None."""

    number: int
    """As the operating system numbers it."""
    package: int | None = None
    """Socket."""
    core: int | None = None
    """Lowest-numbered CPU among the hardware threads of the same physical core."""
    node: int | None = None
    """NUMA node."""
    l3: int | None = None
    """Lowest-numbered CPU among those that share the same L3 cache; None without an L3."""
    kind: str | None = None
    """Core kind on hybrid machines, such as "performance" or "efficiency"."""


class Counts(Record, kw_only=True):
    """Numbers of each in a set of CPUs; None if the machine does not say."""

    logical_cpus: int | None = None
    physical_cores: int | None = None
    packages: int | None = None
    numa_nodes: int | None = None
    l3_groups: int | None = None
    """0 where the machine says that there is no L3."""


class Hardware(Record, kw_only=True):
    """The hardware part of a profile's key: equal for machines that give the same answers."""

    architecture: str | None = None
    """As the kernel names it: "x86_64", "aarch64"."""
    vendor: str | None = None
    """As the CPU names it, such as "GenuineIntel"."""
    family: Amount | None = None
    """CPU family."""
    model: Amount | None = None
    """CPU model."""
    packages: Quantity | None = None
    """Sockets."""
    physical_cores: Quantity | None = None
    """Physical cores of the machine."""
    smt: Quantity | None = None
    """Hardware threads per physical core (the largest)."""
    numa_nodes: Quantity | None = None
    """NUMA nodes."""
    l2_bytes: Amount | None = None
    """Size of one L2 cache."""
    l3_bytes: Amount | None = None
    """Size of one L3 cache."""


class Machine(Record, kw_only=True):
    """This computer, before any limit on the process."""

    architecture: str | None = None
    vendor: str | None = None
    family: int | None = None
    model: int | None = None
    name: str | None = None
    """Marketing name of the CPU."""
    counts: Counts = Counts()
    """Of the online CPUs."""
    smt: int | None = None
    l2_bytes: int | None = None
    l3_bytes: int | None = None
    core_kinds: tuple[tuple[str, int], ...] = ()
    """(kind, logical CPUs) on hybrid machines; empty elsewhere."""
    offline_cpus: tuple[int, ...] = ()
    memory_bytes: int | None = None
    cpus: tuple[Cpu, ...] = ()
    """The online CPUs."""

    @property
    def hardware(self) -> Hardware:
        """The part of the machine that belongs to a profile's key."""
        return Hardware(
            architecture=self.architecture,
            vendor=self.vendor,
            family=self.family,
            model=self.model,
            packages=self.counts.packages,
            physical_cores=self.counts.physical_cores,
            smt=self.smt,
            numa_nodes=self.counts.numa_nodes,
            l2_bytes=self.l2_bytes,
            l3_bytes=self.l3_bytes,
        )


class Allocation(Record, kw_only=True):
    """The CPUs that this process may use."""

    usable_cpus: int
    """Threads that can run at once, at least 1: the number that everything else is clamped to."""
    limit: Limit = Limit.NONE
    affinity_cpus: int | None = None
    """CPUs in the affinity mask; None when a foreign machine is read."""
    quota_cpus: float | None = None
    """CPUs' worth of time that the tightest control group allows; None without a quota."""
    cap: int | None = None
    """The smallest cap on the job or container, such as AUTOTUNE_CPUS; None without one."""
    processes: int = 1
    """Processes that share the CPUs."""
    memory_bytes: int | None = None
    """Memory that this process may use: the machine's, or its control group's limit."""
    counts: Counts = Counts()
    """Of the CPUs that remain after affinity and cpusets. In a cpuset numa_nodes counts the nodes whose
    memory may be used, and a package or L3 group that holds a whole such node counts too."""
    cpus: tuple[int, ...] = ()
    """Their numbers."""

    @property
    def is_renumbered(self) -> bool:
        """Does the system list other CPUs than the process may use, as lxcfs does in a container?"""
        return self.affinity_cpus is not None and len(self.cpus) < self.affinity_cpus


def count(cpus: Iterable[Cpu], homes: Iterable[Sequence[Cpu]] | None = None) -> Counts:
    """Count the cores, packages and nodes of a set of CPUs; None for what no CPU of the set says.

    `homes` lists, for each NUMA node whose memory may be used, the CPUs of that node (none for a node of memory only).
    A package or L3 group that holds a whole such node belongs to what may be used, even without a CPU of the set:
    hwloc, the reference for this, keeps it as well. Without `homes` the nodes of the CPUs are counted.
    """
    chosen = tuple(cpus)
    nodes = None if homes is None else [*homes]
    return Counts(
        logical_cpus=len(chosen),
        physical_cores=len({cpu.core for cpu in chosen} - {None}) or None,
        packages=len(_group_ids("package", chosen, nodes or ())) or None,
        numa_nodes=len({cpu.node for cpu in chosen} - {None}) or None if nodes is None else len(nodes),
        l3_groups=len(_group_ids("l3", chosen, nodes or ())),
    )


def _group_ids(group: str, chosen: Iterable[Cpu], homes: Iterable[Sequence[Cpu]]) -> set[int]:
    """Return the packages or L3 groups that hold one of the chosen CPUs, or a whole NUMA node."""
    ids = {getattr(cpu, group) for cpu in chosen}
    for home in homes:
        held_by = {getattr(cpu, group) for cpu in home}
        if len(held_by) == 1:
            ids |= held_by
    return ids - {None}
