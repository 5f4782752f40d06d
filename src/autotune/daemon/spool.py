"""What programs asked for in vain: small files that they leave when they end, see `runtime/demand.py`.

Everybody may write there, so nothing in it is believed beyond what it can do: put an operation of the
catalogue at a size forward in the queue.
"""

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from time import time
from typing import Any

from autotune.errors import UntrustedFile, UsageError
from autotune.host.trusted_files import FileRule, read_file
from autotune.model.catalogue import CATALOGUE, operation
from autotune.model.operation import DTYPES, Operation

FORMAT = 1
LARGEST_FILE = 2**18
"""Bytes; 200 rows of calls and as many dropped entries take 60 kB."""
MOST_FILES = 100
"""Files of one visit; the next one takes more."""
MOST_NAMES = 20_000
"""Names of one visit, which anybody may leave: that many are listed in 20 ms."""
MOST_ROWS = 400
MOST_CALLS = 10**9
"""Of one row: as many as a program makes in a day at 100 us each."""
OLD_SECONDS = 3600.0
"""A hidden file of this age was left unfinished."""
FRESH_SECONDS = 60.0
"""By which clocks of file systems may be ahead of ours."""


@dataclass(slots=True)
class Found:
    """What one visit brings."""

    calls: dict[Operation, int] = field(default_factory=dict)
    """Calls that nothing covers."""
    used: dict[Operation, int] = field(default_factory=dict)
    """Calls that an entry covers."""
    dropped: dict[Operation, str] = field(default_factory=dict)
    """Entries that a program's live guard dropped, with what it says."""
    refused: list[str] = field(default_factory=list)
    """Files that cannot be used: sentences."""


def take(folder: Path, *, shared: bool, done: set[str]) -> Found:
    """Read the spool's files and remove them.

    `done` remembers the names of those that could not be removed, so that they count once. In a `shared`
    spool files of every user count; else those of the daemon's user and root.
    """
    rule = FileRule(LARGEST_FILE, any_owner=shared, single_name=True)
    found = Found()
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in islice(entries, MOST_NAMES)]
    except OSError:
        return found
    done.intersection_update(names)
    _sweep(folder, [each for each in names if each.startswith(".")])
    whole = [each for each in names if not each.startswith(".") and each not in done]
    for name in sorted(whole)[:MOST_FILES]:
        path = folder / name
        try:
            _count(json.loads(read_file(path, rule).data), found)
        except (UntrustedFile, OSError, ValueError, RecursionError) as problem:
            found.refused.append(f"{path}: {_sentence(problem)}")
        try:
            path.unlink()
        except OSError:
            done.add(name)
    return found


def _count(content: Any, found: Found) -> None:
    """Take in one file's rows; those that make no sense are left out."""
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError("its format is not known.")
    for name, counts in (("calls", found.calls), ("used", found.used)):
        for row in _rows(content.get(name)):
            asked, calls = _operation(row), row.get("calls")
            if asked is not None and type(calls) is int and calls > 0:
                counts[asked] = counts.get(asked, 0) + min(calls, MOST_CALLS)
    for row in _rows(content.get("dropped")):
        asked, lost, pairs = _operation(row), row.get("lost"), row.get("pairs")
        if asked is not None and type(lost) is int and type(pairs) is int and 0 < lost <= pairs:
            found.dropped[asked] = f"the default was faster in {lost} of {pairs} pairs of calls of a program"


def _rows(value: Any) -> list[dict[str, Any]]:
    return [row for row in value[:MOST_ROWS] if isinstance(row, dict)] if isinstance(value, list) else []


def _operation(row: dict[str, Any]) -> Operation | None:
    """The operation of the catalogue that a row names. Functions of users are none: they are code."""
    name, dtype, sizes = row.get("operation"), row.get("dtype"), row.get("sizes")
    if (
        not isinstance(name, str)
        or name not in CATALOGUE
        or dtype not in DTYPES
        or not isinstance(sizes, dict)
    ):
        return None
    try:
        return operation(name, dtype=str(dtype), **sizes)
    except (UsageError, TypeError):
        return None


def _sweep(folder: Path, hidden: Iterable[str]) -> None:
    """Remove unfinished files whose writer is gone. One from the future is nobody's."""
    for name in hidden:
        with suppress(OSError):
            if not 0 <= time() - (folder / name).lstat().st_mtime + FRESH_SECONDS <= OLD_SECONDS:
                (folder / name).unlink()


def _sentence(problem: Exception) -> str:
    if isinstance(problem, json.JSONDecodeError | UnicodeDecodeError | RecursionError):
        return "it is not JSON."
    if isinstance(problem, OSError):
        return f"it cannot be read: {problem.strerror or problem}."
    return problem.reason if isinstance(problem, UntrustedFile) else str(problem)
