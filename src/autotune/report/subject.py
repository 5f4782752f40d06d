"""What a report is about."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from autotune.model.measurement import Session
from autotune.model.profile import Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A profile under the name that it has in its report, with the sessions that it was found in."""

    label: str
    """Different for every subject of a report."""
    profile: Profile
    path: str | None = None
    sessions: tuple[Session, ...] = ()
    """In order; empty where no journal of its calibration is at hand."""


def labels(paths: Sequence[PurePath]) -> tuple[str, ...]:
    """A short name for each file: its own, with as many folders in front as tell it from the others.

    Files that are one and the same are numbered.
    """
    found = [_shortest(path, paths) for path in paths]
    return tuple(
        name if found.count(name) == 1 else f"{name} ({found[: place + 1].count(name)})"
        for place, name in enumerate(found)
    )


def _shortest(path: PurePath, paths: Iterable[PurePath]) -> str:
    others = [other.with_suffix("").parts for other in paths if other != path]
    parts = path.with_suffix("").parts
    for length in range(1, len(parts)):
        if all(other[-length:] != parts[-length:] for other in others):
            return "/".join(parts[-length:])
    return "/".join(parts)
