"""Publish a profile to a store."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from autotune.errors import ProfileError, StoreProblem
from autotune.host.trusted_files import FileContent
from autotune.model.profile import Profile
from autotune.profiles.yaml_subset import MAX_BYTES
from autotune.share import trust
from autotune.share.publication import decode, encode, publisher, signature_name, signed_by, supersedes
from autotune.share.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishResult:
    """A profile that the store holds."""

    folder: str
    """Its class."""
    name: str
    new: bool
    """False if the store had these bytes before."""
    signer: str | None = None
    newly_signed: bool = False
    """True if the store did not have this signature before."""


def publish(profile: Profile, store: Store, *, key: Any = None) -> PublishResult:
    """Put a profile into the store, for every host of its class; `key` is a private key to sign with.

    The signature is written first, so that no reader sees the profile without it. Earlier publications of the same host
    that this one supersedes are removed as far as the store permits. Raises ProfileError for a profile that cannot be
    published, StoreProblem if the store does not take it; repeating the call is harmless.
    """
    name, data = encode(profile)
    folder = profile.key.slug
    signer, newly_signed = None, False
    if key is not None:
        signer = trust.key_id(trust.public_text(key))
        newly_signed = _put(store, folder, signature_name(name, signer), trust.sign(data, key))
    new = _put(store, folder, name, data)
    _remove_superseded(store, folder, name, profile)
    return PublishResult(folder=folder, name=name, new=new, signer=signer, newly_signed=newly_signed)


def _put(store: Store, folder: str, name: str, data: bytes) -> bool:
    """Add a file; False if these bytes exist. Other bytes under its name are removed, since they only block it."""
    if store.add(folder, name, data):
        return True
    if _holds(store, folder, name, data):
        return False
    store.remove(folder, name)
    if store.add(folder, name, data) or _holds(store, folder, name, data):
        return True
    raise StoreProblem(store.address, f"has something else in the place of {name}, and keeps it")


def _holds(store: Store, folder: str, name: str, data: bytes) -> bool:
    content = store.read(folder, [name], MAX_BYTES)[name]
    return isinstance(content, FileContent) and content.data == data


def _remove_superseded(store: Store, folder: str, name: str, profile: Profile) -> None:
    """Remove this host's publications that the new one supersedes, with their signatures."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    removed = []
    with suppress(StoreProblem):  # an append-only store, or one that is unreachable by now: the profile is published
        names = [file.name for file in store.files(folder)]
        earlier = [file for file in names if publisher(file) == publisher(name) and file != name]
        for old, content in store.read(folder, earlier, MAX_BYTES).items():
            if not isinstance(content, FileContent):
                continue
            with suppress(ProfileError):  # `autotune store prune` shows it
                if supersedes(profile, decode(old, content.data).profile, now):
                    store.remove(folder, old)
                    removed.append(old)
        for file in names:
            signed = signed_by(file)
            if signed is not None and signed[0] in removed:
                store.remove(folder, file)
