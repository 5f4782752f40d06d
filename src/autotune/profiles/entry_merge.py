"""A new profile together with an old one of the same key, and where the two go."""

from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path

from autotune.errors import ProfileError
from autotune.model.entry import Entry, Status
from autotune.model.operation import Operation
from autotune.model.profile import Profile, Provenance
from autotune.profiles import profile_files


def keep(profile: Profile, path: Path, *, sizes_named: bool = False) -> tuple[Profile, Path, OSError | None]:
    """Write a profile, joined with the one that is there, to this path or to the first refuge that takes it.

    Returns what was written, where, and why it is not at `path`. Raises that OSError if no place takes it.
    """
    failure: OSError | None = None
    for place in chain([path], profile_files.refuges(path)):
        together = join_file(profile, place, sizes_named=sizes_named)
        try:
            profile_files.write(together, place)
        except OSError as problem:
            failure = failure or problem
        else:
            return together, place, failure
    assert failure is not None
    raise failure


def join_file(profile: Profile, path: Path, *, sizes_named: bool = False) -> Profile:
    """The new profile with the entries of the one in a file, if there is one, that it does not replace."""
    with suppress(ProfileError):  # there is none yet
        return joined(profile_files.read(path), profile, sizes_named=sizes_named)
    return profile


def joined(old: Profile, new: Profile, *, sizes_named: bool = False) -> Profile:
    """The new profile with the old one's entries that it does not replace.

    What was measured replaces all old entries of its operation and dtype, whose sizes belong together; with
    sizes that the user named, only the entries of these sizes. What was not reached replaces nothing, and
    what stayed undecided (too noisy to tell, or no time left for the proof) replaces no proof. An old entry
    that stays says itself when it was measured. Of a profile with another key nothing is kept.
    """
    if old.key != new.key:
        return new

    def scope(operation: Operation) -> object:
        return operation if sizes_named else (operation.name, operation.dtype)

    proved = {entry.operation for entry in old.entries if entry.status is Status.TUNED}
    untold = {entry.operation for entry in new.entries if entry.undecided} & proved
    measured = [one for one in new.entries if one.default_seconds is not None and one.operation not in untold]
    replaced = {scope(entry.operation) for entry in measured}
    kept = [
        _dated(one, old.provenance)
        for one in old.entries
        if one.operation in untold or scope(one.operation) not in replaced
    ]
    known = {entry.operation for entry in [*measured, *kept]}
    missed = [entry for entry in new.entries if entry.operation not in known]
    together = tuple(sorted([*kept, *measured, *missed], key=_order))
    return replace(new, entries=together, provenance=_provenance(new.provenance, together))


def _dated(entry: Entry, made: Provenance) -> Entry:
    """An entry that says itself when and how finely it was measured: the provenance is the new profile's."""
    resolution = made.resolution if entry.resolution is None else entry.resolution
    return replace(entry, created=entry.created or made.created, resolution=resolution)


def _provenance(made: Provenance, entries: tuple[Entry, ...]) -> Provenance:
    """The new one, with the count of all that was put to the test, which its promise of error is about."""
    tested = {(one.operation.name, one.operation.dtype) for one in entries if one.processes}
    return replace(made, rules_tested=max(made.rules_tested, len(tested)))


def _order(entry: Entry) -> tuple[str, str, tuple[tuple[str, int], ...]]:
    return entry.operation.name, entry.operation.dtype, entry.operation.sizes
