"""Child processes of the daemon: modules of autotune, run by a listed interpreter under a supervisor."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import DEVNULL
from typing import IO, Any

from autotune.controls.supervise import Supervised

MAX_ANSWER = 2**23
"""Bytes of a child's answer that are read: an inventory of 10,000 entries takes 3 MB."""
MAX_WORDS = 2000
"""Bytes of its stderr that are kept."""
DEFAULT_SECONDS = 60.0

_HIDDEN_VARIABLES = (
    *("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "INVOCATION_ID"),
    *("AUTOTUNE_START", "AUTOTUNE_RECORD", "AUTOTUNE_PROFILE"),
)
"""Variables for the daemon or for tuned programs, which children do not see."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildCommand:
    """A child process to start: a module, the command line unless named, with its arguments."""

    module: str = "autotune"
    arguments: tuple[str, ...]
    seconds: float = DEFAULT_SECONDS
    """After which it is killed."""
    measuring: bool = False
    """May it run on an idle machine only?"""
    environ: Mapping[str, str] = field(default_factory=dict)
    """Variables besides those of the daemon and of the interpreter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildResult:
    """Exit status and output of a child."""

    status: int
    answer: bytes = b""
    words: str = ""
    """The end of its stderr."""

    @property
    def last_line(self) -> str:
        """The last line of its stderr, or its status."""
        lines = self.words.splitlines()
        return lines[-1][:500] if lines else f"It ended with status {self.status} and wrote no reason."

    @property
    def document(self) -> dict[str, Any]:
        """Its answer; without one, the last line of its stderr as the problem."""
        try:
            answer = json.loads(self.answer)
        except (ValueError, RecursionError):
            answer = None
        return answer if isinstance(answer, dict) else {"problem": self.last_line}


class ChildProcess:
    """A child below its supervisor. Its answer (stdout) and words (stderr) go to files.

    It runs at the daemon's own priority: a lower one would change what is measured.
    """

    def __init__(self, python: str, command: ChildCommand, environ: Mapping[str, str], *, state: Path) -> None:
        """Start it with a folder of its own in the state folder, for temporary files. Raises OSError."""
        self._folder = Path(tempfile.mkdtemp(prefix="job-", dir=state))
        inherited = {name: text for name, text in os.environ.items() if name not in _HIDDEN_VARIABLES}
        try:
            self._answer: IO[bytes] = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - closed in `kill`
            self._words: IO[bytes] = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - the same
            self._supervised = Supervised(
                [python, "-P", "-m", command.module, *command.arguments],
                stdin=DEVNULL,
                stdout=self._answer,
                stderr=self._words,
                env={**inherited, **environ, "TMPDIR": str(self._folder)},
                cwd="/",
            )
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise

    def result(self) -> ChildResult | None:
        """Return how it ended, once; None while it runs."""
        ending = self._supervised.poll()
        if ending is None:
            return None
        self._answer.seek(0)
        self._words.seek(max(0, self._words.seek(0, os.SEEK_END) - MAX_WORDS))
        result = ChildResult(
            status=ending.status,
            answer=self._answer.read(MAX_ANSWER),
            words=self._words.read().decode(errors="replace").strip(),
        )
        self.kill()
        return result

    def kill(self) -> None:
        """Kill it and its descendants, and remove its folder."""
        self._supervised.end()
        self._answer.close()
        self._words.close()
        shutil.rmtree(self._folder, ignore_errors=True)


StartChild = Callable[[str, ChildCommand, Mapping[str, str]], ChildProcess]


def remove_leftovers(state: Path) -> None:
    """Remove the folders of children of a daemon that was killed."""
    for folder in state.glob("job-*"):
        shutil.rmtree(folder, ignore_errors=True)
