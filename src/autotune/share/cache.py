"""Local copies of a class's files, so that each is fetched once.

Publications are immutable, so a copy whose bytes match the digest in its name is as good as the file. A file that a
listing lacks may have been removed, or the listing may be incomplete: NFS shows a new name up to a minute late. Its
copy stays in use until listings have lacked it for some minutes.
"""

from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

from autotune.host.trusted_files import is_private, replace_file
from autotune.share.publication import digest_fits, is_publication, signed_by

GRACE_SECONDS = 600.0
"""Ten times the longest time that a client caches a directory, by the nfs(5) manual."""
_MISSING = ".gone"
"""Suffix of the file that holds the time since which listings lack a copy."""


class ClassCache:
    """The copies of one class. Losing them costs time only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> set[str]:
        """List the copies; none if other users can write to the folder."""
        try:
            if not is_private(self._folder.stat()):
                return set()
            names = [path.name for path in self._folder.iterdir()]
        except OSError:
            return set()
        return {name for name in names if is_publication(name) or signed_by(name)}

    def read(self, name: str) -> bytes | None:
        """Read a copy; None if it is unreadable or does not match its name."""
        try:
            data = (self._folder / name).read_bytes()
        except OSError:
            return None
        return data if digest_fits(name, data) else None

    def keep(self, name: str, data: bytes) -> None:
        """Write a copy if the disk takes it. It is not synced: a torn copy does not match its name."""
        with suppress(OSError):  # a full disk
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(self._folder / name, data, 0o600, durable=False)

    def drop(self, names: Iterable[str]) -> None:
        """Remove copies at once."""
        for name in names:
            for path in (self._folder / name, self._folder / (name + _MISSING)):
                with suppress(OSError):
                    path.unlink(missing_ok=True)

    def update(self, listed: Collection[str], now: float) -> None:
        """Compare the copies with a listing: mark those it lacks, remove those that were lacking long enough."""
        for name in self.names():
            mark = self._folder / (name + _MISSING)
            with suppress(OSError):
                if name in listed:
                    mark.unlink(missing_ok=True)
                elif (since := _read_time(mark)) is None:
                    mark.write_text(str(now), encoding="ascii")
                elif not 0 <= now - since < GRACE_SECONDS:
                    self.drop([name])


def _read_time(mark: Path) -> float | None:
    """Time since which a copy is missing from listings; None if it is not, or if a power cut emptied the mark."""
    try:
        return float(mark.read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return None
