"""Gives a profile to a store."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from autotune.errors import ProfileError, StoreProblem
from autotune.model.profile import Profile
from autotune.profiles.yaml_subset import MAX_BYTES
from autotune.share import signing_keys
from autotune.share.publication import decode, encode, publisher, signature_name, signed_by, supersedes
from autotune.share.store import Content, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A profile that a store has."""

    folder: str
    """Its class."""
    name: str
    new: bool
    """False if the store had these very bytes."""
    signer: str | None = None
    """Name of the key that signed it."""
    replaced: tuple[str, ...] = ()
    """Earlier publications of this host that said nothing more, and were removed."""


def publish(profile: Profile, store: Store, *, key: Any = None) -> Published:
    """Put a profile into the store, for every host of its class.

    `key` is a private key to sign with. The signature goes first, so nobody sees the profile without it.
    Earlier publications of the same host are removed where this one has a later word on everything in them;
    where the store does not let us, they stay and do no harm. Raises ProfileError for a profile that cannot be
    published, StoreProblem if the store does not take it; nothing is lost then, and trying again is harmless.
    """
    name, data = encode(profile)
    folder = profile.key.slug
    signer = None
    if key is not None:
        signer = signing_keys.key_id(signing_keys.public_text(key))
        _put(store, folder, signature_name(name, signer), signing_keys.sign(data, key))
    new = _put(store, folder, name, data)
    return Published(
        folder=folder, name=name, new=new, signer=signer, replaced=_tidied(store, folder, name, profile)
    )


def _put(store: Store, folder: str, name: str, data: bytes) -> bool:
    """Add a file; False if these very bytes are there. Something else in its place was put there to be in the way."""
    if store.add(folder, name, data):
        return True
    if _holds(store, folder, name, data):
        return False
    store.remove(folder, name)
    if store.add(folder, name, data) or _holds(store, folder, name, data):
        return True
    raise StoreProblem(store.address, f"has something else in the place of {name}, and keeps it")


def _holds(store: Store, folder: str, name: str, data: bytes) -> bool:
    found = store.read(folder, [name], MAX_BYTES)[name]
    return isinstance(found, Content) and found.data == data


def _tidied(store: Store, folder: str, name: str, profile: Profile) -> tuple[str, ...]:
    """Remove this host's publications that say nothing more, as far as the store lets us."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    removed = []
    try:
        there = [item.name for item in store.items(folder)]
        mine = [one for one in there if publisher(one) == publisher(name) and one != name]
        for one, content in store.read(folder, mine, MAX_BYTES).items():
            if not isinstance(content, Content) or not _superseded(one, content.data, profile, now):
                continue
            store.remove(folder, one)
            removed.append(one)
            for other in there:
                signed = signed_by(other)
                if signed is not None and signed[0] == one:
                    store.remove(folder, other)
    except StoreProblem:  # a store that takes new files only, or is away by now: the profile is there
        pass
    return tuple(removed)


def _superseded(name: str, data: bytes, profile: Profile, now: str) -> bool:
    try:
        return supersedes(profile, decode(name, data).profile, now)
    except ProfileError:
        return False  # not ours to judge; `autotune prune` shows it
