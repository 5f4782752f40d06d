"""In which order arms run, how often, and for how long. Pure."""

import random
from collections import deque
from math import ceil, log2

SAMPLE_SECONDS = 0.01
"""A sample lasts at least this long (asv's default; perf_counter resolves it to better than 0.001 %)."""

LONGEST_SAMPLE_SECONDS = 0.5
"""No loop is added that would make a reference sample longer."""


def orders(arms: int, rounds: int, seed: str) -> list[tuple[int, ...]]:
    """For every round the order of its arms.

    Rounds come in pairs: the second runs the first's random order backwards, so that within a pair a steady
    drift of the machine's speed favours nobody (AB/BA).
    """
    chance = random.Random(seed)
    result: list[tuple[int, ...]] = []
    while len(result) < rounds:
        order = tuple(chance.sample(range(arms), arms))
        result += [order, order[::-1]]
    return result[:rounds]


class Agenda:
    """Which round comes next: each once, then the disturbed ones again, whole and in their own order.

    There are at most as many repetitions as quiet rounds: a machine that is never quiet will not become so.
    """

    def __init__(self, rounds: int) -> None:
        self._waiting = deque(range(rounds))
        self._left = rounds

    def next(self) -> int | None:
        """The number of the next round; None if all were quiet or no more may be repeated."""
        if not self._waiting or not self._left:
            return None
        self._left -= 1
        return self._waiting.popleft()

    def note(self, number: int, *, busy: bool) -> None:
        """Say how a round was."""
        if busy:
            self._waiting.append(number)
        else:
            self._left += 1


def order_seed(seed: int, name: object) -> str:
    """The seed of one operation's orders: it does not depend on what else the plan holds."""
    return f"{seed} {name}"


def loops(reference: float, fastest: float) -> int:
    """Calls per sample, equal for all arms so that their work is equal.

    `reference` and `fastest` are seconds of one call by the reference and by the fastest arm. The result is a
    power of two with which the fastest arm's sample lasts SAMPLE_SECONDS, unless the reference's would then
    exceed LONGEST_SAMPLE_SECONDS.
    """
    wanted = SAMPLE_SECONDS / max(fastest, 1e-9)
    allowed = LONGEST_SAMPLE_SECONDS / max(reference, 1e-9)
    power = min(ceil(log2(wanted)), int(log2(allowed)) if allowed > 1 else 0)
    return 1 << max(0, power)


def share(now: float, end: float, tasks: int) -> float:
    """Until when the next of `tasks` tasks may begin rounds, if the time up to `end` is shared evenly."""
    return now + max(0.0, end - now) / tasks
