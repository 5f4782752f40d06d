"""A private folder for temporary files that does not outlive its process."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import time

from autotune.errors import NoTemporaryFolder
from autotune.host.identity import short_host_id
from autotune.recording.collect import ROOM

LEFTOVER_SECONDS = 60.0
"""Age from which on a folder without a lock is a killed process's: a younger one may not have its lock yet."""


@contextmanager
def temporary_folder(prefix: str) -> Iterator[str]:
    """Make a private folder with room for a few files, and remove it at the end. Raises NoTemporaryFolder.

    Also removed are folders of this prefix that killed processes of this user have left on this host: a living one
    holds a lock, which other hosts with the same folder for temporary files may not see.
    """
    prefix = f"{prefix}{short_host_id()}-"
    try:
        folder = tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)
    except OSError as problem:
        raise NoTemporaryFolder(problem.strerror or str(problem)) from None
    with folder as name, _hold_lock(name):
        _remove_leftovers(prefix)
        if shutil.disk_usage(name).free < ROOM:
            raise NoTemporaryFolder(f"the file system of {name} is full")
        yield name


@contextmanager
def _hold_lock(folder: str) -> Iterator[bool]:
    """Hold the lock of a folder, which ends with the process; False if another holds it, or the system has none."""
    try:
        import fcntl

        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except (ImportError, OSError):
        yield False
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        yield False
    else:
        yield True
    finally:
        os.close(descriptor)


def _remove_leftovers(prefix: str) -> None:
    """Remove folders that killed processes of this user have left."""
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with suppress(OSError):
            state = folder.lstat()
            if time() - state.st_mtime < LEFTOVER_SECONDS:
                continue
            with _hold_lock(str(folder)) as is_free:
                if is_free and state.st_uid == os.getuid():
                    shutil.rmtree(folder, ignore_errors=True)
