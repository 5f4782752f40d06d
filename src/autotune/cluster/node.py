"""The process that measures on a node: `python -P -m autotune.cluster.node`.

Reads one order from stdin and answers with one JSON object on stdout. It is a process of its own, so that no thread of
a Dask worker runs in it and its libraries have read nothing that Dask set. Its worker supervises it: a worker that
dies, or a client that goes away, ends it and its trials.
"""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from math import isfinite
from time import monotonic
from typing import Any

from autotune.cluster.orders import Order, decode_order, versions
from autotune.cluster.plan import NodeTask
from autotune.errors import AutotuneError, BadWorkload, HostBusy, UsageError
from autotune.host.shares import PROCESSES
from autotune.model.profile import Profile
from autotune.profiles.schema import document_of

Answer = dict[str, Any]


def carry_out(order: Order) -> Answer:
    """Carry out an order. Raises what a calibration raises."""
    if order.request.copies > 1:
        os.environ[PROCESSES] = str(order.request.copies)  # the profile is for one of them
    tasks: dict[NodeTask, Callable[[Order], Answer]] = {
        NodeTask.INTRODUCE: _introduce,
        NodeTask.EXAMINE: _examine,
        NodeTask.SEARCH: _search,
        NodeTask.CONFIRM: _confirm,
    }
    return tasks[order.task](order)


def _introduce(order: Order) -> Answer:
    from autotune.bench.ladder import seconds_of
    from autotune.host.identity import host_id
    from autotune.model.catalogue import Family
    from autotune.search.calibration import foresee

    file = order.own.source.rpartition(":")[0] if order.own is not None else ""
    if file.endswith(".py") and not os.path.isfile(file):  # noqa: PTH113  # a name from another machine
        raise BadWorkload(f"There is no file {file} on this node: a workload must be where all nodes see it.")
    key, items = foresee(order.request, order.own)
    seconds = [
        0.0
        if item.kind.family is Family.USER
        else sum(seconds_of(item.kind, each) for each in item.operations)
        for item in items
    ]
    return {
        "host": host_id(),
        "profile": document_of(Profile(key=key)),
        "units": [
            {"name": item.kind.name, "dtype": item.dtype, "seconds": each if isfinite(each) else 0.0}
            for item, each in zip(items, seconds, strict=True)
        ],
    }


def _examine(order: Order) -> Answer:
    from autotune.search.calibration import examine

    return {"tested": examine(order.request, report=_ignore)}


def _search(order: Order) -> Answer:
    from autotune.search.calibration import campaign

    outcome = campaign(
        order.request,
        report=_ignore,
        own=order.own,
        asked={"cluster": asdict(replace(order.request, workload=None))},
        relatives=order.relatives,
        tested=order.tested,
    )
    if not outcome.finished:
        raise KeyboardInterrupt
    return {"profile": document_of(outcome.profile)}


def _confirm(order: Order) -> Answer:
    from autotune.search.calibration import second

    assert order.choices is not None
    assert order.tested is not None
    profile = second(order.request, order.choices.entries, tested=order.tested, own=order.own)
    return {"profile": document_of(profile)}


def _ignore(event: object) -> None:
    """Send nothing while timings run."""


def _problem(problem: AutotuneError) -> Answer:
    kind = (
        "busy" if isinstance(problem, HostBusy) else "usage" if isinstance(problem, UsageError) else "other"
    )
    return {"problem": str(problem), "kind": kind}


def main() -> None:
    """Carry out the order on stdin."""
    began = monotonic()
    try:
        answer = carry_out(decode_order(sys.stdin.read()))
    except AutotuneError as problem:
        answer = _problem(problem)
    sys.stdout.write(json.dumps({**answer, "seconds": monotonic() - began, "versions": versions()}) + "\n")


if __name__ == "__main__":
    main()
