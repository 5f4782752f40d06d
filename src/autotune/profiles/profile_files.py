"""Profile files: read with suspicion, written whole or not at all."""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from enum import Enum, auto
from pathlib import Path

from autotune.errors import ProfileError
from autotune.model.profile import Profile
from autotune.profiles.folders import Layer, state_dir
from autotune.profiles.yaml_subset import MAX_BYTES, parse


class Trust(Enum):
    """How a file came to be read, which decides what is checked before its first byte is."""

    ANY = auto()
    """To be shown: any regular file of bearable size."""
    NAMED = auto()
    """To be applied, named by the user: its own or root's, and nobody else may write to it. A link is
    followed, since who names a link means its target (Kubernetes mounts its configuration so); the group may
    write."""
    FOUND = auto()
    """To be applied, found in a folder: no link, and nobody else may write to it or to its folder."""


TRUST = {
    Layer.NAMED: Trust.NAMED,
    Layer.USER: Trust.FOUND,
    Layer.NODE: Trust.FOUND,
    Layer.SYSTEM: Trust.FOUND,
    Layer.CLUSTER: Trust.FOUND,
    # Who can write among these files can change the program itself.
    Layer.SHIPPED: Trust.ANY,
}


NODE = Path("/var/lib/autotune")
"""Where the daemon that serves all users keeps profiles, and the mirror of the cluster's store."""


def read(path: Path, trust: Trust = Trust.ANY) -> Profile:
    """The profile in a file. Raises ProfileError with the path and a sentence for whatever is wrong."""
    from autotune.profiles.schema import profile_of

    try:
        return profile_of(parse(_bytes(path, trust)))
    except ProfileError as error:
        raise ProfileError(error.reason, path) from None
    except OSError as error:
        raise ProfileError(f"it cannot be read: {error.strerror or error}.", path) from None


def write(profile: Profile, path: Path) -> None:
    """Write a profile so that a reader sees the old file or the new one, and a power cut loses neither.

    Missing folders are made. Raises OSError if the folder cannot be written.
    """
    from autotune.profiles.yaml_writer import text_of

    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    replace(path, text_of(profile).encode())


def refuges(path: Path) -> Iterator[Path]:
    """Where to write a profile that cannot be written to this path: the state folder, then a new folder of
    our own for temporary files, if one can be made.
    """
    import tempfile

    yield state_dir() / path.name
    with suppress(OSError):
        folder = Path(tempfile.mkdtemp(prefix="autotune-"))
        yield folder / path.name
        folder.rmdir()  # it could not be written either


def replace(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Put these bytes in the place of a file, at once. Raises OSError, the old file untouched."""
    import tempfile

    handle, temporary = tempfile.mkstemp(prefix=f".{path.name[:64]}.", suffix=".tmp", dir=path.parent)
    try:
        with open(handle, "wb") as file:  # noqa: PTH123 - a descriptor
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)  # noqa: PTH101 - mkstemp makes files that only we can read
        os.replace(temporary, path)  # noqa: PTH105 - a name, not a Path
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename durable, where a folder can be synced: Windows and some network file systems cannot."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _bytes(path: Path, trust: Trust) -> bytes:
    """The file's bytes. What is checked is what was opened, so it cannot be exchanged in between."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
    if trust is Trust.FOUND:
        if path.is_symlink():
            raise ProfileError("it is a symbolic link; only the file itself is read.")
        flags |= getattr(os, "O_NOFOLLOW", 0)
    handle = os.open(path, flags)  # O_NONBLOCK: a FIFO opens at once, and is refused below
    try:
        found = os.fstat(handle)
        if stat.S_ISDIR(found.st_mode):
            raise ProfileError("it is a folder without profiles (*.yaml).")
        if not stat.S_ISREG(found.st_mode):
            raise ProfileError("it is not a regular file.")
        if trust is not Trust.ANY and os.name == "posix":
            _check_owner(found, "it", path)
            _check_mode(found, "it", stat.S_IWOTH | (stat.S_IWGRP if trust is Trust.FOUND else 0))
            _check_folder(path, trust)
        if found.st_size > MAX_BYTES:
            raise ProfileError(f"it is larger than {MAX_BYTES // 2**20} MiB, the most a profile may have.")
        with open(handle, "rb", closefd=False) as file:
            return file.read(MAX_BYTES + 1)
    finally:
        os.close(handle)


def _check_owner(found: os.stat_result, what: str, path: Path) -> None:
    if found.st_uid not in {0, os.geteuid(), *_keeper(path)}:
        raise ProfileError(f"{what} belongs to user {found.st_uid}, who is neither you nor root.")


def _check_mode(found: os.stat_result, what: str, forbidden: int) -> None:
    if found.st_mode & forbidden:
        who = "everybody" if found.st_mode & stat.S_IWOTH else "its group"
        raise ProfileError(f"{what} can be written by {who}; `chmod go-w` makes it trustworthy.")


def _keeper(path: Path) -> set[int]:
    """Whom root has made the keeper of this computer's profiles: the owner of a folder that only root could
    make, where /var/lib is root's own (a static user, see the daemon's unit).
    """
    if path.parent.parent != NODE:
        return set()
    with suppress(OSError):
        return {os.stat(NODE).st_uid}  # noqa: PTH116 - one system call
    return set()


def _check_folder(path: Path, trust: Trust) -> None:
    """Who can write to a folder can exchange its files, unless it is sticky, as /tmp is."""
    folder = os.stat(path.parent)  # noqa: PTH116 - one system call
    if trust is Trust.FOUND:
        _check_owner(folder, "its folder", path)
    if not folder.st_mode & stat.S_ISVTX:
        _check_mode(folder, "its folder", stat.S_IWOTH | (stat.S_IWGRP if trust is Trust.FOUND else 0))
