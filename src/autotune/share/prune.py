"""List the classes of a store, and the files that can be removed from it."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from autotune.share.fetch import read_class
from autotune.share.publication import (
    CLASS,
    Publication,
    creation_time,
    is_publication,
    publisher,
    signed_by,
    supersedes,
)
from autotune.share.store import FlaggedFile, Store, StoredFile
from autotune.share.trust import TrustPolicy

LEFTOVER_SECONDS = 86_400
"""Age of a temporary file whose writer has ended, with a margin for clocks that differ."""
_LEFTOVER = re.compile(r"\.(?P<epoch>[0-9]{1,12})-.*\.tmp")


@dataclass(frozen=True, slots=True)
class StoredClass:
    """A class in a store."""

    folder: str
    hosts: tuple[str, ...]
    publications: int


def list_classes(store: Store) -> list[StoredClass]:
    """List every class of a store by the names of its files. Raises StoreProblem."""
    classes = []
    for folder in sorted(filter(CLASS.fullmatch, store.folders())):
        names = [file.name for file in store.files(folder)]
        hosts = {host for name in names if (host := publisher(name))}
        classes.append(StoredClass(folder, tuple(sorted(hosts)), sum(map(is_publication, names))))
    return classes


def removable_files(
    store: Store,
    policy: TrustPolicy,
    *,
    folders: Iterable[str] = (),
    hosts: Iterable[str] = (),
    older: timedelta | None = None,
    now: datetime | None = None,
) -> Iterator[FlaggedFile]:
    """Find superseded publications, signatures without their publication, and temporary files of ended writers.

    Only publications that `policy` trusts can supersede others: else a host's files could be removed by an impostor.
    With `hosts` also everything that these published; with `older` also what was measured longer ago, by the clocks of
    the publishers. Looks at all classes unless `folders` names some. A file that cannot be decoded stays: a newer
    version may read it. Raises StoreProblem.
    """
    moment = now or datetime.now(UTC)
    banned = set(hosts)
    for folder in sorted(folders or filter(CLASS.fullmatch, store.folders())):
        files = store.files(folder)
        contents = read_class(store, folder, policy, most=len(files))
        reasons = dict(_outdated_publications(contents.publications, older, moment))
        reasons |= {
            file.name: "--host names the host that published it." for file in files if publisher(file.name) in banned
        }
        yield from (FlaggedFile(folder, name, reason) for name, reason in sorted(reasons.items()))
        yield from _leftovers(folder, files, reasons, moment)


def _outdated_publications(
    publications: Sequence[Publication], older: timedelta | None, now: datetime
) -> Iterator[tuple[str, str]]:
    """Find publications that are too old or superseded, each with its reason."""
    stamp = now.isoformat(timespec="seconds")
    oldest = None if older is None else (now - older).isoformat(timespec="seconds")
    for publication in publications:
        siblings = (p for p in publications if p.host == publication.host and p is not publication)
        profile = publication.profile
        latest = max((creation_time(profile, entry) for entry in profile.entries), default="")
        if oldest is not None and latest < oldest:
            yield publication.name, f"it was measured {latest or 'at an unknown time'}."
        elif any(supersedes(sibling.profile, profile, stamp) for sibling in siblings):
            yield publication.name, "a later publication of the same host supersedes it."


def _leftovers(
    folder: str, files: Iterable[StoredFile], removed: Iterable[str], now: datetime
) -> Iterator[FlaggedFile]:
    names = {file.name for file in files}
    remaining = names - set(removed)
    for name in sorted(names):
        signed = signed_by(name)
        leftover = _LEFTOVER.fullmatch(name)
        if signed is not None and signed[0] not in remaining:
            yield FlaggedFile(folder, name, "the publication that it signed does not exist.")
        elif leftover is not None and now.timestamp() - int(leftover["epoch"]) > LEFTOVER_SECONDS:
            yield FlaggedFile(folder, name, "its writer ended before it was complete.")
