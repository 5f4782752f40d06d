"""The store and the trust policy: from $AUTOTUNE_STORE, the user's config.yaml, then the system's.

    store: s3://bucket/autotune
    trust: signed
    trusted_keys: [ed25519:...]
    trusted_owners: [tuner]

Each setting is taken from the first file that has it.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autotune.errors import BadSettings, ProfileError, UntrustedFile
from autotune.host.trusted_files import FileRule, read_file
from autotune.profiles import value_checks
from autotune.profiles.folders import Layer, places
from autotune.profiles.yaml_subset import parse
from autotune.share import signing_keys
from autotune.share.trust import TrustPolicy, TrustRule

STORE = "AUTOTUNE_STORE"
FILE = "config.yaml"
_RULE = FileRule(max_bytes=2**16, group_may_write=True, follow_links=True)
_KEYS = ("store", "trust", "trusted_keys", "trusted_owners")
_LARGEST_ID = 2**32 - 2


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """The store and the trust policy of this machine."""

    store: str | None = None
    """Address; None if none is named."""
    policy: TrustPolicy = field(default_factory=TrustPolicy)


def settings_files() -> list[Path]:
    """Paths of the configuration files, nearest first: next to the user's and the system's folder of profiles."""
    where = dict(places())
    return [Path(where[layer]).parent / FILE for layer in (Layer.USER, Layer.SYSTEM)]


def signing_key() -> Path:
    """Path of this user's private key."""
    return settings_files()[0].parent / "signing.key"


def read_store_settings(store: str | None = None) -> StoreSettings:
    """Read the settings; `store` overrides the address. Raises BadSettings, with the file and the reason."""
    values: dict[str, Any] = {}
    for path in settings_files():
        values = {**_read(path), **values}
    address = store or os.environ.get(STORE, "").strip() or values.get("store")
    if store and "://" not in store:
        address = str(Path(os.path.expanduser(store)).absolute())  # noqa: PTH111 - Path's raises for a stranger
    return StoreSettings(
        store=address,
        policy=TrustPolicy(
            rule=values.get("trust", TrustRule.ANY),
            keys=values.get("trusted_keys", ()),
            owners=frozenset({0, *_own_user_id(), *values.get("trusted_owners", ())}),
        ),
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        data = read_file(path, _RULE).data
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except UntrustedFile as problem:
        raise BadSettings(str(problem)) from None
    except OSError as problem:
        raise BadSettings(f"{path}: it cannot be read ({problem.strerror}).") from None
    try:
        document = parse(data)
        return _checked({} if document is None else value_checks.mapping(document, "the configuration"))
    except (ProfileError, BadSettings) as problem:
        raise BadSettings(f"{path}: {problem}") from None


def _checked(document: Mapping[str, Any]) -> dict[str, Any]:
    unknown = sorted(document.keys() - set(_KEYS))
    if unknown:
        raise BadSettings(f"there is no setting {unknown[0]!r}; there are {', '.join(_KEYS)}.")
    values: dict[str, Any] = {
        "store": value_checks.field(document, "store", "", value_checks.text, None),
        "trust": value_checks.field(document, "trust", "", value_checks.one_of(TrustRule), None),
        "trusted_keys": value_checks.field(
            document, "trusted_keys", "", value_checks.list_of(value_checks.text), None
        ),
        "trusted_owners": value_checks.field(
            document, "trusted_owners", "", value_checks.list_of(_owner), None
        ),
    }
    signing_keys.check_public_keys(values["trusted_keys"] or ())
    if values["trusted_keys"] is not None:
        values["trusted_keys"] = tuple(values["trusted_keys"])
    return {name: value for name, value in values.items() if value is not None}


def _owner(value: Any, where: str) -> int:
    """Convert the number or the name of a user to the number."""
    if type(value) is int and 0 <= value <= _LARGEST_ID:
        return value
    try:
        import pwd
    except ImportError:  # Windows has no such owners
        raise value_checks.wrong(where, "a user's number", value) from None
    try:
        return pwd.getpwnam(value_checks.text(value, where)).pw_uid
    except KeyError:
        raise value_checks.wrong(where, "the number or the name of a user of this system", value) from None


def _own_user_id() -> Iterable[int]:
    return (os.geteuid(),) if hasattr(os, "geteuid") else ()
