"""Why a trial has no timings, and what it printed: sentences of bearable length."""

import signal
import traceback
from pathlib import Path

from autotune.model.measurement import Failure, FailureKind


def shortened(text: str, limit: int = 300) -> str:
    """The text on one line, with its middle left out if it is longer than `limit` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit // 2 - 2]} ... {line[-limit // 2 + 3 :]}"


def noted(printed: str) -> str | None:
    """What is kept of the text that work printed; None if it was quiet."""
    return shortened(printed) or None


def last_words(printed: str) -> str:
    """A sentence with the last line that was printed; nothing if there is none."""
    last = shortened(printed.strip().rpartition("\n")[2], 160)
    return f" Its last words: {last}" if last else ""


def by_signal(number: int, words: str, *, out_of_memory: bool) -> Failure:
    """Why a process was ended by a signal; `words` are its last ones, or nothing."""
    if number in {signal.SIGKILL, signal.SIGTERM}:
        if out_of_memory:
            return Failure(kind=FailureKind.OUT_OF_MEMORY, reason="The kernel killed it for want of memory.")
        return Failure(kind=FailureKind.KILLED, reason=f"Somebody killed it with {_signal_name(number)}.")
    return Failure(kind=FailureKind.CRASH, reason=f"It crashed with {_signal_name(number)}.{words}")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def cause(problem: BaseException) -> str:
    """One line on an exception: its type, its text, and the last file and line that is not a library's."""
    text = traceback.format_exception_only(problem)[-1].strip() or type(problem).__name__
    if isinstance(problem, SyntaxError):
        where = f" ({problem.filename}:{problem.lineno})" if problem.filename else ""  # none with a NUL byte
        return f"{shortened(problem.msg)}{where}"
    frames = [frame for frame in traceback.extract_tb(problem.__traceback__) if not _is_ours(frame.filename)]
    own = [frame for frame in frames if "site-packages" not in frame.filename]
    last = (own or frames)[-1:]
    return shortened(text) + "".join(f" ({frame.filename}:{frame.lineno})" for frame in last)


def _is_ours(file: str) -> bool:
    return file.startswith("<") or Path(file).is_relative_to(Path(__file__).parents[1])
