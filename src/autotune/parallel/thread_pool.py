"""One pool of threads per process: its helpers and the calling thread pull blocks of work from one list.

The pool grows on first use to as many helpers as a call asks for, is forgotten by a forked child (its
threads do not exist there; a pool that a child inherits hangs, docs of os.fork), and is joined when the
interpreter ends.
"""

import atexit
import os
import threading
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from queue import SimpleQueue

from autotune.controls import placement

Step = Callable[[int], object]
Begin = Callable[[], Step]
"""Called once by every thread that takes part; the Step it returns is called with the numbers of blocks."""

JOIN_SECONDS = 1.0
"""How long the end of the program waits for a helper that is still inside somebody's function."""


class Job:
    """Blocks 0 to count-1 of one call, and who works on them.

    Thread safety: `pending` is a deque, whose popleft is atomic with and without the GIL; the rest is
    guarded by `lock`. A helper that comes after the caller has closed the job does nothing, so the caller
    waits only for helpers that have begun and a busy pool never holds up a call.
    """

    def __init__(self, begin: Begin, count: int, cpus: frozenset[int] | None = None) -> None:
        self.begin = begin
        self.cpus = cpus
        """Where all of them run; None: wherever they are."""
        self.pending = deque(range(count))
        self.lock = threading.Lock()
        self.is_open = True
        self.running = 0
        self.finished = threading.Lock()
        self.finished.acquire()
        self.failure: tuple[BaseException, int | None] | None = None

    def work(self) -> None:
        """Do blocks until there are none; the first failure of any thread stops them all."""
        block = None
        try:
            step = self.begin()
            while True:
                try:
                    block = self.pending.popleft()
                except IndexError:
                    return
                step(block)
        except BaseException as error:  # noqa: BLE001 - raised again by the caller's thread, whatever it is
            self.pending.clear()
            with self.lock:
                self.failure = self.failure or (error, block)

    def help(self) -> None:
        """A helper's part."""
        with self.lock:
            if not self.is_open:
                return
            self.running += 1
        with placement.Moved(self.cpus):
            self.work()
        with self.lock:
            self.running -= 1
            if not self.running and not self.is_open:
                self.finished.release()

    def lead(self) -> None:
        """The calling thread's part. Returns when no thread is at work any more, even after Ctrl-C."""
        try:
            self.work()
        finally:
            self.pending.clear()
            with self.lock:
                self.is_open = False
                waits = self.running > 0
            if waits:
                self._wait()

    def _wait(self) -> None:
        try:
            self.finished.acquire()
        except BaseException:
            # Ctrl-C: the helpers still write into the caller's arrays until their block ends
            self.pending.clear()
            self.finished.acquire()
            raise


class Pool:
    """Threads that wait for jobs."""

    def __init__(self) -> None:
        self.calls: SimpleQueue[tuple[Job, Context] | None] = SimpleQueue()
        self.threads: list[threading.Thread] = []
        self.lock = threading.Lock()

    def call(self, job: Job, helpers: int) -> None:
        """Ask for so many helpers, each with a copy of the caller's context (np.errstate lives in it)."""
        if len(self.threads) < helpers:
            self._grow(helpers)
        for _ in range(min(helpers, len(self.threads))):
            self.calls.put((job, copy_context()))

    def _grow(self, helpers: int) -> None:
        with self.lock:
            while len(self.threads) < helpers:
                thread = threading.Thread(
                    target=_attend, args=(self.calls,), name=f"autotune-{len(self.threads)}", daemon=True
                )
                try:
                    thread.start()
                except RuntimeError:
                    # the interpreter is ending, or pids.max is reached: fewer helpers will do
                    return
                self.threads.append(thread)

    def stop(self) -> None:
        """End and join the helpers."""
        for _ in self.threads:
            self.calls.put(None)
        for thread in self.threads:
            thread.join(JOIN_SECONDS)
        self.threads.clear()


def run(begin: Begin, count: int, workers: int) -> None:
    """Do blocks 0 to count-1 with up to `workers` threads, the calling thread being one of them.

    Within a block (and within a task of an executor with several workers) the calling thread works alone,
    so nested calls do not multiply threads. A placement in force (`placement.Placed`) moves all of them. The first
    exception stops all threads after the block they are in and is raised once, with a note that names its block.
    Context variables are carried into the helpers.
    """
    helpers = min(workers, count) - 1
    is_alone = helpers < 1 or is_inside()
    job = Job(begin, count, None if is_alone else placement.current(helpers + 1))
    if is_alone:
        job.lead()
    else:
        _pool.call(job, helpers)  # before this thread is moved, since a new helper begins where it is
        _here.inside = True
        try:
            with placement.Moved(job.cpus):
                job.lead()
        finally:
            _here.inside = False
    if job.failure is not None:
        _raise(job, count)


def is_inside() -> bool:
    """Does this thread work on somebody's block already?"""
    return getattr(_here, "inside", False)


def helpers() -> int:
    """How many threads wait for work. A forked child does without them."""
    return len(_pool.threads)


def enter() -> None:
    """From now on this thread counts as one of several that work side by side."""
    _here.inside = True


def _raise(job: Job, count: int) -> None:
    assert job.failure is not None
    error, block = job.failure
    if block is not None and not isinstance(error, KeyboardInterrupt):
        error.add_note(
            f"Raised in block {block} of {count}; the result's other blocks may have been written."
        )
    try:
        raise error
    finally:
        job.failure = None  # the error's traceback holds the job, which would hold the error and the arrays
        del error


def _attend(calls: "SimpleQueue[tuple[Job, Context] | None]") -> None:
    enter()
    while (call := calls.get()) is not None:
        job, context = call
        context.run(job.help)
        del call, job, context  # an idle helper must not keep the last caller's arrays alive


def _stop() -> None:
    _pool.stop()


def _forget() -> None:
    global _pool, _here  # noqa: PLW0603 - the threads they describe do not exist in the child
    _pool = Pool()
    _here = threading.local()


_pool = Pool()
_here = threading.local()
atexit.register(_stop)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
