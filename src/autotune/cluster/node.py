"""What a node does for a calibration of its cluster: `python -P -m autotune.cluster.node`.

Reads one order as a line from stdin and answers with one JSON object on stdout. The end of stdin ends it, with all
that it measures: that is how a worker that died, or a client that went away, takes its trials along. It is a process
of its own, so that no thread of a Dask worker runs in it and nothing that Dask set has been read by its libraries.
"""

import json
import os
import sys
import threading
from _thread import interrupt_main
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from math import isfinite
from time import monotonic
from typing import Any

from autotune.cluster.messages import Order, loads, versions
from autotune.cluster.plan import Errand
from autotune.errors import AutotuneError, BadWorkload, HostBusy, UsageError
from autotune.host.shares import PROCESSES

Answer = dict[str, Any]


def answer(order: Order) -> Answer:
    """What comes of an order. Raises what a campaign raises."""
    if order.request.copies > 1:
        os.environ[PROCESSES] = str(order.request.copies)  # the profile is for one of them
    errands: dict[Errand | None, Callable[[Order], Answer]] = {
        None: _introduced,
        Errand.EXAMINE: _examined,
        Errand.SEARCH: _searched,
        Errand.CONFIRM: _confirmed,
    }
    return errands[order.errand](order)


def _introduced(order: Order) -> Answer:
    from autotune.bench.ladder import seconds_of
    from autotune.host.identity import host_id
    from autotune.model.catalogue import Family
    from autotune.model.profile import Profile
    from autotune.profiles.schema import document_of
    from autotune.search.runner import foresee

    own = order.request.workload
    file = own.source.rpartition(":")[0] if own is not None else ""
    if file.endswith(".py") and not os.path.isfile(file):  # noqa: PTH113  # a name that came from elsewhere
        raise BadWorkload(f"There is no file {file} on this node: a workload must be where all nodes see it.")
    key, plan = foresee(order.request)
    seconds = [
        0.0 if item.kind.family is Family.USER else sum(seconds_of(item.kind, one) for one in item.operations)
        for item in plan.items
    ]
    return {
        "host": host_id(),
        "profile": document_of(Profile(key=key)),
        "units": [
            {"name": item.kind.name, "dtype": item.dtype, "seconds": one if isfinite(one) else 0.0}
            for item, one in zip(plan.items, seconds, strict=True)
        ],
    }


def _examined(order: Order) -> Answer:
    from autotune.search.events import ignore
    from autotune.search.runner import examine

    return {"self_test": asdict(examine(order.request, report=ignore))}


def _searched(order: Order) -> Answer:
    from autotune.search.events import ignore
    from autotune.search.runner import calibrate_machine

    outcome = calibrate_machine(
        order.request, report=ignore, relatives=order.relatives, self_test=order.self_test
    )
    if not outcome.finished:
        raise KeyboardInterrupt
    return _said(outcome.profile)


def _confirmed(order: Order) -> Answer:
    from autotune.search.runner import confirm_choices

    assert order.choices is not None
    assert order.self_test is not None
    return _said(confirm_choices(order.request, order.choices.entries, self_test=order.self_test))


def _said(profile: Any) -> Answer:
    from autotune.profiles.schema import document_of

    return {"profile": document_of(profile)}


def _problem(problem: AutotuneError) -> Answer:
    kind = (
        "busy" if isinstance(problem, HostBusy) else "usage" if isinstance(problem, UsageError) else "other"
    )
    return {"problem": str(problem), "kind": kind}


def _watch() -> None:
    """Interrupt whatever runs once stdin has ended."""
    with suppress(OSError):
        while os.read(0, 4096):
            pass
    interrupt_main()


def main() -> None:
    """Do one errand."""
    began = monotonic()
    text = b""
    while not text.endswith(b"\n"):  # by hand: a buffered reader would hide the end of stdin from the watch
        read = os.read(0, 1 << 16)
        if not read:
            return
        text += read
    try:
        threading.Thread(target=_watch, name="lifeline", daemon=True).start()
        said = answer(loads(text.decode()))
    except AutotuneError as problem:
        said = _problem(problem)
    except KeyboardInterrupt:  # stdin may have ended before the thread was reported to have begun
        return
    sys.stdout.write(json.dumps({**said, "seconds": monotonic() - began, "versions": versions()}) + "\n")


if __name__ == "__main__":
    main()
