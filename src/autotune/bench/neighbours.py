"""Busy processes next to the trials: the load of a machine that others use all the time."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

import psutil

from autotune.controls.supervise import Supervised
from autotune.model.measurement import Bench, Session, TrialPlan


@contextmanager
def neighbours(count: int) -> Iterator[tuple[int, ...]]:
    """Keep so many processes spinning within the `with`; gives their process ids.

    Scope of effect: each takes what the scheduler gives it of this process's CPUs, pinned nowhere. They end with the
    `with`, and with this process. Raises OSError if one cannot be started.
    """
    with ExitStack() as stack:
        yield tuple(stack.enter_context(_neighbour()) for _ in range(count))


class Accompanied:
    """A Bench with neighbours, which rest while a plan asks for quiet."""

    def __init__(self, bench: Bench, pids: Sequence[int]) -> None:
        self._bench = bench
        self._pids = tuple(pids)

    def run(self, plan: TrialPlan) -> Session:
        """Measure a plan, with the neighbours or without them."""
        with _resting(self._pids if plan.quiet else ()):
            return self._bench.run(plan)


@contextmanager
def _resting(pids: Sequence[int]) -> Iterator[None]:
    """Stop these processes within the `with`. One that is gone is taken for resting."""
    if not pids:
        yield
        return
    with ExitStack() as stack:
        for pid in pids:
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                process.suspend()
                stack.callback(_resume, process)
        yield


def _resume(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        process.resume()


@contextmanager
def _neighbour() -> Iterator[int]:
    with Supervised([sys.executable, "-I", "-S", "-c", "while True: pass"]) as process:
        yield process.pid
