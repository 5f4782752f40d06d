"""Learner of a running process: its lessons about calls of linear algebra, and the choices proved so far."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from autotune.runtime.guard import Guard
from autotune.runtime.lesson import LEARNED_FROM_SECONDS, Account, Lesson, Pairing

if TYPE_CHECKING:
    from autotune.native._core import Calls

MOST_LESSONS = 1000
"""Operations at a size that are learned about in one process; others run as at rest."""


class Learned(NamedTuple):
    """State of one lesson."""

    operation: str
    dtype: str
    sizes: dict[str, int]
    choice: dict[str, int | str]
    """Proved to be faster; empty while nothing is proved."""
    candidate: int | None
    """The count that is tried now; None: no more is tried."""
    pairs: int
    """Pairs of adjacent calls that test the choice or candidate; 0 while candidates are explored."""
    won: int
    speedup: float | None
    """Median over the pairs of exploration; no claim."""

    def __str__(self) -> str:
        sizes = " ".join(f"{name}={value}" for name, value in self.sizes.items())
        name = f"{self.operation} {self.dtype} {sizes}"
        about = "" if self.speedup is None else f", about {self.speedup:.2f} times as fast as the default"
        if self.choice:
            choice = ", ".join(f"{knob}={value}" for knob, value in self.choice.items())
            return f"{name}: {choice} was faster in {self.won} of {self.pairs} pairs of calls{about}, and is used."
        if self.candidate is None:
            return f"{name}: nothing was proved faster; the default is kept."
        if self.pairs:
            return f"{name}: {self.candidate} was faster in {self.won} of {self.pairs} pairs of calls{about}."
        return f"{name}: {self.candidate} is tried next{about}."


class LearningCalls:
    """Calls of one operation at one size, with their lesson."""

    __slots__ = ("calls", "pairing", "seen_nanoseconds")

    def __init__(self, calls: "Calls", pairing: Pairing) -> None:
        self.calls = calls
        self.pairing = pairing
        self.seen_nanoseconds = 0

    def learned(self) -> Learned:
        """Return what is known."""
        lesson, calls = self.pairing.lesson, self.calls
        pairs, won = (0, 0) if lesson.test is None else (lesson.test.pairs, lesson.test.won)
        return Learned(
            operation=calls.operation,
            dtype=calls.dtype,
            sizes=dict(calls.sizes),
            choice={} if lesson.choice is None else {"blas_threads": lesson.choice},
            candidate=lesson.candidate,
            pairs=pairs,
            won=won,
            speedup=lesson.speedup,
        )


class Learner:
    """The lessons of a process. The C core times calls that learn, and tells it of each; it orders the trials."""

    def __init__(
        self,
        guard: Guard,
        *,
        rest: int,
        most: int,
        on_choice: Callable[[Learned], object] = lambda _: None,
    ) -> None:
        """Begin with BLAS threads at rest, and the most that a call may have; `guard` watches what is proved."""
        self.account = Account()
        self._guard = guard
        self._rest = rest
        self._most = most
        self._on_choice = on_choice
        self._learning: list[LearningCalls] = []

    def look(self, calls: "Calls", seconds: float, trial: int) -> None:
        """Take in a call that has ended, and order the next trial."""
        learning = calls.watched
        if learning is None:
            if len(self._learning) >= MOST_LESSONS or self._most < 2:
                calls.learns = False
                return
            learning = calls.watched = LearningCalls(
                calls, Pairing(Lesson(self._rest, self._most, self.account))
            )
            self._learning.append(learning)
        self.account.total_seconds += (calls.nanoseconds - learning.seen_nanoseconds) * 1e-9
        learning.seen_nanoseconds = calls.nanoseconds
        pairing: Pairing = learning.pairing
        following = pairing.took(seconds, trial=bool(trial))
        if pairing.lesson.choice is not None:
            calls.threads = pairing.lesson.choice
            self._guard.watch(calls, LEARNED_FROM_SECONDS)
            self._on_choice(learning.learned())
        elif pairing.lesson.candidate is None:
            calls.learns = False
        elif following is not None:
            calls.trial = following
        else:
            calls.pause = pairing.pause(abs(seconds))

    def lessons(self) -> list[Learned]:
        """Return the lessons: choices in use first, then candidates, then those that were given up.

        An operation that calls two compiled functions, as np.linalg.qr does, has a lesson for each; the one with more
        evidence is returned.
        """
        known = sorted(
            (learning.learned() for learning in list(self._learning)),
            key=lambda one: (not one.choice, one.candidate is None, -one.pairs),
        )
        by_operation: dict[object, Learned] = {}
        for one in known:
            by_operation.setdefault((one.operation, one.dtype, *one.sizes.items()), one)
        return list(by_operation.values())

    def forget_calls_in_flight(self) -> None:
        """Go on in a forked child with a copy of the lessons; the pair under way is given up."""
        for learning in list(self._learning):
            learning.pairing.abandon()
            learning.calls.trial = 0

    def release(self) -> None:
        """Let go of the calls: they and their lessons refer to each other, and the core's objects know no collector."""
        for learning in self._learning:
            if learning.calls.watched is learning:
                learning.calls.watched = None
