"""What one interpreter has: its key, and what is known for it. The clerk's answer, as nouns."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import exp, log
from typing import Any

from autotune.model.catalogue import CATALOGUE
from autotune.model.operation import Operation

OWN = frozenset({"explicit", "this-host", "same-class"})
"""Levels of what was measured, or confirmed, for exactly this machine, software and allocation."""
REFUSED = "refused"
"""The status of an entry that is not used here, though its profile fits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InventoryEntry:
    """An entry of a profile that fits."""

    operation: Operation
    status: str
    """As in the profile, or `refused`."""
    ratio: float | None
    level: str
    path: str
    undecided: str = ""
    """Why it tells nothing: a sentence; empty if it does."""
    contested: bool = False

    @property
    def own(self) -> bool:
        """Is it about exactly this machine, software and allocation?"""
        return self.level in OWN

    @property
    def settled(self) -> bool:
        """Is there nothing left to find out?"""
        return self.own and not (self.undecided or self.contested)


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What one interpreter has."""

    key: str
    """Digest of its key."""
    host: str
    facts: Mapping[str, Any]
    """The key's fields by their dotted names."""
    watch: tuple[str, ...]
    """Files and folders that change when its NumPy or BLAS does."""
    profile: str
    """Where the daemon puts what it finds for it."""
    created: str | None
    entries: tuple[InventoryEntry, ...]
    rules: Mapping[tuple[str, str], tuple[InventoryEntry, ...]] = field(init=False, repr=False, compare=False)
    """The entries by the operation and dtype that they are about: decisions ask for them at every tick."""
    ratios: Mapping[tuple[str, str], float] = field(init=False, repr=False, compare=False)
    """Geometric mean of the times over the default's that are known for an operation."""
    settled: frozenset[Operation] = field(init=False, repr=False, compare=False)
    """Operations at a size about which there is nothing left to find out."""

    def __post_init__(self) -> None:
        """Sort the entries, once."""
        rules: dict[tuple[str, str], list[InventoryEntry]] = {}
        for one in self.entries:
            rules.setdefault((one.operation.name, one.operation.dtype), []).append(one)
        object.__setattr__(self, "rules", {rule: tuple(entries) for rule, entries in rules.items()})
        known = {
            rule: [log(one.ratio) for one in entries if one.ratio and one.ratio > 0]
            for rule, entries in rules.items()
        }
        ratios = {rule: exp(sum(logs) / len(logs)) for rule, logs in known.items() if logs}
        object.__setattr__(self, "ratios", ratios)
        object.__setattr__(self, "settled", frozenset(one.operation for one in self.entries if one.settled))

    def of(self, name: str, dtype: str) -> tuple[InventoryEntry, ...]:
        """The entries of an operation."""
        return self.rules.get((name, dtype), ())


def survey(answer: bytes) -> Survey:
    """The clerk's answer. Raises ValueError with what it said instead."""
    document = json.loads(answer)
    if "problem" in document:
        raise ValueError(document["problem"])
    return Survey(
        key=document["key"],
        host=document["host"],
        facts=dict(document["facts"]),
        watch=tuple(document["watch"]),
        profile=document["profile"],
        created=document["created"],
        entries=tuple(one for one in map(_entry, document["entries"]) if _measurable(one.operation)),
    )


def _entry(row: list[Any]) -> InventoryEntry:
    name, dtype, sizes, status, ratio, undecided, level, path, contested = row
    return InventoryEntry(
        operation=Operation(name=name, dtype=dtype, sizes=tuple(sizes.items())),
        status=status,
        ratio=ratio,
        level=level,
        path=path,
        undecided=undecided,
        contested=contested,
    )


def _measurable(operation: Operation) -> bool:
    """Has it the sizes that the catalogue says? People write profiles, too. Users' functions are not in there."""
    row = CATALOGUE.get(operation.name)
    return row is None or operation.size.keys() == set(row.size_names)


def change(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """What is different: a sentence that names each field with both values, or None."""
    names = [name for name in now if before.get(name) != now[name]]
    if not names:
        return None
    said = (f"{name} was {_said(before.get(name))} and is {_said(now[name])}" for name in names)
    return f"{'; '.join(said)}."


def _said(value: Any) -> str:
    return "unknown" if value is None else str(value)
