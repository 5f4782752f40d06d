"""Is a new profile taken into use? Its most used entries are timed against the default once more. Pure.

A run is one `autotune verify --json` of these entries, which has a test of its own: "slower" means proved so
with a one-sided error of 2.5 %. Two such runs of at most three make an error of about 0.2 %.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

MOST_RUNS = 3
SLOWER_RUNS = 2
MOST_ENTRIES = 5
"""Entries timed: those that are used most."""


class Verdict(StrEnum):
    """What one run says."""

    FINE = "fine"
    SLOWER = "slower"
    OPEN = "open"


class Step(StrEnum):
    """What follows."""

    TIME = "time again"
    ADOPT = "take into use"
    QUARANTINE = "quarantine"
    LEAVE = "leave out"


def verdict(report: Mapping[str, Any]) -> Verdict:
    """What the report of `autotune verify --json` says: one entry that is slower, or fails, is enough.

    Entries that are refused, or that are not faster any more, harm nobody.
    """
    standings = {entry["standing"] for entry in report["entries"]}
    if standings & {"slower", "failed"}:
        return Verdict.SLOWER
    return Verdict.OPEN if "open" in standings else Verdict.FINE


def step(runs: Sequence[Verdict]) -> Step:
    """What follows from the runs so far, oldest first."""
    if runs.count(Verdict.SLOWER) >= SLOWER_RUNS:
        return Step.QUARANTINE
    if Verdict.FINE in runs and runs[-1] is Verdict.FINE and _outvoted(runs):
        return Step.ADOPT
    return Step.TIME if len(runs) < MOST_RUNS else Step.LEAVE


def _outvoted(runs: Sequence[Verdict]) -> bool:
    """One fine run is enough, unless another one was slower: then two are needed."""
    return runs.count(Verdict.FINE) > runs.count(Verdict.SLOWER)
