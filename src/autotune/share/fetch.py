"""Reads one class of a store: lists it, fetches what is new, and says of every file why it is not believed."""

from collections import Counter
from collections.abc import Container, Iterable
from dataclasses import dataclass
from pathlib import Path
from time import time

from autotune.errors import ProfileError
from autotune.model.profile import Key
from autotune.profiles.yaml_subset import MAX_BYTES
from autotune.share.cache import Copies
from autotune.share.publication import (
    Publication,
    decode,
    is_publication,
    publisher,
    signature_name,
    signed_by,
)
from autotune.share.signing_keys import MAX_SIGNATURE_BYTES
from autotune.share.store import Content, Item, Store, reason
from autotune.share.trust import Policy, Trust

MAX_FILES = 4096
"""Of one class. A thousand hosts of one kind, with signatures and some history."""
MAX_CLASS_BYTES = 128 * 2**20
"""Of one class together: what a hostile store can have a node read."""
LISTINGS = 3
"""A class is listed again, so often at most, if files vanished before they were read."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A file that is not used."""

    folder: str
    name: str
    reason: str
    """A sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What became of a class."""

    folder: str
    publications: tuple[Publication, ...] = ()
    refused: tuple[Refused, ...] = ()

    def of(self, key: Key) -> "Reading":
        """Those for this key only. Two keys can have one name: it ends with 48 bits of a hash."""
        others = [one for one in self.publications if one.profile.key != key]
        told = "it is for another class whose name is the same."
        return Reading(
            folder=self.folder,
            publications=tuple(one for one in self.publications if one.profile.key == key),
            refused=(*self.refused, *(Refused(self.folder, one.name, told) for one in others)),
        )


def read_class(
    store: Store,
    folder: str,
    policy: Policy,
    *,
    copies: Path | None = None,
    most: int = MAX_FILES,
    now: float | None = None,
) -> Reading:
    """Everything in a class that is believed, in the order of names; at most so many files.

    `copies` is a folder for local copies of this class. Raises StoreProblem if the class cannot be listed; a
    file that cannot be read, or vanished since it was listed, is left out or refused with a reason.
    """
    kept = None if copies is None else Copies(copies)
    known: dict[str, bytes] = {}
    contents: dict[str, Content] = {}
    refused: list[Refused] = []
    for _ in range(LISTINGS):
        items = store.items(folder)
        if kept is not None:
            kept.believe([item.name for item in items], time() if now is None else now)
            known = {name: data for name in kept.names() if (data := kept.read(name)) is not None}
        contents = {name: Content(data) for name, data in known.items()} | contents
        wanted, refused = _wanted(items, folder, policy, most)
        vanished = False
        for name, found in store.read(
            folder, [one for one in wanted if one not in contents], MAX_BYTES
        ).items():
            if isinstance(found, Content):
                contents[name] = found
            elif isinstance(found, FileNotFoundError):
                vanished = True  # its publisher has a newer one, which a newer listing shows
            else:
                refused.append(Refused(folder, name, f"it cannot be read: {reason(found)}."))
        if not vanished:
            break
    publications: list[Publication] = []
    for name in sorted(filter(is_publication, contents)):
        signatures = _signatures(name, contents, policy)
        try:
            one = _believed(name, contents[name], policy, signatures, copied=name in known)
        except ProfileError as problem:
            refused.append(Refused(folder, name, problem.reason))
            if kept is not None:
                kept.drop([name, *(signature_name(name, key) for key in signatures)])
            continue
        publications.append(one)
        if kept is not None:
            for each in (name, *(signature_name(name, key) for key in signatures)):
                if each not in known:
                    kept.keep(each, contents[each].data)
    believed = {one.name for one in publications}  # copies may speak for what this listing lacks
    return Reading(
        folder=folder,
        publications=tuple(publications),
        refused=tuple(one for one in refused if one.name not in believed),
    )


def _believed(
    name: str, content: Content, policy: Policy, signatures: dict[str, bytes], *, copied: bool
) -> Publication:
    """The publication in a file. A copy was made of a file whose owner was trusted, or not at all."""
    one = decode(name, content.data)
    signer = policy.signer(content.data, signatures)
    told = policy.refusal(content, signer, signatures=len(signatures))
    if told is not None and not (copied and policy.trust is Trust.OWNER):
        raise ProfileError(told)
    return Publication(name=one.name, profile=one.profile, signer=signer)


def _wanted(items: Iterable[Item], folder: str, policy: Policy, most: int) -> tuple[list[str], list[Refused]]:
    """Names of what to read: publications, and those signatures whose keys are trusted.

    What a trusted key may have signed comes first, and then every publisher's first file before anybody's
    second, so that whoever floods a class pushes nobody out who signs, and nobody else alone.
    """
    refused: list[Refused] = []
    sizes: dict[str, int] = {}
    signatures: dict[str, list[str]] = {}
    for item in sorted(items):
        signed = signed_by(item.name)
        if is_publication(item.name):
            sizes[item.name] = item.size or 0
        elif signed is not None:
            if signed[1] in policy.key_ids and (item.size or 0) <= MAX_SIGNATURE_BYTES:
                signatures.setdefault(signed[0], []).append(item.name)
        elif not item.name.startswith("."):  # as a writer's temporary file does
            refused.append(Refused(folder, item.name, "its name is not that of a publication."))
    wanted: list[str] = []
    taken = total = 0
    for name in _in_turn(sizes, signatures):
        told = policy.unread(signatures=len(signatures.get(name, ())))
        if told is None and sizes[name] > MAX_BYTES:
            told = f"it is larger than {MAX_BYTES // 2**20} MiB, the most that a store may hold."
        if told is None and (taken >= most or total + sizes[name] > MAX_CLASS_BYTES):
            told = "the class holds more than is read of one; `autotune prune` makes room."
        if told is None:
            wanted += [name, *signatures.get(name, ())]
            taken, total = taken + 1, total + sizes[name]
        else:
            refused.append(Refused(folder, name, told))
    return wanted, refused


def _in_turn(names: Iterable[str], signatures: Container[str]) -> list[str]:
    """Publications in the order in which they are read, should there be too many."""
    turns: Counter[str | None] = Counter()
    order = []
    for name in sorted(names):
        order.append((name not in signatures, turns[publisher(name)], name))
        turns[publisher(name)] += 1
    return [name for *_, name in sorted(order)]


def _signatures(name: str, contents: dict[str, Content], policy: Policy) -> dict[str, bytes]:
    """By the names of their keys, those of trusted keys."""
    beside = ((key, contents.get(signature_name(name, key))) for key in policy.key_ids)
    return {key: content.data for key, content in beside if content is not None}
