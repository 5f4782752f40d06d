"""Which store, and whom to believe: $AUTOTUNE_STORE, the user's config.yaml, then the site's.

    store: s3://bucket/autotune
    trust: signed
    trusted_keys: [ed25519:...]
    trusted_owners: [tuner]

Each key is taken from the nearest file that has it.
"""

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autotune.errors import BadSettings, ProfileError
from autotune.profiles import value_checks
from autotune.profiles.folders import Layer, places
from autotune.profiles.yaml_subset import parse
from autotune.share import signing_keys
from autotune.share.trust import Policy, Trust

STORE = "AUTOTUNE_STORE"
FILE = "config.yaml"
_KEYS = ("store", "trust", "trusted_keys", "trusted_owners")
_LARGEST_ID = 2**32 - 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Which store, and whom to believe."""

    store: str | None = None
    """Address; None if nobody named one."""
    policy: Policy = field(default_factory=Policy)


def files() -> list[Path]:
    """Where a configuration file may be, nearest first: beside the user's folder of profiles, and the site's."""
    where = dict(places())
    return [Path(where[layer]).parent / FILE for layer in (Layer.USER, Layer.SYSTEM)]


def signing_key() -> Path:
    """Where this user's private key is."""
    return files()[0].parent / "signing.key"


def settings(store: str | None = None) -> Settings:
    """What holds here; `store` is what the caller names. Raises BadSettings, with the file and the reason."""
    said: dict[str, Any] = {}
    for path in files():
        said = {**_read(path), **said}
    address = store or os.environ.get(STORE, "").strip() or said.get("store")
    if store and "://" not in store:
        address = str(Path(os.path.expanduser(store)).absolute())  # noqa: PTH111 - Path's raises for a stranger
    return Settings(
        store=address,
        policy=Policy(
            trust=said.get("trust", Trust.ANY),
            keys=said.get("trusted_keys", ()),
            owners=frozenset({0, *_me(), *said.get("trusted_owners", ())}),
        ),
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        mode = path.stat().st_mode
        data = path.read_bytes() if stat.S_ISREG(mode) else None  # a pipe would be waited for
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as problem:
        raise BadSettings(f"{path}: it cannot be read ({problem.strerror}).") from None
    if data is None:
        raise BadSettings(f"{path}: it is not a regular file.")
    if os.name == "posix" and mode & stat.S_IWOTH:
        raise BadSettings(f"{path}: everybody may write to it; `chmod go-w` makes it trustworthy.")
    try:
        document = parse(data)
        return _checked({} if document is None else value_checks.mapping(document, "the configuration"))
    except (ProfileError, BadSettings) as problem:
        raise BadSettings(f"{path}: {problem}") from None


def _checked(document: Mapping[str, Any]) -> dict[str, Any]:
    unknown = sorted(document.keys() - set(_KEYS))
    if unknown:
        raise BadSettings(f"there is no setting {unknown[0]!r}; there are {', '.join(_KEYS)}.")
    said: dict[str, Any] = {
        "store": value_checks.field(document, "store", "", value_checks.text, None),
        "trust": value_checks.field(document, "trust", "", value_checks.one_of(Trust), None),
        "trusted_keys": value_checks.field(
            document, "trusted_keys", "", value_checks.list_of(value_checks.text), None
        ),
        "trusted_owners": value_checks.field(
            document, "trusted_owners", "", value_checks.list_of(_owner), None
        ),
    }
    signing_keys.check(said["trusted_keys"] or ())
    if said["trusted_keys"] is not None:
        said["trusted_keys"] = tuple(said["trusted_keys"])
    return {name: value for name, value in said.items() if value is not None}


def _owner(value: Any, where: str) -> int:
    """A user's number, from the number or the name."""
    if type(value) is int and 0 <= value <= _LARGEST_ID:
        return value
    try:
        import pwd
    except ImportError:  # Windows knows no owners of this kind
        raise value_checks.wrong(where, "a user's number", value) from None
    try:
        return pwd.getpwnam(value_checks.text(value, where)).pw_uid
    except KeyError:
        raise value_checks.wrong(where, "the number or the name of a user of this system", value) from None


def _me() -> Iterable[int]:
    return (os.geteuid(),) if hasattr(os, "geteuid") else ()
