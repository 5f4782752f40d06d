"""The store and the trust policy: from $AUTOTUNE_STORE, the user's config.yaml, then the system's.

    store: s3://bucket/autotune
    trust: signed
    trusted_keys: [ed25519:...]
    trusted_owners: [tuner]

Each setting is taken from the first file that has it.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

from autotune.errors import BadSettings
from autotune.host.trusted_files import FileRule
from autotune.model.constraints import Parsed
from autotune.profiles.folders import Layer, places
from autotune.profiles.yaml_subset import read_settings
from autotune.share.store import CALL_SECONDS, Store, without_secrets
from autotune.share.trust import PREFIX, TrustPolicy, TrustRule, check_public_key

STORE = "AUTOTUNE_STORE"
FILE = "config.yaml"
_RULE = FileRule(max_bytes=2**16, group_may_write=True, follow_links=True)
_LARGEST_ID = 2**32 - 2


def _owner(value: Any) -> int:
    """Convert the number or the name of a user to the number. Raises ValueError for neither."""
    if type(value) is int and 0 <= value <= _LARGEST_ID:
        return value
    try:
        import pwd

        return pwd.getpwnam(value).pw_uid
    except (ImportError, KeyError):  # Windows has no such owners
        raise ValueError(value) from None


_Owner = Annotated[int, Parsed(_owner, "the number or the name of a user of this system")]
_PublicKey = Annotated[
    str, Parsed(check_public_key, f"a public key such as `autotune store keys` prints ({PREFIX}...)")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class _SettingsFile:
    """The settings of one file; None for those that it does not have."""

    STRICT: ClassVar[bool] = True

    store: str | None = None
    trust: TrustRule | None = None
    trusted_keys: tuple[_PublicKey, ...] | None = None
    trusted_owners: tuple[_Owner, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """The store and the trust policy of this machine."""

    store: str | None = None
    """Address; None if none is named."""
    policy: TrustPolicy = field(default_factory=TrustPolicy)


def settings_files() -> list[Path]:
    """List the configuration files, nearest first: next to the user's and the system's folder of profiles."""
    where = dict(places())
    return [Path(where[layer]).parent / FILE for layer in (Layer.USER, Layer.SYSTEM)]


def signing_key() -> Path:
    return settings_files()[0].parent / "signing.key"


def read_store_settings(store: str | None = None) -> StoreSettings:
    """Read the settings; `store` overrides the address. Raises BadSettings, with the file and the reason."""
    files = [read_settings(_SettingsFile, path, _RULE) for path in settings_files()]

    def first(name: str, default: Any) -> Any:
        values = (getattr(file, name) for file in files)
        return next((value for value in values if value is not None), default)

    address = store or os.environ.get(STORE, "").strip() or first("store", None)
    if store and "://" not in store:
        address = str(Path(os.path.expanduser(store)).absolute())  # noqa: PTH111 - Path's raises for a stranger
    return StoreSettings(
        store=address,
        policy=TrustPolicy(
            rule=first("trust", TrustRule.ANY),
            keys=first("trusted_keys", ()),
            owners=frozenset({0, os.geteuid() if os.name == "posix" else 0, *first("trusted_owners", ())}),
        ),
    )


def open_store(address: str, *, seconds: float = CALL_SECONDS) -> Store:
    """Return the store at an address, a folder or any URL that fsspec supports, without contacting it.

    Raises BadSettings for a malformed address or an unsupported protocol, MissingPackage for a protocol whose package
    is not installed.
    """
    address = address.removeprefix("file://")
    if "://" not in address and "::" not in address:
        from autotune.share.folder_backend import FolderBackend

        path = os.path.expanduser(address)  # noqa: PTH111 - text in, text out
        if not os.path.isabs(path):  # noqa: PTH117
            raise BadSettings(f"A store's folder is an absolute path, such as /nfs/autotune, not {address!r}.")
        return Store(address, FolderBackend(path), seconds)
    from autotune.share.fsspec_backend import FsspecBackend

    try:
        urlsplit(address)
    except ValueError as problem:
        raise BadSettings(f"The store {without_secrets(address)} is not a URL: {problem}.") from None
    return Store(address, FsspecBackend(address), seconds)


def open_named_store(url: str | None) -> tuple[Store, TrustPolicy] | None:
    """Open the store that an option or the configuration names, with the trust policy; None if none is named.

    Raises BadSettings and MissingPackage, as `open_store`.
    """
    settings = read_store_settings(url)
    return None if settings.store is None else (open_store(settings.store), settings.policy)
