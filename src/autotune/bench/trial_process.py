"""The parent's side of trials: start their server, ask it for a process, listen to that, end it with its children."""

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from math import inf
from time import monotonic
from typing import IO, Any, Self

from autotune.bench.failure_text import end_failure, last_words, oom_kills
from autotune.bench.trial_job import MARK
from autotune.controls import supervise
from autotune.errors import UnsupportedPlatform
from autotune.model.measurement import Failure, FailureKind

LEAVE_SECONDS = 5.0
"""Seconds that a process may take to end after its last message."""
START_SECONDS = 120.0
"""Seconds that a server may take to load NumPy, on a busy machine with a slow file system."""
TRIALS_OF_A_SERVER = 12
"""Trials that one server forks. They share the addresses at which libraries were loaded, which shift timings by some
per cent (Mytkowicz and others, ASPLOS 2009): a new server draws new ones."""
LARGEST_LINE = 2**24
LARGEST_OUTPUT = 4096
"""Bytes of printed text that are kept of its end."""

OVER = Failure(
    kind=FailureKind.NOT_REACHED,
    reason="The time allowed ended in the middle of a call, or of its preparation: give it more time with --budget.",
)
"""The time of a process's plan was over."""
GARBLED = Failure(kind=FailureKind.PROTOCOL, reason="The trial process wrote what cannot be understood.")


class TrialServer:
    """A process that forks fresh processes for trials; see `trial_server`.

    Scope of effect: one process group in a session of its own, so that a terminal's Ctrl-C reaches the parent only.
    The server ends with all of its trials when it is closed and when this process ends, however that happens. A trial
    may map `data_bytes` for writing; None for no limit. With `preload` the server loads NumPy before it forks; not for
    a user's function, whose module may have to come before NumPy.
    """

    def __init__(self, *, environ: Mapping[str, str], preload: bool, data_bytes: int | None = None) -> None:
        if sys.platform == "win32" or not hasattr(os, "fork"):
            raise UnsupportedPlatform("Trials need POSIX process groups, which this system does not have.")
        if getattr(sys, "frozen", False) or not sys.executable:  # PyInstaller and the like, or an embedded Python
            raise UnsupportedPlatform(
                "Trials run in new processes of Python, and this program is none that starts as such: it is frozen, or "
                "Python is embedded in it. Calibrate in an ordinary Python that has the same NumPy."
            )
        self._environ = dict(environ)
        self._settings = {"data_bytes": data_bytes, "preload": preload}
        self._process: subprocess.Popen[bytes] | None = None
        self._line: socket.socket
        self._printed: IO[bytes]
        self._pending = b""
        self._trials = 0
        self._trial: int | None = None

    def fork(self, request: IO[bytes], output: int, results: int, mark: int, folder: str) -> None:
        """Start a trial. Raises OSError, also where the server cannot be started."""
        if self._trials >= TRIALS_OF_A_SERVER or (self._process and self._process.poll() is not None):
            self.close()  # it may have been killed since the last trial
        if self._process is None:
            self._start()
        self._trials += 1
        descriptors = [request.fileno(), output, results, mark]
        socket.send_fds(self._line, [json.dumps({"folder": folder}).encode()], descriptors)
        self._trial = int(self._answer("started", START_SECONDS))

    def fileno(self) -> int:
        """Return the descriptor that can be read once the trial, or the server, has ended."""
        return self._line.fileno()

    def status(self) -> int | None:
        """Return the exit status of the trial, minus the signal for a killed one; None if the server has ended."""
        try:
            return int(self._answer("ended", 0.0))
        except OSError:
            return None

    def end_trial(self) -> None:
        """End the trial and all that it started; returns when they are gone."""
        if self._trial is None:
            return
        try:
            self._line.sendall(b"end")
            self._answer("gone", 2 * supervise.KILL_SECONDS)
        except OSError:
            self.close()
        self._trial = None

    def close(self) -> None:
        """End the server and its trial."""
        process, self._process = self._process, None
        if process is None:
            return
        self._line.close()
        self._printed.close()
        self._pending, self._trials = b"", 0
        try:
            process.wait(2 * supervise.KILL_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if self._trial is not None and process.returncode:
            supervise.signal_group(self._trial)  # a server that was killed has left it
        self._trial = None

    def _start(self) -> None:
        self._line, other_end = socket.socketpair()
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the server
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own module, and a number
                [sys.executable, "-P", "-m", "autotune.bench.trial_server", str(other_end.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=self._printed,
                stderr=subprocess.STDOUT,
                env=self._environ,
                pass_fds=[other_end.fileno()],
                start_new_session=True,
            )
        except BaseException:
            self._line.close()
            self._printed.close()
            raise
        finally:
            other_end.close()
        self._line.sendall(json.dumps(self._settings).encode())
        self._answer("ready", START_SECONDS)

    def _answer(self, word: str, seconds: float) -> str:
        """Wait for the line that begins with a word; returns its rest, drops lines before it. Raises OSError."""
        deadline = monotonic() + seconds
        while True:
            while b"\n" in self._pending:
                line, _, self._pending = self._pending.partition(b"\n")
                first, _, rest = line.decode().partition(" ")
                if first == word:
                    return rest
            self._line.settimeout(max(0.001, deadline - monotonic()))
            try:
                part = self._line.recv(2**10)  # raises TimeoutError, an OSError
            except ConnectionResetError:
                part = b""
            if not part:
                raise ConnectionError(f"the server of trials ended.{self._last_words()}")
            self._pending += part

    def _last_words(self) -> str:
        self._printed.seek(0)
        return last_words(self._printed.read(2**20).decode(errors="replace"))


class TrialProcess:
    """A fresh trial process. Use it in `with`: on leaving, it and all that it started are gone.

    Scope of effect: one temporary folder, which is the trial's TMPDIR. Not for use by several threads.
    """

    def __init__(
        self, server: TrialServer, request: Mapping[str, object], *, patience: float, until: float = inf
    ) -> None:
        """Run a request (`measure`, `pools`, `describe`) until a moment of the monotonic clock, each step of it within
        the patience.
        """
        self._until = until
        self._server = server
        self._request = request
        self._patience = patience
        self.output = b""
        """End of the text that it printed."""
        self.failure: Failure | None = None
        """Reason for which the process ended before it was done, once there are no more messages."""
        self._kills = oom_kills()

    def __enter__(self) -> Self:
        self._mark = tempfile.TemporaryFile()
        self._folder = tempfile.TemporaryDirectory(prefix="autotune-", ignore_cleanup_errors=True)
        self._results, results = os.pipe()
        self._printed, printed = os.pipe()
        try:
            with tempfile.TemporaryFile() as request:
                request.write(json.dumps(self._request).encode())
                request.flush()
                request.seek(0)
                self._server.fork(request, printed, results, self._mark.fileno(), self._folder.name)
        except BaseException:
            self._server.close()
            self._close()
            raise
        finally:
            os.close(results)
            os.close(printed)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._server.end_trial()
            else:  # nothing is known of what the server was told, and has answered
                self._server.close()
        finally:
            self._close()

    def messages(self) -> Iterator[dict[str, Any]]:
        """Give the messages of the process as they come, until it is done or has failed."""
        with selectors.DefaultSelector() as selector:
            for end in (self._printed, self._results, self._server):
                selector.register(end, selectors.EVENT_READ)
            pending, status, lives, began = b"", None, True, monotonic()
            while True:
                step, allowed = self._step(began)
                left = min(step + allowed, self._until) - monotonic()
                if left <= 0:
                    reason = f"It did not get on within {allowed:.3g} s; it was ended with all its children."
                    time_out = Failure(kind=FailureKind.TIME_OUT, reason=reason)
                    self.failure = OVER if self._until < step + allowed else time_out
                    return
                ready = {key.fd for key, _ in selector.select(left if lives else 0)}
                if self._server.fileno() in ready and lives:
                    status, lives = self._server.status(), False
                    continue  # its last words are read first
                if self._printed in ready:  # read first, so that text belongs to the message that follows it
                    self._keep_output(selector)
                if self._results in ready:
                    *lines, pending = (pending + _read(selector, self._results)).split(b"\n")
                    for message in map(_parse_message, lines):
                        if message is None:
                            self.failure = GARBLED
                            return
                        if "done" in message:
                            if lives:
                                self._await_end(selector)
                            return
                        yield message
                    if len(pending) > LARGEST_LINE:
                        self.failure = GARBLED
                        return
                elif not lives:
                    status = -signal.SIGKILL if status is None else status
                    ended, printed = "The trial process ended by itself", self.output.decode(errors="replace")
                    self.failure = end_failure(ended, FailureKind.PROTOCOL, status, printed, kills=self._kills)
                    return

    @property
    def mark(self) -> tuple[int, int] | None:
        """The task and the arm that ran last; None before the first."""
        fields = self._read_mark()
        return None if fields is None else fields[:2]

    def _step(self, began: float) -> tuple[float, float]:
        """Return when the step under way began, and how many seconds it may take."""
        fields = self._read_mark()
        return (began, self._patience) if fields is None else fields[2:]

    def _read_mark(self) -> tuple[int, int, float, float] | None:
        text = os.pread(self._mark.fileno(), MARK.size, 0)
        return MARK.unpack(text) if len(text) == MARK.size else None

    def _await_end(self, selector: selectors.BaseSelector) -> None:
        """Let the process end by itself, and read what it still prints."""
        deadline = monotonic() + LEAVE_SECONDS
        while (left := deadline - monotonic()) > 0:
            ready = {key.fd for key, _ in selector.select(left)}
            if self._printed in ready:
                self._keep_output(selector)
            elif self._server.fileno() in ready:
                return
            elif self._results in ready:
                _read(selector, self._results)

    def _keep_output(self, selector: selectors.BaseSelector) -> None:
        self.output = (self.output + _read(selector, self._printed))[-LARGEST_OUTPUT:]

    def _close(self) -> None:
        os.close(self._printed)
        os.close(self._results)
        self._mark.close()
        self._folder.cleanup()


def _read(selector: selectors.BaseSelector, end: int) -> bytes:
    text = os.read(end, 2**16)
    if not text:
        selector.unregister(end)
    return text


def _parse_message(line: bytes) -> dict[str, Any] | None:
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None
