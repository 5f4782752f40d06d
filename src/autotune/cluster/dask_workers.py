"""Workers of a Dask scheduler, and the task that they run."""

import asyncio
import json
import platform
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from itertools import count
from threading import Event
from typing import Any
from uuid import uuid4

from autotune.cluster.cluster_plan import NodeTask
from autotune.errors import BadSettings, EnvironmentProblem, MissingPackage
from autotune.host.numeric_libraries import series

CONNECT_SECONDS = 20.0
ANSWER_SECONDS = 20.0
"""Time limit for the introduction of a new worker."""
PREFIX = "autotune-"
"""Prefix of the keys of autotune's tasks: Dask's dashboard shows it, and clients recognise each other's tasks by it."""
INTRODUCTION = f"{PREFIX}{NodeTask.INTRODUCE}-"

Answer = dict[str, Any]


class SchedulerLost(EnvironmentProblem):
    """The scheduler does not answer any more."""


class DaskWorkers:
    """Workers that carry out orders, over a Dask client. Not for use by several threads.

    An order that was cancelled gets no answer; that of a dead worker may.
    """

    def __init__(self, client: Any) -> None:
        """`client` is a distributed.Client."""
        self._client = client
        self._task = worker_task()
        self._numbers = count()
        self._futures: dict[int, Any] = {}
        self._rejected: dict[int, Answer] = {}
        self._answered = Event()

    def addresses(self) -> list[str]:
        with _scheduler_calls():
            return list(self._client.nthreads())

    def occupied_workers(self) -> set[str]:
        """List the workers that run something else, for any client."""
        with _scheduler_calls():
            tasks = self._client.processing()
        own = {future.key for future in self._futures.values()}
        return {
            worker
            for worker, keys in tasks.items()
            if any(key not in own and not str(key).startswith(INTRODUCTION) for key in keys)
        }

    def send(self, worker: str, order: str, name: str) -> int:
        """Send an order to one worker; return the ticket of its answer."""
        ticket = next(self._numbers)
        problem = self._python_problem(worker) if name == NodeTask.INTRODUCE else None
        if problem is not None:
            self._rejected[ticket] = {"problem": problem, "kind": "absent"}
            return ticket
        with _scheduler_calls():
            future = self._client.submit(
                self._task,
                order,
                key=f"{PREFIX}{name}-{uuid4().hex}",
                workers=[worker],
                allow_other_workers=False,
                pure=False,
                retries=0,
            )
        future.add_done_callback(lambda _: self._answered.set())
        self._futures[ticket] = future
        return ticket

    def answers(self) -> Iterator[tuple[int, Answer]]:
        """Yield the answers since the last call with their tickets, each once."""
        for ticket in list(self._rejected):
            yield ticket, self._rejected.pop(ticket)
        for ticket, future in list(self._futures.items()):
            if future.done():
                del self._futures[ticket]
                yield ticket, _answer(future)

    def cancel(self, ticket: int) -> None:
        """Cancel an order; its process ends within two seconds."""
        future = self._futures.pop(ticket, None)
        if future is not None:
            with suppress(Exception):  # the scheduler may be gone: nothing is lost
                future.cancel()

    def wait(self, seconds: float) -> None:
        self._answered.wait(seconds)
        self._answered.clear()

    def _python_problem(self, worker: str) -> str | None:
        """Say why code cannot be sent to a worker: another Python version has other bytecode.

        Only this worker is asked: Client.get_versions waits for all of them, and so for one that hangs.
        """
        scheduler = self._client.scheduler
        with _scheduler_calls():
            answers = {"at the scheduler": self._client.sync(scheduler.versions, packages=[])}
            try:
                broadcast = self._client.sync(
                    scheduler.broadcast,
                    msg={"op": "versions", "packages": []},
                    workers=[worker],
                    on_error="ignore",
                    callback_timeout=ANSWER_SECONDS,
                )
            except TimeoutError:
                return f"It did not answer within {ANSWER_SECONDS:.0f} s."
        here = series(platform.python_version())
        for where, answer in (answers | {"there": broadcast.get(worker)}).items():
            there = series(answer["host"]["python"]) if answer else here
            if there != here:
                return f"Python is {there} {where} and {here} here; it must be the same."
        return None


@contextmanager
def connect(address: str) -> Iterator[DaskWorkers]:
    """Connect to the scheduler at an address such as tcp://host:8786, for the time of the context.

    For tls:// the certificates are those of Dask's configuration. Raises MissingPackage without Dask, BadSettings for
    a malformed address, EnvironmentProblem if no scheduler answers there.
    """
    try:
        import distributed
    except ImportError:
        raise MissingPackage("distributed", "share") from None
    dask: Any = distributed  # has no types
    try:
        # a Client that cannot connect cannot be closed, and Dask's own finalizer for it may hold up the next one
        asyncio.run(_try_connection(dask, address))
        client = dask.Client(address, timeout=CONNECT_SECONDS, set_as_default=False, name="autotune")
    except (OSError, TimeoutError) as problem:
        raise EnvironmentProblem(
            f"No Dask scheduler answers at {address} ({_first_line(problem)}). "
            "`dask scheduler` prints its address when it starts."
        ) from problem
    except (ValueError, TypeError, ImportError) as problem:
        raise BadSettings(f"The scheduler's address {address!r}: {_first_line(problem)}.") from problem
    try:
        yield DaskWorkers(client)
    finally:
        with suppress(Exception):  # closing fails if the scheduler is gone
            client.close(timeout=5)


async def _try_connection(dask: Any, address: str) -> None:
    security = dask.Security().get_connection_args("client")
    comm = await dask.comm.connect(address, timeout=CONNECT_SECONDS, **security)
    await comm.close()


@contextmanager
def _scheduler_calls() -> Iterator[None]:
    try:
        yield
    except (OSError, TimeoutError, CancelledError, RuntimeError) as problem:
        raise SchedulerLost(f"The scheduler does not answer any more ({_first_line(problem)}).") from problem


def _answer(future: Any) -> Answer:
    from distributed.scheduler import KilledWorker

    if future.status != "finished":
        problem = None if future.cancelled() else future.exception(timeout=5)
        lost = problem is None or isinstance(problem, KilledWorker)
        return {"problem": f"{type(problem).__name__}: {problem}", "kind": "lost" if lost else "other"}
    try:
        answer = json.loads(future.result(timeout=30))
    except (OSError, TimeoutError, CancelledError):  # its worker died before it handed the result over
        return {"problem": "The result was lost in transfer.", "kind": "lost"}
    except ValueError:
        answer = None
    if not isinstance(answer, dict):  # a workload may have printed after the answer
        return {"problem": "The answer is not a JSON object.", "kind": "other"}
    return answer


def _first_line(problem: BaseException) -> str:
    return str(problem).partition("\n")[0].rstrip(".") or type(problem).__name__


def worker_task() -> Callable[[str], str]:
    """Return the function to send to workers, which starts the node's process and ends it in time.

    cloudpickle sends by value what is defined inside a function. It imports the standard library only at first:
    scheduler and worker need no autotune to receive it, and a worker without autotune answers with a sentence.
    """

    def run_order(order: str) -> str:
        """Carry out an order in a process of its own; return the answer as JSON text.

        The process and its trials are ended if the task is cancelled, as it is when the client goes away, and if this
        worker dies. Scope of effect: one process, started without the thread and allocator variables that a nanny sets.
        """
        import json  # names outside of this function are not sent with it
        import os
        import sys
        import tempfile

        from distributed import get_worker

        try:
            from autotune.controls.supervise import Supervised
            from autotune.controls.thread_variables import scrub
        except ImportError as problem:
            return json.dumps({"problem": f"autotune is not installed there ({problem}).", "kind": "absent"})
        worker = get_worker()
        task = worker.get_current_task()

        def is_wanted() -> bool:
            state = worker.state.tasks.get(task)
            dropped = state is None or state.state in {"cancelled", "released", "forgotten"}
            return not dropped and worker.status.name not in {"closing", "closed", "failed"}

        command = [sys.executable, "-P", "-m", "autotune.cluster.node"]
        with tempfile.TemporaryFile() as orders, tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            orders.write(order.encode())
            orders.seek(0)
            environ = scrub(os.environ)[0]
            with Supervised(command, stdin=orders, stdout=output, stderr=errors, env=environ) as node:
                while (ending := node.wait(0.2)) is None and is_wanted():
                    pass
            output.seek(0)
            answer = output.read().decode(errors="replace").strip().rpartition("\n")[2]
            if answer:
                return answer
            errors.seek(0)
            words = errors.read().decode(errors="replace").strip().rpartition("\n")[2]
            status = "none" if ending is None else ending.status
            reason = f"The process that measures ended with status {status}: {words or 'no message'}"
            return json.dumps({"problem": reason, "kind": "other"})

    return run_order
