"""Files that a process leaves at its end."""

import os
from contextlib import suppress
from time import monotonic_ns
from typing import TYPE_CHECKING

from autotune.host.trusted_files import replace_file
from autotune.runtime.naming import operation_of
from autotune.runtime.process_state import state

if TYPE_CHECKING:
    from autotune.model.configuration import Configuration
    from autotune.model.operation import Operation
    from autotune.runtime.demand import Demand


def write_demand() -> None:
    """Leave the counts of this process, and what it dropped and learned, for the daemon."""
    from autotune.runtime.demand import Demand, leave

    demand = state.process_demand or Demand()
    if state.learned:
        _leave_learned(demand)
    leave(demand, state.dropped)
    state.dropped.clear()


def _leave_learned(demand: "Demand") -> None:
    """Leave the choices that were learned for calibrations to start from, and ask the daemon for such a one."""
    from autotune.host.usable_cpus import usable_cpus
    from autotune.profiles import learned_choices

    choices: dict[Operation, Configuration] = {}
    for learned in state.learned:
        operation = operation_of(learned)
        if operation is not None:
            choices[operation] = learned.configuration
            demand.add(operation, learned.pairs)
    learned_choices.add(choices, usable_cpus=usable_cpus()[0])
    state.learned.clear()


def write_report(folder: str) -> None:
    """Write what was in force as one JSON file into a folder; whatever fails, the program ends as it would."""
    with suppress(Exception):
        import json

        per_call = state.per_call
        calls, tuned = (0, 0) if per_call is None else per_call.counts()
        report = {
            "calls": calls,
            "tuned": tuned,
            "loops": (per_call and per_call.loops_cut()) or 0,
            "blas_threads": state.setting.blas_threads,
            "reason": state.setting.reason,
            "per_call": "" if per_call is None else per_call.reason(),
        }
        # pathlib takes 4 ms to load
        path = os.path.join(folder, f"{os.getpid()}-{monotonic_ns()}.json")  # noqa: PTH118
        replace_file(path, json.dumps(report).encode(), 0o600, durable=False)
