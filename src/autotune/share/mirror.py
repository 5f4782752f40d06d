"""Brings what a store holds for this machine to where its programs look: the mirror.

Programs read local files only. One class is listed and merged; so are a few classes of the same CPU, since
another patch of the BLAS, or another number of CPUs, is of some use too. Nothing is locked.
"""

import zlib
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import time

from autotune.errors import ProfileError, StoreProblem
from autotune.model.entry import Entry
from autotune.model.profile import Key, Profile
from autotune.profiles import profile_files
from autotune.profiles.folders import cache_dir, cluster_profiles
from autotune.profiles.schema import profile_of
from autotune.profiles.yaml_subset import parse
from autotune.profiles.yaml_writer import text_of
from autotune.share import similar_classes
from autotune.share.fetch import Reading, Refused, read_class
from autotune.share.merge import elected, votes
from autotune.share.publication import CLASS, decided
from autotune.share.store import Store
from autotune.share.trust import Policy

SIBLINGS = 3
"""Classes of the same CPU, beside this machine's own."""
RELATIVES = 3
"""Classes that are looked at for a warm start."""
LEFTOVER_SECONDS = 3600.0
"""Age of a temporary file in the mirror whose writer is surely gone."""
RELATIVE_HOSTS = 2
"""Publications of each of them: what is tried first needs no vote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirrored:
    """What the mirror says of a class."""

    key: Key
    path: Path
    publications: int
    hosts: int
    entries: int
    confirmed: int
    """Decided entries that two hosts, or a trusted signer, confirm."""
    contested: int
    changed: bool
    """False if the mirror said the same before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """What came of a pull."""

    store: str
    """Its address, without what is secret in it."""
    mirrored: tuple[Mirrored, ...] = ()
    """This machine's own class first, if the store has it."""
    refused: tuple[Refused, ...] = ()
    removed: tuple[Path, ...] = ()
    """Files of the mirror that nothing in the store stands for any more."""


def pull(store: Store, policy: Policy, here: Key, *, fresh: bool = False, now: float | None = None) -> Pulled:
    """Mirror what this machine can use of a store.

    `fresh` forgets the local copies first, so that what was withdrawn from the store is gone at once. Scope of
    effect: writes the mirror and its copies. Raises StoreProblem if the store is away, or this machine's own class
    cannot be listed; the mirror then stays as it was, and so does what it says of another class that cannot be.
    Raises OSError if the mirror cannot be written.
    """
    folders = [one for one in store.folders() if CLASS.fullmatch(one)]
    copies = _copies(store, policy)
    if fresh:
        _forget(copies)
    if not folders and copies.is_dir():
        raise StoreProblem(store.address, "is empty, and was not before; it may not be mounted")
    wanted = [here.slug, *similar_classes.siblings(folders, here, SIBLINGS)]
    mirror = cluster_profiles()
    readings, found = [], []
    refused: list[Refused] = []
    kept: set[Path] = set()
    for folder in wanted:
        if folder not in folders and not (copies / folder).is_dir():
            continue
        try:
            readings.append(read_class(store, folder, policy, copies=copies / folder, now=now))
        except StoreProblem as problem:  # who may write to a store may make a folder that nobody can read
            if folder == here.slug:
                raise
            refused.append(Refused(folder, "", str(problem)))
            kept.add(mirror / f"{folder}.yaml")
    for reading in readings:
        key = _key_of(reading, here)
        mine = reading if key is None else reading.of(key)
        refused += mine.refused
        if key is not None and mine.publications:
            found.append(_mirrored(mine, key, mirror))
    kept |= {one.path for one in found}
    return Pulled(
        store=store.address,
        mirrored=tuple(found),
        refused=tuple(refused),
        removed=tuple(_swept(mirror, kept)),
    )


def relatives(store: Store, policy: Policy, here: Key) -> list[Profile]:
    """What the nearest classes proved, nearest first, this machine's own class among them: to be tried first.

    Reads a few publications of a few classes. Raises StoreProblem.
    """
    folders = [one for one in store.folders() if CLASS.fullmatch(one)]
    own = [here.slug] if here.slug in folders else []
    found: list[Profile] = []
    for folder in [*own, *similar_classes.relatives(folders, here, RELATIVES)]:
        reading = read_class(store, folder, policy, most=RELATIVE_HOSTS)
        found += [one.profile for one in reading.publications]
    return found


def _mirrored(reading: Reading, key: Key, mirror: Path) -> Mirrored:
    """Merge a class, and write it where programs look, unless it says what is there."""
    cpus = Counter(one.profile.provenance.cpu for one in reading.publications)
    cpu = max(cpus, key=lambda cpu: (cpus[cpu], str(cpu)))
    profile, text = _readable(elected(votes(reading.publications), key, cpu=cpu))
    path = mirror / f"{key.slug}.yaml"
    changed = not _says(path, text)
    if changed:
        mirror.mkdir(mode=0o755, parents=True, exist_ok=True)
        profile_files.replace(path, text)
    return Mirrored(
        key=key,
        path=path,
        publications=len(reading.publications),
        hosts=len({one.host for one in reading.publications}),
        entries=len(profile.entries),
        confirmed=sum(map(_confirmed, profile.entries)),
        contested=sum(one.contested for one in profile.entries),
        changed=changed,
    )


def _readable(profile: Profile) -> tuple[Profile, bytes]:
    """A profile that programs will read, and its text: the whole, or the half that is confirmed best, or of it half.

    Each publication is within the limits; together they may hold more than one file may, which programs refuse.
    """
    while True:
        text = text_of(profile).encode()
        try:
            profile_of(parse(text))
        except ProfileError:
            if not profile.entries:
                raise
            ranked = sorted(profile.entries, key=lambda one: (not _confirmed(one), -(one.hosts or 0)))
            profile = replace(profile, entries=tuple(ranked[: len(ranked) // 2]))
        else:
            return profile, text


def _confirmed(entry: Entry) -> bool:
    """Do two hosts, or a trusted signer, stand behind a decided entry?"""
    return decided(entry) and not entry.contested and (entry.signer is not None or (entry.hosts or 0) > 1)


def _says(path: Path, text: bytes) -> bool:
    """Does a file say this, to the byte?"""
    try:
        return path.read_bytes() == text
    except OSError:
        return False


def _key_of(reading: Reading, here: Key) -> Key | None:
    """The key that a class's file in the mirror has: this machine's own, or a sibling's that it can use."""
    if reading.folder == here.slug:
        return here
    keys = Counter(one.profile.key for one in reading.publications)
    fitting = [key for key in keys if key.slug == reading.folder and similar_classes.usable(key, here)]
    return max(fitting, key=lambda key: (keys[key], repr(key)), default=None)


def _swept(mirror: Path, kept: Iterable[Path]) -> list[Path]:
    """Remove what the mirror says of classes that are no longer mirrored."""
    removed = []
    for path in set(mirror.glob("*.yaml")) - set(kept):
        with suppress(OSError):
            path.unlink()
            removed.append(path)
    for path in mirror.glob(".*.tmp"):  # of a pull that was killed
        with suppress(OSError):
            if time() - path.stat().st_mtime > LEFTOVER_SECONDS:
                path.unlink()
    return sorted(removed)


def _copies(store: Store, policy: Policy) -> Path:
    """Where copies lie: with another store, or another trust, others are believed."""
    made_for = (store.address, str(policy.trust), policy.keys, sorted(policy.owners))
    return Path(cache_dir()) / f"store-{zlib.crc32(repr(made_for).encode()):08x}"


def _forget(copies: Path) -> None:
    from shutil import rmtree

    rmtree(copies, ignore_errors=True)
