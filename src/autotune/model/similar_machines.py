"""Similarity of machines: by the keys of their profiles, or by the names of their classes alone. Pure.

Choices of similar machines are where an exploration begins; they are never applied because of similarity.
archspec's name of a microarchitecture is a label for what may be compiled: virtual machines that hide a flag get an
older one (EPYC as generic, archspec #63; Azure's Milan as zen2, archspec-json #38). So the numbers that the CPU
reports go before it.
"""

import re
from collections.abc import Callable, Iterable
from enum import IntEnum
from math import log

from autotune.model.profile import Key, Profile

Generations = Callable[[str | None, str | None], int | None]
"""Counts the steps between two microarchitectures; None if they are not related."""

_SLUG = re.compile(r"(?P<cpu>.+?)-(?P<cpus>[0-9]+)cpu(?:-(?P<blas>[a-z]+)[a-z0-9.-]*)?-[0-9a-f]{12}")


class Similarity(IntEnum):
    """Similarity of two machines, the most similar first."""

    SAME = 0
    """The same hardware, with any allocation and software."""
    CPU_MODEL = 1
    """The same vendor, family and model; other counts or caches."""
    MICROARCHITECTURE = 2
    """The same microarchitecture by archspec's name."""
    RELATED = 3
    """One microarchitecture descends from the other, or both from a third."""
    ARCHITECTURE = 4
    """The same instruction set, and nothing else in common."""
    NONE = 5


def similarity(
    profile: Profile,
    key: Key,
    microarchitecture: str | None = None,
    generations: Generations = lambda _first, _second: None,
) -> Similarity:
    """Compare the machine of a profile with that of a key, whose microarchitecture is given by name."""
    theirs, ours = profile.key.hardware, key.hardware
    if theirs == ours:
        return Similarity.SAME
    if theirs.architecture != ours.architecture or ours.architecture is None:
        return Similarity.NONE
    cpu = (ours.vendor, ours.family, ours.model)
    if None not in cpu and cpu == (theirs.vendor, theirs.family, theirs.model):
        return Similarity.CPU_MODEL
    steps = generations(profile.provenance.microarchitecture, microarchitecture)
    if steps is None:
        return Similarity.ARCHITECTURE
    return Similarity.MICROARCHITECTURE if steps == 0 else Similarity.RELATED


def rank_profiles(
    profiles: Iterable[Profile],
    key: Key,
    microarchitecture: str | None = None,
    generations: Generations = lambda _first, _second: None,
) -> list[Profile]:
    """Sort profiles by the similarity of their machines to that of a key, and leave out the dissimilar ones.

    Of equally similar ones, those of the same BLAS go first, then those with the nearest number of CPUs.
    """
    ranks = ((similarity(profile, key, microarchitecture, generations), profile) for profile in profiles)
    similar = [pair for pair in ranks if pair[0] is not Similarity.NONE]
    similar.sort(key=lambda pair: (pair[0], *_software_distance(pair[1].key, key)))
    return [profile for _, profile in similar]


def is_applicable(theirs: Key, ours: Key) -> bool:
    """Return whether some entry of a profile could be used: equal hardware and software, BLAS version aside."""
    names = ("blas", "kernels", "threading", "ilp64", "numpy", "python")
    return theirs.hardware == ours.hardware and all(
        getattr(theirs.software, name) == getattr(ours.software, name) for name in names
    )


def rank_classes(names: Iterable[str], key: Key) -> list[str]:
    """Sort names of classes (`Key.slug`) by similarity to a key's, which is left out, as are other names.

    The same CPU goes before others of its family and vendor, then the same BLAS, then the nearest number of CPUs.
    What a name says is checked against the key when a file of the class is read.
    """
    ours = _parse_class(key.slug)
    classes = {name: parsed for name in names if name != key.slug and (parsed := _parse_class(name))}
    if ours is None:
        return sorted(classes)
    return sorted(classes, key=lambda name: (_class_distance(ours, classes[name]), name))


def same_cpu_classes(names: Iterable[str], key: Key) -> list[str]:
    """Names of classes of the same CPU and BLAS, the nearest number of CPUs first; not the key's own."""
    ours = _parse_class(key.slug)
    ranked = ((name, _parse_class(name)) for name in rank_classes(names, key))
    return [name for name, parsed in ranked if ours and parsed and parsed[::2] == ours[::2]]


def _software_distance(theirs: Key, ours: Key) -> tuple[bool, float]:
    return theirs.software.blas != ours.software.blas, abs(log(theirs.usable_cpus / ours.usable_cpus))


def _parse_class(name: str) -> tuple[tuple[str, ...], int, str | None] | None:
    """Return vendor, family and model as far as they are known, the CPUs, and the BLAS of a class."""
    match = _SLUG.fullmatch(name)
    return match and (tuple(match["cpu"].split("-")), max(1, int(match["cpus"])), match["blas"])


def _class_distance(
    ours: tuple[tuple[str, ...], int, str | None], theirs: tuple[tuple[str, ...], int, str | None]
) -> tuple[int, bool, float]:
    common = 0
    while common < min(len(ours[0]), len(theirs[0])) and ours[0][common] == theirs[0][common]:
        common += 1
    return -common, ours[2] != theirs[2], abs(log(ours[1] / theirs[1]))
