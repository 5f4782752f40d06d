"""Environment of a calibration, as far as it decides what is tried; and the CPUs that stand for a smaller one. Pure."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from autotune.errors import UsageError
from autotune.model.catalogue import Kind
from autotune.model.configuration import Knob
from autotune.model.machine import Cpu
from autotune.model.units import count_of

ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The allocation, as far as search asks."""

    STRICT: ClassVar[bool] = True

    usable_cpus: int
    default_threads: int | None = None
    """BLAS threads of a fresh process with nothing set; None without a BLAS."""
    l2_bytes: int | None = None
    l3_bytes: int | None = None
    memory_bytes: int | None = None
    neighbours: int = 0
    """Busy processes that run next to the trials."""
    copies: int = 1
    """Of each trial that run at once."""
    placements: Mapping[str, int] = field(default_factory=dict)
    """Placements of workers, each with the most that it has room for; empty on a machine of one piece."""
    full_capacity: float | None = None
    """Best capacity that an earlier calibration of this machine saw."""

    def default_cpus(self, kind: Kind) -> int:
        """Return the CPUs that plain NumPy keeps busy in an operation of this kind, as far as its knobs say."""
        if Knob.OPENMP_THREADS in kind.knobs:
            return self.usable_cpus
        return (self.default_threads or 1) if Knob.BLAS_THREADS in kind.knobs else 1

    @property
    def background_load_text(self) -> str:
        """Describe the processes that run next to the trials; empty if there are none."""
        copies = f" in {self.copies} copies at once" if self.copies > 1 else ""
        busy = count_of(self.neighbours, "busy process", "busy processes")
        neighbours = f" next to {busy}" if self.neighbours else ""
        return f"Measured{copies}{neighbours}." if copies or neighbours else ""

    @property
    def has_background_load(self) -> bool:
        """Do processes of autotune itself run next to the trials, so that full capacity cannot be detected?"""
        return self.neighbours > 0 or self.copies > 1


def cpu_subsets(
    text: str, *, cpus: Iterable[Cpu], allowed: Collection[int], usable_cpus: int
) -> list[frozenset[int] | None]:
    """Parse a list such as `1,2,4,all` into sets of CPUs, largest first; None stands for all, as they are.

    What plain NumPy does with k CPUs is what it does under an affinity mask of k, so that is how a smaller
    allocation is measured; containers and batch systems give CPUs the same way. As many CPUs as there are
    anyway are all of them. Raises UsageError for what is no such list, and for more CPUs than may be used.
    """
    counts: set[int] = set()
    whole = False
    for word in text.replace(" ", "").split(","):
        if word == ALL:
            whole = True
        elif not (word.isascii() and word.isdigit()) or int(word) < 1:
            raise UsageError(f"--cpus {text!r} is not a list of numbers of CPUs, such as 1,2,4,all.")
        elif int(word) > usable_cpus:
            raise UsageError(f"--cpus {word}: only {usable_cpus} CPUs may be used here; leave it out.")
        elif int(word) == len(allowed):
            whole = True
        else:
            counts.add(int(word))
    order = spread(cpus, allowed)
    masks = [frozenset(order[:count]) for count in sorted(counts, reverse=True)]
    return [*([None] if whole else []), *masks]


def spread(cpus: Iterable[Cpu], allowed: Collection[int]) -> list[int]:
    """Return the allowed CPUs in the order in which a smaller allocation takes them.

    One hardware thread of each core before any second one, as the scheduler places busy threads; of the same
    package, node and L3 cache as long as there are some, as a batch system gives them.
    """
    by_number = {cpu.number: cpu for cpu in cpus if cpu.number in allowed}
    siblings: dict[int, int] = {}
    ranked: list[tuple[int, int, int, int, int]] = []
    for number in sorted(allowed):
        cpu = by_number.get(number, Cpu(number=number))
        core = number if cpu.core is None else cpu.core
        turn = siblings[core] = siblings.get(core, -1) + 1
        ranked.append((turn, cpu.package or 0, cpu.node or 0, cpu.l3 or 0, number))
    return [row[-1] for row in sorted(ranked)]
