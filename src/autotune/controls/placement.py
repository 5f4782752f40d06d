"""Which CPUs workers run on, by what the machine says of its cores, caches and memory.

Only threads and processes that work for us are moved, only within the CPUs that the caller may use, and a calling
thread that takes part is put back. Where the system cannot move a single thread (anything but Linux), or the
allowed CPUs have no such structure or too little room, workers run as without a placement.
"""

import os
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING

from autotune.errors import UnsupportedPlatform
from autotune.host.usable_cpus import affinity, pinned_from
from autotune.model.configuration import Placement

if TYPE_CHECKING:
    from autotune.model.machine import Cpu


def cpus_for(placement: Placement | None, workers: int) -> frozenset[int] | None:
    """Return the CPUs for `workers` of the calling thread; None to leave them where they are.

    Of several groups that have room it is the one that the caller runs in, where its data are likely to be. The
    first call of a process reads the machine's structure (some ms, more on large machines).
    """
    allowed = affinity()
    if placement is None or workers < 2 or allowed is None:
        return None
    return choose(placement, workers, [cpu for cpu in machine_cpus() if cpu.number in allowed], _getcpu()())


def choose(
    placement: Placement, workers: int, cpus: "Sequence[Cpu]", current: int | None = None
) -> frozenset[int] | None:
    """Return the group of these CPUs for `workers`; None if none has room for them.

    The one with the `current` CPU, else the largest, of equals the first. Pure.
    """
    roomy = [group for group in groups(placement, cpus) if len(group) >= workers]
    return max(roomy, key=lambda group: (current in group, len(group), -min(group)), default=None)


def groups(placement: Placement, cpus: "Iterable[Cpu]") -> list[frozenset[int]]:
    """Return the sets of these CPUs that a placement has to choose from.

    None where it would restrict nothing: one hardware thread a core, one group for all. CPUs of which the
    machine does not say where they belong are in no group. Pure.
    """
    by_group: dict[int, list[int]] = {}
    for cpu in cpus:
        own = {Placement.CORES: cpu.core, Placement.L3: cpu.l3, Placement.NODE: cpu.node}[placement]
        if own is not None:
            by_group.setdefault(own, []).append(cpu.number)
    if placement is not Placement.CORES:
        return [frozenset(group) for group in by_group.values()] if len(by_group) > 1 else []
    if all(len(threads) == 1 for threads in by_group.values()):
        return []
    return [frozenset(min(threads) for threads in by_group.values())]


def available_placements(cpus: "Collection[Cpu]") -> dict[str, int]:
    """Return the placements that these CPUs have a structure for, each with the most workers that it has room for.

    A NUMA node that is one L3 group, as the sockets of many machines are, is offered once. Pure.
    """
    sets_of = {placement: groups(placement, cpus) for placement in Placement}
    if set(sets_of[Placement.NODE]) == set(sets_of[Placement.L3]):
        del sets_of[Placement.NODE]
    room = {placement.value: max(map(len, sets), default=0) for placement, sets in sets_of.items()}
    return {name: workers for name, workers in room.items() if workers > 1}


class Placed:
    """Within a `with`, blocks that the calling thread hands out are done by workers placed so; None: as before."""

    __slots__ = ("_before", "_placement")

    def __init__(self, placement: Placement | None) -> None:
        self._placement = placement
        self._before: Placement | None = None

    def __enter__(self) -> None:
        self._before = _here.placement
        _here.placement = self._placement

    def __exit__(self, *_: object) -> None:
        _here.placement = self._before


def current(workers: int) -> frozenset[int] | None:
    """Return the CPUs for `workers` by the placement in force in this thread."""
    return cpus_for(_here.placement, workers)


def move(cpus: frozenset[int] | None) -> None:
    """Let the calling thread run on these CPUs only, and what it starts from now on; None: as it is.

    A refusal (a cpuset that has become smaller) leaves it where it is.
    """
    if cpus is not None:
        with suppress(OSError):
            os.sched_setaffinity(0, cpus)


def spread() -> None:
    """Let the calling thread run on all CPUs of the process, if an OpenMP library pinned the thread that started it."""
    move(pinned_from())


class Moved:
    """Within a `with`, the calling thread runs on these CPUs only; None leaves it alone. Costs 2 to 5 us."""

    __slots__ = ("_before", "_cpus")

    def __init__(self, cpus: frozenset[int] | None) -> None:
        self._cpus = cpus
        self._before: frozenset[int] | None = None

    def __enter__(self) -> None:
        if self._cpus is not None:
            self._before = frozenset(os.sched_getaffinity(0))
            move(self._cpus)

    def __exit__(self, *_: object) -> None:
        move(self._before)


@cache
def machine_cpus() -> "tuple[Cpu, ...]":
    """Return the CPUs of this computer, whose structure is read once."""
    from autotune.host.detect import detect

    return detect()[0].cpus


@cache
def _getcpu() -> Callable[[], int | None]:
    """Return the function that tells on which CPU the calling thread runs at this moment; None where it cannot."""
    import ctypes

    with suppress(OSError, AttributeError):
        getcpu: Callable[[], int] = ctypes.CDLL(None).sched_getcpu
        return getcpu
    return lambda: None


class _Here(threading.local):
    placement: Placement | None = None


_here = _Here()


@contextmanager
def hold_to(cpus: Collection[int] | None) -> Iterator[None]:
    """Hold the calling thread, and all that it starts in the `with`, to these CPUs; None: leave it as it is.

    Scope of effect: this thread, and threads and processes begun in the `with`. Threads that are there already,
    those of a BLAS library among them, stay where they are. Raises UnsupportedPlatform where the system cannot do
    it, or does not allow these CPUs.
    """
    if cpus is None:
        yield
        return
    if not hasattr(os, "sched_setaffinity"):
        raise UnsupportedPlatform("This system cannot hold a process to some of its CPUs; leave --cpus out.")
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, cpus)
    except OSError as error:
        named = ", ".join(map(str, sorted(cpus)))
        raise UnsupportedPlatform(
            f"This process may not be held to the CPUs {named}: {error.strerror or error}."
        ) from error
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
