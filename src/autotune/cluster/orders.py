"""Orders to nodes and their answers, as JSON text."""

import json
import platform
from dataclasses import dataclass
from typing import Annotated

from autotune._version import __version__
from autotune.bench.selftest import SelfTest
from autotune.cluster.cluster_plan import NodeTask
from autotune.errors import BadDocument, ProfileError
from autotune.host.numeric_libraries import series
from autotune.model.codec import decode, encode
from autotune.model.constraints import Parsed
from autotune.model.profile import Profile
from autotune.profiles.profile_document import decode_profile, encode_profile
from autotune.search.request import Request

ProfileDocument = Annotated[Profile, Parsed(decode_profile, "a profile", format=encode_profile)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A task for a node."""

    task: NodeTask
    request: Request
    self_test: SelfTest | None = None
    """The self-test of the host."""
    choices: ProfileDocument | None = None
    """Choices of another host to confirm."""
    relatives: tuple[ProfileDocument, ...] = ()
    """Profiles of similar machines."""


def encode_order(order: Order) -> str:
    """Encode an order as one line of text."""
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
