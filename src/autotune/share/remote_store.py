"""A store behind a URL: whatever fsspec reaches, from S3 to a web server's folder."""

import errno
from collections.abc import Mapping, Sequence
from importlib import import_module
from time import sleep
from typing import Any
from urllib.parse import unquote

from autotune.errors import BadSettings, MissingPackage
from autotune.share.publication import LAYOUT
from autotune.share.store import Content, Item

_PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "http": "aiohttp",
    "https": "aiohttp",
    "abfs": "adlfs",
    "az": "adlfs",
    "sftp": "paramiko",
    "ssh": "paramiko",
    "smb": "smbprotocol",
    "webdav": "webdav4",
}
"""What fsspec needs beside itself; for others its own message says."""
_READ_ONLY = {"http", "https", "github", "zip", "tar", "data", "reference", "git"}
CONFLICTS = 5
"""S3 answers 409 while another conditional write of the same key is under way; so often it is asked again."""
CONFLICT_SECONDS = 0.1


class Remote:
    """A Shelf on a file system of fsspec's. Its files have no owner that could be trusted."""

    def __init__(self, url: str) -> None:
        try:
            core: Any = import_module("fsspec.core")
            registry: Any = import_module("fsspec.registry")
        except ImportError:
            raise MissingPackage("fsspec", "share") from None
        self._url = url
        self._core = core
        protocol = url.partition("://")[0].rpartition("::")[2]
        self._read_only = protocol in _READ_ONLY
        if protocol not in registry.known_implementations and protocol not in registry.registry:
            raise BadSettings(
                f"Nobody knows the protocol {protocol!r} of the store. A store is a folder, or a URL of a kind that "
                "fsspec knows, such as s3://bucket/autotune; other kinds come with packages of their own."
            )
        try:
            registry.get_filesystem_class(protocol)
        except ImportError as problem:
            raise MissingPackage(_PACKAGES.get(protocol) or _last_word(problem)) from problem
        self._opened: tuple[Any, str] | None = None

    def folders(self) -> list[str]:
        """Names of the folders of classes."""
        return [name for name, entry in self._list("") if entry.get("type") == "directory"]

    def items(self, folder: str) -> list[Item]:
        """Every file of a class."""
        return [Item(name, entry.get("size")) for name, entry in self._list(folder)]

    def read(self, folder: str, names: Sequence[str], limit: int) -> Mapping[str, Content | Exception]:
        """All at once, where the library can; listings said already how large they are."""
        del limit
        system, root = self._system()
        paths = {f"{root}/{LAYOUT}/{folder}/{name}": name for name in names}
        found = system.cat(list(paths), recursive=False, on_error="return")
        return {
            name: Content(found[path]) if isinstance(found[path], bytes) else found[path]
            for path, name in paths.items()
        }

    def add(self, folder: str, name: str, data: bytes) -> bool:
        """With If-None-Match where the protocol has it (S3: 412 for a file that is there, 409 for a race).

        A file that is there is replaced only if a writer left it too short: the name says the content.
        """
        if self._read_only:
            raise OSError(errno.EROFS, "it can only be read")
        system, root = self._system()
        path = f"{root}/{LAYOUT}/{folder}/{name}"
        self._make_folder(system, path)
        for attempt in range(CONFLICTS + 1):
            try:
                system.pipe_file(path, data, mode="create")
            except NotImplementedError:
                raise
            except Exception as problem:
                # every library has exceptions of its own for a file that is there; its size tells them apart
                there = _size(system, path)
                if there == len(data):
                    return False
                if there is not None:
                    break
                if not _conflict(problem) or attempt == CONFLICTS:
                    raise
                sleep(CONFLICT_SECONDS * 2**attempt)
            else:
                return True
        system.pipe_file(path, data)
        return True

    def remove(self, folder: str, name: str) -> None:
        """Others may have removed it first."""
        if self._read_only:
            raise OSError(errno.EROFS, "it can only be read")
        system, root = self._system()
        try:
            system.rm_file(f"{root}/{LAYOUT}/{folder}/{name}")
        except FileNotFoundError:
            pass
        else:
            system.invalidate_cache()

    def _system(self) -> tuple[Any, str]:
        """The file system and the root in it. Made when first asked: making one may open connections."""
        if self._opened is None:
            system, root = self._core.url_to_fs(self._url)
            self._opened = system, root.rstrip("/")
        return self._opened

    def _list(self, folder: str) -> list[tuple[str, dict[str, Any]]]:
        """(last part of the name, what is known of it) of everything in a folder."""
        system, root = self._system()
        system.invalidate_cache()
        place = f"{root}/{LAYOUT}/{folder}".rstrip("/")
        if self._read_only:
            place += "/"  # a web server's listing
        try:
            entries = system.ls(place, detail=True)
        except FileNotFoundError as missing:
            if _code(missing) == "NoSuchBucket":
                raise
            return []
        names = ((unquote(entry["name"].rstrip("/").rpartition("/")[2]), entry) for entry in entries)
        return [(name, entry) for name, entry in names if name]

    def _make_folder(self, system: Any, path: str) -> None:
        """Where folders are things of their own, as on SFTP; a cloud's bucket is never made."""
        if not hasattr(system, "split_path"):
            system.makedirs(path.rpartition("/")[0], exist_ok=True)


def _size(system: Any, path: str) -> int | None:
    """Bytes of a file; None if it is not there, or cannot be asked for."""
    system.invalidate_cache()
    try:
        found = system.info(path).get("size")
    except Exception:  # noqa: BLE001 - whatever the library raises here, the first failure is the one to tell
        return None
    return int(found) if found is not None else None


def _conflict(problem: Exception) -> bool:
    """Is it S3's 409, another write of the same name under way?"""
    response = getattr(problem.__cause__ or problem, "response", None)
    status = (
        response.get("ResponseMetadata", {}).get("HTTPStatusCode") if isinstance(response, dict) else None
    )
    return status == 409 or _code(problem) in {"409", "ConditionalRequestConflict"}


def _code(problem: Exception) -> str | None:
    """S3's word for an error, which s3fs keeps as the cause of its own."""
    response = getattr(problem.__cause__ or problem, "response", None)
    return response.get("Error", {}).get("Code") if isinstance(response, dict) else None


def _last_word(problem: ImportError) -> str:
    return problem.name or str(problem)
