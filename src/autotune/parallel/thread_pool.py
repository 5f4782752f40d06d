"""One pool of threads per process: its helpers and the calling thread pull blocks of work from one list.

The pool grows on first use to as many helpers as a call asks for, is replaced in a forked child (its threads do not
exist there; a pool that a child inherits hangs, docs of os.fork), rests while the program forks, and is joined when
the interpreter ends.
"""

import atexit
import os
import queue
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, copy_context

from autotune.controls import after_fork, placement
from autotune.controls.periodic_thread import has_real_threads, wait_for_exit
from autotune.native import loaded_core

Step = Callable[[int], object]
Begin = Callable[[], Step]
"""Called once by every thread that takes part; the Step it returns is called with the numbers of blocks."""

JOIN_SECONDS = 1.0
"""Seconds that the end of the program waits for a helper that is still inside a user's function."""


class BlockJob:
    """Blocks 0 to count-1 of one call, and the threads that work on them.

    Thread safety: `pending` is a deque, whose popleft is atomic with and without the GIL; the rest is
    guarded by `lock`. A helper that comes after the caller has closed the job does nothing, so the caller
    waits only for helpers that have begun and a busy pool never holds up a call.
    """

    def __init__(self, begin: Begin, count: int, cpus: frozenset[int] | None = None) -> None:
        self.begin: Begin | None = begin
        """None once the job is closed: a queue of helpers that are busy must not keep the caller's arrays alive."""
        self.cpus = cpus
        """CPUs of all of them; None: unchanged."""
        self.pending = deque(range(count))
        self.lock = threading.Lock()
        self.running = 0
        self.finished = threading.Lock()
        self.finished.acquire()
        self.failure: tuple[BaseException, int | None] | None = None

    def work(self, begin: Begin) -> None:
        """Do blocks until there are none; the first failure of any thread stops them all."""
        block = None
        try:
            step = begin()
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
        with self.lock:
            begin = self.begin
            if begin is None:
                return
            self.running += 1
        try:
            with placement.Moved(self.cpus):
                self.work(begin)
        finally:
            with self.lock:
                self.running -= 1
                if not self.running and self.begin is None:
                    self.finished.release()

    def lead(self) -> None:
        """Do the calling thread's part. Returns when no thread is at work any more, even after Ctrl-C."""
        assert self.begin is not None
        try:
            self.work(self.begin)
        finally:
            self.pending.clear()
            with self.lock:
                self.begin = None
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


class HelperPool:
    """Threads that wait for jobs."""

    def __init__(self) -> None:
        # looked up now: gevent and eventlet replace the class, and an old one would stop the whole program
        self.calls: queue.SimpleQueue[tuple[BlockJob, Context] | None] = queue.SimpleQueue()
        self.threads: list[threading.Thread] = []
        self.lock = threading.RLock()
        """Held while threads are started or ended; a signal handler may call in the middle of that."""
        self.jobs = 0
        """Calls that are at work now; guarded by `lock`."""

    def call(self, job: BlockJob, helpers: int) -> None:
        """Ask for helpers, each with a copy of the caller's context (np.errstate lives in it)."""
        with self.lock:
            self.jobs += 1
            self._grow(helpers)
            for _ in range(min(helpers, len(self.threads))):
                self.calls.put((job, copy_context()))

    def release(self) -> None:
        """Note that a call has ended."""
        with self.lock:
            self.jobs -= 1

    def _grow(self, helpers: int) -> None:
        while len(self.threads) < helpers:
            thread = threading.Thread(target=_attend, args=(self,), name=f"autotune-{len(self.threads)}", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                # the interpreter is ending, or pids.max is reached: fewer helpers will do
                return
            self.threads.append(thread)

    def rest(self) -> None:
        """End the helpers before a fork, unless one is at work; the next call starts new ones.

        A child would not have them, and from 3.12 on Python warns of each fork of a process with several threads.
        (NumPy's OpenBLAS ends its threads before a fork, too.)
        """
        if is_inside() or not self.threads or not has_real_threads() or not self.lock.acquire(blocking=False):
            return
        try:
            if not self.jobs:
                self.stop()
        finally:
            self.lock.release()

    def stop(self) -> None:
        threads, self.threads = self.threads, []
        for _ in threads:
            self.calls.put(None)
        for thread in threads:
            thread.join(JOIN_SECONDS)
        wait_for_exit(threads)


def run(begin: Begin, count: int, workers: int) -> None:
    """Do blocks 0 to count-1 with up to `workers` threads, the calling thread being one of them.

    Within a block (and within a task of an executor with several workers) the calling thread works alone,
    so nested calls do not multiply threads; so it does where gevent or eventlet have made threads into coroutines. A
    placement in force (`placement.Placed`) moves all of them. The first exception stops all threads after the block
    they are in and is raised once, with a note that names its block. Context variables are carried into the helpers.
    """
    helpers = min(workers, count) - 1
    is_alone = helpers < 1 or is_inside() or not has_real_threads()
    job = BlockJob(begin, count, None if is_alone else placement.current(helpers + 1))
    if is_alone:
        job.lead()
    else:
        after_fork.check()
        pool = _pool
        pool.call(job, helpers)  # before this thread is moved, since a new helper begins where it is
        _here.inside = True
        before = _keep_loops_whole(whole=True)
        try:
            with placement.Moved(job.cpus):
                job.lead()
        finally:
            _here.inside = False
            _keep_loops_whole(whole=before)
            pool.release()
    if job.failure is not None:
        _raise(job, count)


def is_inside() -> bool:
    """Does this thread work on a block already?"""
    return getattr(_here, "inside", False)


def enter() -> None:
    """Mark this thread as one of several workers: none of its calls is cut from now on."""
    _here.inside = True
    _keep_loops_whole(whole=True)


def _keep_loops_whole(*, whole: bool) -> bool:
    """Let the C core cut no loops of ufuncs that this thread calls, or cut them; return what held before."""
    core = loaded_core()
    return False if core is None else bool(core.alone(whole))


def _raise(job: BlockJob, count: int) -> None:
    assert job.failure is not None
    error, block = job.failure
    if block is not None and not isinstance(error, KeyboardInterrupt):
        error.add_note(f"Raised in block {block} of {count}; the result's other blocks may have been written.")
    try:
        raise error
    finally:
        job.failure = None  # the error's traceback holds the job, which would hold the error and the arrays
        del error


def _attend(pool: HelperPool) -> None:
    enter()
    placement.spread()
    try:
        while (call := pool.calls.get()) is not None:
            job, context = call
            context.run(job.help)
            del call, job, context  # an idle helper must not keep the last caller's arrays alive
    finally:
        # also when an exception is thrown into this thread from outside (PyThreadState_SetAsyncExc)
        with suppress(ValueError):
            pool.threads.remove(threading.current_thread())


def _stop() -> None:
    after_fork.check()
    if has_real_threads():
        _pool.stop()


def _rest() -> None:
    _pool.rest()


def _replace() -> None:
    global _pool, _here  # noqa: PLW0603 - the threads they describe do not exist in the child
    _pool = HelperPool()
    _here = threading.local()


_pool = HelperPool()
_here = threading.local()
atexit.register(_stop)
after_fork.register(_replace)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_rest)
