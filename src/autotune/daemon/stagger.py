"""When a node talks to the store, so that ten thousand of them do not at once; and whose turn it is. Pure.

Every node draws its own phase from its identity, so that the phases of a fleet that was switched on together
are spread evenly over the interval, and stay so. Failures back off, with jitter for the same reason (AWS
Architecture Blog, Exponential Backoff And Jitter, 2015: "full jitter").
"""

import zlib

PULL_SECONDS = 3600.0
FIRST_RETRY_SECONDS = 60.0
LONGEST_RETRY_SECONDS = 6 * 3600.0


def share(*words: str) -> float:
    """A number from 0 up to 1 that these words always give, spread evenly over all words."""
    return zlib.crc32("\0".join(words).encode()) / 2**32


def next_pull(host: str, now: float, *, interval: float = PULL_SECONDS, failures: int = 0) -> float:
    """When to pull next, in the seconds of `now`.

    Without failures at the host's own phase of the interval: exactly one pull an interval, whenever asked.
    After some, at a random part of a time that doubles with each.
    """
    if failures:
        most = min(FIRST_RETRY_SECONDS * 2.0 ** min(failures, 20), LONGEST_RETRY_SECONDS)
        return now + most * (0.5 + share(host, str(failures), str(int(now))) / 2)
    phase = share(host, "pull") * interval
    return (now - phase) // interval * interval + interval + phase


def turn(host: str, subject: str, noticed: float, *, spread: float) -> float:
    """When this node may begin what its whole class lacks, noticed at this time: equal nodes begin one after
    the other, and who comes later finds the first one's result, or its claim, in the store.
    """
    return noticed + share(host, subject) * spread
