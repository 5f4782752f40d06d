"""Trust in publications: the rule of this machine, and Ed25519 keys and signatures.

A private key is a PEM file (PKCS #8, as OpenSSL reads it) with mode 0600. A public key is a line of text for the
configuration file. A signature covers the bytes of the publication, which hold the class and the host.
"""

import base64
import binascii
import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Any

from autotune.errors import BadSettings, EnvironmentProblem, MissingPackage, UntrustedFile
from autotune.host.trusted_files import FileContent, FileRule, read_file

PREFIX = "ed25519:"
"""Of a public key as text."""
_SIGNED = b"autotune publication\n"
"""Before the bytes that are signed, so that no signature made for something else is one of ours."""
MAX_SIGNATURE_BYTES = 256
_RULE = FileRule(max_bytes=4096, secret=True, follow_links=True)


class TrustRule(StrEnum):
    """Conditions that make a publication trusted on this machine."""

    ANY = "any"
    """Every file of the store."""
    OWNER = "owner"
    """Files that only root, this user or a trusted owner can have written; on file systems only."""
    SIGNED = "signed"
    """Files with the signature of a trusted key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustPolicy:
    """The trust rule of this machine with its keys and owners."""

    rule: TrustRule = TrustRule.ANY
    keys: tuple[str, ...] = ()
    """Trusted public keys; several during a change of keys."""
    owners: frozenset[int] = frozenset()
    """User ids whose files are trusted under `owner`."""

    @property
    def key_ids(self) -> dict[str, str]:
        """The trusted keys by the names that signatures have."""
        return {key_id(public): public for public in self.keys}

    def signer(self, data: bytes, signatures: Mapping[str, bytes]) -> str | None:
        """Name the first trusted key with a valid signature; `signatures` are file contents by key name."""
        for name, public in self.key_ids.items():
            if name in signatures and is_valid(data, signatures[name], public):
                return name
        return None

    def refusal_unread(self, *, signatures: int) -> str | None:
        """Say why a publication is rejected without reading it, by the number of its signatures of trusted keys."""
        if self.rule is TrustRule.SIGNED and not signatures:
            return "no trusted key signed it, and signatures are required here (trust: signed)."
        return None

    def refusal(self, content: FileContent, signer: str | None, *, signatures: int) -> str | None:
        """Say why a publication is rejected, by its signer and signatures of trusted keys; None if it is trusted."""
        if self.rule is TrustRule.SIGNED and signer is None:
            return self.refusal_unread(signatures=signatures) or (
                "its signature is not that of a trusted key over these bytes: changed, or forged."
            )
        if self.rule is TrustRule.OWNER and content.owner not in self.owners:
            if content.owner is None:
                return "several users can have written it, or the store has no owners (trust: owner)."
            return f"it belongs to user {content.owner}, who is not trusted here (trust: owner)."
        return None


def make_key_pair(path: Path) -> str:
    """Create a key pair, the private key at `path`; return the text of the public key.

    An existing file is never replaced. Raises BadSettings if there is one, EnvironmentProblem if the key cannot be
    written.
    """
    ed25519 = _library()
    serialization = import_module("cryptography.hazmat.primitives.serialization")
    private = ed25519.Ed25519PrivateKey.generate()
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = public_text(private)
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
        try:
            with open(handle, "wb") as file:  # noqa: PTH123 - a descriptor
                file.write(pem)
        except OSError:
            path.unlink(missing_ok=True)  # half a key would stand in the way of a whole one
            raise
    except OSError as problem:
        if path.exists():
            raise BadSettings(
                f"There is a key in {path} already, and no key is ever replaced. Name another file with --file."
            ) from None
        raise EnvironmentProblem(f"{path}: the key cannot be written ({problem.strerror or problem}).") from problem
    return public


def private_key(path: Path) -> Any:
    """Read a private key. Raises BadSettings if there is none, or if other users can read the file."""
    ed25519 = _library()
    serialization = import_module("cryptography.hazmat.primitives.serialization")
    try:
        data = read_file(path, _RULE).data
    except FileNotFoundError:
        raise BadSettings(f"{path}: there is no key; `autotune store keys --new` makes one.") from None
    except UntrustedFile as problem:
        raise BadSettings(str(problem)) from None
    except OSError as problem:
        raise BadSettings(f"{path}: the key cannot be read ({problem.strerror or problem}).") from None
    with suppress(ValueError, TypeError):  # TypeError: it has a password
        key = serialization.load_pem_private_key(data, password=None)
        if isinstance(key, ed25519.Ed25519PrivateKey):
            return key
    raise BadSettings(f"{path}: it holds no Ed25519 private key without a password.")


def public_text(key: Any) -> str:
    """Return the text of the public key of a private key, for `trusted_keys`."""
    return PREFIX + base64.b64encode(key.public_key().public_bytes_raw()).decode()


def key_id(public: str) -> str:
    """Name a public key by 16 hex digits: in names of signatures, and as the signer of an entry."""
    return hashlib.sha256(_raw(public)).hexdigest()[:16]


def sign(data: bytes, key: Any) -> bytes:
    """Sign bytes; return the content of the signature's file."""
    return base64.b64encode(key.sign(_SIGNED + data)) + b"\n"


def is_valid(data: bytes, signature: bytes, public: str) -> bool:
    ed25519 = _library()
    exceptions = import_module("cryptography.exceptions")
    if len(signature) > MAX_SIGNATURE_BYTES:
        return False
    try:
        raw = base64.b64decode(signature.strip(), validate=True)
        ed25519.Ed25519PublicKey.from_public_bytes(_raw(public)).verify(raw, _SIGNED + data)
    except (binascii.Error, ValueError, exceptions.InvalidSignature):
        return False
    return True


def check_public_key(public: object) -> str:
    """Return the text of a public key. Raises BadSettings for anything else."""
    text = str(public)
    _raw(text)
    return text


def _raw(public: str) -> bytes:
    text = public.removeprefix(PREFIX)
    with suppress(binascii.Error, ValueError):
        raw = base64.b64decode(text, validate=True)
        if public.startswith(PREFIX) and len(raw) == 32:
            return raw
    raise BadSettings(f"{public[:80]!r} is not a public key such as `autotune store keys` prints ({PREFIX}...).")


def _library() -> Any:
    try:
        return import_module("cryptography.hazmat.primitives.asymmetric.ed25519")
    except ImportError:
        raise MissingPackage("cryptography", "share") from None
