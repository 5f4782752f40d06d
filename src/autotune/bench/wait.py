"""Watches a process to its end: how long it took, and the last of what it printed."""

import os
import selectors
import subprocess
import sys
from contextlib import closing, suppress
from time import perf_counter
from typing import IO

LARGEST_OUTPUT = 2**20
"""Bytes of printed text that are kept of its end: a metric comes last."""

POLL_SECONDS = 0.002
"""How often to look whether the command has ended where the system cannot wake us."""

STILL_SECONDS = 1.0
"""How often to look where it can."""


def followed(
    process: subprocess.Popen[bytes], pipe: IO[bytes], began: float, limit: float
) -> tuple[float | None, bytes]:
    """Seconds from `began` to the end of the process, None beyond `limit`; and the end of what it printed.

    Children that keep its pipe open do not count: the command ends when its first process does.
    """
    printed = b""
    with selectors.DefaultSelector() as selector, closing(_Bell(process.pid)) as bell:
        selector.register(pipe, selectors.EVENT_READ)
        if bell.end is not None:
            selector.register(bell.end, selectors.EVENT_READ)
        pause = POLL_SECONDS if bell.end is None else STILL_SECONDS
        while process.poll() is None:
            left = began + limit - perf_counter()
            if left <= 0:
                return None, printed
            printed = _more(selector, pipe, printed, min(left, pause))
        seconds = perf_counter() - began
        while pipe in {key.fileobj for key, _ in selector.select(0)}:  # its last words
            printed = _more(selector, pipe, printed, 0)
            if perf_counter() - began > seconds + 1.0:  # a child of its that goes on printing
                break
    return seconds, printed


def _more(selector: selectors.BaseSelector, pipe: IO[bytes], printed: bytes, wait: float) -> bytes:
    """What was printed, after waiting for something to happen."""
    if pipe not in {key.fileobj for key, _ in selector.select(wait)}:
        return printed
    text = os.read(pipe.fileno(), 2**16)
    if not text:
        selector.unregister(pipe)
    return (printed + text)[-LARGEST_OUTPUT:]


class _Bell:
    """A file descriptor that can be read once a process has ended (pidfd_open(2), Linux 5.3)."""

    def __init__(self, pid: int) -> None:
        self.end: int | None = None
        """None where the system has none, or a sandbox forbids it."""
        if sys.platform == "linux":
            with suppress(OSError):
                self.end = os.pidfd_open(pid)

    def close(self) -> None:
        if self.end is not None:
            os.close(self.end)
