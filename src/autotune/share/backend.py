"""The contract between a store and the file system or service that holds its files."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from autotune.host.trusted_files import FileContent

MAX_LISTED = 50_000
"""Names that a folder of a store may list; `prune` keeps it at a few for each host."""


class StoredFile(NamedTuple):
    """One file of a listing."""

    name: str
    size: int | None
    """Bytes; None if the backend does not tell."""


class Backend(Protocol):
    """Storage of immutable files in one folder for each class. The caller has checked the names.

    Any number of hosts list, read, add and remove files concurrently, without locks. A file appears whole or not at
    all, and may vanish between a listing and a read. Memory is bounded, whatever a store sends: a folder with more than
    MAX_LISTED names is an error. Every method raises OSError or the exceptions of the library
    that it uses; `Store` turns them into a StoreProblem.
    """

    def folders(self) -> list[str]:
        """List the folders of classes; empty before the first publication."""
        ...

    def files(self, folder: str) -> list[StoredFile]:
        """List the files of a class; empty if the class does not exist."""
        ...

    def read(self, folder: str, names: Sequence[str], limit: int) -> Mapping[str, FileContent | Exception]:
        """Read each file; a failure, as that of a file above the limit in bytes, is the value of its file."""
        ...

    def add(self, folder: str, name: str, data: bytes) -> bool:
        """Create a file; return False if the name exists already."""
        ...

    def remove(self, folder: str, name: str) -> None:
        """Remove a file if it exists."""
        ...
