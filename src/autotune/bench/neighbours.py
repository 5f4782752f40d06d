"""Busy processes beside the trials: the load of a machine that is never one's own.

Also what each of them runs: `python -P -m autotune.bench.neighbours`, with its lifeline as stdin.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

    from autotune.bench.protocol import Bench
    from autotune.model.measurement import Session, TrialPlan

STOP_SECONDS = 5.0
"""For a killed process to vanish."""


@contextmanager
def neighbours(count: int) -> Iterator[tuple[int, ...]]:
    """Keep so many processes spinning within the `with`; gives their process ids.

    Scope of effect: each takes what the scheduler gives it of this process's CPUs, pinned nowhere, in a
    process group of its own, so that a terminal's Ctrl-C leaves it to us. On leaving they are killed; should
    this process die, the end of their stdin ends them. Raises OSError if one cannot be started.
    """
    with ExitStack() as stack:
        yield tuple(stack.enter_context(_neighbour()) for _ in range(count))


class Accompanied:
    """A Bench beside neighbours, which rest while a plan asks for quiet."""

    def __init__(self, bench: "Bench", pids: Sequence[int]) -> None:
        self._bench = bench
        self._pids = tuple(pids)

    def run(self, plan: "TrialPlan") -> "Session":
        """Measure a plan, beside the neighbours or without them."""
        with _resting(self._pids if plan.quiet else ()):
            return self._bench.run(plan)


@contextmanager
def _resting(pids: Sequence[int]) -> Iterator[None]:
    """Stop these processes within the `with`. One that is gone is taken for resting."""
    if not pids:
        yield
        return
    import psutil  # 20 ms that a neighbour itself need not pay

    with ExitStack() as stack:
        for pid in pids:
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                process.suspend()
                stack.callback(_resume, process)
        yield


def _resume(process: "psutil.Process") -> None:
    import psutil

    with suppress(psutil.NoSuchProcess):
        process.resume()


@contextmanager
def _neighbour() -> Iterator[int]:
    command = [sys.executable, "-P", "-m", "autotune.bench.neighbours"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as process:  # noqa: S603  # our own module
        try:
            yield process.pid
        finally:
            process.kill()
            process.wait(STOP_SECONDS)


def spin() -> None:
    """Keep a CPU busy until stdin ends."""

    def watch() -> None:
        os.read(0, 1)
        os._exit(0)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()
    while True:
        pass


if __name__ == "__main__":
    spin()
