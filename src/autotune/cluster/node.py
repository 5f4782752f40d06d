"""The process that measures on a node, `python -P -m autotune.cluster.node`, and the orders that it carries out.

Reads one order from stdin and answers with one JSON object on stdout. It is a process of its own, so that no thread of
a Dask worker runs in it and its libraries have read nothing that Dask set. Its worker supervises it: a worker that
dies, or a client that goes away, ends it and its trials.
"""

import json
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from time import monotonic
from typing import Any

from autotune._version import __version__
from autotune.bench.selftest import SelfTest
from autotune.cluster.cluster_plan import NodeTask
from autotune.errors import AutotuneError, BadDocument, BadWorkload, HostBusy, ProfileError, UsageError
from autotune.host.cpu_variables import PROCESSES
from autotune.host.numeric_libraries import series
from autotune.model.codec import decode, encode
from autotune.model.profile import Profile
from autotune.profiles.profile_document import ProfileDocument, encode_profile
from autotune.search.request import Request

Answer = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A task for a node."""

    task: NodeTask
    request: Request
    self_test: SelfTest | None = None
    choices: ProfileDocument | None = None
    """Choices of another host to confirm."""
    relatives: tuple[ProfileDocument, ...] = ()


def encode_order(order: Order) -> str:
    return json.dumps(encode(order))


def decode_order(text: str) -> Order:
    """Decode the text of `encode_order`. Raises BadDocument for any other text."""
    try:
        return decode(Order, json.loads(text))
    except (ValueError, RecursionError, ProfileError) as problem:
        raise BadDocument(f"it is no order of a client of this version: {problem}.", "the order") from problem


def versions() -> dict[str, str]:
    """Return the versions that client and nodes must share."""
    return {"autotune": __version__, "Python": series(platform.python_version())}


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
    from autotune.search.runner import foresee

    own = order.request.workload
    file = own.source.rpartition(":")[0] if own is not None else ""
    if file.endswith(".py") and not os.path.isfile(file):  # noqa: PTH113  # a name from another machine
        raise BadWorkload(f"There is no file {file} on this node: a workload must be where all nodes see it.")
    key, plan = foresee(order.request)
    seconds = [
        0.0 if item.kind.family is Family.USER else sum(seconds_of(item.kind, each) for each in item.operations)
        for item in plan.items
    ]
    return {
        "host": host_id(),
        "profile": encode_profile(Profile(key=key)),
        "units": [
            {"name": item.kind.name, "dtype": item.dtype, "seconds": each if isfinite(each) else 0.0}
            for item, each in zip(plan.items, seconds, strict=True)
        ],
    }


def _examine(order: Order) -> Answer:
    from autotune.search.events import ignore
    from autotune.search.runner import examine

    return {"self_test": encode(examine(order.request, report=ignore))}


def _search(order: Order) -> Answer:
    from autotune.search.events import ignore
    from autotune.search.runner import calibrate_machine

    outcome = calibrate_machine(order.request, report=ignore, relatives=order.relatives, self_test=order.self_test)
    if not outcome.finished:
        raise KeyboardInterrupt
    return {"profile": encode_profile(outcome.profile)}


def _confirm(order: Order) -> Answer:
    from autotune.search.runner import confirm_choices

    assert order.choices is not None
    assert order.self_test is not None
    profile = confirm_choices(order.request, order.choices.entries, self_test=order.self_test)
    return {"profile": encode_profile(profile)}


def main() -> None:
    """Carry out the order on stdin."""
    began = monotonic()
    try:
        answer = carry_out(decode_order(sys.stdin.read()))
    except AutotuneError as problem:
        kind = "busy" if isinstance(problem, HostBusy) else "usage" if isinstance(problem, UsageError) else "other"
        answer = {"problem": str(problem), "kind": kind}
    sys.stdout.write(json.dumps({**answer, "seconds": monotonic() - began, "versions": versions()}) + "\n")


if __name__ == "__main__":
    main()
