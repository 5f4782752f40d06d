"""How much others were in the way of the timings, and what follows from it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from autotune.bench.noise import accepted
from autotune.model.measurement import Session

BUSY = 0.5
"""Share of disturbed rounds above which the reason says so, and others are to blame for what cannot be told."""

TAKEN = 0.1
"""Share of the CPUs' time above which nothing is believed.

Below it the interval over fresh processes decides: light, steady load touches every round of a slow operation
and leaves the ratio as it is, bursts widen the interval. Above it the answer itself is another one: beside
two busy processes on two CPUs one BLAS thread took 0.13 of the default's time, of which a quiet machine knows
nothing.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbance:
    """What others did during some sessions."""

    rounds: float = 0.0
    """Share of the rounds that were disturbed."""
    taken: float = 0.0
    """Share of the CPUs' time that others took."""

    @classmethod
    def of(cls, sessions: Sequence[Session]) -> "Disturbance":
        """The average of these sessions."""
        pairs = [pair for session in sessions for one in session.measurements for pair in one.pairs]
        if not pairs:
            return cls()
        return cls(
            rounds=sum(not accepted(pair) for pair in pairs) / len(pairs),
            taken=sum(pair.interference or 0.0 for pair in pairs) / len(pairs),
        )

    @property
    def noticeable(self) -> bool:
        """Is it worth a word, and to blame for what cannot be told?"""
        return self.rounds > BUSY or self.excessive

    @property
    def excessive(self) -> bool:
        """Does it make another machine of this one?"""
        return self.taken > TAKEN

    def __str__(self) -> str:
        if not self.noticeable:
            return ""
        taken = f" and took {self.taken:.0%} of the CPU time" if self.taken > 0 else ""
        return f"Others disturbed {self.rounds:.0%} of the rounds{taken}."
