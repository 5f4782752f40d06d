"""Processes that are started for one piece of work, and end with it."""

import multiprocessing
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

from autotune.errors import SharedMemoryError, UsageError
from autotune.parallel import thread_pool

UNGUARDED = (
    "Each worker imports the program's main module first; if that begins the work anew there, it has to stand under "
    '`if __name__ == "__main__":`.'
)
"""What usually ends a process that was started anew before it does anything."""


class Child(NamedTuple):
    """A process at work, and the line to it."""

    process: BaseProcess
    connection: Connection
    forked: bool
    """False: it was started anew, and has imported the program's main module."""

    def send(self, message: Any) -> None:
        """Say something to it. If it has ended already, `receive` is who tells."""
        with suppress(ConnectionError):
            self.connection.send(message)

    def receive(self) -> Any:
        """Its next answer. Raises what the function raised there, or SharedMemoryError if it ended early."""
        try:
            error, answer = self.connection.recv()
        except (EOFError, ConnectionError):
            self.process.join()
            raise SharedMemoryError(
                f"A worker process ended with code {self.process.exitcode} (negative: by that signal) before "
                "its work was done; the result may be written in part."
                + ("" if self.forked or self.process.exitcode != 1 else f" {UNGUARDED}")
            ) from None
        if error is not None:
            raise error
        return answer


@contextmanager
def _no_warning_of_our_threads() -> Iterator[None]:
    """From 3.12 on Python warns of a fork in a process that has threads. Those of the pool wait for work, hold no
    lock, and are replaced in the child; with threads of others the warning is right, and is left.
    """
    if threading.active_count() - 1 > thread_pool.helpers():
        yield
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*use of fork.* may lead to deadlocks", DeprecationWarning)
        yield


def check_main() -> None:
    """Raise UsageError in a process that is just importing the main module of the program that started it."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # how multiprocessing itself knows
        raise UsageError(
            f"This process was started to be a worker, and cannot start workers yet. {UNGUARDED}"
        )


@contextmanager
def start(
    context: BaseContext, work: Callable[..., None], tasks: Sequence[tuple[Any, ...]]
) -> Iterator[list[Child]]:
    """Processes that do `work(connection, *task)`; ended at once if anything goes wrong here."""
    check_main()
    forked = context.get_start_method() == "fork"
    children: list[Child] = []
    try:
        for task in tasks:
            here, there = context.Pipe()
            process = context.Process(target=_run, args=(there, work, task), daemon=True)  # type: ignore[attr-defined]
            with _no_warning_of_our_threads():
                process.start()
            there.close()
            children.append(Child(process, here, forked))
        yield children
    except BaseException:
        for child in children:
            child.process.terminate()
        raise
    finally:
        for child in children:
            child.connection.close()
            child.process.join()
            child.process.close()


def _run(connection: Connection, work: Callable[..., None], task: tuple[Any, ...]) -> None:
    thread_pool.enter()
    try:
        work(connection, *task)
    except BrokenPipeError:
        return  # the parent is gone, or wants no more
    except BaseException as error:  # noqa: BLE001 - raised again in the parent, whatever it is
        connection.send((_portable(error), None))


def _portable(error: BaseException) -> BaseException:
    """The error with its traceback as a note; in words, if it does not pickle."""
    import pickle

    text = "".join(traceback.format_exception(error))
    try:
        copy: BaseException = pickle.loads(pickle.dumps(error))  # noqa: S301 - made in the same line
    except Exception:  # noqa: BLE001 - pickling runs the exception's own code
        copy = RuntimeError(f"{type(error).__name__}: {error}")
    copy.add_note(f"Raised in process {multiprocessing.current_process().name}:\n{text}")
    return copy
