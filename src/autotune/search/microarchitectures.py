"""Names and ancestry of microarchitectures, from archspec."""

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from archspec.cpu import Microarchitecture


@cache
def host_microarchitecture() -> str | None:
    """Return archspec's name for this machine's CPU; None if it knows no more than the instruction set."""
    from archspec.cpu import host

    cpu = host()
    return cpu.name if cpu.vendor != "generic" else None


def generations(first: str | None, second: str | None) -> int | None:
    """Count the steps between two microarchitectures in archspec's graph; None without a common real ancestor.

    Families such as x86_64_v3 stand for instruction sets and relate no two machines.
    """
    from archspec.cpu import TARGETS

    if first not in TARGETS or second not in TARGETS:
        return None
    lines = [set(_ancestors(TARGETS[name])) for name in (first, second)]
    return min((left + right for name, left in lines[0] for other, right in lines[1] if name == other), default=None)


def _ancestors(target: "Microarchitecture", steps: int = 0) -> Iterator[tuple[str, int]]:
    """Yield each real microarchitecture among a target and its ancestors, with the steps to it on each way there."""
    if target.vendor != "generic":
        yield target.name, steps
    for parent in target.parents:
        yield from _ancestors(parent, steps + 1)
