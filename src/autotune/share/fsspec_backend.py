"""A backend behind a URL: every file system of fsspec, from S3 to the folder of a web server."""

import errno
from collections.abc import Mapping, Sequence
from importlib import import_module
from time import sleep
from typing import Any
from urllib.parse import unquote

from autotune.errors import BadSettings, MissingPackage
from autotune.host.trusted_files import FileContent
from autotune.profiles.yaml_subset import MAX_BYTES
from autotune.share.publication import LAYOUT
from autotune.share.store import MAX_LISTED, StoredFile

_HTTP = {"http", "https"}
_S3 = {"s3", "s3a"}
MOST_PAGES = 200
"""Pages of an S3 listing: a page has up to 1000 names, and may have none."""
MAX_ANSWER_BYTES = 2 * MAX_BYTES
"""Of a web server: a page that lists a folder, or a file."""
CONFLICT_RETRIES = 5
"""S3 answers 409 while another conditional write of the same key is in progress."""
CONFLICT_SECONDS = 0.1
"""First pause; it doubles with each retry."""


class FsspecBackend:
    """A Backend on a file system of fsspec. Its files have no owner."""

    def __init__(self, url: str) -> None:
        try:
            core: Any = import_module("fsspec.core")
            registry: Any = import_module("fsspec.registry")
        except ImportError:
            raise MissingPackage("fsspec", "share") from None
        self._url = url
        self._core = core
        self._protocol = protocol = url.partition("://")[0].rpartition("::")[2]
        if protocol not in registry.known_implementations and protocol not in registry.registry:
            raise BadSettings(
                f"The protocol {protocol!r} of the store is unknown. A store is a folder, or a URL of a protocol that "
                "fsspec supports, such as s3://bucket/autotune; some protocols need packages of their own."
            )
        try:
            registry.get_filesystem_class(protocol)
        except ImportError as problem:
            raise MissingPackage(getattr(problem.__cause__, "name", None) or str(problem)) from problem
        self._opened: tuple[Any, str] | None = None

    def folders(self) -> list[str]:
        return [name for name, entry in self._list("") if entry.get("type") == "directory"]

    def files(self, folder: str) -> list[StoredFile]:
        return [StoredFile(name, entry.get("size")) for name, entry in self._list(folder)]

    def read(self, folder: str, names: Sequence[str], limit: int) -> Mapping[str, FileContent | Exception]:
        """Read all files in one call, none beyond the limit, whatever size the listing told."""
        system, root = self._system()
        paths = [f"{root}/{LAYOUT}/{folder}/{name}" for name in names]
        contents = system.cat_ranges(paths, [0] * len(paths), [limit + 1] * len(paths), on_error="return")
        return {name: _check_size(content, limit) for name, content in zip(names, contents, strict=True)}

    def add(self, folder: str, name: str, data: bytes) -> bool:
        """Create a file with If-None-Match where the protocol has it (S3: 412 for an existing file, 409 for a race).

        An existing file is replaced only if a writer left it too short: the name is a digest of the content.
        """
        system, root = self._writable()
        path = f"{root}/{LAYOUT}/{folder}/{name}"
        if not hasattr(system, "split_path"):  # SFTP has folders; a cloud's bucket is never created
            system.makedirs(path.rpartition("/")[0], exist_ok=True)
        for attempt in range(CONFLICT_RETRIES + 1):
            try:
                system.pipe_file(path, data, mode="create")
            except NotImplementedError:
                raise
            except Exception as problem:
                # libraries disagree on the exception for an existing file; its size identifies it
                size = _size(system, path)
                if size == len(data):
                    return False
                if size is not None:
                    break
                if not _is_conflict(problem) or attempt == CONFLICT_RETRIES:
                    raise
                sleep(CONFLICT_SECONDS * 2**attempt)
            else:
                return True
        system.pipe_file(path, data)
        return True

    def remove(self, folder: str, name: str) -> None:
        """Remove a file; another host may have removed it first."""
        system, root = self._writable()
        try:
            system.rm_file(f"{root}/{LAYOUT}/{folder}/{name}")
        except FileNotFoundError:
            pass
        else:
            system.invalidate_cache()

    def _system(self) -> tuple[Any, str]:
        """Return the file system and the root in it, made at the first call since it may open connections."""
        if self._opened is None:
            options = {"get_client": _bounded_client} if self._protocol in _HTTP else {}
            system, root = self._core.url_to_fs(self._url, **options)
            self._opened = system, root.rstrip("/")
        return self._opened

    def _writable(self) -> tuple[Any, str]:
        if self._protocol in _HTTP:  # fsspec would send a PUT
            raise OSError(errno.EROFS, "read-only protocol")
        return self._system()

    def _list(self, folder: str) -> list[tuple[str, dict[str, Any]]]:
        """List (last part of the name, fsspec's entry) of a folder."""
        system, root = self._system()
        system.invalidate_cache()
        place = f"{root}/{LAYOUT}/{folder}".rstrip("/")
        if self._protocol in _HTTP:
            place += "/"  # a web server's listing
        try:
            entries = _list_pages(system, place) if self._protocol in _S3 else system.ls(place, detail=True)
        except FileNotFoundError as missing:
            if _error_code(missing) == "NoSuchBucket":
                raise
            return []
        if len(entries) > MAX_LISTED:
            raise OSError(errno.EFBIG, f"it lists more than {MAX_LISTED} names")
        names = ((unquote(entry["name"].rstrip("/").rpartition("/")[2]), entry) for entry in entries)
        return [(name, entry) for name, entry in names if name]


def _list_pages(system: Any, place: str) -> list[dict[str, Any]]:
    """List a folder of S3 page by page: s3fs's own listing takes pages as long as the server sends any."""
    bucket, _, prefix = place.partition("/")
    entries: list[dict[str, Any]] = []
    more: dict[str, str] = {}
    for _ in range(MOST_PAGES):
        page = system.call_s3("list_objects_v2", Bucket=bucket, Prefix=f"{prefix}/", Delimiter="/", **more)
        entries += [{"name": each["Prefix"], "type": "directory"} for each in page.get("CommonPrefixes") or ()]
        entries += [{"name": each["Key"], "size": each["Size"]} for each in page.get("Contents") or ()]
        if not page.get("IsTruncated") or len(entries) > MAX_LISTED:
            return entries
        more = {"ContinuationToken": page["NextContinuationToken"]}
    raise OSError(errno.EFBIG, f"it lists more than {MOST_PAGES} pages")


def _check_size(content: bytes | Exception, limit: int) -> FileContent | Exception:
    if isinstance(content, Exception):
        return content
    return FileContent(content) if len(content) <= limit else OSError(errno.EFBIG, "it is too large")


async def _bounded_client(**options: Any) -> Any:
    """Make fsspec's session with a web server, which may send without end: ranges and sizes are only asked for."""
    import aiohttp

    class BoundedResponse(aiohttp.ClientResponse):
        """A response whose body is given up beyond MAX_ANSWER_BYTES."""

        async def read(self) -> bytes:
            if self._body is None:
                parts, size = [], 0
                async for part in self.content.iter_any():
                    parts.append(part)
                    size += len(part)
                    if size > MAX_ANSWER_BYTES:
                        self.close()
                        raise OSError(errno.EFBIG, "it sends too much")
                self._body = b"".join(parts)
            return self._body

    return aiohttp.ClientSession(response_class=BoundedResponse, **options)


def _size(system: Any, path: str) -> int | None:
    """Return the bytes of a file; None if it does not exist or cannot be queried."""
    system.invalidate_cache()
    try:
        size = system.info(path).get("size")
    except Exception:  # noqa: BLE001 - the caller raises its own, earlier failure
        return None
    return None if size is None else int(size)


def _is_conflict(problem: Exception) -> bool:
    """Is it S3's 409, another write of the same name in progress?"""
    status = _response(problem).get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status == 409 or _error_code(problem) in {"409", "ConditionalRequestConflict"}


def _error_code(problem: Exception) -> str | None:
    code: str | None = _response(problem).get("Error", {}).get("Code")
    return code


def _response(problem: Exception) -> dict[str, Any]:
    """Return S3's response, which s3fs keeps in the cause of its own exception."""
    response = getattr(problem.__cause__ or problem, "response", None)
    return response if isinstance(response, dict) else {}
