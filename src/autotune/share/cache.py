"""Local copies of publications: what was read once is not read again, and survives a half listing.

Publications never change, so a copy whose bytes match its name is as good as the file. A file that a listing
lacks may have been removed, or the listing may be half: NFS shows a new name up to a minute late. Its copy
speaks on until listings have lacked it for some minutes.
"""

import os
import stat
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

from autotune.share.publication import digest_fits, is_publication, signed_by

GRACE_SECONDS = 600.0
"""Ten times what the nfs(5) manual gives for the longest that a client believes its directory cache."""
_GONE = ".gone"
"""Ends the name of the mark beside a copy, whose time says since when listings lack it."""


class Copies:
    """The copies of one class. Losing them costs time only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> set[str]:
        """What there are copies of; nothing in a folder where others than this user could have put them."""
        try:
            if not _ours(self._folder.stat()):
                return set()
            found = [path.name for path in self._folder.iterdir()]
        except OSError:
            return set()
        return {name for name in found if is_publication(name) or signed_by(name)}

    def read(self, name: str) -> bytes | None:
        """A copy's bytes; None if it cannot be read, or is not what its name says."""
        try:
            data = (self._folder / name).read_bytes()
        except OSError:
            return None
        return data if digest_fits(name, data) else None

    def keep(self, name: str, data: bytes) -> None:
        """Make a copy, if the disk takes it. Not synced: what a power cut tears no longer fits its name."""
        temporary = self._folder / f".{name[:64]}.{os.getpid()}"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary.write_bytes(data)
            temporary.replace(self._folder / name)
        except OSError:  # a full disk, say: half a copy would only make it fuller
            with suppress(OSError):
                temporary.unlink()

    def drop(self, names: Iterable[str]) -> None:
        """Forget these at once."""
        for name in names:
            for path in (self._folder / name, self._folder / (name + _GONE)):
                with suppress(OSError):
                    path.unlink(missing_ok=True)

    def believe(self, listed: Collection[str], now: float) -> None:
        """Take in a listing: forget what was lacking long enough, mark what is lacking now."""
        for name in self.names():
            mark = self._folder / (name + _GONE)
            with suppress(OSError):
                if name in listed:
                    mark.unlink(missing_ok=True)
                elif (since := _since(mark)) is None:
                    mark.write_text(str(now), encoding="ascii")
                elif not 0 <= now - since < GRACE_SECONDS:
                    self.drop([name])


def _since(mark: Path) -> float | None:
    """When a copy was first found lacking; None if it is not, or if a power cut left the mark without a number."""
    try:
        return float(mark.read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return None


def _ours(found: os.stat_result) -> bool:
    """Could nobody else have written there?"""
    if os.name != "posix":
        return True
    return found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
