"""A thread that calls a function periodically, and pauses while the program forks."""

import _thread
import os
import threading
import time
from collections.abc import Callable
from types import BuiltinFunctionType

from autotune.controls import after_fork

JOIN_SECONDS = 1.0
EXIT_SECONDS = 0.02
"""Seconds that a fork waits for a joined thread to leave the kernel's list of threads, which takes it 0.1 ms."""


class PeriodicThread:
    """Calls `act` every `seconds`, in a daemon thread, until it returns False; in forked children too.

    A fork finds it ended, unless it is just in `act`, and both processes start it again: from 3.12 on Python warns of
    a fork in a process with several threads. Threads and events are looked up at each start, since gevent and
    eventlet may have replaced them.
    """

    def __init__(self, name: str, seconds: float, act: Callable[[], bool]) -> None:
        self._name = name
        self._seconds = seconds
        self._act = act
        self._due = 0.0
        self._is_wanted = False
        self._is_acting = False
        self._is_registered = False
        self._pid = 0
        self._thread: threading.Thread | None = None
        self._end = threading.Event()

    def start(self) -> None:
        """Begin; the first call of `act` comes after `seconds`."""
        self._due = time.monotonic() + self._seconds
        self._is_wanted = True
        if not self._is_registered:
            self._is_registered = True
            after_fork.register(self._start_thread)
            if hasattr(os, "register_at_fork"):
                os.register_at_fork(before=self._rest, after_in_parent=self._start_thread)
        self._start_thread()

    def stop(self) -> None:
        self._is_wanted = False
        self._end.set()

    def _start_thread(self) -> None:
        """Start the thread, unless it is there already; a thread of the process that forked is not."""
        is_here = self._thread is not None and self._thread.is_alive() and self._pid == os.getpid()
        if is_here or not self._is_wanted:
            return
        self._pid = os.getpid()
        self._end, self._is_acting = threading.Event(), False
        if not has_real_threads():
            # without a Thread: gevent expects none in a child, and a coroutine is in no fork's way
            self._thread = None
            _thread.start_new_thread(self._repeat, (self._end,))
            return
        self._thread = threading.Thread(target=self._repeat, args=(self._end,), name=self._name, daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # the interpreter is ending, or pids.max is reached
            self._thread = None

    def _rest(self) -> None:
        thread = self._thread
        if thread is None or self._is_acting or not has_real_threads():
            return
        if thread is not threading.current_thread():
            self._end.set()
            thread.join(JOIN_SECONDS)
            wait_for_exit([thread])
            self._thread = None

    def _repeat(self, end: threading.Event) -> None:
        while not end.wait(max(0.0, self._due - time.monotonic())):
            self._is_acting = True
            try:
                self._is_wanted = self._act()
                self._due = time.monotonic() + self._seconds
            finally:
                self._is_acting = False
            if not self._is_wanted:
                return


def has_real_threads() -> bool:
    """Does a new thread run in parallel with this one? Not if gevent or eventlet replaced its starter."""
    return isinstance(_thread.start_new_thread, BuiltinFunctionType)


def wait_for_exit(threads: list[threading.Thread]) -> None:
    """Wait until the kernel no longer lists threads that were joined.

    Before 3.13 join() returns shortly before a thread's end, which takes it 0.1 ms more.
    """
    deadline = time.monotonic() + EXIT_SECONDS
    tasks = [f"/proc/self/task/{thread.native_id}" for thread in threads]
    while any(map(os.path.exists, tasks)) and time.monotonic() < deadline:
        time.sleep(0)
