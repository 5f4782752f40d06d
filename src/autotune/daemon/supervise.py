"""Child processes of the daemon: started, followed, and killed with all their descendants, whatever ends the daemon.

Between the daemon and a child stands a supervisor, `python -P -m autotune.daemon.supervise COMMAND [ARGUMENT]...`.
The daemon holds the other end of the supervisor's stdin. Once that is closed, by the daemon or by the kernel because
the daemon is gone (SIGKILL included), the supervisor kills the command and all its descendants. As their subreaper
(PR_SET_CHILD_SUBREAPER of prctl(2)) it inherits those whose parents have died, so that a session of its own helps
none of them to escape.
"""

import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import IO

from autotune.host.kernel_files import read

MAX_ANSWER = 2**23
"""Bytes of a child's answer that are read: an inventory of 10,000 entries takes 3 MB."""
MAX_WORDS = 2000
"""Bytes of its stderr that are kept."""
DEFAULT_SECONDS = 60.0
KILL_SECONDS = 2.0
END_SECONDS = 4.0
"""How long the supervisor goes on killing, so that a descendant that forks meanwhile does not survive."""
TRACKER_SECONDS = 1.0
"""Head start of multiprocessing's resource trackers, which remove the shared memory of killed processes and end."""

_SERVICE_VARIABLES = (
    *("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "INVOCATION_ID"),
    *("AUTOTUNE_START", "AUTOTUNE_PER_CALL", "AUTOTUNE_RECORD", "AUTOTUNE_PROFILE"),
)
"""Variables for the daemon, or for tuned programs, that children must not see."""
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
"""From linux/prctl.h."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildCommand:
    """A child process to start: a module of autotune with its arguments."""

    module: str
    arguments: tuple[str, ...]
    seconds: float = DEFAULT_SECONDS
    """After which it is killed."""
    measuring: bool = False
    """May it run on an idle machine only?"""
    environ: Mapping[str, str] = field(default_factory=dict)
    """Variables besides those of the daemon and of the interpreter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildResult:
    """How a child ended, and what it wrote."""

    status: int
    answer: bytes = b""
    words: str = ""
    """The end of its stderr."""

    @property
    def last_line(self) -> str:
        """The last line of its stderr, or its status."""
        lines = self.words.splitlines()
        return lines[-1][:500] if lines else f"It ended with status {self.status} and wrote no reason."


class ProcessLauncher:
    """Starts processes, at the daemon's own priority: a lower one would change what is measured."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._folder = folder
        self._environ = {name: text for name, text in environ.items() if name not in _SERVICE_VARIABLES}

    def start(self, python: str, command: ChildCommand, environ: Mapping[str, str]) -> "ChildProcess":
        """Start a child with a temporary folder of its own. Raises OSError."""
        folder = Path(tempfile.mkdtemp(prefix="job-", dir=self._folder))
        try:
            return ChildProcess(python, command, folder, {**self._environ, **environ})
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def sweep(self) -> None:
        """Remove the folders of children of a daemon that was killed."""
        for folder in self._folder.glob("job-*"):
            shutil.rmtree(folder, ignore_errors=True)


class ChildProcess:
    """A child below its supervisor."""

    def __init__(self, python: str, command: ChildCommand, folder: Path, environ: Mapping[str, str]) -> None:
        self._folder = folder
        self._answer: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed once it was read
        self._words: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - the same
        self._process = subprocess.Popen(  # noqa: S603 - interpreters of the configuration, modules of autotune
            [python, "-P", "-m", __name__, python, "-P", "-m", command.module, *command.arguments],
            stdin=subprocess.PIPE,
            stdout=self._answer,
            stderr=self._words,
            env={**environ, "TMPDIR": str(folder)},
            start_new_session=True,
            cwd="/",
        )
        self._result: ChildResult | None = None

    def resident_bytes(self) -> int | None:
        """Return the physical memory that it and its descendants hold, shared pages counted for each."""
        tables = (read(f"/proc/{pid}/statm") or "" for pid in descendants(self._process.pid) or [])
        pages = [int(words[1]) for table in tables if len(words := table.split()) > 1]
        return sum(pages) * os.sysconf("SC_PAGE_SIZE") if pages else None

    def result(self) -> ChildResult | None:
        """Return how it ended; None while it runs."""
        if self._result is None and self._process.poll() is not None:
            self._answer.seek(0)
            self._words.seek(max(0, self._words.seek(0, os.SEEK_END) - MAX_WORDS))
            self._result = ChildResult(
                status=self._process.returncode,
                answer=self._answer.read(MAX_ANSWER),
                words=self._words.read().decode(errors="replace").strip(),
            )
            self._close()
        return self._result

    def kill(self) -> None:
        """Close the supervisor's stdin, at which it kills; kill the supervisor if it does not end."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(KILL_SECONDS)
        except subprocess.TimeoutExpired:
            with suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        if self._result is None:
            self._result = ChildResult(status=-signal.SIGKILL)
            self._close()

    def _close(self) -> None:
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()
        self._answer.close()
        self._words.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def descendants(pid: int) -> list[int] | None:
    """List the descendants of a process (proc(5), /proc/PID/task/TID/children).

    None if the kernel does not list children, or the process has ended.
    """
    listed: list[int] = []
    waiting = [pid]
    while waiting:
        parent = waiting.pop()
        try:
            threads = os.listdir(f"/proc/{parent}/task")  # noqa: PTH208
        except OSError:
            threads = []
        tables = [read(f"/proc/{parent}/task/{thread}/children") for thread in threads]
        if parent == pid and all(table is None for table in tables):
            return None
        children = [int(word) for table in tables for word in (table or "").split()]
        listed += children
        waiting += children
    return listed


# --- the supervisor's side ----------------------------------------------------------------------


def run_supervised(command: list[str]) -> int:
    """Run a command until it ends, stdin is closed, or a signal arrives; return its status, 128 + N for signal N."""
    is_subreaper = _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    wakeup, signalled = os.pipe()
    os.set_blocking(signalled, False)
    signal.set_wakeup_fd(signalled)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    received: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _: received.append(number))
    child = subprocess.Popen(  # noqa: S603 - the daemon's command
        command,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=_die_with_parent,  # noqa: PLW1509 - there is one thread
    )
    status: int | None = None
    while status is None and not received:
        ready, _, _ = select.select([0, wakeup], [], [])
        if wakeup in ready:
            os.read(wakeup, 512)
        if 0 in ready and not os.read(0, 512):
            break
        status = _reap(child.pid)
    _kill_descendants(child.pid, is_subreaper=is_subreaper)
    if status is None:
        return 128 + signal.SIGKILL
    return status if status >= 0 else 128 - status


def _die_with_parent() -> None:
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _reap(pid: int) -> int | None:
    """Reap all processes that have ended; return the status of this one if it is among them."""
    status = None
    with suppress(ChildProcessError):
        while True:
            ended, wait_status = os.waitpid(-1, os.WNOHANG)
            if not ended:
                break
            if ended == pid:
                status = os.waitstatus_to_exitcode(wait_status)
    return status


def _kill_descendants(pid: int, *, is_subreaper: bool) -> None:
    """Kill all descendants, again until there are none."""
    began = monotonic()
    while monotonic() - began < END_SECONDS:
        living = descendants(os.getpid())
        if (
            not is_subreaper or living is None
        ):  # not Linux: a process that left the group has a lifeline of its own
            with suppress(OSError):
                os.killpg(pid, signal.SIGKILL)
            _reap(pid)
            return
        if not living:
            return
        spare_trackers = monotonic() - began < TRACKER_SECONDS
        for each in living:
            if not (spare_trackers and _is_tracker(each)):
                with suppress(OSError):
                    os.kill(each, signal.SIGKILL)
        _reap(pid)
        sleep(0.005)


def _is_tracker(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:  # noqa: PTH123
            return b"multiprocessing.resource_tracker" in file.read()
    except OSError:
        return False


def _prctl(option: int, value: int) -> bool:
    """Call prctl(2); False where it does not exist or fails."""
    if sys.platform != "linux":
        return False
    import ctypes

    try:
        return bool(ctypes.CDLL(None).prctl(option, value, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False


if __name__ == "__main__":
    os._exit(run_supervised(sys.argv[1:]))
