"""The recording of this process: its calls in a ledger that the C core writes, and a note about the process.

Files in the folder that `autotune advise` names:

    PID-NANOSECONDS.ledger   counts and seconds (native/recorder.h); a forked child begins one of its own
    PID-NANOSECONDS.json     the note: what ran, with which libraries and threads

Nothing is printed, and no error leaves this module: the program runs as it would without a recording.
"""

import json
import os
import sys
from contextlib import suppress
from time import monotonic_ns
from typing import Any

from autotune.host.usable_cpus import BINDINGS, usable_cpus
from autotune.native import core

STOPPED = "stopped"
"""Name of a file in the folder: the recording is over, and processes that start from now on are not recorded."""

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")


def record_from_start(folder: str) -> None:
    """Record this process, whose NumPy has just been loaded, into a folder."""
    # pathlib takes 4 ms to load; a relative folder is none of `autotune advise`
    if not os.path.isabs(folder) or os.path.exists(os.path.join(folder, STOPPED)):  # noqa: PTH110, PTH117, PTH118
        return
    path = os.path.join(folder, f"{os.getpid()}-{monotonic_ns()}")  # noqa: PTH118
    refusals: list[str] = []
    native = _begin(f"{path}.ledger", refusals)
    note = f"{path}.json"
    _write_note(note, native, refusals)
    import atexit

    atexit.register(_end, os.getpid(), note, native, refusals)


def _begin(path: str, refusals: list[str]) -> str | None:
    """Begin the ledger; a sentence if nothing can be recorded."""
    loaded = core()
    if isinstance(loaded, str):
        return loaded
    try:
        loaded.record(path)
        from autotune.intercept.recorded_calls import RecordedCalls

        calls = RecordedCalls(loaded)
        calls.install()
    except OSError as problem:
        where = os.path.dirname(os.path.dirname(path))  # noqa: PTH120
        return f"The recording could not be written in {where}: {problem.strerror or problem}."
    except Exception as problem:  # noqa: BLE001 - the program must run on
        return f"Calls could not be recorded: {problem}."
    refusals.extend(calls.refusals)
    calls.refusals = refusals  # SciPy's come later
    return None


def _end(pid: int, note: str, native: str | None, refusals: list[str]) -> None:
    if pid != os.getpid():
        return  # a forked child has no note of its own
    with suppress(Exception):
        loaded = core()
        if not isinstance(loaded, str):
            loaded.record_ends()
        _write_note(note, native, refusals)


def _write_note(path: str, native: str | None, refusals: list[str]) -> None:
    with suppress(Exception):
        text = json.dumps(_note(native, refusals))
        with open(f"{path}.new", "w", encoding="utf-8") as file:  # noqa: PTH123
            file.write(text)
        os.replace(f"{path}.new", path)  # noqa: PTH105


def _note(native: str | None, refusals: list[str]) -> dict[str, Any]:
    from autotune.host.threadpools import controller

    return {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "words": [word[:200] for word in sys.orig_argv[:20]],
        "native": native,
        "refusals": refusals,
        "usable_cpus": usable_cpus()[0],
        "pools": [
            {"library": pool.get("internal_api"), "kind": pool.get("user_api"), "threads": pool.get("num_threads")}
            for pool in controller().info()
        ],
        "others": [name for name in ("torch", "numba", "numexpr", "jax", "tensorflow") if name in sys.modules],
        "environment": {name: os.environ[name] for name in (*BINDINGS, *_THREAD_VARIABLES) if name in os.environ},
    }
