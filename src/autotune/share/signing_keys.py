"""Ed25519 keys, and signatures of publications.

The private key is a PEM file (PKCS #8, as OpenSSL reads it) with mode 0600. The public key is a line of text for the
configuration file. A signature covers the bytes of the publication, which hold the class and the host.
"""

import base64
import binascii
import hashlib
import os
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from autotune.errors import BadSettings, EnvironmentProblem, MissingPackage, UntrustedFile
from autotune.host.trusted_files import FileRule, read_file

PREFIX = "ed25519:"
"""Of a public key as text."""
_SIGNED = b"autotune publication\n"
"""Before the bytes that are signed, so that no signature made for something else is one of ours."""
MAX_SIGNATURE_BYTES = 256
_RULE = FileRule(max_bytes=4096, secret=True, follow_links=True)


def make_key_pair(path: Path) -> str:
    """Create a key pair, the private key at `path` and the public one at `path`.pub; return the text of the public key.

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
            path.with_name(f"{path.name}.pub").write_text(f"{public}\n", encoding="ascii")
        except OSError:
            path.unlink(missing_ok=True)  # half a key would stand in the way of a whole one
            raise
    except FileExistsError:
        raise BadSettings(
            f"There is a key in {path} already, and no key is ever replaced. Name another file with --file."
        ) from None
    except OSError as problem:
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
