"""Similarity of machines: by the keys of their profiles, or by the names of their classes alone. Pure.

Choices of similar machines are where an exploration begins; they are never applied because of similarity.
archspec's name of a microarchitecture is a label for what may be compiled: virtual machines that hide a flag get an
older one (EPYC as generic, archspec #63; Azure's Milan as zen2, archspec-json #38). So the numbers that the CPU
reports go before it.
"""

import re
from collections.abc import Callable, Iterable
from enum import IntEnum
from itertools import takewhile
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


def similarity(profile: Profile, key: Key, microarchitecture: str | None, generations: Generations) -> Similarity:
    """Compare the machine of a profile with that of a key, whose microarchitecture is given by name."""
    source, target = profile.key.hardware, key.hardware
    if source == target:
        return Similarity.SAME
    if source.architecture != target.architecture or target.architecture is None:
        return Similarity.NONE
    cpu = (target.vendor, target.family, target.model)
    if None not in cpu and cpu == (source.vendor, source.family, source.model):
        return Similarity.CPU_MODEL
    steps = generations(profile.provenance.microarchitecture, microarchitecture)
    if steps is None:
        return Similarity.ARCHITECTURE
    return Similarity.MICROARCHITECTURE if steps == 0 else Similarity.RELATED


def rank_profiles(
    profiles: Iterable[Profile], key: Key, microarchitecture: str | None, generations: Generations
) -> list[Profile]:
    """Sort profiles by the similarity of their machines to that of a key, and leave out the dissimilar ones.

    Of equally similar ones, those of the same BLAS go first, then those with the nearest number of CPUs.
    """
    ranks = [(similarity(profile, key, microarchitecture, generations), profile) for profile in profiles]

    def rank(pair: tuple[Similarity, Profile]) -> tuple[Similarity, bool, float]:
        other = pair[1].key
        return pair[0], other.software.blas != key.software.blas, abs(log(other.usable_cpus / key.usable_cpus))

    return [profile for grade, profile in sorted(ranks, key=rank) if grade is not Similarity.NONE]


def is_applicable(profile_key: Key, key: Key) -> bool:
    """Return whether some entry of a profile could be used: equal hardware and software, BLAS version aside."""
    software = profile_key.software.replace(blas_version=key.software.blas_version)
    return (profile_key.hardware, software) == (key.hardware, key.software)


def rank_classes(names: Iterable[str], key: Key) -> list[str]:
    """Sort names of classes (`Key.slug`) by similarity to a key's, which is left out, as are other names.

    The same CPU goes before others of its family and vendor, then the same BLAS, then the nearest number of CPUs.
    What a name says is checked against the key when a file of the class is read.
    """
    own = _parse_class(key.slug)
    classes = {name: parsed for name in names if name != key.slug and (parsed := _parse_class(name))}
    if own is None:
        return sorted(classes)
    return sorted(classes, key=lambda name: (_class_distance(own, classes[name]), name))


def same_cpu_classes(names: Iterable[str], key: Key) -> list[str]:
    """Return names of classes of the same CPU and BLAS, the nearest number of CPUs first; not the key's own."""
    own = _parse_class(key.slug)
    ranked = ((name, _parse_class(name)) for name in rank_classes(names, key))
    return [name for name, parsed in ranked if own and parsed and parsed[::2] == own[::2]]


def _parse_class(name: str) -> tuple[tuple[str, ...], int, str | None] | None:
    """Return vendor, family and model as far as they are known, the CPUs, and the BLAS of a class."""
    match = _SLUG.fullmatch(name)
    return match and (tuple(match["cpu"].split("-")), max(1, int(match["cpus"])), match["blas"])


def _class_distance(
    left: tuple[tuple[str, ...], int, str | None], right: tuple[tuple[str, ...], int, str | None]
) -> tuple[int, bool, float]:
    common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(left[0], right[0], strict=False)))
    return -common, left[2] != right[2], abs(log(left[1] / right[1]))
