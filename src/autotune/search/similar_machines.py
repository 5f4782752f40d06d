"""Which machines are nearest to this one. Their choices are where a search begins, and nothing more.

A name of archspec's is a label for what may be compiled: virtual machines that hide a flag get an older one
(EPYC as generic, archspec #63; Azure's Milan as zen2, archspec-json #38). So the numbers that the CPU reports go
before it, and no choice is ever applied because of it.
"""

from collections.abc import Iterable
from enum import IntEnum
from functools import cache
from typing import TYPE_CHECKING

from autotune.model.profile import Key, Profile

if TYPE_CHECKING:
    from archspec.cpu import Microarchitecture


class Kinship(IntEnum):
    """How near the machine of a profile is, nearest first."""

    SAME = 0
    """The same hardware, with whatever allocation and software."""
    SILICON = 1
    """The same vendor, family and model, put together otherwise."""
    MICROARCHITECTURE = 2
    """The same microarchitecture by archspec's name."""
    RELATED = 3
    """One comes from the other, or both from a third that is a real one, in archspec's graph."""
    ARCHITECTURE = 4
    """The same instruction set, and nothing else that is known."""
    NONE = 5


def ranked(profiles: Iterable[Profile], key: Key, microarchitecture: str | None = None) -> list[Profile]:
    """Profiles by kinship to the machine of `key`, nearest first; strangers are left out.

    Among equals, those of the same BLAS go first, then those whose number of CPUs is nearest.
    `microarchitecture` is archspec's name for this machine, that of a profile stands in its provenance.
    """
    known = [(kinship(one, key, microarchitecture), one) for one in profiles]
    kin = [pair for pair in known if pair[0] is not Kinship.NONE]
    return [one for _, one in sorted(kin, key=lambda pair: (pair[0], *_distance(pair[1].key, key)))]


def kinship(profile: Profile, key: Key, microarchitecture: str | None = None) -> Kinship:
    """How near the machine of a profile is to that of `key`."""
    theirs, ours = profile.key.hardware, key.hardware
    if theirs == ours:
        return Kinship.SAME
    if theirs.architecture != ours.architecture or ours.architecture is None:
        return Kinship.NONE
    silicon = (ours.vendor, ours.family, ours.model)
    if None not in silicon and silicon == (theirs.vendor, theirs.family, theirs.model):
        return Kinship.SILICON
    apart = generations(profile.provenance.microarchitecture, microarchitecture)
    if apart is None:
        return Kinship.ARCHITECTURE
    return Kinship.MICROARCHITECTURE if apart == 0 else Kinship.RELATED


def generations(one: str | None, other: str | None) -> int | None:
    """Steps between two microarchitectures in archspec's graph; None if they have no real one in common.

    Families such as x86_64_v3 stand for instruction sets, and make nobody relatives.
    """
    from archspec.cpu import TARGETS

    if one not in TARGETS or other not in TARGETS:
        return None
    lines = [_line(TARGETS[one]), _line(TARGETS[other])]
    common = lines[0].keys() & lines[1].keys()
    return min((lines[0][name] + lines[1][name] for name in common), default=None)


@cache
def microarchitecture() -> str | None:
    """The name that archspec has for the CPU of this machine; None if it knows no more than the instruction set."""
    from archspec.cpu import host

    found = host()
    return found.name if found.vendor != "generic" else None


def _line(target: "Microarchitecture") -> dict[str, int]:
    """A microarchitecture and its ancestors that are real ones, with the steps to each."""
    steps = {target.name: 0} if target.vendor != "generic" else {}
    front = [target]
    for step in range(1, 64):
        front = [parent for one in front for parent in one.parents]
        for parent in front:
            if parent.vendor != "generic":
                steps.setdefault(parent.name, step)
        if not front:
            break
    return steps


def _distance(theirs: Key, ours: Key) -> tuple[bool, float]:
    larger, smaller = sorted((theirs.usable_cpus, ours.usable_cpus), reverse=True)
    return theirs.software.blas != ours.software.blas, larger / smaller
