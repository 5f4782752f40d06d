"""Choices that programs of this user learned while they ran: one small file, from which calibrations start.

They are suggestions. A profile gets one only after confirmation in fresh processes, like anything else that is tried.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

from autotune.errors import AutotuneError
from autotune.model.catalogue import is_measurable
from autotune.model.codec import decode, encode
from autotune.model.configuration import Configuration
from autotune.model.constraints import Count, NonEmpty
from autotune.model.operation import Operation
from autotune.model.record import Record

if TYPE_CHECKING:
    from pathlib import Path

    from autotune.model.profile import Profile

FORMAT = 2
MOST_CHOICES = 500
"""Choices that are kept, the latest ones."""
MOST_BYTES = 2**18


class LearnedChoice(Record, kw_only=True):
    """A choice for an operation, and the CPUs that the program could use."""

    operation: Operation
    choice: Annotated[Configuration, NonEmpty()]
    cpus: Count


def path() -> "Path":
    """Return the file of this host."""
    from autotune.host.identity import short_host_id
    from autotune.profiles.folders import state_dir

    return state_dir() / f"learned-{short_host_id()}.json"


def add(choices: Mapping[Operation, Configuration], *, usable_cpus: int) -> None:
    """Keep choices; nothing follows if that cannot be done.

    Two programs that end at the same moment may lose the choices of one.
    """
    from autotune.host.trusted_files import replace_file

    if not choices:
        return
    kept = {learned.operation: learned for learned in _kept_choices()}
    for operation, choice in choices.items():
        kept.pop(operation, None)
        kept[operation] = LearnedChoice(operation=operation, choice=choice, cpus=usable_cpus)
    rows = [encode(learned) for learned in kept.values()]
    with suppress(OSError):
        file = path()
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        document = {"format": FORMAT, "choices": rows[-MOST_CHOICES:]}
        replace_file(file, json.dumps(document).encode(), 0o600, durable=False)


def read() -> "list[Profile]":
    """Return the choices as profiles, one for each number of CPUs; none of a file that is not valid."""
    from autotune.model.entry import Entry, Status
    from autotune.model.profile import Key, Profile

    reason = "A program learned it while it ran."
    entries: dict[int, list[Entry]] = {}
    for learned in _kept_choices():
        if is_measurable(learned.operation):
            entries.setdefault(learned.cpus, []).append(
                Entry(operation=learned.operation, status=Status.TUNED, reason=reason, choice=learned.choice)
            )
    return [Profile(key=Key(usable_cpus=cpus), entries=tuple(group)) for cpus, group in entries.items()]


def _kept_choices() -> tuple[LearnedChoice, ...]:
    from autotune.host.trusted_files import FileRule, read_file

    try:
        document = json.loads(read_file(os.fspath(path()), FileRule(MOST_BYTES)).data)
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            return ()
        return decode(tuple[LearnedChoice, ...], document.get("choices"))
    except (AutotuneError, OSError, ValueError, RecursionError):
        return ()
