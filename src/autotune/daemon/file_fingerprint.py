"""Has a file changed? Asked by looking, since change notices do not come from network file systems."""

import os
from collections.abc import Iterable
from typing import Any


def stamp(path: str) -> list[Any]:
    """What is different once a file or folder has changed; [] if it is not there. A value that JSON keeps."""
    try:
        found = os.stat(path)  # noqa: PTH116 - once a file, every half minute
    except (OSError, ValueError):
        return []
    return [found.st_mtime_ns, found.st_size, found.st_ino, found.st_mode, found.st_uid]


def stamps(paths: Iterable[str]) -> tuple[tuple[str, tuple[Any, ...]], ...]:
    """Those of several."""
    return tuple((path, tuple(stamp(path))) for path in paths)
