"""Files that programs leave at their end (`runtime/demand.py`): counts of calls, and entries that a guard dropped.

Any user may write to the spool, so a file can do one thing only: put an operation of the catalogue at a size forward
in the queue.
"""

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from time import time

from autotune.daemon.context import DaemonContext
from autotune.errors import UntrustedFile
from autotune.host.trusted_files import FileRule, read_file
from autotune.model.catalogue import CATALOGUE, is_measurable
from autotune.model.codec import decode
from autotune.model.operation import Operation
from autotune.model.spool_document import FORMAT, SpoolDocument
from autotune.profiles import folders

MAX_BYTES = 2**18
"""Of a file: 200 rows of calls and as many dropped entries take 60 kB."""
MAX_FILES = 100
"""Files read at a time."""
MAX_NAMES = 20_000
"""Names listed at a time, which takes 20 ms."""
UNFINISHED_SECONDS = 3600.0
"""Age from which a hidden file counts as left behind by its writer."""
CLOCK_SKEW_SECONDS = 60.0
"""By which the clock of a file system may be ahead."""
MAX_REPORTED = 3
"""Refused files that are logged one by one; of the others only the number is."""
MAX_DOUBTS = 200
"""Entries in doubt, beyond which programs add none."""


@dataclass(slots=True)
class SpoolContent:
    """The content of the files that were read."""

    calls: dict[Operation, int] = field(default_factory=dict)
    """Calls that no entry covers."""
    used: dict[Operation, int] = field(default_factory=dict)
    """Calls that an entry covers."""
    dropped: dict[Operation, str] = field(default_factory=dict)
    """Entries that a program's live guard dropped, with the reason."""
    refused: list[str] = field(default_factory=list)
    """Files that cannot be used: sentences."""

    def add(self, document: SpoolDocument) -> None:
        """Add what a file says of the catalogue's operations. Users' functions are code, so they are left out."""
        for counted, counts in ((document.calls, self.calls), (document.used, self.used)):
            for called, calls in counted.items():
                if is_measurable(called):
                    counts[called] = counts.get(called, 0) + calls
        for dropped, pairs in document.dropped.items():
            if is_measurable(dropped) and pairs.lost <= pairs.pairs:
                self.dropped[dropped] = (
                    f"the default was faster in {pairs.lost} of {pairs.pairs} pairs of calls of a program."
                )


def take_spool(context: DaemonContext, undeletable: set[str]) -> None:
    """Take the files that are there into the daemon's state, and remove them.

    `undeletable` remembers the names of files that could not be removed, so that they count once.
    """
    state, paths = context.state, context.paths
    content = read_spool(paths.spool, shared=paths.shared, undeletable=undeletable)
    for why in content.refused[:MAX_REPORTED]:
        context.log.write("spool", why, level="warning")
    if len(content.refused) > MAX_REPORTED:
        more = f"{len(content.refused) - MAX_REPORTED} more files were refused."
        context.log.write("spool", more, level="warning")
    state.count_calls(content.calls, covered=False)
    state.count_calls(content.used, covered=True)
    for dropped, why in content.dropped.items():
        if len(state.doubts) < MAX_DOUBTS:
            state.doubts[dropped] = why
    context.has_unsaved |= bool(content.calls or content.used or content.dropped)


def read_spool(
    folder: Path, *, shared: bool, undeletable: set[str], remove: bool = True, max_names: int = MAX_NAMES
) -> SpoolContent:
    """Read the files of the spool, and remove them unless they are left to the daemon.

    In a `shared` spool files of every user count; otherwise those of the daemon's user and of root.
    """
    rule = FileRule(MAX_BYTES, any_owner=shared, single_name=True)
    content = SpoolContent()
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in islice(entries, max_names)]
    except OSError:
        return content
    undeletable.intersection_update(names)
    if remove:
        _remove_unfinished(folder, (name for name in names if name.startswith(".")))
    finished = [name for name in names if not name.startswith(".") and name not in undeletable]
    for name in sorted(finished)[:MAX_FILES]:
        path = folder / name
        try:
            content.add(_document(path, rule))
        except (UntrustedFile, OSError, ValueError, RecursionError) as error:
            content.refused.append(f"{path}: {_reason(error)}")
        if remove:
            try:
                path.unlink()
            except OSError:
                undeletable.add(name)
    return content


def spool_weights() -> dict[str, float]:
    """Return how much each operation counts by what programs have called here: its part of the work in the spool."""
    work: dict[str, float] = {}
    content = read_spool(folders.spool()[0], shared=False, undeletable=set(), remove=False)
    for called, calls in (*content.calls.items(), *content.used.items()):
        part = calls * CATALOGUE[called.name].work_of(called)
        work[called.name] = work.get(called.name, 0.0) + part
    total = sum(work.values())
    return {name: 1 + len(work) * part / total for name, part in work.items()}


def _document(path: Path, rule: FileRule) -> SpoolDocument:
    """Read a file of the spool. Raises UntrustedFile, OSError, ValueError or RecursionError for another."""
    document = json.loads(read_file(path, rule).data)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ValueError("its format is not known.")
    return decode(SpoolDocument, document)


def _remove_unfinished(folder: Path, names: Iterable[str]) -> None:
    """Remove unfinished files whose writer is gone: those that are old, and those from the future."""
    for name in names:
        with suppress(OSError):
            age = time() - (folder / name).lstat().st_mtime + CLOCK_SKEW_SECONDS
            if not 0 <= age <= UNFINISHED_SECONDS:
                (folder / name).unlink()


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError | RecursionError):
        return "it is not JSON."
    if isinstance(error, OSError):
        return f"it cannot be read: {error.strerror or error}."
    return error.reason if isinstance(error, UntrustedFile) else str(error)
