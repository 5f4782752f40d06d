"""The hardware that decides the answer, and the part of it that this process may use."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from math import ceil


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpu:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many of each a set of CPUs holds; None where the machine does not say."""

    logical_cpus: int | None = None
    physical_cores: int | None = None
    packages: int | None = None
    numa_nodes: int | None = None
    l3_groups: int | None = None
    """0 where the machine says that there is no L3."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """The hardware part of a profile's key: equal for machines that give the same answers."""

    architecture: str | None = None
    """As the kernel names it: "x86_64", "aarch64"."""
    vendor: str | None = None
    family: int | None = None
    model: int | None = None
    packages: int | None = None
    physical_cores: int | None = None
    smt: int | None = None
    """Hardware threads per physical core (the largest)."""
    numa_nodes: int | None = None
    l2_bytes: int | None = None
    """Of one L2 cache."""
    l3_bytes: int | None = None
    """Of one L3 cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """This computer, before any limit on the process."""

    architecture: str | None = None
    vendor: str | None = None
    family: int | None = None
    model: int | None = None
    name: str | None = None
    """Marketing name of the CPU."""
    counts: Counts = field(default_factory=Counts)
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


class Limit(StrEnum):
    """What makes the allocation smaller than the machine; the tightest one names it."""

    NONE = "none"
    AFFINITY = "affinity"
    QUOTA = "quota"
    CAP = "cap"
    SHARED = "shared"


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """The CPUs that this process may use."""

    usable_cpus: int
    """Threads that can run at once, at least 1: the number that everything else is clamped to."""
    limit: Limit = Limit.NONE
    affinity_cpus: int | None = None
    """CPUs in the affinity mask; None when a foreign machine is read."""
    quota_cpus: float | None = None
    """CPUs' worth of time that the tightest control group allows; None without a quota."""
    cap: int | None = None
    """The user's AUTOTUNE_CPUS."""
    processes: int = 1
    """Processes that share the CPUs."""
    memory_bytes: int | None = None
    """Memory that this process may use: the machine's, or its control group's limit."""
    counts: Counts = field(default_factory=Counts)
    """Of the CPUs that remain after affinity and cpusets."""
    cpus: tuple[int, ...] = ()
    """Their numbers."""


def allocate(
    *,
    allowed_cpus: int,
    online_cpus: int,
    quota_cpus: float | None = None,
    cap: int | None = None,
    processes: int = 1,
) -> tuple[int, Limit]:
    """How many CPUs one process may keep busy, and which limit says so.

    A quota is rounded up: with 1.5 CPUs' worth of time two threads still finish sooner than one.
    """
    usable, limit = (allowed_cpus, Limit.AFFINITY if allowed_cpus < online_cpus else Limit.NONE)
    if quota_cpus is not None and ceil(quota_cpus) < usable:
        usable, limit = ceil(quota_cpus), Limit.QUOTA
    if cap is not None and cap < usable:
        usable, limit = cap, Limit.CAP
    if processes > 1:
        usable, limit = usable // processes, Limit.SHARED
    return max(1, usable), limit


def count(cpus: Iterable[Cpu]) -> Counts:
    """Counts of a set of CPUs; None for what no CPU of the set says."""
    chosen = tuple(cpus)
    return Counts(
        logical_cpus=len(chosen),
        physical_cores=_distinct(cpu.core for cpu in chosen),
        packages=_distinct(cpu.package for cpu in chosen),
        numa_nodes=_distinct(cpu.node for cpu in chosen),
        l3_groups=len({cpu.l3 for cpu in chosen if cpu.l3 is not None}),
    )


def _distinct(values: Iterable[int | None]) -> int | None:
    known = {value for value in values if value is not None}
    return len(known) or None
