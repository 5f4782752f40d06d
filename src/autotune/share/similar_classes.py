"""Which classes of a store are near to this machine's, by their names alone. Pure.

A name says vendor, family, model, CPUs and BLAS; what it says is checked against the key when a file is read.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from math import log

from autotune.model.profile import Key

_SLUG = re.compile(r"(?P<cpu>.+?)-(?P<cpus>[0-9]+)cpu(?:-(?P<blas>[a-z]+)[a-z0-9.-]*)?-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class _Name:
    """What the name of a class says."""

    cpu: tuple[str, ...]
    """Vendor, family, model, as far as they are known."""
    cpus: int
    blas: str | None


def siblings(folders: Iterable[str], key: Key, most: int) -> list[str]:
    """Classes of the same CPU and BLAS, the nearest number of CPUs first; not the class itself."""
    mine = _name(key.slug)
    if mine is None:
        return []
    near = (
        folder
        for folder in _ranked(folders, key)
        if (name := _name(folder)) is not None and (name.cpu, name.blas) == (mine.cpu, mine.blas)
    )
    return list(islice(near, most))


def relatives(folders: Iterable[str], key: Key, most: int) -> list[str]:
    """The nearest classes: the same CPU before others of its family and vendor, then the number of CPUs."""
    return _ranked(folders, key)[:most]


def usable(theirs: Key, ours: Key) -> bool:
    """Could some entry of a profile speak here? Equal hardware and software, BLAS version and CPUs aside."""
    names = ("blas", "kernels", "threading", "ilp64", "numpy", "python")
    return theirs.hardware == ours.hardware and all(
        getattr(theirs.software, name) == getattr(ours.software, name) for name in names
    )


def _ranked(folders: Iterable[str], key: Key) -> list[str]:
    mine = _name(key.slug)
    names = ((folder, _name(folder)) for folder in folders if folder != key.slug)
    known = [(folder, name) for folder, name in names if name is not None]
    if mine is None:
        return sorted(folder for folder, _ in known)
    known.sort(key=lambda one: (_apart(mine, one[1]), one[0]))
    return [folder for folder, _ in known]


def _apart(mine: _Name, theirs: _Name) -> tuple[int, bool, float]:
    common = 0
    for one, other in zip(mine.cpu, theirs.cpu, strict=False):
        if one != other:
            break
        common += 1
    return -common, mine.blas != theirs.blas, abs(log(max(1, mine.cpus) / max(1, theirs.cpus)))


def _name(slug: str) -> _Name | None:
    matched = _SLUG.fullmatch(slug)
    if matched is None:
        return None
    return _Name(tuple(matched["cpu"].split("-")), int(matched["cpus"]), matched["blas"])
