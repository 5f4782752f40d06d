"""One run of a command with recording."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from threading import Timer
from time import monotonic
from types import FrameType

from autotune.errors import UnsupportedPlatform
from autotune.host import cgroup
from autotune.host.usable_cpus import usable_cpus
from autotune.recording.collect import collect, stop
from autotune.recording.recording import Recording
from autotune.recording.temporary_folder import temporary_folder

NEEDS_PROCESSES = "Recording a command needs the process calls of Linux or macOS (os.wait4)."

_FORWARDED = ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
_LEFT_TO_THE_COMMAND = ("SIGINT", "SIGQUIT")
"""Signals that the terminal sends to the command, too. The command decides; this process goes on and reports."""


def run_recorded(
    words: Sequence[str],
    environ: Mapping[str, str],
    variables: Callable[[str], Mapping[str, str]],
    *,
    is_silent: bool = False,
    stop_after: float | None = None,
    when_stopped: Callable[[Recording], object] | None = None,
) -> Recording:
    """Run a command to its end, with its own standard streams, and return what its processes recorded.

    Parameters
    ----------
    words : sequence of str
        The command.
    environ : mapping of str to str
        Its environment.
    variables : callable
        Returns the variables that have a Python record its calls into a folder.
    is_silent : bool
        Give it an empty input, and discard what it prints.
    stop_after : float, optional
        Seconds after which nothing more is recorded, while the command goes on.
    when_stopped : callable, optional
        Called with the recording at that time.

    Returns
    -------
    Recording
        What was recorded until the end, or until `stop_after`; its status is that of the end.

    Raises
    ------
    OSError, ValueError
        The command cannot be started (ValueError: a NUL byte in an argument).
    NoTemporaryFolder
        There is no folder for the recording.
    UnsupportedPlatform
        This system has no os.wait4.
    KeyboardInterrupt
        Ctrl-C came before the command was started.

    Notes
    -----
    Scope of effect: the command's own, and a private folder that is removed. Signals that end a process are passed on
    to the command, but for those that a terminal sends to both, once it has been started.

    """
    if not hasattr(os, "wait4"):
        raise UnsupportedPlatform(NEEDS_PROCESSES)
    with _passing_signals() as forwarder, temporary_folder("autotune-recording-") as name:
        folder = Path(name)
        began, throttled = monotonic(), _throttled_seconds()
        stopped: list[Recording] = []

        def recording_of(status: int | None, cpu_seconds: float) -> Recording:
            collected = collect(folder, began)
            usable, limit = usable_cpus()
            return Recording(
                command=tuple(words),
                status=status,
                wall_seconds=monotonic() - began,
                cpu_seconds=cpu_seconds or sum(process.cpu_seconds for process in collected.processes),
                processes=collected.processes,
                without_autotune=collected.without_autotune,
                throttled_seconds=max(0.0, _throttled_seconds() - throttled),
                usable_cpus=usable,
                limit=str(limit),
                is_complete=status is not None,
            )

        def end_recording() -> None:
            stop(folder)
            stopped.append(recording_of(None, 0.0))
            if when_stopped is not None:
                when_stopped(stopped[0])

        timer = Timer(stop_after, end_recording) if stop_after is not None else None
        # not by controls.supervise, which gives a command a session of its own: this one keeps the terminal
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL if is_silent else None)
        changed = {**environ, **variables(name)}
        forwarder.raise_if_interrupted()
        process = subprocess.Popen(list(words), env=changed, **streams)  # noqa: S603 - the user's own
        forwarder.begin(process.pid)
        if timer is not None:
            timer.daemon = True
            timer.start()
        _, status, used = os.wait4(process.pid, 0)
        forwarder.end()
        process.returncode = os.waitstatus_to_exitcode(status)
        if timer is not None:
            timer.cancel()
            timer.join()
        recording = recording_of(process.returncode, used.ru_utime + used.ru_stime)
    return replace(stopped[0], status=process.returncode) if stopped else recording


def _throttled_seconds() -> float:
    return cgroup.throttled_seconds(cgroup.folders())


class SignalForwarder:
    """Passes signals on to a process: those that came before it was started, too."""

    def __init__(self) -> None:
        self._pid: int | None = None
        self._early: list[int] = []
        self._is_over = False

    def begin(self, pid: int) -> None:
        self._pid = pid
        while self._early:
            self.forward(self._early.pop(0), None)

    def end(self) -> None:
        """Pass no signal on any more: the process was waited for, and its number may be another's."""
        self._pid, self._is_over = None, True

    def forward(self, number: int, _frame: FrameType | None) -> None:
        if self._pid is not None:
            with suppress(ProcessLookupError):  # it was waited for, and end() follows
                os.kill(self._pid, number)
        elif not self._is_over:
            self._early.append(number)

    def leave(self, number: int, frame: FrameType | None) -> None:
        """Leave a signal that a terminal sends to all to the process, once there is one."""
        if self._pid is None:
            self.forward(number, frame)

    def raise_if_interrupted(self) -> None:
        """Raise KeyboardInterrupt for a Ctrl-C that came before the process was started."""
        if signal.SIGINT in self._early:
            raise KeyboardInterrupt


@contextmanager
def _passing_signals() -> Iterator[SignalForwarder]:
    """Pass signals on to the command, and survive those that a terminal sends to all."""
    forwarder = SignalForwarder()
    acts = dict.fromkeys(_FORWARDED, forwarder.forward) | dict.fromkeys(_LEFT_TO_THE_COMMAND, forwarder.leave)
    chosen = {getattr(signal, name): act for name, act in acts.items()}
    # what is ignored already, as under nohup, the command goes on to ignore
    chosen = {number: act for number, act in chosen.items() if signal.getsignal(number) is not signal.SIG_IGN}
    # where an ancestor ignores it, the kernel would keep no status of the command
    chosen[signal.SIGCHLD] = lambda _number, _frame: None
    before = {number: signal.signal(number, act) for number, act in chosen.items()}
    try:
        yield forwarder
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
