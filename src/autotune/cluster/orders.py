"""Orders to nodes and their answers, as JSON text."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from autotune._version import __version__
from autotune.bench.selftest import SelfTest
from autotune.cluster.cluster_plan import NodeTask, SearchUnit
from autotune.errors import BadDocument, ProfileError
from autotune.host.numeric_libraries import series
from autotune.model.profile import Profile
from autotune.search.request import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A task for a node."""

    task: NodeTask
    request: Request
    self_test: SelfTest | None = None
    """The self-test of the host."""
    choices: Profile | None = None
    """Choices of another host to confirm."""
    relatives: Sequence[Profile] = ()
    """Profiles of similar machines."""


def encode_order(order: Order) -> str:
    """Encode an order as one line of text."""
    from autotune.profiles.profile_document import encode_profile

    plain = {
        "task": order.task,
        "request": order.request.as_dict(),
        "self_test": order.self_test and asdict(order.self_test),
        "choices": order.choices and encode_profile(order.choices),
        "relatives": [encode_profile(profile) for profile in order.relatives],
    }
    return json.dumps(plain)


def decode_order(text: str) -> Order:
    """Decode the text of `encode_order`. Raises BadDocument for any other text."""
    from autotune.profiles.profile_document import decode_profile

    try:
        plain = json.loads(text)
        return Order(
            task=NodeTask(plain["task"]),
            request=Request.from_dict(plain["request"]),
            self_test=plain["self_test"] and SelfTest(**plain["self_test"]),
            choices=plain["choices"] and decode_profile(plain["choices"]),
            relatives=[decode_profile(document) for document in plain["relatives"]],
        )
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError, ProfileError) as problem:
        raise BadDocument(f"it is no order of a client of this version: {problem}.", "the order") from problem


def versions() -> dict[str, str]:
    """The versions that client and nodes must share."""
    return {"autotune": __version__, "Python": series(platform.python_version())}


def decode_units(plain: Sequence[Mapping[str, Any]]) -> tuple[SearchUnit, ...]:
    """Decode the units that a node offers to measure."""
    return tuple(SearchUnit(**unit) for unit in plain)
