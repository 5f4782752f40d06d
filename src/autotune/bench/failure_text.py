"""Reasons of failed trials and notes on printed text, as short sentences."""

import re
import signal
import traceback
from contextlib import suppress
from pathlib import Path

from autotune.model.measurement import Failure, FailureKind


def shorten(text: str, limit: int = 300) -> str:
    """Put a text on one line, and leave out its middle if it is longer than `limit` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit // 2 - 2]} ... {line[-limit // 2 + 3 :]}"


def last_words(printed: str) -> str:
    """Return a sentence with the frame that Python's fault handler names, else the last line; empty without either."""
    crash = re.search(r"^Current thread .*\n(.+)", printed, re.MULTILINE)
    last = shorten(crash[1] if crash else printed.strip().rpartition("\n")[2], 160)
    return f" Its last words: {last}" if last else ""


def oom_kills() -> int | None:
    """Count the processes that the kernel has killed because memory ran out since it started; None if unknown.

    /proc/vmstat counts kills in control groups too (mm/oom_kill.c, since Linux 4.13).
    """
    with suppress(OSError), Path("/proc/vmstat").open("rb") as file:
        for line in file:
            if line.startswith(b"oom_kill "):
                return int(line.split()[1])
    return None


def end_failure(ended: str, kind: FailureKind, status: int, printed: str, *, kills: int | None) -> Failure:
    """Return the failure of a process by its exit status, which is minus the signal that ended it.

    `ended` begins the sentence and `kind` is its kind where no signal did; `kills` are the `oom_kills` at its start.
    """
    words = last_words(printed)
    if status >= 0:
        return Failure(kind=kind, reason=f"{ended} with exit status {status}.{words}")
    try:
        name = signal.Signals(-status).name
    except ValueError:  # a real-time signal
        name = f"signal {-status}"
    if -status not in {signal.SIGKILL, signal.SIGTERM}:
        return Failure(kind=FailureKind.CRASH, reason=f"It crashed with {name}.{words}")
    if oom_kills() != kills:
        return Failure(kind=FailureKind.OUT_OF_MEMORY, reason="The kernel killed it because memory ran out.")
    return Failure(kind=FailureKind.KILLED, reason=f"Another process killed it with {name}.")


def cause(problem: BaseException) -> str:
    """Describe an exception in one line: type, text, and the last file and line outside of libraries."""
    text = traceback.format_exception_only(problem)[-1].strip() or type(problem).__name__
    if isinstance(problem, SyntaxError):
        where = f" ({problem.filename}:{problem.lineno})" if problem.filename else ""  # none with a NUL byte
        return f"{shorten(problem.msg)}{where}"
    frames = [frame for frame in traceback.extract_tb(problem.__traceback__) if not _is_ours(frame.filename)]
    own = [frame for frame in frames if "site-packages" not in frame.filename]
    last = (own or frames)[-1:]
    return shorten(text) + "".join(f" ({frame.filename}:{frame.lineno})" for frame in last)


def _is_ours(file: str) -> bool:
    return file.startswith("<") or Path(file).is_relative_to(Path(__file__).parents[1])
