"""Order and repetition of pairs, and length of samples. Pure."""

import random
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import ceil

SAMPLE_SECONDS = 0.01
"""A sample lasts at least this long (asv's default; perf_counter resolves it to better than 0.001 %)."""
LONGEST_SAMPLE_SECONDS = 0.5
"""No loop is added that would make a sample of the default longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A pair that is to be timed."""

    candidate: int
    """Its place among the candidates."""
    default_first: bool
    """Whether the default's sample comes before the candidate's."""
    round: int


def pair_order(candidates: int, rounds: int, seed: str) -> list[Turn]:
    """Order the pairs of all rounds.

    In each round every candidate has one pair, in random order, and the default stands alternately before and after the
    candidate, so that half of the neighbouring pairs meet with the same configuration and need no discarded call. Each
    second round is the first one backwards: within the two a steady drift of the machine's speed favours no side
    (AB/BA).
    """
    chance = random.Random(seed)
    turns: list[Turn] = []
    for number in range(0, rounds, 2):
        first = chance.random() < 0.5
        order = chance.sample(range(candidates), candidates)
        there = [
            Turn(candidate=candidate, default_first=first ^ bool(place % 2), round=number)
            for place, candidate in enumerate(order)
        ]
        back = [
            Turn(candidate=turn.candidate, default_first=not turn.default_first, round=number + 1)
            for turn in reversed(there)
        ]
        turns += there + (back if number + 1 < rounds else [])
    return turns


class Agenda:
    """The pairs to be timed: each once in its order, then the disturbed ones again.

    There are at most as many repetitions as undisturbed pairs: a machine that is never quiet will not become so.
    """

    def __init__(self, turns: Iterable[Turn]) -> None:
        self._waiting = deque(turns)
        self._left = len(self._waiting)

    def __iter__(self) -> Iterator[Turn]:
        """Give one turn after the other; `note` or `drop` is called after each."""
        while self._waiting and self._left:
            self._left -= 1
            yield self._waiting.popleft()

    def note(self, turn: Turn, *, disturbed: bool) -> None:
        """Take note of how a pair was."""
        if disturbed:
            self._waiting.append(turn)
        else:
            self._left += 1

    def drop(self, candidate: int) -> None:
        """Take a candidate's pairs out."""
        self._waiting = deque(turn for turn in self._waiting if turn.candidate != candidate)
        self._left += 1


def order_seed(seed: int, name: object) -> str:
    """Return the seed of an operation's order, which does not depend on what else the plan holds."""
    return f"{seed} {name}"


def loops(reference: float, fastest: float) -> int:
    """Choose the calls per sample, equal for all arms so that their work is equal.

    `reference` and `fastest` are seconds of one call by the reference and by the fastest arm. With the result the
    fastest arm's sample lasts SAMPLE_SECONDS, unless the reference's would then exceed LONGEST_SAMPLE_SECONDS.
    """
    wanted = ceil(SAMPLE_SECONDS / max(fastest, 1e-9))
    return max(1, min(wanted, int(LONGEST_SAMPLE_SECONDS / max(reference, 1e-9))))


def share(now: float, end: float, tasks: int) -> float:
    """Return until when the next of `tasks` tasks may begin pairs, if the time up to `end` is shared evenly."""
    return now + max(0.0, end - now) / tasks
