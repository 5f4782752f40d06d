"""Busy processes next to the trials: the load of a machine that others use all the time."""

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

from autotune.controls.supervise import Supervised
from autotune.model.measurement import Bench, Session, TrialPlan


@contextmanager
def neighbours(count: int) -> Iterator[tuple[int, ...]]:
    """Keep `count` processes spinning within the `with`; gives their process ids.

    Scope of effect: each takes what the scheduler gives it of this process's CPUs, pinned nowhere. They end with the
    `with`, and with this process. Raises OSError if one cannot be started.
    """
    command = [sys.executable, "-I", "-S", "-c", "while True: pass"]
    with ExitStack() as stack:
        yield tuple(stack.enter_context(Supervised(command)).pid for _ in range(count))


class Accompanied:
    """A Bench with neighbours, which rest while a plan asks for quiet. A neighbour that has ended counts as resting."""

    def __init__(self, bench: Bench, pids: Sequence[int]) -> None:
        self._bench = bench
        self._pids = tuple(pids)

    def run(self, plan: TrialPlan) -> Session:
        """Measure a plan, with the neighbours or without them."""
        resting = self._pids if plan.quiet else ()
        try:
            _signal(resting, signal.SIGSTOP)
            return self._bench.run(plan)
        finally:
            _signal(resting, signal.SIGCONT)


def _signal(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
