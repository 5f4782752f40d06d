"""The report of a process below `autotune run`: what was in force in it, for `autotune compare`."""

import json
import os
from contextlib import suppress
from time import monotonic_ns
from typing import Any

from autotune.host.trusted_files import replace_file
from autotune.runtime.process_state import state


def write_report(folder: str) -> None:
    """Write one JSON file about this process into a folder; whatever fails, the program ends as it would."""
    with suppress(Exception):
        # pathlib takes 4 ms to load
        path = os.path.join(folder, f"{os.getpid()}-{monotonic_ns()}.json")  # noqa: PTH118
        replace_file(path, json.dumps(_report()).encode(), 0o600, durable=False)


def _report() -> dict[str, Any]:
    per_call = state.per_call
    calls, tuned = (0, 0) if per_call is None else per_call.counts()
    loops = None if per_call is None else per_call.loops_cut()
    return {
        "calls": calls,
        "tuned": tuned,
        "loops": loops or 0,
        "blas_threads": state.setting.blas_threads,
        "reason": state.setting.reason,
        "per_call": "" if per_call is None else per_call.reason(),
    }
