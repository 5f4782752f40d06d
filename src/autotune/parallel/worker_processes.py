"""Processes that are started for one piece of work, and end with it or with the process that started them."""

import errno
import multiprocessing
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import copy_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

from autotune.controls import blas, placement
from autotune.controls.supervise import die_with_parent
from autotune.errors import SharedMemoryError, UsageError
from autotune.host.threadpools import mapped_libraries
from autotune.parallel import thread_pool

UNGUARDED = (
    "Each worker imports the program's main module first; if that begins the work anew there, it has to stand under "
    '`if __name__ == "__main__":`.'
)
"""Usual reason why a new process ends before its first task."""
SHORTAGES = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EPERM, errno.ENOSYS)
"""fork(2), pipe(2): a limit of processes, memory or descriptors, or a filter of system calls, forbids them."""


class Worker(NamedTuple):
    """A process at work, and the line to it."""

    process: BaseProcess
    connection: Connection
    forked: bool
    """False: it was started anew, and has imported the program's main module."""

    def send(self, message: Any) -> None:
        """Send it a message. If it has ended already, `receive` tells."""
        with suppress(ConnectionError):
            self.connection.send(message)

    def receive(self) -> Any:
        """Return its next answer. Raises what the function raised there, or SharedMemoryError if it ended early."""
        try:
            error, answer = self.connection.recv()
        except (EOFError, ConnectionError):
            self.process.join()
            code = self.process.exitcode
            ended = "ended" if code is None else f"ended with code {code} (negative: by that signal)"
            raise SharedMemoryError(
                f"A worker process {ended} before its work was done; the result may be written in part."
                + ("" if self.forked or code != 1 else f" {UNGUARDED}")
            ) from None
        if error is not None:
            raise error
        return answer


def receive_all(workers: Sequence[Worker]) -> list[Any]:
    """Return the next answer of each. Raises the first error that comes, whichever worker is still busy."""
    answers: dict[int, Any] = {}
    while len(answers) < len(workers):
        ready = wait([worker.connection for place, worker in enumerate(workers) if place not in answers])
        answers |= {place: worker.receive() for place, worker in enumerate(workers) if worker.connection in ready}
    return [answers[place] for place in range(len(workers))]


def start_context() -> BaseContext:
    """Return multiprocessing's start method, as the program chose it, or else the system's default.

    `multiprocessing.get_context()` would choose it for good, so that the program's own set_start_method fails later.
    """
    chosen = multiprocessing.get_start_method(allow_none=True)
    return multiprocessing.get_context(chosen or multiprocessing.get_all_start_methods()[0])


def may_have_children() -> bool:
    """May this process start others? A daemonic one of multiprocessing's may not."""
    return not multiprocessing.current_process().daemon


def has_semaphores() -> bool:
    """Can multiprocessing make its locks here? It cannot where /dev/shm is missing or read-only."""
    try:
        multiprocessing.get_context("spawn").Semaphore()
    except (OSError, ImportError, NotImplementedError):
        return False
    return True


class NoChildren(Exception):
    """Not all processes could be started: a limit or a filter of system calls forbids it."""


@contextmanager
def shortages_as_no_children() -> Iterator[None]:
    """Raise NoChildren for an OSError of SHORTAGES."""
    try:
        yield
    except OSError as error:
        if error.errno in SHORTAGES:
            raise NoChildren from error
        raise


def check_main() -> None:
    """Raise UsageError in a process that is just importing the main module of the program that started it."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # how multiprocessing itself knows
        raise UsageError(f"This process was started to be a worker, and cannot start workers yet. {UNGUARDED}")


@contextmanager
def start(
    context: BaseContext, work: Callable[..., None], tasks: Sequence[tuple[Any, ...]], blas_threads: int | None = None
) -> Iterator[list[Worker]]:
    """Start processes that do `work(connection, *task)` with `blas_threads`; kill them if anything fails here.

    They begin once all of them are there: where a limit of the system forbids one, none has begun, and NoChildren is
    raised.

    Where GNU's OpenMP is loaded they are forked from a thread of its own, which has never been in a parallel region:
    libgomp keeps its threads by the thread that began the region, and a child of that one waits for them for ever
    (GCC bug 60035).
    """
    check_main()
    if blas_threads is not None:
        blas.loaded_libraries()  # here, once, and not in each child
    workers: list[Worker] = []
    forks = context.get_start_method() == "fork"
    launcher = _Launcher() if forks and any("libgomp" in path for path in mapped_libraries() or ()) else None
    try:
        with shortages_as_no_children():
            for task in tasks:
                workers.append(_start_worker(context, workers, launcher, (blas_threads, work, task)))
        for worker in workers:
            worker.send(None)
        yield workers
    except BaseException:
        for worker in workers:
            worker.process.kill()  # not terminate(): a child may have inherited a handler that goes on
        raise
    finally:
        for worker in workers:
            worker.connection.close()
            worker.process.join()
            # the program has SIGCHLD ignored, or waits for all children itself; a process of loky's cannot be closed
            with suppress(ValueError, AttributeError):
                worker.process.close()
        if launcher is not None:
            launcher.end()


def _start_worker(
    context: BaseContext, others: Sequence[Worker], launcher: "_Launcher | None", work: tuple[Any, ...]
) -> Worker:
    forked = context.get_start_method() == "fork"
    here, there = context.Pipe()
    if os.name == "posix":
        for end in (here, there):
            os.set_blocking(end.fileno(), True)  # under gevent sockets are not
    ends = [worker.connection for worker in others] + [here] if forked else []
    process = context.Process(  # type: ignore[attr-defined]
        target=_run, args=(there, ends, os.getpid(), *work), daemon=True
    )
    try:
        process.start() if launcher is None else launcher.call(process.start)
    except BaseException:
        here.close()
        raise
    finally:
        there.close()
    return Worker(process, here, forked)


class _Launcher:
    """A thread that forks, and lives as long as its children: the kernel would end them with it."""

    def __init__(self) -> None:
        self._acts: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._errors: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        # np.errstate and other context variables are the caller's
        self._thread = threading.Thread(
            target=copy_context().run, args=(self._serve,), name="autotune-fork", daemon=True
        )
        self._thread.start()

    def call(self, act: Callable[[], object]) -> None:
        self._acts.put(act)
        if (error := self._errors.get()) is not None:
            raise error

    def end(self) -> None:
        self._acts.put(None)
        self._thread.join()

    def _serve(self) -> None:
        while (act := self._acts.get()) is not None:
            try:
                act()
                self._errors.put(None)
            except BaseException as error:  # noqa: BLE001 - raised in the calling thread
                self._errors.put(error)


def _run(
    connection: Connection,
    parent_ends: Sequence[Connection],
    parent: int,
    blas_threads: int | None,
    work: Callable[..., None],
    task: tuple[Any, ...],
) -> None:
    for each in parent_ends:
        each.close()  # inherited: with the parent's end open here, this process would not notice that the parent ended
    # by the kernel where it can (unless a server of multiprocessing's forked it), which also ends a process that is
    # stuck in compiled code; the thread that started this one has to live as long
    if sys.platform == "linux" and os.getppid() == parent:
        die_with_parent(parent)
    else:
        watch_parent()
    if parent_ends:
        _forget_handlers()
    thread_pool.enter()
    placement.spread()
    try:
        connection.recv()  # all are there
    except (EOFError, ConnectionError):
        return
    try:
        try:
            blas.set_threads(blas_threads)
        except KeyboardInterrupt:  # of OpenBLAS, where a limit forbids the threads that it would wait for later
            blas.set_threads(1)
        work(connection, *task)
    except BrokenPipeError:
        return  # the parent is gone, or wants no more
    except BaseException as error:  # noqa: BLE001 - raised again in the parent, whatever it is
        connection.send((_portable(error), None))


def watch_parent() -> None:
    """End this process when the one that started it ends, by a thread that waits for that."""
    threading.Thread(target=_wait_for_parent, name="autotune-parent", daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _forget_handlers() -> None:
    """Take off the program's handlers of signals, which a forked child inherits: they act for the parent."""
    signal.set_wakeup_fd(-1)  # asyncio's is a socket that the parent reads
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def _portable(error: BaseException) -> BaseException:
    """Return the error with its traceback as a note; in words, if it does not pickle."""
    import pickle

    text = "".join(traceback.format_exception(error))
    try:
        copy: BaseException = pickle.loads(pickle.dumps(error))  # noqa: S301 - made in the same line
    except Exception:  # noqa: BLE001 - pickling runs the exception's own code
        copy = RuntimeError(f"{type(error).__name__}: {error}")
    copy.add_note(f"Raised in process {multiprocessing.current_process().name}:\n{text}")
    return copy
