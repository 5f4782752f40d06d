"""Work with profiles, in a child process of the daemon: `python -P -m autotune.daemon.profile_helper VERB ...`.

The daemon itself loads no NumPy and parses no profile. The helper runs with the interpreter and the environment that it
is asked about, and answers with one JSON object on stdout.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autotune.daemon.inventory import REFUSED, Inventory, InventoryEntry
from autotune.errors import AutotuneError
from autotune.model.codec import decode, encode
from autotune.model.entry import Entry, Status
from autotune.model.operation import Operation

if TYPE_CHECKING:
    from autotune.profiles.lookup import LookupResult

MAX_ENTRIES = 10_000


def main(arguments: list[str]) -> None:
    verb, *words = arguments
    try:
        answer = _VERBS[verb](*words)
    except (AutotuneError, OSError) as error:
        answer = {"problem": str(error)}
    sys.stdout.write(json.dumps(answer) + "\n")


def inventory(folder: str) -> dict[str, Any]:
    """Return this interpreter's class key, the entries that apply, and the files that tell of a change.

    `folder` is where the daemon writes its profiles.
    """
    from autotune.host.numeric_libraries import libraries
    from autotune.host.usable_cpus import usable_cpus
    from autotune.profiles import profile_files
    from autotune.profiles.entry_merge import own_path
    from autotune.profiles.resolve import resolve, this_site

    blas = [library.path for library in libraries(load=True) if library.path]
    site, resolution = this_site(*usable_cpus()), resolve()
    numpy = os.path.dirname(str(sys.modules["numpy"].__file__))  # noqa: PTH120
    own = Path(folder) / own_path(site.key).name
    try:
        created = profile_files.read(own).provenance.created
    except AutotuneError:
        created = None
    used = [_entry(match, str(match.entry.status)) for match in resolution.entries()]
    refused = [_entry(match, REFUSED) for match in resolution.refused_entries()]
    watched = {numpy, str(Path(numpy).parent), *blas, sys.executable, os.path.realpath(sys.executable)}
    answer: dict[str, Any] = encode(
        Inventory(
            key=site.key.digest,
            host=site.host or "",
            facts=_flatten(asdict(site.key)),
            watched=tuple(sorted(watched)),
            profile=str(own),
            created=created,
            entries=(*used, *refused)[:MAX_ENTRIES],
        )
    )
    return answer


def excerpt(source: str, target: str, wanted: str) -> dict[str, Any]:
    """Write the entries of a profile that are worth timing again, as many as `wanted` says.

    They are those of the operations used most, of each the sizes that are named there first, then those with the
    largest gains.
    """
    from autotune.profiles import profile_files

    profile, document = profile_files.read(Path(source)), json.loads(wanted)
    sizes: tuple[Operation, ...] = decode(tuple[Operation, ...], document["used"])
    used = [(operation.name, operation.dtype) for operation in sizes]

    def rank(entry: Entry) -> tuple[int, int, float]:
        rule, operation = (entry.operation.name, entry.operation.dtype), entry.operation
        return _place(rule, used), _place(operation, sizes), -(entry.evidence.speedup or 1.0)

    tuned = sorted((entry for entry in profile.entries if entry.status is Status.TUNED), key=rank)
    chosen = tuple(tuned[: document["most"]])
    profile_files.write(replace(profile, entries=chosen), Path(target))
    return {"entries": [str(entry.operation) for entry in chosen]}


def adopt(source: str, target: str) -> dict[str, Any]:
    """Add a new profile to the one in force, which is replaced at once."""
    from autotune.profiles import profile_files
    from autotune.profiles.entry_merge import add

    profile = profile_files.read(Path(source))
    written = add(profile, Path(target))
    statuses = [str(entry.status) for entry in profile.entries]
    answer = {"entries": len(written.profile.entries), "new": {status: statuses.count(status) for status in statuses}}
    return answer if written.set_aside is None else {**answer, "set_aside": str(written.set_aside)}


_VERBS: Mapping[str, Callable[..., dict[str, Any]]] = {"inventory": inventory, "excerpt": excerpt, "adopt": adopt}


def _entry(match: "LookupResult", status: str) -> InventoryEntry:
    entry = match.entry
    return InventoryEntry(
        operation=entry.operation,
        status=status,
        speedup=entry.evidence.speedup,
        undecided="" if entry.is_decided else entry.reason,
        level=str(match.level),
        path=match.path,
        contested=entry.evidence.contested,
    )


def _place(value: object, values: Sequence[object]) -> int:
    return values.index(value) if value in values else len(values)


def _flatten(value: Any, name: str = "") -> dict[str, Any]:
    """Turn a nested document into one level of dotted names."""
    if isinstance(value, tuple):
        return {name: ", ".join(map(str, value))}
    if not isinstance(value, dict):
        return {name: value}
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat |= _flatten(item, f"{name}.{key}" if name else str(key))
    return flat


if __name__ == "__main__":
    main(sys.argv[1:])
