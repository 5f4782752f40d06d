"""Lesson of a running program about one operation at one size: which candidates are tried, and what is proved. Pure.

    explore   a few pairs of adjacent calls, default and candidate: from the count of threads at rest by halves and
              doubles downhill, then between the best count and its neighbours; of loops also finer slices
    confirm   fresh pairs of the best candidate against the default, by the sign test of `model.betting`, looked at
              after each pair
    account   a pair begins only if what its candidate may lose, by what was seen of counts nearby, and all that
              candidates have lost so far are within the permitted share of the time of all these calls

The search of `calibrate` (packages `search` and `bench`) explores more configurations with a model of their times. It
needs Optuna and NumPy's linear algebra, which a tuned program must not load or call, so that this search is one of
its own: of one knob at a time, whose curve has one valley in most cases. What it misses costs nothing but a gain.
"""

from collections.abc import Callable, Mapping
from math import exp, log, pi, sqrt
from random import random
from statistics import median
from typing import NamedTuple

from autotune.model.betting import SignTest

SHARE = 0.01
"""Largest share of the time of the calls that learn that is spent on losing candidates."""
ERROR = 0.01
"""Probability that a process takes up any choice that is no faster than the default by the margin."""
MARGIN = 0.01
"""A gain smaller than this is not worth a switch."""
LEARNED_FROM_SECONDS = 20e-6
"""Shorter calls are left alone: threads take as long to start."""
EXPLORING_PAIRS = 5
"""Of each candidate: its median ratio orders the candidates, and proves nothing."""
PROMISING = 1.02
"""A candidate is confirmed whose median time ratio in exploration is less: that of a faster one may well be above 1."""
MOST_PAIRS = 256
"""Of a confirmation. A gain that they do not prove is too small to find on this machine."""
HOPELESS_PAIRS = 16
"""Of a confirmation, from which on it ends if no more than half of them were won."""
CLOSE = 1.4
"""Ratio of two counts below which exploration cannot distinguish them."""
LEAST_RISK = 0.05
"""Share of a call's time that any candidate is taken to lose at most, if nothing worse was seen of it."""
PAIR_SECONDS = 5e-6
"""Cost of a pair besides its calls, in this code."""
OVERDUE_CALLS = 1000
"""Calls of the default after which a candidate that was ordered is given up: its call was never told, as happens at the
recursion limit, or a signal handler raised meanwhile."""


class Account:
    """Seconds of the calls that learn in this process, and those spent on candidates that lost."""

    def __init__(self) -> None:
        self.total_seconds = 0.0
        self.lost_seconds = 0.0
        self._confirmations = 0

    def allows(self, seconds: float) -> bool:
        """May a candidate lose these seconds now?"""
        return self.lost_seconds + seconds <= SHARE * self.total_seconds

    def next_error(self) -> float:
        """Return the error of the next confirmation. All of them together have ERROR: the sum of 1/k^2 is pi^2/6."""
        self._confirmations += 1
        return ERROR * 6.0 / (pi * self._confirmations) ** 2


class CallThreads(NamedTuple):
    """Threads of calls that are tried together with the default."""

    threads: int
    """BLAS threads, or the workers of a loop."""
    slices: int = 1
    """Slices of a loop for each worker."""


class Candidates(NamedTuple):
    """Candidates of calls: their threads, from the default's to `most`, then finer slices for the best count.

    Finer slices help where a worker's CPU is taken away for a while, or where the memory of a slice stays in a cache.
    """

    most: int
    rest: int = 1
    """Threads of the default: of linear algebra those at rest, of a loop one, as NumPy runs it."""
    most_slices: int = 1
    """Slices for each worker, at most; 1: calls of linear algebra, which have none."""

    @property
    def default(self) -> CallThreads:
        """Return the candidate that all others are compared with."""
        return CallThreads(self.rest)

    def following(self, scores: Mapping[CallThreads, float]) -> CallThreads | None:
        """Return the candidate to be tried next, by the log-ratios of those that were; None: no more."""
        threads = next_count({tried.threads: score for tried, score in scores.items() if tried.slices == 1}, self.most)
        if threads is not None:
            return CallThreads(threads)
        best = min(scores, key=scores.__getitem__)
        finer = best._replace(slices=4 * best.slices)
        return None if best == self.default or finer.slices > self.most_slices or finer in scores else finer


class Lesson:
    """Search for a better candidate of one operation at one size."""

    def __init__(self, candidates: Candidates, account: Account) -> None:
        """Begin with the default."""
        self._candidates = candidates
        self._account = account
        self._ratios: dict[CallThreads, list[float]] = {}
        """Log-ratios of exploration, candidate over default."""
        self._losses: list[float] = []
        """Seconds that the current candidate took longer than the default, by pair."""
        self._charged = 0.0
        """Those of them that are entered in the account."""
        self._error = ERROR
        self.test: SignTest | None = None
        """The confirmation, once exploration is over."""
        self.choice: CallThreads | None = None
        """The candidate that was proved."""
        self.candidate: CallThreads | None = candidates.following(self._scores())
        """The candidate to be tried in the next pair; None: there is none."""

    @property
    def speedup(self) -> float | None:
        """Median speed-up of the candidate in exploration; None before its first pair."""
        ratios = self._ratios.get(self.candidate or self.choice or self._candidates.default)
        return exp(-median(ratios)) if ratios else None

    def may_begin(self, default_seconds: float) -> bool:
        """Return whether a pair may begin, where the default takes `default_seconds`."""
        return self.candidate is not None and self._account.allows(default_seconds * self._most_loss())

    def pair(self, default_seconds: float, candidate_seconds: float) -> None:
        """Take in a pair of the default and the candidate."""
        if self.candidate is None or min(default_seconds, candidate_seconds) <= 0.0:
            return
        self._charge(candidate_seconds - default_seconds)
        ratio = log(candidate_seconds / default_seconds)
        if self.test is None:
            self._explore(self.candidate, ratio)
        else:
            self._confirm(self.test, ratio)

    def confirm(self, candidate: CallThreads) -> None:
        """Turn to the confirmation of a candidate, which exploration or a lesson of the same operation has shown."""
        self.test, self._error = SignTest(), self._account.next_error()
        self._turn_to(candidate)

    def _scores(self) -> dict[CallThreads, float]:
        return {self._candidates.default: 0.0} | {
            candidate: median(ratios) for candidate, ratios in self._ratios.items()
        }

    def _explore(self, candidate: CallThreads, ratio: float) -> None:
        self._ratios.setdefault(candidate, []).append(ratio)
        if len(self._ratios[candidate]) < EXPLORING_PAIRS:
            return
        scores = self._scores()
        following = self._candidates.following(scores)
        if following is None:
            best = min(self._ratios, key=scores.__getitem__)
            if scores[best] < log(PROMISING):
                self.confirm(best)
                return
        self._turn_to(following)

    def _confirm(self, test: SignTest, ratio: float) -> None:
        test.add(ratio - log(1.0 - MARGIN))
        if test.is_proved(self._error):
            self.choice = self.candidate
            self._turn_to(None)
        elif test.pairs >= MOST_PAIRS or (test.pairs >= HOPELESS_PAIRS and 2 * test.won <= test.pairs):
            self._turn_to(None)

    def _turn_to(self, candidate: CallThreads | None) -> None:
        self.candidate = candidate
        self._losses = []
        self._charged = 0.0

    def _charge(self, seconds: float) -> None:
        """Enter what the candidate has lost: its pairs, times the median loss, which a burst of others' work spares."""
        self._losses.append(seconds)
        charged = max(0.0, len(self._losses) * _typical(self._losses))
        self._account.lost_seconds += charged - self._charged
        self._charged = charged

    def _most_loss(self) -> float:
        """Return the share of the default's time that the next call of the candidate may lose."""
        assert self.candidate is not None
        seen = self._ratios.get(self.candidate)
        if seen:
            return max(LEAST_RISK, exp(_typical(seen)) - 1.0)
        # twice or half the threads of a count that was tried may take twice its time
        ratios = (exp(score) * _apart(self.candidate.threads, tried.threads) for tried, score in self._scores().items())
        return max(LEAST_RISK, min(ratios) - 1.0)


def _typical(values: list[float]) -> float:
    """Return the median; the largest of one or two values, which may both be disturbed."""
    return median(values) if len(values) > 2 else max(values)


class Pairing:
    """Makes pairs of adjacent calls, with the candidate before or after the default at random."""

    __slots__ = ("_first", "_is_ordered", "_overdue", "_toss", "_waiting", "lesson")

    def __init__(self, lesson: Lesson, toss: Callable[[], float] = random) -> None:
        self.lesson = lesson
        self._toss = toss
        self._first: float | None = None
        """The default of a pair whose candidate runs now: seconds for each element."""
        self._waiting: tuple[float, int] | None = None
        """A candidate, whose default runs now: seconds and elements."""
        self._is_ordered = False
        self._overdue = 0

    def took(self, seconds: float, *, trial: bool, elements: int = 1) -> CallThreads | None:
        """Take in a call that has ended; return the candidate with which the next one is to run, None for the default.

        Negative seconds are those of a call that another one disturbed, or that raised: its pair is given up. Calls
        of a loop may have different numbers of elements: the default is taken to run as long for each.
        """
        if seconds < 0.0:
            self._first = self._waiting = None
            self._is_ordered = self._is_ordered and not trial
            return None
        if trial:
            self._is_ordered = False
            if self._first is None:
                self._waiting = seconds, elements
            else:
                self.lesson.pair(self._first * elements, seconds)
            self._first = None
            return None
        if self._is_ordered:  # a call of another thread, which began before the candidate's
            self._overdue += 1
            if self._overdue >= OVERDUE_CALLS:
                self.abandon()
            return None
        if self._waiting is not None:
            (candidate_seconds, size), self._waiting = self._waiting, None
            self.lesson.pair(seconds / elements * size, candidate_seconds)
            return None
        if not self.lesson.may_begin(seconds):
            return None
        self._first = seconds / elements if self._toss() < 0.5 else None
        self._is_ordered = True
        self._overdue = 0
        return self.lesson.candidate

    def abandon(self) -> None:
        self._first = self._waiting = None
        self._is_ordered = False

    def pause(self, seconds: float) -> int:
        """Return how many calls of `seconds` each need not be looked at, so that looking costs 1 % at most."""
        return 0 if self._waiting is not None or self._is_ordered else int(PAIR_SECONDS / SHARE / max(seconds, 1e-6))


def next_count(scores: Mapping[int, float], most: int) -> int | None:
    """Return the count to be tried next, by the log-ratios of those that were; None: the best is enclosed.

    Half and twice the best count first; then the geometric means between it and its neighbours on both sides, until
    these are close to it.
    """
    best = min(scores, key=lambda count: scores[count])
    for step in (best // 2, min(2 * best, most)):
        if step >= 1 and step not in scores:
            return step
    below = max((count for count in scores if count < best), default=best)
    above = min((count for count in scores if count > best), default=best)
    for neighbour in (below, above):
        middle = round(sqrt(best * neighbour))
        if _apart(best, neighbour) > CLOSE and middle not in scores:
            return middle
    return None


def _apart(left: int, right: int) -> float:
    return max(left / right, right / left)
