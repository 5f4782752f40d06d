"""Copy the part of a store that this machine can use into the local mirror, which programs read.

One class is listed and merged, and a few classes of the same CPU: another patch of the BLAS, or another number of
CPUs, has uses too. Nothing is locked.
"""

import zlib
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import rmtree
from time import time

from autotune.errors import ProfileError, StoreProblem
from autotune.host.trusted_files import replace_file
from autotune.model.entry import Entry
from autotune.model.profile import Key, Profile
from autotune.model.similar_machines import is_applicable, rank_classes, same_cpu_classes
from autotune.profiles.folders import cache_dir, cluster_profiles
from autotune.profiles.profile_document import decode_profile
from autotune.profiles.yaml_subset import parse
from autotune.profiles.yaml_writer import text_of
from autotune.share.fetch import ClassContents, read_class
from autotune.share.merge import merge_publications, names_of_computers
from autotune.share.publication import CLASS, is_decided_by_measurement
from autotune.share.store import FlaggedFile, Store
from autotune.share.trust import TrustPolicy

SIBLINGS = 3
"""Classes of the same CPU that are mirrored besides this machine's own."""
RELATIVES = 3
"""Classes that are read for a warm start."""
RELATIVE_HOSTS = 2
"""Publications read of each relative: a warm start needs no vote."""
LEFTOVER_SECONDS = 3600.0
"""Age of a temporary file in the mirror whose writer has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MirroredClass:
    """A class in the mirror."""

    key: Key
    path: Path
    hosts: int
    entries: int
    decided: int
    confirmed: int
    """Decided entries that two hosts, or a trusted signer, confirm."""
    contested: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PullResult:
    """The mirror after a pull."""

    mirrored: tuple[MirroredClass, ...] = ()
    """This machine's own class first, if the store has it."""
    rejected: tuple[FlaggedFile, ...] = ()
    removed: tuple[Path, ...] = ()
    """Files of the mirror without a class in the store."""


def pull(store: Store, policy: TrustPolicy, own: Key, *, fresh: bool = False, now: float | None = None) -> PullResult:
    """Mirror the classes of a store that this machine can use.

    `fresh` removes the local copies first, so that withdrawn files are gone at once. Scope of effect: writes the
    mirror and its copies. Raises StoreProblem, with the mirror unchanged, if the store is unreachable or this machine's
    own class cannot be listed; another class that cannot be listed keeps its mirror. Raises OSError if the mirror
    cannot be written.
    """
    folders = [folder for folder in store.folders() if CLASS.fullmatch(folder)]
    copies = _copies(store, policy)
    if fresh:
        rmtree(copies, ignore_errors=True)
    if not folders and copies.is_dir():
        raise StoreProblem(store.address, "is empty, and was not before; it may not be mounted")
    mirror = cluster_profiles()
    mirrored: list[MirroredClass] = []
    rejected: list[FlaggedFile] = []
    kept: set[Path] = set()
    for folder in (own.slug, *same_cpu_classes(folders, own)[:SIBLINGS]):
        if folder not in folders and not (copies / folder).is_dir():
            continue
        try:
            contents = read_class(store, folder, policy, copies=copies / folder, now=now)
        except StoreProblem as problem:  # any writer of the store can make a folder unreadable
            if folder == own.slug:
                raise
            rejected.append(FlaggedFile(folder, "", str(problem)))
            kept.add(mirror / f"{folder}.yaml")
            continue
        key = _class_key(contents, own)
        contents = contents if key is None else contents.for_key(key)
        rejected += contents.rejected
        if key is not None and contents.publications:
            mirrored.append(_mirror(contents, key, mirror))
    kept |= {each.path for each in mirrored}
    return PullResult(mirrored=tuple(mirrored), rejected=tuple(rejected), removed=tuple(_remove_others(mirror, kept)))


def read_relatives(store: Store, policy: TrustPolicy, key: Key) -> list[Profile]:
    """Read some publications of this machine's class and of the nearest others, nearest first, for a warm start.

    Raises StoreProblem.
    """
    folders = [folder for folder in store.folders() if CLASS.fullmatch(folder)]
    own = [key.slug] if key.slug in folders else []
    profiles: list[Profile] = []
    for folder in [*own, *rank_classes(folders, key)[:RELATIVES]]:
        contents = read_class(store, folder, policy, most=RELATIVE_HOSTS)
        profiles += [publication.profile for publication in contents.publications]
    return profiles


def _mirror(contents: ClassContents, key: Key, mirror: Path) -> MirroredClass:
    """Merge a class and write it to the mirror, unless the mirror holds the same bytes."""
    profile, text = _readable(merge_publications(contents.publications, key))
    path = mirror / f"{key.slug}.yaml"
    if not path.is_file() or path.read_bytes() != text:
        mirror.mkdir(mode=0o755, parents=True, exist_ok=True)
        replace_file(path, text)
    return MirroredClass(
        key=key,
        path=path,
        hosts=len(set(names_of_computers(contents.publications).values())),
        entries=len(profile.entries),
        decided=sum(map(is_decided_by_measurement, profile.entries)),
        confirmed=sum(map(_is_confirmed, profile.entries)),
        contested=sum(entry.evidence.contested for entry in profile.entries),
    )


def _readable(profile: Profile) -> tuple[Profile, bytes]:
    """Return a profile within the limits of programs, and its text.

    Each publication is within the limits, but together they may exceed them; then the better confirmed half is kept,
    and of that again the better half.
    """
    while True:
        text = text_of(profile).encode()
        try:
            decode_profile(parse(text))
        except ProfileError:
            if not profile.entries:
                raise
            ranked = sorted(profile.entries, key=lambda entry: (not _is_confirmed(entry), -(entry.evidence.hosts or 0)))
            profile = replace(profile, entries=tuple(ranked[: len(ranked) // 2]))
        else:
            return profile, text


def _is_confirmed(entry: Entry) -> bool:
    """Is it decided and confirmed, and does no host disagree?"""
    return is_decided_by_measurement(entry) and entry.evidence.is_confirmed and not entry.evidence.contested


def _class_key(contents: ClassContents, own: Key) -> Key | None:
    """Return the key that a class has in the mirror: this machine's own, or a sibling's that it can use."""
    if contents.folder == own.slug:
        return own
    keys = Counter(publication.profile.key for publication in contents.publications)
    fitting = [key for key in keys if key.slug == contents.folder and is_applicable(key, own)]
    return max(fitting, key=lambda key: (keys[key], repr(key)), default=None)


def _remove_others(mirror: Path, kept: Iterable[Path]) -> list[Path]:
    """Remove the profiles of classes that are no longer mirrored, and temporary files of pulls that were killed."""
    removed = []
    for path in set(mirror.glob("*.yaml")) - set(kept):
        with suppress(OSError):
            path.unlink()
            removed.append(path)
    for path in mirror.glob(".*.tmp"):
        with suppress(OSError):
            if time() - path.stat().st_mtime > LEFTOVER_SECONDS:
                path.unlink()
    return sorted(removed)


def _copies(store: Store, policy: TrustPolicy) -> Path:
    """Return the folder of the local copies; another store or another policy accepts other files."""
    made_for = (store.address, str(policy.rule), policy.keys, sorted(policy.owners))
    return Path(cache_dir()) / f"store-{zlib.crc32(repr(made_for).encode()):08x}"
