"""What a child does with profiles, since the daemon itself loads no NumPy and parses no profile:
`python -P -m autotune.daemon.profile_helper survey | excerpt | adopt ...`. Answers with one JSON object on stdout.

Runs with the interpreter and the environment that it is asked about.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autotune.daemon.inventory import REFUSED
from autotune.errors import AutotuneError
from autotune.model.entry import Entry, Status
from autotune.model.operation import Operation
from autotune.model.profile import Profile

if TYPE_CHECKING:
    from autotune.profiles.lookup import Found

MOST_ENTRIES = 10_000


def main(arguments: list[str]) -> None:
    """Do one errand."""
    errand, *words = arguments
    try:
        answer = _ERRANDS[errand](*words)
    except (AutotuneError, OSError) as problem:
        answer = {"problem": str(problem)}
    sys.stdout.write(json.dumps(answer) + "\n")


def survey(folder: str) -> dict[str, Any]:
    """This interpreter and this allocation: their key, what is known for them, and the files to watch.

    `folder` is where the daemon puts its profiles.
    """
    from autotune.host.numeric_libraries import libraries
    from autotune.host.usable_cpus import usable_cpus
    from autotune.profiles.resolve import here, resolve

    blas = [library.path for library in libraries(load=True) if library.path]
    usable, limit = usable_cpus()
    site = here(usable, limit)
    resolution = resolve()
    used = [_row(found, str(found.entry.status)) for found in resolution.entries()]
    refused = [_row(found, REFUSED) for found in resolution.refused()]
    own = Path(folder) / f"{site.key.slug}.yaml"
    return {
        "key": site.key.digest,
        "host": site.host,
        "facts": _facts(asdict(site.key)),
        "watch": sorted(
            {_numpy(), str(Path(_numpy()).parent), *blas, sys.executable, os.path.realpath(sys.executable)}
        ),
        "profile": str(own),
        "created": _created(own),
        "entries": [*used, *refused][:MOST_ENTRIES],
    }


def excerpt(source: str, target: str, wanted: str) -> dict[str, Any]:
    """Write the part of a profile that is worth timing, as many entries as `wanted` says: those of the operations
    that are `used` most, of each the sizes that are named there first, then those that claim to gain most.
    """
    from autotune.profiles import profile_files

    profile, asked = profile_files.read(Path(source)), json.loads(wanted)
    most, used = asked["most"], asked["used"]

    def rank(entry: Entry) -> tuple[int, int, float]:
        name = _name(entry.operation)
        kin = (place for place, one in enumerate(used) if one[:2] == name[:2])
        return next(kin, len(used)), used.index(name) if name in used else len(used), entry.ratio or 1.0

    tuned = sorted((one for one in profile.entries if one.status is Status.TUNED), key=rank)[:most]
    profile_files.write(replace(profile, entries=tuple(tuned)), Path(target))
    return {"entries": [_name(one.operation) for one in tuned]}


def adopt(source: str, target: str, named: str) -> dict[str, Any]:
    """Join a new profile with the one in force and put the result into its place, at once."""
    from autotune.profiles import profile_files
    from autotune.profiles.entry_merge import join_file

    profile, place = profile_files.read(Path(source)), Path(target)
    together = join_file(profile, place, sizes_named=named == "sizes")
    profile_files.write(together, place)
    statuses = [str(one.status) for one in profile.entries]
    return {"entries": len(together.entries), "new": {each: statuses.count(each) for each in statuses}}


_ERRANDS: Mapping[str, Callable[..., dict[str, Any]]] = {"survey": survey, "excerpt": excerpt, "adopt": adopt}


def _row(found: "Found", status: str) -> list[Any]:
    entry = found.entry
    undecided = entry.reason if entry.undecided else ""
    return [
        *_name(entry.operation),
        *(status, entry.ratio, undecided, str(found.level), found.path, entry.contested),
    ]


def _name(operation: Operation) -> list[Any]:
    return [operation.name, operation.dtype, operation.size]


def _facts(value: Any, name: str = "") -> dict[str, Any]:
    """A nested document as one level of dotted names."""
    if not isinstance(value, dict):
        return {name: value}
    found: dict[str, Any] = {}
    for key, each in value.items():
        found |= _facts(each, f"{name}.{key}" if name else str(key))
    return found


def _numpy() -> str:
    """Its folder; it is loaded by now."""
    return os.path.dirname(str(sys.modules["numpy"].__file__))  # noqa: PTH120


def _created(path: Path) -> str | None:
    from autotune.profiles import profile_files

    try:
        profile: Profile = profile_files.read(path)
    except AutotuneError:
        return None
    return profile.provenance.created


if __name__ == "__main__":
    main(sys.argv[1:])
