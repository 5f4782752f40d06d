"""Names and ancestry of microarchitectures, from archspec."""

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
    lines = [_ancestors(TARGETS[first]), _ancestors(TARGETS[second])]
    common = lines[0].keys() & lines[1].keys()
    return min((lines[0][name] + lines[1][name] for name in common), default=None)


def _ancestors(target: "Microarchitecture") -> dict[str, int]:
    """Return the steps to each real microarchitecture among a target and its ancestors."""
    steps = {target.name: 0} if target.vendor != "generic" else {}
    front = [target]
    for step in range(1, 64):
        front = [parent for child in front for parent in child.parents]
        for parent in front:
            if parent.vendor != "generic":
                steps.setdefault(parent.name, step)
        if not front:
            break
    return steps
