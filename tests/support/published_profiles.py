"""Publications of hosts of one class, made by hand."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from autotune.model.entry import Entry
from autotune.model.profile import Key, Profile
from autotune.share.publication import encode
from autotune.share.store import Store
from autotune.share.store_settings import open_store
from support.profile_builders import KEY, make_entry, profile


def said(host: str, *entries: Entry, created: str = "2026-01-02T03:04:05+00:00", key: Key = KEY) -> Profile:
    """A host's profile: without entries, one QR that is faster with one thread."""
    made = profile(*(entries or [qr()]), key=key, host=host)
    return replace(made, provenance=replace(made.provenance, created=created))


def qr(threads: int = 1, n: int = 100, **more: Any) -> Entry:
    """An entry for QR; with no threads the default is kept."""
    return make_entry("qr", choice={"blas_threads": threads} if threads else None, m=n, n=n, **more)


def put(root: Path, made: Profile, *, name: str | None = None, data: bytes | None = None) -> Path:
    """A file as a publisher leaves it, with another name or content if so wished."""
    own, content = encode(made)
    folder = root / "v1" / made.key.slug
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (name or own)
    path.write_bytes(content if data is None else data)
    path.chmod(0o644)
    return path


def store_at(root: Path) -> Store:
    """The store in a folder, which is made."""
    root.mkdir(exist_ok=True, parents=True)
    return open_store(str(root))
