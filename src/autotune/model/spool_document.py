"""The document of a file in the spool, by which a program tells the daemon what it called."""

from collections.abc import Mapping
from typing import Annotated

from autotune.model.constraints import Bounds, Quantity
from autotune.model.operation import Operation
from autotune.model.record import Record

FORMAT = 2
MAX_CALLS = 10**9
"""Of a row: as many as a program makes in a day at 100 us each."""

Calls = Annotated[int, Bounds(1, MAX_CALLS)]


class LostPairs(Record, kw_only=True):
    """Evidence of the live guard against an entry."""

    pairs: Quantity
    lost: Quantity
    """Pairs of calls in which the default was faster."""


class SpoolDocument(Record, kw_only=True):
    """The file that a process leaves."""

    format: int
    calls: Mapping[Operation, Calls] = {}
    """Calls that no entry covers, the most frequent first."""
    used: Mapping[Operation, Calls] = {}
    """Calls that an entry covers."""
    dropped: Mapping[Operation, LostPairs] = {}
    """Entries that the guard dropped."""
