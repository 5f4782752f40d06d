"""The live guard: whether a choice is still no slower than the default, in this program, now.

Of the calls that take longer than a millisecond and run with a count of their own, at most one in a hundred
runs with the default instead, and makes a pair with the call before or the call after it (which, is a toss:
drift then favours neither). A choice whose pairs are lost by the betting test of `model.betting` is dropped: its calls
run with the default for the rest of this process. Ten pairs lost without one won are enough.
"""

from collections import deque
from collections.abc import Callable
from random import random, randrange
from typing import TYPE_CHECKING, NamedTuple

from autotune.intercept.array_loops import is_loop
from autotune.model.betting import SignTest, median_interval
from autotune.model.configuration import DEFAULT, Configuration
from autotune.model.units import count_of

if TYPE_CHECKING:
    from autotune.native._core import Calls

ALPHA = 0.01
"""Probability of ever dropping an entry that is no slower than the default."""
LONG_SECONDS = 1e-3
EVERY = 100

_JITTER = 50
"""Controls come 100 to 150 calls apart: a program with a period of a hundred calls is not met in one phase."""
_FOR_EVER = 2**32 - 1

_MOST_RATIOS = 200
"""Pairs whose ratio is kept, the latest ones."""


class Saved(NamedTuple):
    """Seconds saved so far by the choices that are watched, with the ends of their 95 % interval."""

    seconds: float
    low: float
    high: float
    untold: int = 0
    """Choices with too few controls to tell what they saved; they are not part of the seconds."""


class Dropped(NamedTuple):
    """Calls whose entry lost."""

    operation: str
    dtype: str
    sizes: dict[str, int]
    threads: int
    """BLAS threads or workers that the entry gave them."""
    pairs: int
    lost: int

    @property
    def configuration(self) -> Configuration:
        """The default, which is used instead."""
        return DEFAULT

    def __str__(self) -> str:
        sizes = " ".join(f"{name}={value}" for name, value in self.sizes.items())
        threads = count_of(self.threads, "worker" if is_loop(self.operation) else "BLAS thread")
        return (
            f"{self.operation} {self.dtype} {sizes}: the default was faster than {threads} in "
            f"{self.lost} of {self.pairs} pairs of calls, so it is used instead in this process."
        )


class Guard:
    """The guard of a process: the C core times calls and tells it of long ones and of controls."""

    def __init__(
        self,
        *,
        default: int | None = None,
        on_drop: Callable[[Dropped], object] = lambda _: None,
        slack: Callable[["Calls"], float] = lambda _: 0.0,
    ) -> None:
        """Store the default's threads, None where that is the count at rest, and what learns of a drop.

        `slack` tells the share of their time by which calls may be slower than the default without being lost.
        """
        self._default = default
        self._slack = slack
        self._on_drop = on_drop
        self._watched: list[tuple[Calls, Watched]] = []
        self.dropped: list[Dropped] = []

    def watch(self, calls: "Calls", shortest_seconds: float = LONG_SECONDS) -> "Watched":
        """Watch calls from now on, those that take `shortest_seconds` or more."""
        watched = calls.watched = Watched(
            shortest_seconds, since_seconds=calls.nanoseconds * 1e-9, slack=self._slack(calls)
        )
        self._watched.append((calls, watched))
        return watched

    def look(self, calls: "Calls", seconds: float, control: int) -> None:
        """Take in a call that has ended, drop an entry that has lost, and order the next control."""
        watched = calls.watched or self.watch(calls)
        if watched.is_over:
            return
        watched.took(seconds, control=bool(control), elements=calls.elements)
        threads = calls.threads
        if watched.has_lost and threads is not None:
            watched.is_over = True
            calls.pause = _FOR_EVER
            pairs, lost = watched.pairs, watched.lost_pairs
            dropped = Dropped(calls.operation, calls.dtype, dict(calls.sizes), threads, pairs, lost)
            self.dropped.append(dropped)
            calls.threads = None if is_loop(calls.operation) else self._default
            self._on_drop(dropped)
        elif watched.due():
            calls.control = True
        else:
            calls.pause = watched.pause()

    def savings(self, wall_seconds: float) -> Saved | None:
        """Return what the choices have saved while the process ran; None before the first control.

        No claim exceeds these seconds.
        """
        watched = [(calls, watch) for calls, watch in list(self._watched) if watch.pairs]
        claims = [saved for calls, watch in watched if (saved := watch.savings(calls.nanoseconds * 1e-9)) is not None]
        if not watched:
            return None
        seconds = sum(claim.seconds for claim in claims)
        # independent errors add in quadrature
        below = sum((claim.seconds - claim.low) ** 2 for claim in claims) ** 0.5
        above = sum((claim.high - claim.seconds) ** 2 for claim in claims) ** 0.5

        def clip(value: float) -> float:
            return max(-wall_seconds, min(value, wall_seconds))

        return Saved(clip(seconds), clip(seconds - below), clip(seconds + above), untold=len(watched) - len(claims))


class Watched:
    """Pairs of the long calls of one operation at one size. Pure but for the toss.

    Threads that end calls at once may mix up a pair; they do not share one call.
    """

    def __init__(
        self, shortest_seconds: float = LONG_SECONDS, *, since_seconds: float = 0.0, slack: float = 0.0
    ) -> None:
        """Begin where the calls have taken `since_seconds` in all; they may be slower by the share `slack`."""
        self._slack = slack
        self._shortest_seconds = shortest_seconds
        self._since_seconds = since_seconds
        self.calls = 0
        """Long ones, run with the entry's count."""
        self.is_over = False
        self._test = SignTest()
        self._ratios: deque[float] = deque(maxlen=_MOST_RATIOS)
        self._control_seconds = 0.0
        self._next = EVERY + randrange(_JITTER)
        self._last: float | None = None
        self._waiting: float | None = None

    @property
    def pairs(self) -> int:
        return self._test.pairs

    @property
    def lost_pairs(self) -> int:
        """Pairs in which the default was faster."""
        return self._test.won

    @property
    def has_lost(self) -> bool:
        """Is the default proved to be faster?"""
        return self._test.is_proved(ALPHA)

    def due(self) -> bool:
        """Return whether it is time for a control."""
        if self.calls < self._next:
            return False
        self._next += EVERY + randrange(_JITTER)
        return True

    def pause(self) -> int:
        """Return how many calls need no report, and count them: those before the next control's neighbour."""
        calls = max(0, self._next - self.calls - 2) if self._waiting is None else 0
        self.calls += calls
        return calls

    def took(self, seconds: float, *, control: bool, elements: int = 1) -> None:
        """Take in a call that has ended; with negative seconds, one that another call disturbed or that raised.

        Calls of a loop may have different numbers of elements: pairs compare seconds for each.
        """
        if seconds < 0.0:
            self._waiting = self._last = None
        elif control:
            self._control_seconds += seconds
            if self._last is not None and random() < 0.5:
                self._pair(self._last, seconds / elements)
            else:
                self._waiting = seconds / elements
        elif seconds >= self._shortest_seconds:
            self.calls += 1
            self._last = seconds / elements
            if self._waiting is not None:
                default, self._waiting = self._waiting, None
                self._pair(self._last, default)

    def savings(self, total_seconds: float) -> Saved | None:
        """Return the seconds of the calls, times the median gain of the pairs; None with too few pairs.

        `total_seconds` are those of all calls so far, controls included. The median of the ratios, and the interval of
        a median: an outlier in a pair moves neither.
        """
        ends = median_interval(len(self._ratios))
        if ends is None:
            return None
        ratios = sorted(self._ratios)
        half = len(ratios) // 2
        middle = (ratios[half] + ratios[-half - 1]) / 2
        tuned_seconds = max(0.0, total_seconds - self._since_seconds - self._control_seconds)
        return Saved(
            tuned_seconds * (middle - 1.0),
            tuned_seconds * (ratios[ends[0]] - 1.0),
            tuned_seconds * (ratios[ends[1]] - 1.0),
        )

    def _pair(self, tuned: float, control: float) -> None:
        self._test.add(control * (1.0 + self._slack) - tuned)
        if tuned > 0:
            self._ratios.append(control / tuned)
