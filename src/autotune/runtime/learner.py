"""Learner of a running process: its lessons about linear algebra and long loops, and the choices proved so far."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from autotune.intercept.array_loops import is_loop
from autotune.model.configuration import Configuration
from autotune.runtime.guard import Guard, Watched
from autotune.runtime.lesson import LEARNED_FROM_SECONDS, Account, CallThreads, Candidates, Lesson, Pairing

if TYPE_CHECKING:
    from autotune.native._core import Calls

MOST_SLICES = 16
"""Slices of a loop for each worker. More make no worker wait any less."""
MOST_LESSONS = 1000
"""Operations at a size that are learned about in one process; others run as at rest."""
AGAIN = 10.0
"""Multiple of the time of a lesson without a gain after which it begins anew: others may have used the CPUs."""


class Learned(NamedTuple):
    """State of one lesson."""

    operation: str
    dtype: str
    sizes: dict[str, int]
    choice: dict[str, Any]
    """Proved to be faster; empty while nothing is proved."""
    candidate: dict[str, int]
    """Knobs that are tried now; empty: no more is tried."""
    pairs: int
    """Pairs of adjacent calls that test the choice or candidate; 0 while candidates are explored."""
    won: int
    speedup: float | None
    """Median over the pairs of exploration; no claim."""

    @property
    def configuration(self) -> Configuration:
        """The proved choice; the default while nothing is proved."""
        return Configuration(**self.choice)

    def __str__(self) -> str:
        sizes = " ".join(f"{name}={value}" for name, value in self.sizes.items())
        name = f"{self.operation} {self.dtype} {sizes}"
        about = "" if self.speedup is None else f", about {self.speedup:.2f} times as fast as the default"
        tried = ", ".join(f"{knob}={value}" for knob, value in (self.choice or self.candidate).items())
        if self.choice:
            return f"{name}: {tried} was faster in {self.won} of {self.pairs} pairs of calls{about}, and is used."
        if not self.candidate:
            return f"{name}: nothing was proved faster so far; the default is kept."
        if self.pairs:
            return f"{name}: {tried} was faster in {self.won} of {self.pairs} pairs of calls{about}."
        return f"{name}: {tried} is tried next{about}."


class LearningCalls:
    """Calls of one operation at one size, with their lesson."""

    __slots__ = ("calls", "pairing", "seen_nanoseconds")

    def __init__(self, calls: "Calls", pairing: Pairing) -> None:
        self.calls = calls
        self.pairing = pairing
        self.seen_nanoseconds = 0

    def result(self) -> Learned:
        lesson, calls = self.pairing.lesson, self.calls
        pairs, won = (0, 0) if lesson.test is None else (lesson.test.pairs, lesson.test.won)
        return Learned(
            operation=calls.operation,
            dtype=calls.dtype,
            sizes=dict(calls.sizes),
            choice=dict(self._knobs(lesson.choice)),
            candidate=self._knobs(lesson.candidate),
            pairs=pairs,
            won=won,
            speedup=lesson.speedup,
        )

    def _knobs(self, candidate: CallThreads | None) -> dict[str, int]:
        """Return a candidate as knobs of the catalogue."""
        if candidate is None:
            return {}
        if not is_loop(self.calls.operation):
            return {"blas_threads": candidate.threads}
        slices = candidate.threads * candidate.slices
        return {"workers": candidate.threads, "chunk": max(1, self.calls.sizes["n"] // slices)}


class Learner:
    """The lessons of a process. The C core times calls that learn, and tells it of each; it orders the trials."""

    def __init__(
        self,
        guard: Guard,
        *,
        rest: int,
        most: int,
        workers: int = 1,
        on_choice: Callable[[Learned], object] = lambda _: None,
    ) -> None:
        """Begin with BLAS threads at rest, the most that a call may have, and the most workers of a loop.

        `guard` watches what is proved.
        """
        self.account = Account()
        self._guard = guard
        self._counts = Candidates(most, rest)
        self._cuts = Candidates(workers, most_slices=MOST_SLICES)
        self._on_choice = on_choice
        self._learning: list[LearningCalls] = []

    @staticmethod
    def learns(calls: "Calls") -> bool:
        """Return whether nothing is decided about these calls; a choice that was proved is the guard's."""
        return calls.learns and not isinstance(calls.watched, Watched)

    def look(self, calls: "Calls", seconds: float, trial: int) -> None:
        """Take in a call that has ended, and order the next trial."""
        learning = calls.watched
        if learning is None:
            if len(self._learning) >= MOST_LESSONS or self._candidates(calls).most < 2:
                calls.learns = False
                return
            learning = calls.watched = LearningCalls(calls, self._begin(calls))
            self._learning.append(learning)
        elif learning.pairing.lesson.candidate is None:
            learning.pairing = self._begin(calls)
        self.account.total_seconds += (calls.nanoseconds - learning.seen_nanoseconds) * 1e-9
        learning.seen_nanoseconds = calls.nanoseconds
        pairing: Pairing = learning.pairing
        following = pairing.took(seconds, trial=bool(trial), elements=calls.elements)
        if pairing.lesson.choice is not None:
            calls.threads, calls.slices = pairing.lesson.choice
            self._guard.watch(calls, LEARNED_FROM_SECONDS)
            self._on_choice(learning.result())
            self._confirm_others(learning)
        elif pairing.lesson.candidate is None:
            calls.pause = int(min(2**31, AGAIN * calls.nanoseconds * 1e-9 / max(abs(seconds), LEARNED_FROM_SECONDS)))
        elif following is not None:
            calls.trial, calls.trial_slices = following
        else:
            calls.pause = pairing.pause(abs(seconds))

    def _candidates(self, calls: "Calls") -> Candidates:
        return self._cuts if is_loop(calls.operation) else self._counts

    def _begin(self, calls: "Calls") -> Pairing:
        return Pairing(Lesson(self._candidates(calls), self.account))

    def _confirm_others(self, proved: LearningCalls) -> None:
        """Try a proved choice in the other compiled functions of the same operation, as np.linalg.qr calls two."""
        of, choice = proved.calls, proved.pairing.lesson.choice
        for other in list(self._learning):
            calls, lesson = other.calls, other.pairing.lesson
            if (
                other is not proved
                and not is_loop(of.operation)
                and (calls.operation, calls.dtype, calls.sizes) == (of.operation, of.dtype, of.sizes)
                and lesson.choice is None
                and choice is not None
                and choice != (lesson.candidate if lesson.test else None)
            ):
                other.pairing.abandon()
                calls.trial = calls.pause = 0
                lesson.confirm(choice)

    def lessons(self) -> list[Learned]:
        """Return the lessons: choices in use first, then candidates, then those that were given up.

        An operation that calls two compiled functions, as np.linalg.qr does, has a lesson for each, and so do ufuncs
        that one operation of the catalogue covers; the lesson with more evidence is returned.
        """
        lessons = sorted(
            (learning.result() for learning in list(self._learning)),
            key=lambda lesson: (not lesson.choice, not lesson.candidate, -lesson.pairs),
        )
        by_operation: dict[object, Learned] = {}
        for lesson in lessons:
            by_operation.setdefault((lesson.operation, lesson.dtype, *lesson.sizes.items()), lesson)
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
