"""A new profile together with an old one of the same key, and where the two go."""

from itertools import chain, count
from pathlib import Path

from autotune.errors import ProfileError
from autotune.host.identity import short_host_id
from autotune.model.entry import Entry
from autotune.model.profile import Key, Profile, Provenance, is_same_computer
from autotune.model.record import Record
from autotune.profiles import folders, profile_files
from autotune.profiles.profile_document import entry_order


class Written(Record, kw_only=True):
    """A profile in its file."""

    profile: Profile
    """With the entries of the file before it that it does not replace."""
    path: Path
    problem: OSError | None = None
    """Why it is not where it was to be."""
    set_aside: Path | None = None
    """New name of the file before it, which could not be read as a profile."""


def own_path(key: Key) -> Path:
    """Return the file of this host for a key: hosts with one home folder each write their own."""
    return folders.user_profiles() / f"{key.slug}-{short_host_id()}.yaml"


def keep(profile: Profile, path: Path) -> Written:
    """Add a profile to the file at this path, or in the first refuge that takes it. Raises OSError if none does."""
    failure: OSError | None = None
    for place in chain([path], profile_files.refuges(path)):
        try:
            return add(profile, place).replace(problem=failure)
        except OSError as problem:
            failure = failure or problem
    assert failure is not None
    raise failure


def add(profile: Profile, path: Path) -> Written:
    """Write a profile, joined with the one that is there. Raises OSError.

    A file that cannot be read as a profile may hold good entries: it is kept under another name, `*.refused`.
    """
    together, set_aside = profile, None
    try:
        together = join_profiles(profile_files.read(path), profile)
    except ProfileError:
        if path.is_file():
            names = (path.with_name(f"{path.name}.refused{number or ''}") for number in count())
            set_aside = path.rename(next(name for name in names if not name.exists()))
    try:
        profile_files.write(together, path)
    except OSError:
        if set_aside is not None:
            set_aside.rename(path)
        raise
    return Written(profile=together, path=path, set_aside=set_aside)


def join_profiles(old: Profile, new: Profile) -> Profile:
    """Return the new profile with the old one's entries that it does not replace.

    What was measured replaces the old entry of its size, and takes nothing from other sizes. What stayed undecided (too
    noisy to tell, no time left for the proof) or was not reached replaces nothing that was decided, nor does a default
    that was kept because the time ended and little can be gained. An old entry that stays says itself when it was
    measured. Of a profile with another key, or of another computer, nothing is kept: what one host proved is not
    another's, and would count twice in a store.
    """
    is_foreign = old.provenance.host is not None and not is_same_computer(old.provenance, new.provenance)
    if old.key != new.key or is_foreign:
        return new

    settled = {entry.operation for entry in old.entries if entry.is_decided}
    measured = [
        entry
        for entry in new.entries
        if entry.evidence.default_seconds is not None and (entry.is_firm or entry.operation not in settled)
    ]
    fresh = {entry.operation for entry in measured}
    kept = [_date(entry, old.provenance) for entry in old.entries if entry.operation not in fresh]
    reported = {entry.operation for entry in [*measured, *kept]}
    missed = [entry for entry in new.entries if entry.operation not in reported]
    together = tuple(sorted([*kept, *measured, *missed], key=entry_order))
    tested = sum(entry.evidence.processes > 0 for entry in together)
    waits = old if new.blas_wait is None else new
    return new.replace(
        entries=together,
        # the promise of error is about all that was put to the test
        provenance=new.provenance.replace(rules_tested=max(new.provenance.rules_tested, tested)),
        blas_wait=waits.blas_wait,
        loops_after_blas=waits.loops_after_blas,
    )


def _date(entry: Entry, made: Provenance) -> Entry:
    """Return an entry that says itself when and how finely it was measured: the provenance is the new profile's."""
    evidence = entry.evidence
    resolution = made.resolution if evidence.resolution is None else evidence.resolution
    dated = evidence.replace(created=evidence.created or made.created, resolution=resolution)
    return entry.replace(evidence=dated)
