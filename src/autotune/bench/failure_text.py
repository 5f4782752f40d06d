"""Reasons of failed trials and notes on printed text, as short sentences."""

import signal
import traceback
from pathlib import Path

from autotune.model.measurement import Failure, FailureKind


def shorten(text: str, limit: int = 300) -> str:
    """Put a text on one line, and leave out its middle if it is longer than `limit` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit // 2 - 2]} ... {line[-limit // 2 + 3 :]}"


def printed_note(printed: str) -> str | None:
    """Shorten the printed text to a note; None if there is none."""
    return shorten(printed) or None


def last_words(printed: str) -> str:
    """Return a sentence with the last printed line; an empty text if there is none."""
    last = shorten(printed.strip().rpartition("\n")[2], 160)
    return f" Its last words: {last}" if last else ""


def signal_failure(number: int, words: str, *, out_of_memory: bool) -> Failure:
    """Return the failure of a process that a signal ended; `words` are the sentence of `last_words`."""
    if number in {signal.SIGKILL, signal.SIGTERM}:
        if out_of_memory:
            return Failure(kind=FailureKind.OUT_OF_MEMORY, reason="The kernel killed it because memory ran out.")
        return Failure(kind=FailureKind.KILLED, reason=f"Another process killed it with {_signal_name(number)}.")
    return Failure(kind=FailureKind.CRASH, reason=f"It crashed with {_signal_name(number)}.{words}")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


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
