"""Choices that programs of this user learned while they ran: one small file, from which calibrations start.

They are suggestions. A profile gets one only after confirmation in fresh processes, like anything else that is tried.
"""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from autotune.errors import AutotuneError

if TYPE_CHECKING:
    from pathlib import Path

    from autotune.model.profile import Profile

FORMAT = 1
MOST_CHOICES = 500
"""Choices that are kept, the latest ones."""
MOST_BYTES = 2**18


def path() -> "Path":
    """Return the file of this host."""
    from autotune.host.identity import short_host_id
    from autotune.profiles.folders import state_dir

    return state_dir() / f"learned-{short_host_id()}.json"


def add(rows: Sequence[Mapping[str, Any]], *, usable_cpus: int) -> None:
    """Keep choices, each with `operation`, `dtype`, `sizes` and `choice`; nothing follows if that cannot be done.

    Two programs that end at the same moment may lose the choices of one.
    """
    from autotune.host.trusted_files import replace_file

    if not rows:
        return
    kept = {_question(row): row for row in _rows()}
    for row in rows:
        kept.pop(_question(row), None)
        kept[_question(row)] = {**row, "cpus": usable_cpus}
    document = {"format": FORMAT, "choices": list(kept.values())[-MOST_CHOICES:]}
    with suppress(OSError):
        file = path()
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(file, json.dumps(document).encode(), 0o600, durable=False)


def read() -> "list[Profile]":
    """Return the choices as profiles, one for each number of CPUs; what is not valid is left out."""
    from autotune.model.entry import Entry, Status
    from autotune.model.profile import Key, Profile

    entries: dict[int, list[Entry]] = {}
    for row in _rows():
        operation, choice, cpus = _operation(row), _configuration(row), row.get("cpus")
        if operation is not None and choice is not None and type(cpus) is int and 1 <= cpus <= 2**20:
            reason = "A program learned it while it ran."
            entry = Entry(operation=operation, status=Status.TUNED, reason=reason, choice=choice)
            entries.setdefault(cpus, []).append(entry)
    return [Profile(key=Key(usable_cpus=cpus), entries=tuple(group)) for cpus, group in entries.items()]


def _rows() -> list[dict[str, Any]]:
    from autotune.host.trusted_files import FileRule, read_file

    try:
        document = json.loads(read_file(os.fspath(path()), FileRule(MOST_BYTES)).data)
    except (AutotuneError, OSError, ValueError, RecursionError):
        return []
    rows = (
        document.get("choices") if isinstance(document, dict) and document.get("format") == FORMAT else None
    )
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _question(row: Mapping[str, Any]) -> str:
    return json.dumps([row.get("operation"), row.get("dtype"), row.get("sizes")], sort_keys=True)


def _operation(row: Mapping[str, Any]) -> Any:
    from autotune.model.catalogue import CATALOGUE, operation

    name, dtype, sizes = row.get("operation"), row.get("dtype"), row.get("sizes")
    if not isinstance(name, str) or name not in CATALOGUE or not isinstance(sizes, dict):
        return None
    try:
        return operation(name, dtype=str(dtype), **sizes)
    except (AutotuneError, TypeError):
        return None


def _configuration(row: Mapping[str, Any]) -> Any:
    from autotune.model.configuration import configuration

    choice = row.get("choice")
    try:
        return configuration(choice) if isinstance(choice, dict) and choice else None
    except (ValueError, TypeError):
        return None
