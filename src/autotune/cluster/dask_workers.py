"""The workers of a Dask scheduler, as a calibration of the cluster sees them. All that knows Dask is here."""

import asyncio
import json
import platform
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from itertools import count
from threading import Event
from typing import Any
from uuid import uuid4

from autotune.cluster.calibrate_cluster import Answer, Gone
from autotune.cluster.worker_task import visitor
from autotune.errors import BadSettings, EnvironmentProblem, MissingPackage
from autotune.host.numeric_libraries import series

CONNECT_SECONDS = 20.0
ANSWER_SECONDS = 20.0
"""For a worker that has come to say what its Python is."""
PREFIX = "autotune-"
"""Of our tasks' keys: Dask's dashboard shows them by it, and two clients know each other's by it."""
INTRODUCTION = f"{PREFIX}introduce-"


class DaskCrew:
    """A Crew of Dask workers. Not for use by several threads."""

    def __init__(self, client: Any) -> None:
        """`client` is a distributed.Client."""
        self._client = client
        self._visit = visitor()
        self._numbers = count()
        self._futures: dict[int, Any] = {}
        self._refused: dict[int, Answer] = {}
        self._happened = Event()

    def workers(self) -> list[str]:
        """Addresses of the workers that the scheduler has."""
        with _reaching():
            return list(self._client.nthreads())

    def occupied(self) -> set[str]:
        """Workers that do something else, for whomever."""
        with _reaching():
            tasks = self._client.processing()
        mine = {future.key for future in self._futures.values()}
        return {
            worker
            for worker, keys in tasks.items()
            if any(key not in mine and not str(key).startswith(INTRODUCTION) for key in keys)
        }

    def send(self, worker: str, order: str, name: str) -> int:
        """Have one worker follow an order."""
        ticket = next(self._numbers)
        problem = self._other_python(worker) if name == "introduce" else None
        if problem is not None:
            self._refused[ticket] = {"problem": problem, "kind": "absent"}
            return ticket
        with _reaching():
            future = self._client.submit(
                self._visit,
                order,
                key=f"{PREFIX}{name}-{uuid4().hex}",
                workers=[worker],
                allow_other_workers=False,
                pure=False,
                retries=0,
            )
        future.add_done_callback(lambda _: self._happened.set())
        self._futures[ticket] = future
        return ticket

    def answers(self) -> Iterator[tuple[int, Answer]]:
        """What came back since."""
        for ticket in list(self._refused):
            yield ticket, self._refused.pop(ticket)
        for ticket, future in list(self._futures.items()):
            if future.done():
                del self._futures[ticket]
                yield ticket, _answer(future)

    def recall(self, ticket: int) -> None:
        """Take an order back; the process that follows it ends within a second or two."""
        future = self._futures.pop(ticket, None)
        if future is not None:
            with suppress(Exception):  # whatever is wrong with a scheduler that may be gone: nothing is lost
                future.cancel()

    def wait(self, seconds: float) -> None:
        """Until something came back, or so long."""
        self._happened.wait(seconds)
        self._happened.clear()

    def _other_python(self, worker: str) -> str | None:
        """Why code cannot be sent to a worker: another Python has other bytecode.

        Only this worker is asked: Client.get_versions waits for all of them, and so for one that hangs.
        """
        scheduler, asked = self._client.scheduler, {"op": "versions", "packages": []}
        with _reaching():
            told = {"at the scheduler": self._client.sync(scheduler.versions, packages=[])}
            try:
                found = self._client.sync(
                    scheduler.broadcast,
                    msg=asked,
                    workers=[worker],
                    on_error="ignore",
                    callback_timeout=ANSWER_SECONDS,
                )
            except TimeoutError:
                return f"It did not answer within {ANSWER_SECONDS:.0f} s."
        ours = series(platform.python_version())
        for where, known in (told | {"there": found.get(worker)}).items():
            theirs = series(known["host"]["python"]) if known else ours
            if theirs != ours:
                return f"Python is {theirs} {where} and {ours} here; it must be the same."
        return None


@contextmanager
def crew(address: str) -> Iterator[DaskCrew]:
    """The workers of the scheduler at this address, such as tcp://host:8786.

    For tls:// the certificates are those of Dask's configuration. Raises MissingPackage without Dask, BadSettings
    for what is no address, EnvironmentProblem if nobody answers there.
    """
    try:
        import distributed
    except ImportError:
        raise MissingPackage("distributed", "share") from None
    dask: Any = distributed  # without types of its own
    try:
        # a Client that found nobody cannot be closed, and Dask's own finalizer for it may hold up the next one
        asyncio.run(_knock(dask, address))
        client = dask.Client(address, timeout=CONNECT_SECONDS, set_as_default=False, name="autotune")
    except (OSError, TimeoutError) as problem:
        raise EnvironmentProblem(
            f"No Dask scheduler answers at {address} ({_first_line(problem)}). "
            "`dask scheduler` prints its address when it starts."
        ) from problem
    except (ValueError, TypeError, ImportError) as problem:
        raise BadSettings(f"--scheduler {address!r}: {_first_line(problem)}.") from problem
    try:
        yield DaskCrew(client)
    finally:
        with suppress(Exception):  # a scheduler that is gone cannot be taken leave of
            client.close(timeout=5)


async def _knock(dask: Any, address: str) -> None:
    security = dask.Security().get_connection_args("client")
    comm = await dask.comm.connect(address, timeout=CONNECT_SECONDS, **security)
    await comm.close()


@contextmanager
def _reaching() -> Iterator[None]:
    try:
        yield
    except (OSError, TimeoutError, CancelledError, RuntimeError) as problem:
        raise Gone(f"The scheduler does not answer any more ({_first_line(problem)}).") from problem


def _answer(future: Any) -> Answer:
    from distributed.scheduler import KilledWorker

    if future.status != "finished":
        problem = None if future.cancelled() else future.exception(timeout=5)
        lost = problem is None or isinstance(problem, KilledWorker)
        return {"problem": f"{type(problem).__name__}: {problem}", "kind": "lost" if lost else "other"}
    try:
        answer = json.loads(future.result(timeout=30))
    except (OSError, TimeoutError, CancelledError):  # its worker died before it handed the result over
        return {"problem": "It was lost on its way.", "kind": "lost"}
    except ValueError:
        answer = None
    if not isinstance(answer, dict):  # what measures may have let something else have the last word
        return {"problem": "It cannot be understood.", "kind": "other"}
    return answer


def _first_line(problem: BaseException) -> str:
    return str(problem).partition("\n")[0].rstrip(".") or type(problem).__name__
