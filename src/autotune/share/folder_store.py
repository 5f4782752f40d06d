"""A store in a folder, local or on NFS.

A publication is written beside its place under a name that readers skip, synced, and linked into place: `link`
fails where a file is already there, on NFS too (open's O_EXCL would show the file before it is whole). A file
handle may go stale on NFS while another host replaces things (dovecot retries ten times); links, pipes and
devices are never opened as if they were files.
"""

import errno
import os
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import sleep, time
from typing import TypeVar

from autotune.profiles.profile_files import sync_folder
from autotune.share.publication import LAYOUT
from autotune.share.store import Content, Item

STALE_RETRIES = 10
STALE_SECONDS = 0.02
"""Between two of them."""

_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
"""What file systems without hard links answer."""
_T = TypeVar("_T")


class Folder:
    """A Shelf in a folder that is there already: an empty mount point is not filled by mistake."""

    def __init__(self, path: str) -> None:
        self._root = Path(path)

    def folders(self) -> list[str]:
        """Names of the folders of classes."""
        return _patient(lambda: [one.name for one in self._entries("") if one.is_dir(follow_symlinks=False)])

    def items(self, folder: str) -> list[Item]:
        """Every file of a class; what vanishes meanwhile is left out."""
        return _patient(lambda: [*self._items(folder)])

    def read(self, folder: str, names: Sequence[str], limit: int) -> Mapping[str, Content | Exception]:
        """One after the other."""
        found: dict[str, Content | Exception] = {}
        for name in names:
            path = self._root / LAYOUT / folder / name
            try:
                found[name] = _patient(lambda path=path: _content(path, limit))  # type: ignore[misc]
            except OSError as problem:
                found[name] = problem
        return found

    def add(self, folder: str, name: str, data: bytes) -> bool:
        """Written beside its place, synced, linked into place."""
        place = self._folder(folder)
        handle, temporary = tempfile.mkstemp(prefix=f".{int(time())}-", suffix=".tmp", dir=place)
        try:
            with open(handle, "wb") as file:  # noqa: PTH123 - a descriptor
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)  # noqa: PTH101 - mkstemp makes files that only we can read
            added = _link(temporary, place / name)
        finally:
            with suppress(OSError):
                os.unlink(temporary)  # noqa: PTH108 - a name, not a Path
        sync_folder(place)
        return added

    def remove(self, folder: str, name: str) -> None:
        """Others may have removed it first."""
        (self._root / LAYOUT / folder / name).unlink(missing_ok=True)

    def _items(self, folder: str) -> Iterator[Item]:
        for entry in self._entries(folder):
            with suppress(FileNotFoundError):
                yield Item(entry.name, entry.stat(follow_symlinks=False).st_size)

    def _entries(self, folder: str) -> list[os.DirEntry[str]]:
        """What is in a folder of the layout; nothing in one that is not there."""
        place = self._root
        try:
            for part in filter(None, (LAYOUT, folder)):
                place /= part
                _refuse_link(place)
            with os.scandir(place) as entries:
                return list(entries)
        except FileNotFoundError:
            os.stat(self._root)  # noqa: PTH116 - the store itself must be there
            return []

    def _folder(self, folder: str) -> Path:
        """The folder of a class, made with the rights of the store's own: who may publish may make classes."""
        place = self._root
        mode = stat.S_IMODE(place.stat().st_mode)
        for part in (LAYOUT, folder):
            place /= part
            try:
                place.mkdir()
            except FileExistsError:
                _refuse_link(place)
                continue
            with suppress(OSError):  # the rights that mkdir gave will do for this host
                place.chmod(mode)
        return place


def _refuse_link(folder: Path) -> None:
    """Whoever may write to a store could lead readers and writers elsewhere by a link in a folder's place."""
    if stat.S_ISLNK(folder.lstat().st_mode):
        raise OSError(errno.ELOOP, f"{folder.name} is a link, and none is followed")


def _link(temporary: str, path: Path) -> bool:
    """Give the file its name; False if there is one. NFS may answer late with an error although it linked."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as problem:
        if problem.errno not in _NO_LINKS:
            raise
        if path.exists():
            return False
        os.replace(temporary, path)  # noqa: PTH105 - the name says the content: replacing changes nothing
    return True


def _content(path: Path, limit: int) -> Content:
    flags = os.O_RDONLY
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC"):
        flags |= getattr(os, name, 0)
    handle = os.open(path, flags)
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        with open(handle, "rb", closefd=False) as file:
            data = file.read(limit + 1)
    finally:
        os.close(handle)
    alone = os.name == "posix" and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return Content(data, found.st_uid if alone else None)


def _patient(call: Callable[[], _T]) -> _T:
    """Ask again while the file server says that its handle is stale."""
    for _ in range(STALE_RETRIES):
        try:
            return call()
        except OSError as problem:
            if problem.errno != errno.ESTALE:
                raise
            sleep(STALE_SECONDS)
    return call()
