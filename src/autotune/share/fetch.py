"""Read one class of a store: list it, fetch the new files, and give a reason for each file that is rejected."""

from collections import Counter
from collections.abc import Collection, Container, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import time

from autotune.errors import ProfileError, UntrustedFile
from autotune.host.trusted_files import FileContent, FileRule, is_private, read_file, replace_file
from autotune.model.profile import Key
from autotune.profiles.yaml_subset import MAX_BYTES
from autotune.share.publication import (
    Publication,
    decode,
    digest_fits,
    is_publication,
    publisher,
    signature_name,
    signed_by,
)
from autotune.share.store import FlaggedFile, Store, StoredFile, cause
from autotune.share.trust import MAX_SIGNATURE_BYTES, TrustPolicy, TrustRule

MAX_FILES = 4096
"""Publications read of one class: a thousand hosts of one kind, with signatures and some history."""
MAX_CLASS_BYTES = 128 * 2**20
"""Bytes read of one class: the most that a hostile store can make a node read."""
LISTINGS = 3
"""Listings of a class, at most, if files vanish before they are read."""
GRACE_SECONDS = 600.0
"""Ten times the longest time that a client caches a directory, by the nfs(5) manual."""
_MISSING = ".gone"
"""Suffix of the file that holds the time since which listings lack a copy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassContents:
    """The accepted and the rejected files of a class."""

    folder: str
    publications: tuple[Publication, ...] = ()
    rejected: tuple[FlaggedFile, ...] = ()

    def for_key(self, key: Key) -> "ClassContents":
        """Keep the publications of this key. Two keys can share a folder: its name ends in 48 bits of a hash."""
        reason = "it is for another class whose name is the same."
        foreign = [FlaggedFile(self.folder, p.name, reason) for p in self.publications if p.profile.key != key]
        return ClassContents(
            folder=self.folder,
            publications=tuple(p for p in self.publications if p.profile.key == key),
            rejected=(*self.rejected, *foreign),
        )


def read_class(
    store: Store,
    folder: str,
    policy: TrustPolicy,
    *,
    copies: Path | None = None,
    most: int = MAX_FILES,
    now: float | None = None,
) -> ClassContents:
    """Read the trusted publications of a class, in the order of their names; at most `most` files.

    `copies` is a folder for local copies of this class. A file that cannot be read, or vanished since the listing, is
    rejected or left out. Raises StoreProblem if the class cannot be listed.
    """
    cache = None if copies is None else ClassCache(copies)
    copied: dict[str, FileContent] = {}
    contents: dict[str, FileContent] = {}
    rejected: list[FlaggedFile] = []
    for _ in range(LISTINGS):
        files = store.files(folder)
        if cache is not None:
            copied = cache.load({file.name for file in files}, time() if now is None else now)
        contents = copied | contents
        names, rejected = _select(files, folder, policy, most)
        answers = store.read(folder, [name for name in names if name not in contents], MAX_BYTES)
        contents |= {name: answer for name, answer in answers.items() if isinstance(answer, FileContent)}
        failures = {name: answer for name, answer in answers.items() if isinstance(answer, Exception)}
        rejected += [
            FlaggedFile(folder, name, f"it cannot be read: {cause(failure)}.")
            for name, failure in failures.items()
            if not isinstance(failure, FileNotFoundError)
        ]
        if not any(isinstance(failure, FileNotFoundError) for failure in failures.values()):
            break  # else its publisher replaced it by a newer one, which a new listing shows
    publications: list[Publication] = []
    for name in sorted(filter(is_publication, contents)):
        signed = ((key, contents.get(signature_name(name, key))) for key in policy.key_ids)
        signatures = {key: content.data for key, content in signed if content is not None}
        files_of_publication = [name, *(signature_name(name, key) for key in signatures)]
        try:
            publications.append(_accept(name, contents[name], policy, signatures, is_copy=name in copied))
        except ProfileError as problem:
            rejected.append(FlaggedFile(folder, name, problem.reason))
            if cache is not None:
                cache.drop(files_of_publication)
            continue
        if cache is not None:
            for file in files_of_publication:
                if file not in copied:
                    cache.keep(file, contents[file].data)
    accepted = {p.name for p in publications}  # a copy may stand for a file that this listing lacks
    return ClassContents(
        folder=folder,
        publications=tuple(publications),
        rejected=tuple(file for file in rejected if file.name not in accepted),
    )


class ClassCache:
    """Local copies of a class's files, so that each is fetched once. Losing them costs time only.

    Publications are immutable, so a copy whose bytes match the digest in its name is as good as the file. A file that a
    listing lacks may have been removed, or the listing may be incomplete: NFS shows a new name up to a minute late. Its
    copy stays in use until listings have lacked it for some minutes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, listed: Collection[str], now: float) -> dict[str, FileContent]:
        """Read the copies, none if other users can write to the folder; remove those that listings lack for long."""
        try:
            if not is_private(self._folder.stat()):
                return {}
            names = {path.name for path in self._folder.iterdir()}
        except OSError:
            return {}
        copies = {}
        for name in filter(lambda name: is_publication(name) or signed_by(name), names):
            mark = self._folder / (name + _MISSING)
            with suppress(OSError):
                if name in listed:
                    mark.unlink(missing_ok=True)
                elif (since := _read_time(mark)) is None:
                    mark.write_text(str(now), encoding="ascii")
                elif not 0 <= now - since < GRACE_SECONDS:
                    self.drop([name])
                    continue
            with suppress(OSError, UntrustedFile):
                data = read_file(self._folder / name, FileRule(MAX_BYTES)).data
                if digest_fits(name, data):
                    copies[name] = FileContent(data)
        return copies

    def keep(self, name: str, data: bytes) -> None:
        """Write a copy if the disk takes it. It is not synced: a torn copy does not match its name."""
        with suppress(OSError):  # a full disk
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(self._folder / name, data, 0o600, durable=False)

    def drop(self, names: Iterable[str]) -> None:
        for name in names:
            for path in (self._folder / name, self._folder / (name + _MISSING)):
                with suppress(OSError):
                    path.unlink(missing_ok=True)


def _read_time(mark: Path) -> float | None:
    """Time since which a copy is missing from listings; None if it is not, or if a power cut emptied the mark."""
    try:
        return float(mark.read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return None


def _accept(
    name: str, content: FileContent, policy: TrustPolicy, signatures: dict[str, bytes], *, is_copy: bool
) -> Publication:
    """Decode a publication and check trust. A copy's owner was trusted when it was made."""
    publication = decode(name, content.data)
    signer = policy.signer(content.data, signatures)
    refusal = policy.refusal(content, signer, signatures=len(signatures))
    if refusal is not None and not (is_copy and policy.rule is TrustRule.OWNER):
        raise ProfileError(refusal)
    return replace(publication, signer=signer)


def _select(
    files: Iterable[StoredFile], folder: str, policy: TrustPolicy, most: int
) -> tuple[list[str], list[FlaggedFile]]:
    """Choose the files to read: publications, and the signatures of trusted keys.

    Signed publications come first, then each publisher's first file before any publisher's second, so that a flood of
    files displaces no signed publication and no other publisher.
    """
    rejected: list[FlaggedFile] = []
    sizes: dict[str, int] = {}
    signatures: dict[str, list[str]] = {}
    for file in sorted(files):
        signed = signed_by(file.name)
        if is_publication(file.name):
            sizes[file.name] = file.size or 0
        elif signed is not None:
            if signed[1] in policy.key_ids and (file.size or 0) <= MAX_SIGNATURE_BYTES:
                signatures.setdefault(signed[0], []).append(file.name)
        elif not file.name.startswith("."):  # a writer's temporary file
            rejected.append(FlaggedFile(folder, file.name, "its name is not that of a publication."))
    names: list[str] = []
    count = total = 0
    for name in _reading_order(sizes, signatures):
        reason = policy.refusal_unread(signatures=len(signatures.get(name, ())))
        if reason is None and sizes[name] > MAX_BYTES:
            reason = f"it is larger than {MAX_BYTES // 2**20} MiB, the most that a store may hold."
        if reason is None and (count >= most or total + sizes[name] > MAX_CLASS_BYTES):
            reason = "the class holds more than is read of one; `autotune store prune` makes room."
        if reason is None:
            names += [name, *signatures.get(name, ())]
            count, total = count + 1, total + sizes[name]
        else:
            rejected.append(FlaggedFile(folder, name, reason))
    return names, rejected


def _reading_order(names: Iterable[str], signed: Container[str]) -> list[str]:
    """Sort publications: signed first, then by their place among their publisher's files."""
    places: Counter[str | None] = Counter()
    order = []
    for name in sorted(names):
        order.append((name not in signed, places[publisher(name)], name))
        places[publisher(name)] += 1
    return [name for *_, name in sorted(order)]
