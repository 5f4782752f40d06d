"""A store as its users see it: folders of classes with immutable files, behind any address.

Every call has a time limit and fails with a StoreProblem, whatever stands behind the address: an NFS server
that is away and a cloud that refuses are told alike.
"""

import errno
import os
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import NamedTuple, Protocol, TypeVar
from urllib.parse import urlsplit

from autotune.errors import AutotuneError, BadSettings, StoreProblem

LIMIT_SECONDS = 30.0
"""For one call: a listing, one file to write, a batch of files to read."""
READING_SECONDS = 300.0
"""For all files of a class. A store that trickles is as good as one that is away."""
BATCH = 32
"""Files in one batch."""

_T = TypeVar("_T")
_USER = re.compile(r"(?<=://)[^/?#\s]*@")
"""User and password in a URL."""


class Item(NamedTuple):
    """A file in a listing."""

    name: str
    size: int | None
    """Bytes; None if the store does not say."""


class Content(NamedTuple):
    """What was read of a file."""

    data: bytes
    owner: int | None = None
    """User who alone could have written it; None where files have no owner, or others may write too."""


class Shelf(Protocol):
    """Holds immutable files, one folder for each class. Names that reach it are checked already.

    Concurrency
        Any number of hosts add, list, read and remove at once, without locks. A file appears whole or not at
        all; one may vanish between list and read.
    Failures
        Raises OSError, or what the libraries behind it raise; `reach` puts them into words.
    """

    def folders(self) -> list[str]:
        """Names of the classes; empty if nobody has published yet."""
        ...

    def items(self, folder: str) -> list[Item]:
        """Every file of a class; empty if the class is not there."""
        ...

    def read(self, folder: str, names: Sequence[str], limit: int) -> Mapping[str, Content | Exception]:
        """These files, at most `limit` bytes and one more of each; what could not be read is an exception."""
        ...

    def add(self, folder: str, name: str, data: bytes) -> bool:
        """Make a file that is there from then on; False if it was there before."""
        ...

    def remove(self, folder: str, name: str) -> None:
        """Remove a file, if it is there."""
        ...


class Store:
    """A shelf that answers in time or says what is wrong."""

    def __init__(self, address: str, shelf: Shelf, seconds: float = LIMIT_SECONDS) -> None:
        self.address = shown(address)
        """For people: without a password."""
        self._shelf = shelf
        self._seconds = seconds

    def folders(self) -> list[str]:
        """Names of the classes."""
        return self._ask("listed", self._shelf.folders)

    def items(self, folder: str) -> list[Item]:
        """Every file of a class."""
        return self._ask("listed", lambda: self._shelf.items(folder))

    def read(self, folder: str, names: Sequence[str], limit: int) -> dict[str, Content | Exception]:
        """These files, batch by batch; what could not be read is an exception."""
        found: dict[str, Content | Exception] = {}
        end = monotonic() + READING_SECONDS
        for start in range(0, len(names), BATCH):
            if monotonic() > end:
                raise StoreProblem(self.address, f"did not give a class's files within {READING_SECONDS:g} s")
            batch = names[start : start + BATCH]
            found |= self._ask("read", lambda batch=batch: self._shelf.read(folder, batch, limit))  # type: ignore[misc]
        return found

    def add(self, folder: str, name: str, data: bytes) -> bool:
        """Make a file; False if it was there before."""
        return self._ask("written to", lambda: self._shelf.add(folder, name, data))

    def remove(self, folder: str, name: str) -> None:
        """Remove a file, if it is there."""
        self._ask("written to", lambda: self._shelf.remove(folder, name))

    def _ask(self, what: str, call: Callable[[], _T]) -> _T:
        """Call in a thread that is left behind if it takes too long: nothing else ends a call to a dead NFS."""
        outcome: list[_T] = []
        failure: list[BaseException] = []

        def run() -> None:
            try:
                outcome.append(call())
            except BaseException as problem:  # noqa: BLE001 - each library has exceptions of its own; told below
                failure.append(problem)

        thread = threading.Thread(target=run, name="autotune-store", daemon=True)
        thread.start()
        thread.join(self._seconds)
        if outcome:
            return outcome[0]
        if not failure:
            raise StoreProblem(self.address, f"did not answer within {self._seconds:g} s")
        if isinstance(failure[0], AutotuneError) or not isinstance(failure[0], Exception):
            raise failure[0]
        raise StoreProblem(self.address, f"cannot be {what}: {reason(failure[0])}") from failure[0]


def reach(address: str, *, seconds: float = LIMIT_SECONDS) -> Store:
    """The store at this address: a folder, or any URL that fsspec knows. Nothing is asked of it yet.

    Raises BadSettings for what is no URL or has a protocol that nobody knows, MissingPackage for one whose
    package is not installed.
    """
    if address.startswith("file://"):
        address = address.removeprefix("file://")
    if "://" not in address and "::" not in address:
        from autotune.share.folder_store import Folder

        path = os.path.expanduser(address)  # noqa: PTH111 - text in, text out
        if not os.path.isabs(path):  # noqa: PTH117
            raise BadSettings(
                f"A store's folder is named from the root on, such as /nfs/autotune, not {address!r}."
            )
        return Store(address, Folder(path), seconds)
    from autotune.share.remote_store import Remote

    try:
        urlsplit(address)
    except ValueError as problem:
        raise BadSettings(f"The store {shown(address)} is no URL: {problem}.") from None
    return Store(address, Remote(address), seconds)


def shown(address: str) -> str:
    """The address without what is secret in it: user, password, query."""
    if "://" not in address:
        return address
    return re.split(r"[?#]", _USER.sub("", address), maxsplit=1)[0]


_CAUSES = {
    errno.ENOSPC: "it is full",
    errno.EDQUOT: "the quota is used up",
    errno.EROFS: "it can only be read",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.ESTALE: "the file server has lost the file (ESTALE)",
    errno.EIO: "input/output error",
    errno.ENOENT: "there is no such folder or bucket",
}


def reason(problem: Exception) -> str:
    """What an exception of whatever library says, as part of a sentence: no secret, and nothing that acts."""
    if type(problem).__name__ in {"NoCredentialsError", "PartialCredentialsError", "NoAuthTokenError"}:
        return "credentials are missing; set them as the provider's own tools want them"
    number = getattr(problem, "errno", None)
    if number in _CAUSES:
        return _CAUSES[number]
    if isinstance(problem, NotImplementedError):
        return "it can only be read"
    said = problem.strerror if isinstance(problem, OSError) and problem.strerror else str(problem)
    said = re.sub(r"\?\S*", "", _USER.sub("", said))  # some cite the whole URL, and a server what it likes
    shown_as = "".join(letter if letter.isprintable() else " " for letter in said)
    words = re.sub(r" +", " ", shown_as).strip().rstrip(".")[:200]
    return f"{type(problem).__name__}: {words}" if words else type(problem).__name__
