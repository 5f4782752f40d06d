"""Processes of a test, and whether they still run."""

import time
from collections.abc import Callable, Iterable
from contextlib import suppress

import psutil

PATIENCE = 300.0
"""Seconds: of a machine that is ten times slower, with others' tests running. Only what is broken waits so long."""


def alive(pids: Iterable[int]) -> list[int]:
    """Those that still run; what merely waits to be reaped does not."""
    living: list[int] = []
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            living += [pid] if psutil.Process(pid).status() not in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD} else []
    return living


def wait_until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def gone(pids: Iterable[int]) -> bool:
    """Have they ended? How soon is for scripts/benchmarks/run daemon to say."""
    pids = list(pids)
    wait_until(lambda: not alive(pids))
    return True
