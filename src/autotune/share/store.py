"""A store of profiles in any place, and what it requires of a backend, the file system or service of that place."""

import errno
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, NamedTuple, Protocol, TypeVar

from autotune.errors import AutotuneError, StoreProblem, UntrustedFile
from autotune.host.trusted_files import FileContent

MAX_LISTED = 50_000
"""Names that a folder of a store may list; `prune` keeps it at a few for each host."""
CALL_SECONDS = 30.0
"""Limit of one call: a listing, a write, or a batch of files to read."""
CLASS_SECONDS = 300.0
"""Limit of reading all files of a class: a store that trickles counts as unreachable."""
BATCH = 32
"""Files read by one call."""

_T = TypeVar("_T")
_CREDENTIALS = re.compile(r"(?<=://)[^/?#\s]*@")
"""User and password in a URL."""


class StoredFile(NamedTuple):
    """One file of a listing."""

    name: str
    size: int | None
    """Bytes; None if the backend does not tell."""


@dataclass(frozen=True, slots=True)
class FlaggedFile:
    """A file that is not used, or that can be removed."""

    folder: str
    name: str
    reason: str
    """A sentence."""


class Backend(Protocol):
    """Storage of immutable files in one folder for each class. The caller has checked the names.

    Any number of hosts list, read, add and remove files concurrently, without locks. A file appears whole or not at
    all, and may vanish between a listing and a read. Memory is bounded, whatever a store sends: a folder with more than
    MAX_LISTED names is an error. Every method raises OSError or the exceptions of the library that it uses; `Store`
    turns them into a StoreProblem.
    """

    def folders(self) -> list[str]:
        """List the folders of classes; empty before the first publication."""

    def files(self, folder: str) -> list[StoredFile]:
        """List the files of a class; empty if the class does not exist."""

    def read(self, folder: str, names: Sequence[str], limit: int) -> Mapping[str, FileContent | Exception]:
        """Read each file; a failure, as that of a file above the limit in bytes, is the value of its file."""

    def add(self, folder: str, name: str, data: bytes) -> bool:
        """Create a file; return False if the name exists already."""

    def remove(self, folder: str, name: str) -> None:
        """Remove a file if it exists."""


class Store:
    """A backend at an address. Every call ends within a time limit, with a result or a StoreProblem."""

    def __init__(self, address: str, backend: Backend, seconds: float = CALL_SECONDS) -> None:
        self.address = without_secrets(address)
        self._backend = backend
        self._seconds = seconds

    def folders(self) -> list[str]:
        return self._call("listed", self._backend.folders)

    def files(self, folder: str) -> list[StoredFile]:
        return self._call("listed", self._backend.files, folder)

    def read(self, folder: str, names: Sequence[str], limit: int) -> dict[str, FileContent | Exception]:
        """Read files in batches; a file that cannot be read has its exception as the value."""
        contents: dict[str, FileContent | Exception] = {}
        end = monotonic() + CLASS_SECONDS
        for start in range(0, len(names), BATCH):
            if monotonic() > end:
                raise StoreProblem(self.address, f"did not give a class's files within {CLASS_SECONDS:g} s")
            contents |= self._call("read", self._backend.read, folder, names[start : start + BATCH], limit)
        return contents

    def add(self, folder: str, name: str, data: bytes) -> bool:
        return self._call("written to", self._backend.add, folder, name, data)

    def remove(self, folder: str, name: str) -> None:
        self._call("written to", self._backend.remove, folder, name)

    def _call(self, verb: str, call: Callable[..., _T], *arguments: Any) -> _T:
        """Run a backend call in a thread that is abandoned at the limit: a call to a dead NFS server never returns."""
        results: list[_T] = []
        failures: list[BaseException] = []

        def run() -> None:
            try:
                results.append(call(*arguments))
            except BaseException as problem:  # noqa: BLE001 - each library has exceptions of its own
                failures.append(problem)

        thread = threading.Thread(target=run, name="autotune-store", daemon=True)
        thread.start()
        thread.join(self._seconds)
        if results:
            return results[0]
        if not failures:
            raise StoreProblem(self.address, f"did not answer within {self._seconds:g} s")
        if isinstance(failures[0], AutotuneError) or not isinstance(failures[0], Exception):
            raise failures[0]
        raise StoreProblem(self.address, f"cannot be {verb}: {cause(failures[0])}") from failures[0]


def without_secrets(address: str) -> str:
    """Remove user, password and query from an address."""
    return re.split(r"[?#]", _CREDENTIALS.sub("", address), maxsplit=1)[0] if "://" in address else address


_CAUSES = {
    errno.ENOSPC: "it is full",
    errno.EDQUOT: "the quota is used up",
    errno.EROFS: "it is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.ESTALE: "the file server has lost the file (ESTALE)",
    errno.EFBIG: "it sends more than a store may hold",
    errno.EIO: "input/output error",
    errno.ENOENT: "there is no such folder or bucket",
}


def cause(problem: Exception) -> str:
    """Describe any library's exception as part of a sentence, without secrets or control characters."""
    if type(problem).__name__ in {"NoCredentialsError", "PartialCredentialsError", "NoAuthTokenError"}:
        return "credentials are missing; set them as the provider's own tools expect them"
    number = getattr(problem, "errno", None)
    if number in _CAUSES:
        return _CAUSES[number]
    if isinstance(problem, UntrustedFile):
        return problem.reason.rstrip(".")
    if isinstance(problem, NotImplementedError):
        return _CAUSES[errno.EROFS]
    text = problem.strerror if isinstance(problem, OSError) and problem.strerror else str(problem)
    text = re.sub(r"\?\S*", "", _CREDENTIALS.sub("", text))  # libraries quote whole URLs, servers anything
    visible = "".join(letter if letter.isprintable() else " " for letter in text)
    words = re.sub(r" +", " ", visible).strip().rstrip(".")[:200]
    return f"{type(problem).__name__}: {words}" if words else type(problem).__name__
