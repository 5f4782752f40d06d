"""Children of the daemon: started, watched, and killed with all that they started."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import IO, Protocol

from autotune.daemon.daemon_settings import Interpreter
from autotune.daemon.family import descendants
from autotune.host.kernel_files import read

LARGEST_OUTPUT = 2**23
"""Bytes of a child's answer that are read: a survey of 10,000 entries takes 2 MB."""
LAST_WORDS = 2000
KILL_SECONDS = 2.0

_OURS = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "INVOCATION_ID")
_PROGRAMS = ("AUTOTUNE_START", "AUTOTUNE_PER_CALL", "AUTOTUNE_RECORD", "AUTOTUNE_PROFILE")
"""Variables that speak to programs: a child that measures is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a child ended, and what it said."""

    status: int
    answer: bytes = b""
    words: str = ""
    """The end of what it wrote to stderr."""


class Child(Protocol):
    """One running child."""

    def resident_bytes(self) -> int | None:
        """Physical memory that it and all it started hold; None if unknown."""
        ...

    def ended(self) -> Ended | None:
        """How it ended; None while it runs."""
        ...

    def kill(self) -> None:
        """End it and everything it started, now. What it was doing is forgotten."""
        ...


class Launcher(Protocol):
    """Starts children."""

    def start(
        self, interpreter: Interpreter, module: str, arguments: Sequence[str], environ: Mapping[str, str]
    ) -> Child:
        """A module of ours with these arguments and variables. Raises OSError if it cannot be started."""
        ...


class Processes:
    """Starts real ones, at the priority that the daemon has: a lowered one would change what is measured."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._folder = folder
        self._environ = {name: value for name, value in environ.items() if name not in {*_OURS, *_PROGRAMS}}

    def start(
        self, interpreter: Interpreter, module: str, arguments: Sequence[str], environ: Mapping[str, str]
    ) -> "Process":
        """Start one, with a temporary folder of its own. Raises OSError."""
        work = Path(tempfile.mkdtemp(prefix="job-", dir=self._folder))
        try:
            return Process(interpreter, module, arguments, work, {**self._environ, **environ})
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise

    def sweep(self) -> None:
        """Remove what children of a daemon that was killed have left."""
        for each in self._folder.glob("job-*"):
            shutil.rmtree(each, ignore_errors=True)


class Process:
    """A child on its leash."""

    def __init__(
        self,
        interpreter: Interpreter,
        module: str,
        arguments: Sequence[str],
        work: Path,
        environ: Mapping[str, str],
    ) -> None:
        self._work = work
        self._answer: IO[bytes] = tempfile.TemporaryFile(dir=work)  # noqa: SIM115 - until it has been read
        self._words: IO[bytes] = tempfile.TemporaryFile(dir=work)  # noqa: SIM115 - the same
        python = interpreter.python
        self._process = subprocess.Popen(  # noqa: S603 - interpreters of the configuration, modules of ours
            [python, "-P", "-m", "autotune.daemon.leash", python, "-P", "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=self._answer,
            stderr=self._words,
            env={**environ, **dict(interpreter.environment), "TMPDIR": str(work)},
            start_new_session=True,
            cwd="/",
        )
        self._ended: Ended | None = None

    def resident_bytes(self) -> int | None:
        """Physical memory that it and all it started hold, shared pages counted for each; None if unknown."""
        pids = descendants(self._process.pid) or []
        pages = [(read(f"/proc/{pid}/statm") or "").split()[1:2] for pid in pids]
        known = [int(each[0]) for each in pages if each]
        return sum(known) * os.sysconf("SC_PAGE_SIZE") if known else None

    def ended(self) -> Ended | None:
        """How it ended; None while it runs."""
        if self._ended is None and self._process.poll() is not None:
            self._answer.seek(0)
            size = self._words.seek(0, os.SEEK_END)
            self._words.seek(max(0, size - LAST_WORDS))
            self._ended = Ended(
                status=self._process.returncode,
                answer=self._answer.read(LARGEST_OUTPUT),
                words=self._words.read().decode(errors="replace").strip(),
            )
            self._close()
        return self._ended

    def kill(self) -> None:
        """Let go of the leash, which kills; make sure of it."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()
        deadline = monotonic() + KILL_SECONDS
        while self._process.poll() is None:
            if monotonic() > deadline:
                with suppress(OSError):
                    os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
                break
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(0.02)
        if self._ended is None:
            self._ended = Ended(status=-signal.SIGKILL)
            self._close()

    def _close(self) -> None:
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
        self._answer.close()
        self._words.close()
        shutil.rmtree(self._work, ignore_errors=True)
