"""A backend in a folder, local or on NFS.

A publication is written under a temporary name that readers skip, synced, and linked to its own name. `link` fails
where the name exists, on NFS too; open's O_EXCL would show the file before it is complete. A file handle may go stale
on NFS while another host replaces files (dovecot retries ten times).
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from time import sleep, time
from typing import Any, TypeVar

from autotune.errors import UntrustedFile
from autotune.host.trusted_files import FileContent, FileRule, read_file, sync_folder, write_temporary
from autotune.share.publication import LAYOUT
from autotune.share.store import MAX_LISTED, StoredFile

STALE_RETRIES = 10
STALE_SECONDS = 0.02
"""Pause between two retries."""

_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
"""Answers of file systems without hard links."""
_T = TypeVar("_T")


class FolderBackend:
    """A Backend in an existing folder; it is never created, so that an empty mount point stays empty."""

    def __init__(self, path: str) -> None:
        self._root = Path(path)

    def folders(self) -> list[str]:
        return _retry(lambda: [e.name for e in self._entries("") if e.is_dir(follow_symlinks=False)])

    def files(self, folder: str) -> list[StoredFile]:
        """List the files of a class; a file that vanishes meanwhile is left out."""
        return _retry(lambda: [*self._files(folder)])

    def read(self, folder: str, names: Sequence[str], limit: int) -> Mapping[str, FileContent | Exception]:
        contents: dict[str, FileContent | Exception] = {}
        for name in names:
            path = self._root / LAYOUT / folder / name
            try:
                contents[name] = _retry(read_file, path, FileRule(limit, any_owner=True))
            except (UntrustedFile, OSError) as problem:
                contents[name] = problem
        return contents

    def add(self, folder: str, name: str, data: bytes) -> bool:
        place = self._make_folder(folder)
        temporary = write_temporary(place, data, 0o644, name=f"{int(time())}-publication")
        try:
            added = _link(temporary, place / name)
        finally:
            with suppress(OSError):
                os.unlink(temporary)  # noqa: PTH108 - a name, not a Path
        sync_folder(place)
        return added

    def remove(self, folder: str, name: str) -> None:
        (self._root / LAYOUT / folder / name).unlink(missing_ok=True)

    def _files(self, folder: str) -> Iterator[StoredFile]:
        for entry in self._entries(folder):
            with suppress(FileNotFoundError):
                yield StoredFile(entry.name, entry.stat(follow_symlinks=False).st_size)

    def _entries(self, folder: str) -> list[os.DirEntry[str]]:
        """List a folder of the layout; a missing one is empty. Raises OSError if the store itself is missing."""
        place = self._root
        try:
            for part in filter(None, (LAYOUT, folder)):
                place /= part
                _refuse_link(place)
            with os.scandir(place) as entries:
                listed = list(islice(entries, MAX_LISTED + 1))
        except FileNotFoundError:
            os.stat(self._root)  # noqa: PTH116
            return []
        if len(listed) > MAX_LISTED:
            raise OSError(errno.EFBIG, f"{place.name} lists more than {MAX_LISTED} names")
        return listed

    def _make_folder(self, folder: str) -> Path:
        """Create the folder of a class with the mode of the store's own: who may publish may create classes."""
        place = self._root
        mode = stat.S_IMODE(place.stat().st_mode)
        for part in (LAYOUT, folder):
            place /= part
            try:
                place.mkdir()
            except FileExistsError:
                _refuse_link(place)
                continue
            with suppress(OSError):  # mkdir's mode is enough for this host
                place.chmod(mode)
        return place


def _refuse_link(folder: Path) -> None:
    """Refuse a symbolic link in place of a folder: it could lead readers and writers out of the store."""
    if stat.S_ISLNK(folder.lstat().st_mode):
        raise OSError(errno.ELOOP, f"{folder.name} is a symbolic link, which is not followed")


def _link(temporary: str, path: Path) -> bool:
    """Give the file its name; False if the name exists. NFS may report an error after a successful link."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as problem:
        if problem.errno not in _NO_HARD_LINKS:
            raise
        if path.exists():
            return False
        os.replace(temporary, path)  # noqa: PTH105 - the name is a digest: replacing changes nothing
    return True


def _retry(call: Callable[..., _T], *arguments: Any) -> _T:
    """Repeat a call while the file server answers that its handle is stale."""
    for _ in range(STALE_RETRIES):
        try:
            return call(*arguments)
        except OSError as problem:
            if problem.errno != errno.ESTALE:
                raise
            sleep(STALE_SECONDS)
    return call(*arguments)
