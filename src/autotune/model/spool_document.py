"""The document of a file in the spool, by which a program tells the daemon what it called."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from autotune.model.constraints import Bounds, Quantity
from autotune.model.operation import Operation

FORMAT = 2
MAX_CALLS = 10**9
"""Of a row: as many as a program makes in a day at 100 us each."""

Calls = Annotated[int, Bounds(1, MAX_CALLS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class LostPairs:
    """Evidence of the live guard against an entry."""

    pairs: Quantity
    lost: Quantity
    """Pairs of calls in which the default was faster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolDocument:
    """The file that a process leaves."""

    format: int
    calls: Mapping[Operation, Calls] = field(default_factory=dict)
    """Calls that no entry covers, the most frequent first."""
    used: Mapping[Operation, Calls] = field(default_factory=dict)
    """Calls that an entry covers."""
    dropped: Mapping[Operation, LostPairs] = field(default_factory=dict)
    """Entries that the guard dropped."""
