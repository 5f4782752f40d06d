"""The parent's side of a trial process: start it, listen to it, end it with all its children."""

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from time import monotonic, sleep
from types import TracebackType
from typing import Any, Self

from autotune.bench.trial_worker import MARK
from autotune.errors import UnsupportedPlatform

TERM_SECONDS = 1.0
"""After SIGTERM, before SIGKILL: multiprocessing's resource tracker removes shared memory in this time."""

KILL_SECONDS = 5.0
"""How long to wait for killed processes to vanish."""

LEAVE_SECONDS = 5.0
"""How long a process that has said that it is done may take to end."""

POLL_SECONDS = 0.25
"""How often to look whether the process still lives, if one of its children keeps its pipes open."""

LARGEST_LINE = 2**24
LARGEST_OUTPUT = 4096
"""Bytes of printed text that are kept of its beginning, and as many of its end."""


class End(StrEnum):
    """How a process ended."""

    DONE = "done"
    TIME_OUT = "time-out"
    GARBLED = "garbled"
    EXIT = "exit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a process ended."""

    end: End
    status: int | None = None
    """Exit status; minus the signal for one that was killed."""
    waited: float = 0.0
    """Seconds allowed for the step that was not finished."""


class Output:
    """What a process printed: its beginning and its end, however much it was."""

    def __init__(self) -> None:
        self._head = b""
        self._tail = b""

    def add(self, text: bytes) -> None:
        """Take more text."""
        room = LARGEST_OUTPUT - len(self._head)
        self._head += text[:room]
        self._tail = (self._tail + text[room:])[-LARGEST_OUTPUT:]

    def take(self) -> str:
        """All that is kept; from now on the next text is the first."""
        text = (self._head + self._tail).decode(errors="replace")
        self._head = self._tail = b""
        return text


class Child:
    """A fresh trial process. Use it in `with`: on leaving, it and all of its process group are gone.

    Scope of effect: one process group in a session of its own, so that a terminal's Ctrl-C reaches the parent
    only, and one temporary folder, which is the child's TMPDIR. Not for use by several threads.
    """

    def __init__(self, errand: bytes, *, environ: Mapping[str, str], patience: float) -> None:
        if sys.platform == "win32" or not hasattr(os, "pwrite"):
            raise UnsupportedPlatform("Trials need POSIX process groups, which this system does not have.")
        self._errand = errand
        self._environ = environ
        self._limit = patience
        self.output = Output()
        self.ending: Ending | None = None
        """None as long as it runs."""

    def __enter__(self) -> Self:
        self._mark = tempfile.TemporaryFile()
        self._folder = tempfile.TemporaryDirectory(prefix="autotune-", ignore_cleanup_errors=True)
        lifeline, self._lifeline = os.pipe()
        self._results, results = os.pipe()
        try:
            self._process = self._start(results, lifeline)
        except BaseException:
            self._close()
            raise
        finally:
            os.close(results)
            os.close(lifeline)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            end_group(self._process)
        finally:
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._close()

    def messages(self) -> Iterator[dict[str, Any]]:
        """What the process says, as it says it; at the end `ending` says how it ended."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._printed, selectors.EVENT_READ)
            selector.register(self._results, selectors.EVENT_READ)
            deadline, pending = monotonic() + self._limit, b""
            while self.ending is None:
                left = deadline - monotonic()
                if left <= 0:
                    self.ending = Ending(end=End.TIME_OUT, waited=self._limit)
                    break
                lives = self._process.poll() is None  # asked before reading: its last words are still read
                ready = {key.fd for key, _ in selector.select(min(left, POLL_SECONDS) if lives else 0)}
                if self._printed in ready:  # read first, so that text belongs to the message that follows it
                    self.output.add(_read(selector, self._printed))
                if self._results in ready:
                    *lines, pending = (pending + _read(selector, self._results)).split(b"\n")
                    for message in map(_parsed, lines):
                        if message is None:
                            self.ending = Ending(end=End.GARBLED)
                            break
                        if "done" in message:
                            self._await()
                            self.ending = Ending(end=End.DONE)
                        elif "expect" in message:
                            self._limit = float(message["expect"])
                            deadline = monotonic() + self._limit
                        else:
                            yield message
                    if len(pending) > LARGEST_LINE:
                        self.ending = Ending(end=End.GARBLED)
                elif not lives:
                    self.ending = Ending(end=End.EXIT, status=self._process.returncode)

    @property
    def mark(self) -> tuple[int, int] | None:
        """The task and the arm that ran last; None before the first."""
        text = os.pread(self._mark.fileno(), MARK.size, 0)
        return MARK.unpack(text) if len(text) == MARK.size else None

    def _start(self, results: int, lifeline: int) -> subprocess.Popen[bytes]:
        with tempfile.TemporaryFile() as errand:
            errand.write(self._errand)
            errand.seek(0)
            inherited = (results, self._mark.fileno(), lifeline)
            return subprocess.Popen(  # noqa: S603  # our own module, and numbers
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "autotune.bench.trial_worker",
                    *map(str, inherited),
                    self._folder.name,
                ],
                stdin=errand,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**self._environ, "TMPDIR": self._folder.name},
                pass_fds=inherited,
                start_new_session=True,
            )

    @property
    def _printed(self) -> int:
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def _await(self) -> None:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(LEAVE_SECONDS)

    def _close(self) -> None:
        os.close(self._lifeline)
        os.close(self._results)
        self._mark.close()
        self._folder.cleanup()


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End the whole group of a process that leads one; children that outlived it are in it, too."""
    for number, seconds in ((signal.SIGTERM, TERM_SECONDS), (signal.SIGKILL, KILL_SECONDS)):
        _signal(process, number)
        deadline = monotonic() + seconds
        while _signal(process, 0):
            if monotonic() > deadline:
                break
            sleep(0.01)
        else:
            return


def _signal(process: subprocess.Popen[bytes], number: int) -> bool:
    """Send a signal to the group (0 sends none). Was there anyone?"""
    process.poll()  # a process that nobody has asked for its status still counts as a member
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):  # the latter is what macOS says of a dead group
        return False
    return True


def _read(selector: selectors.BaseSelector, end: int) -> bytes:
    text = os.read(end, 2**16)
    if not text:
        selector.unregister(end)
    return text


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None
