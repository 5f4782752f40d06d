"""What a client sends to a node and gets back, as JSON: nothing that runs."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from autotune._version import __version__
from autotune.bench.selftest import SelfTest
from autotune.cluster.plan import Errand, Unit
from autotune.host.numeric_libraries import series
from autotune.model.profile import Profile
from autotune.search.request import Request

INTRODUCE = "introduce"
"""The first errand: who is there, and what could be measured. Measures nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is asked of a node."""

    errand: Errand | None
    """None to introduce itself."""
    request: Request
    self_test: SelfTest | None = None
    choices: Profile | None = None
    """To be confirmed; another host's."""
    relatives: Sequence[Profile] = ()
    """What is known of other machines."""


def dumps(order: Order) -> str:
    """The order as one line of text."""
    from autotune.profiles.schema import document_of

    plain = {
        "errand": order.errand or INTRODUCE,
        "request": order.request.as_dict(),
        "self_test": order.self_test and asdict(order.self_test),
        "choices": order.choices and document_of(order.choices),
        "relatives": [document_of(one) for one in order.relatives],
    }
    return json.dumps(plain)


def loads(text: str) -> Order:
    """The order that `dumps` made this of."""
    from autotune.profiles.schema import profile_of

    plain = json.loads(text)
    return Order(
        errand=None if plain["errand"] == INTRODUCE else Errand(plain["errand"]),
        request=Request.from_dict(plain["request"]),
        self_test=plain["self_test"] and SelfTest(**plain["self_test"]),
        choices=plain["choices"] and profile_of(plain["choices"]),
        relatives=[profile_of(one) for one in plain["relatives"]],
    )


def versions() -> dict[str, str]:
    """What has to be the same on both sides: profiles of two versions of autotune do not mix."""
    return {"autotune": __version__, "Python": series(platform.python_version())}


def units(plain: Sequence[Mapping[str, Any]]) -> tuple[Unit, ...]:
    """What a node says that there is to measure."""
    return tuple(Unit(**one) for one in plain)
