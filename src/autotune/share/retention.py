"""Removes from a store what nobody needs, and lists what is in it."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from autotune.share.fetch import read_class
from autotune.share.publication import (
    CLASS,
    Publication,
    created,
    is_publication,
    publisher,
    signed_by,
    supersedes,
)
from autotune.share.store import Item, Store
from autotune.share.trust import Policy

LEFTOVER_SECONDS = 86_400
"""Age of a temporary file whose writer is surely gone, whatever the clocks of two hosts say."""
_LEFTOVER = re.compile(r"\.(?P<epoch>[0-9]{1,12})-.*\.tmp")


@dataclass(frozen=True, slots=True)
class Class:
    """A class in a store."""

    folder: str
    hosts: tuple[str, ...]
    """Who published."""
    publications: int
    signatures: int


@dataclass(frozen=True, slots=True)
class Pruned:
    """A file that is to be removed."""

    folder: str
    name: str
    reason: str


def classes(store: Store) -> list[Class]:
    """Every class of a store, by what the names of its files say. Raises StoreProblem."""
    found = []
    for folder in sorted(filter(CLASS.fullmatch, store.folders())):
        names = [item.name for item in store.items(folder)]
        hosts = {host for name in names if (host := publisher(name))}
        signatures = sum(signed_by(name) is not None for name in names)
        found.append(Class(folder, tuple(sorted(hosts)), sum(map(is_publication, names)), signatures))
    return found


def prunable(
    store: Store,
    policy: Policy,
    *,
    folders: Iterable[str] = (),
    hosts: Iterable[str] = (),
    older: timedelta | None = None,
    now: datetime | None = None,
) -> Iterator[Pruned]:
    """What may go: what a later publication of the same host covers, signatures of nothing, what writers left.

    Only what `policy` believes may cover anything: otherwise whoever posed as a host could have its files removed.
    With `hosts` also everything that these published; with `older` also what was measured longer ago, by the
    publishers' own clocks. Looks at all classes unless `folders` names some. What cannot be understood stays:
    a newer autotune may. Raises StoreProblem.
    """
    moment = now or datetime.now(UTC)
    for folder in sorted(folders or filter(CLASS.fullmatch, store.folders())):
        items = store.items(folder)
        reading = read_class(store, folder, policy, most=len(items))
        reasons = dict(_reasons(reading.publications, set(hosts), older, moment))
        reasons |= {item.name: "this host is to go." for item in items if publisher(item.name) in set(hosts)}
        yield from (Pruned(folder, name, told) for name, told in sorted(reasons.items()))
        yield from _orphans(folder, items, reasons, moment)


def _reasons(
    publications: Iterable[Publication], hosts: set[str], older: timedelta | None, now: datetime
) -> Iterator[tuple[str, str]]:
    """Publications that may go, each with its reason."""
    everyone = list(publications)
    stamp = now.isoformat(timespec="seconds")
    oldest = None if older is None else (now - older).isoformat(timespec="seconds")
    for one in everyone:
        mine = (other for other in everyone if other.host == one.host and other is not one)
        latest = max((created(one.profile, entry) for entry in one.profile.entries), default="")
        if one.host in hosts:
            yield one.name, "this host is to go."
        elif oldest is not None and latest < oldest:
            yield one.name, f"it was measured {latest or 'at an unknown time'}."
        elif any(supersedes(other.profile, one.profile, stamp) for other in mine):
            yield one.name, "a later publication of the same host covers it."


def _orphans(folder: str, items: Iterable[Item], going: Iterable[str], now: datetime) -> Iterator[Pruned]:
    names = {item.name for item in items}
    staying = names - set(going)
    for name in sorted(names):
        signed = signed_by(name)
        leftover = _LEFTOVER.fullmatch(name)
        if signed is not None and signed[0] not in staying:
            yield Pruned(folder, name, "what it signed is not there.")
        elif leftover is not None and now.timestamp() - int(leftover["epoch"]) > LEFTOVER_SECONDS:
            yield Pruned(folder, name, "a writer left it.")
