"""The live guard: is what was measured still no slower than the default, in this program, now?

Of the calls that take longer than a millisecond and run with a count of their own, at most one in a hundred
runs with the default instead, and makes a pair with the call before or the call after it (which, is a toss:
drift then favours neither).

The test
    A pair is lost if the default was faster. A player who bets the share s of the capital on "lost" at even odds
    multiplies it by 1 + s or 1 - s. If losing is no likelier than winning, whatever came before, that capital
    is a supermartingale, and by Ville's inequality (1939) it ever reaches 1/ALPHA times its start with
    probability ALPHA at most: the test may be looked at after every pair. The capital is spread evenly
    over three shares. Ten pairs lost without one won are enough.
What follows
    An entry that loses is dropped: its calls run as at rest for the rest of this process. The median is what
    is tested, so no outlier decides.
"""

from math import sqrt
from random import random, randrange
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from autotune.native._core import Calls

ALPHA = 0.01
"""Probability of ever dropping an entry that is no slower than the default."""

LONG_SECONDS = 1e-3
EVERY = 100

_SHARES = (0.25, 0.5, 0.75)
_JITTER = 50
"""Controls come 100 to 150 calls apart: a program with a period of a hundred calls is not met in one phase."""

_FEWEST_PAIRS = 5
_STUDENT = {
    4: 2.776,
    5: 2.571,
    6: 2.447,
    7: 2.365,
    8: 2.306,
    9: 2.262,
    10: 2.228,
    15: 2.131,
    20: 2.086,
    30: 2.042,
}
"""Student's t at 97.5 %, by degrees of freedom; in between, the value below, which is the wider one."""


class Saved(NamedTuple):
    """Seconds saved so far by calls longer than a millisecond, with the ends of their 95 % interval."""

    seconds: float
    low: float
    high: float


class Dropped(NamedTuple):
    """Calls whose entry lost."""

    operation: str
    dtype: str
    sizes: dict[str, int]
    threads: int
    """Configuration that the entry gave them."""
    pairs: int
    lost: int

    def __str__(self) -> str:
        sizes = " ".join(f"{name}={value}" for name, value in self.sizes.items())
        return (
            f"{self.operation} {self.dtype} {sizes}: the default was faster than {self.threads} BLAS threads in "
            f"{self.lost} of {self.pairs} pairs of calls, so it is used instead in this process."
        )


class Guard:
    """The guard of a process: the C core times calls and tells it of long ones and of controls."""

    def __init__(self) -> None:
        self._watched: list[Watched] = []
        self.dropped: list[Dropped] = []

    def look(self, calls: "Calls", seconds: float, control: int) -> None:
        """Take in a call that has ended, drop an entry that has lost, and order the next control."""
        watched = calls.watched
        if watched is None:
            watched = calls.watched = Watched()
            self._watched.append(watched)
        watched.took(seconds, control=bool(control))
        threads = calls.threads
        if watched.has_lost and threads is not None:
            self.dropped.append(
                Dropped(calls.operation, calls.dtype, dict(calls.sizes), threads, watched.pairs, watched.lost)
            )
            calls.threads = None
        elif watched.due():
            calls.control = True

    def saved(self) -> Saved | None:
        """Return the time that the entries saved; None until an entry has the five pairs that an interval takes."""
        known = [saved for watched in list(self._watched) if (saved := watched.saved()) is not None]
        if not known:
            return None
        seconds = sum(one.seconds for one in known)
        half = sqrt(sum((one.high - one.seconds) ** 2 for one in known))
        return Saved(seconds, seconds - half, seconds + half)


class Watched:
    """Evidence on the long calls of one operation at one size. Pure but for the toss.

    Threads that end calls at once may mix up a pair; they do not share one call.
    """

    def __init__(self) -> None:
        self.calls = 0
        """Long ones, run with the entry's count."""
        self.pairs = 0
        self.lost = 0
        self._next = EVERY + randrange(_JITTER)
        self._last: float | None = None
        self._waiting: float | None = None
        self._capital = [1.0] * len(_SHARES)
        self._mean = self._squares = 0.0

    def due(self) -> bool:
        """Is it time for a control?"""
        if self.calls < self._next:
            return False
        self._next += EVERY + randrange(_JITTER)
        return True

    def took(self, seconds: float, *, control: bool) -> None:
        """A call has ended."""
        if control:
            if self._last is not None and random() < 0.5:
                self._pair(self._last, seconds)
            else:
                self._waiting = seconds
            return
        if seconds < LONG_SECONDS:
            return
        self.calls += 1
        self._last = seconds
        if self._waiting is not None:
            control_seconds, self._waiting = self._waiting, None
            self._pair(seconds, control_seconds)

    @property
    def has_lost(self) -> bool:
        """Is there evidence that the default is faster?"""
        return sum(self._capital) / len(_SHARES) >= 1 / ALPHA

    def saved(self) -> Saved | None:
        """The mean difference of the pairs, times the calls; None with too few pairs."""
        if self.pairs < _FEWEST_PAIRS:
            return None
        t = _STUDENT[max(freedom for freedom in _STUDENT if freedom <= self.pairs - 1)]
        half = t * sqrt(self._squares / (self.pairs - 1) / self.pairs)
        return Saved(*(self.calls * value for value in (self._mean, self._mean - half, self._mean + half)))

    def _pair(self, tuned: float, control: float) -> None:
        self.pairs += 1
        difference = control - tuned
        step = difference - self._mean
        self._mean += step / self.pairs  # Welford 1962
        self._squares += step * (difference - self._mean)
        if difference:
            sign = 1 if difference < 0 else -1
            self.lost += difference < 0
            self._capital = [
                capital * (1 + sign * share) for capital, share in zip(self._capital, _SHARES, strict=True)
            ]
