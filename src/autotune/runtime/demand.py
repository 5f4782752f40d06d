"""Which operations and sizes a program calls, covered by a profile or not: counted, and left for the daemon at exit.

One JSON file for each process, `<spool>/<pid>-<nanoseconds>.json`, in the spool that this computer's daemon keeps
or in `<state folder>/spool`: a `SpoolDocument` as the codec writes it. The program does not wait for it, and goes on if
it cannot be written.
"""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from autotune.model.operation import Operation
from autotune.model.spool_document import FORMAT, MAX_CALLS, LostPairs, SpoolDocument

if TYPE_CHECKING:
    from autotune.runtime.guard import Dropped

MOST_ROWS = 1000
"""Different questions counted; later ones are left out."""
MOST_WRITTEN = 200
MOST_FILES = 1000
"""Files in the spool beyond which none is added: no daemon reads them."""


class Demand:
    """Counts by operation, dtype and sizes."""

    def __init__(self) -> None:
        self._rows: dict[bool, dict[Operation, list[int]]] = {False: {}, True: {}}
        """Calls that nothing covers, and calls that an entry covers, in lists of one."""
        self._asked: dict[object, list[int]] = {}
        """The same lists, by the questions that lead to them."""

    def meet(self, question: object, operation: Operation, *, covered: bool) -> None:
        """Record a first question of config()."""
        self.add(operation, 1, covered=covered)
        row = self._rows[covered].get(operation)
        if row is not None and len(self._asked) < 2 * MOST_ROWS:
            self._asked[question] = row

    def count(self, question: object) -> None:
        """Count a question that is asked again; one that was not met is not counted. Costs 0.2 us."""
        row = self._asked.get(question)
        if row is not None:
            row[0] += 1

    def add(self, operation: Operation, calls: int, *, covered: bool = False) -> None:
        rows = self._rows[covered]
        if operation in rows:
            rows[operation][0] += calls
        elif len(rows) < MOST_ROWS:
            rows[operation] = [calls]

    def most_called(self, *, covered: bool = False) -> dict[Operation, int]:
        """Return the calls of the most frequent operations."""
        most = sorted(self._rows[covered].items(), key=lambda pair: -pair[1][0])[:MOST_WRITTEN]
        return {operation: min(calls, MAX_CALLS) for operation, (calls,) in most if calls > 0}

    def forget(self) -> None:
        """Start anew: a forked child counts its own calls."""
        for rows in self._rows.values():
            rows.clear()
        self._asked.clear()


def leave(demand: Demand, dropped: "Iterable[Dropped]") -> None:
    """Write one file into the spool, unless there is nothing to say, or no place to say it."""
    from contextlib import suppress

    from autotune.runtime.naming import operation_of

    lost = {
        operation: LostPairs(pairs=each.pairs, lost=each.lost)
        for each in dropped
        if (operation := operation_of(each)) is not None
    }
    calls, used = demand.most_called(), demand.most_called(covered=True)
    if calls or used or lost:
        with suppress(OSError):
            _write(SpoolDocument(format=FORMAT, calls=calls, used=used, dropped=lost))


def _write(document: SpoolDocument) -> None:
    import json
    from time import time_ns

    from autotune.host.trusted_files import replace_file
    from autotune.model.codec import encode
    from autotune.profiles import folders

    spool, mode = folders.spool()
    spool.mkdir(mode=0o700, parents=True, exist_ok=True)
    if sum(1 for _ in os.scandir(spool)) >= MOST_FILES:
        return
    path = spool / f"{os.getpid()}-{time_ns()}.json"
    replace_file(path, json.dumps(encode(document)).encode(), mode, durable=False)
