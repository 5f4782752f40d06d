"""One BLAS thread count for the whole process, if there is one that slows down no measured size. Pure."""

from collections.abc import Iterable
from math import log

from autotune.model.catalogue import CATALOGUE, IN_PROCESSES
from autotune.model.configuration import Knob
from autotune.model.entry import Entry, Status


def consensus(entries: Iterable[Entry]) -> tuple[int | None, str]:
    """Return the BLAS thread count at which no measured size is slower than its default, and why; None: leave it alone.

    Only counts in the `safe_threads` of every entry that calls BLAS qualify. Of these the one that the
    entries gain most by, in the sum of the logarithms of their speed-ups, is taken, and of equals the smallest;
    without a gain the count stays. Entries without a result (undecided, noisy) and entries of users' own functions and
    commands do not vote. One size whose default failed, or whose entry is refused here, is enough to leave it alone.
    """
    votes = [entry for entry in entries if _calls_blas(entry) and not entry.is_silent]
    if not votes:
        return None, "No BLAS thread count was measured for this machine."
    common: set[int] | None = None
    for entry in votes:
        safe = {*entry.evidence.safe_threads, *_chosen_counts(entry)}
        common = safe if common is None else common & safe
        if not common:
            if entry.status in {Status.NOISY, Status.FAILED}:
                return None, f"{entry.operation} has no evidence for any count."
            return None, f"No single thread count suits all measured sizes; {entry.operation} rules out the last."
    assert common is not None
    gains = {count: sum(_gain(entry, count) for entry in votes) for count in sorted(common)}
    best = max(gains, key=lambda count: gains[count])
    if gains[best] <= 0:
        return None, "No single thread count for the whole process is proved to gain."
    threads = "One BLAS thread" if best == 1 else f"{best} BLAS threads"
    return best, f"{threads} made none of {len(votes)} measured sizes slower, and some faster."


def _calls_blas(entry: Entry) -> bool:
    """Is it about an operation of the catalogue that calls BLAS in this process?"""
    row = CATALOGUE.get(entry.operation.name)
    return row is not None and not row.name.endswith(IN_PROCESSES) and Knob.BLAS_THREADS in row.knobs


def _chosen_counts(entry: Entry) -> set[int]:
    """Return the count that the entry was proved to be faster with, on its own."""
    threads, workers = entry.choice.blas_threads, entry.choice.workers
    return {threads} if threads is not None and workers in {None, 1} else set()


def _gain(entry: Entry, count: int) -> float:
    """Return the gain of an entry at a count, as a logarithm; 0 for counts other than its choice."""
    speedup = entry.evidence.speedup
    return log(speedup) if count in _chosen_counts(entry) and speedup else 0.0
