"""Write-out of a calibration: the profile joined with the one that is there, written, and shown."""

import os
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autotune.cli import messages
from autotune.cli.entry_table import count_statuses, print_profile
from autotune.cli.terminal import note, print_json
from autotune.errors import EnvironmentProblem, ProfileError, UsageError
from autotune.model.catalogue import CATALOGUE, Family
from autotune.model.entry import Entry, Status
from autotune.model.profile import Key, Profile
from autotune.model.record import Record
from autotune.profiles import entry_merge, folders, profile_files
from autotune.profiles.yaml_writer import text_of
from autotune.runtime.process_settings import is_disabled

if TYPE_CHECKING:
    from autotune.search.runner import Outcome


class Kept(Record, kw_only=True):
    """A profile that was written."""

    measured: Profile
    """The profile that this run measured."""
    profile: Profile
    """The profile that was written: the new entries, and those of earlier runs that they do not replace."""
    path: Path
    output: Path
    """The path that was asked for."""
    why: str | None = None
    """Reason why it was written elsewhere; None if it is at the intended path."""
    outcome: "Outcome | None" = None
    """Of the calibration, where it was one."""
    sizes_named: bool = False
    """By the user or a recording."""
    was_busy: bool = False
    """Whether others used the CPUs when the calibration began."""
    budget_needed: str | None = None
    """Budget that would decide all entries; None if unknown."""


def place(key: Key, output: Path | None) -> Path:
    """Return the path for the profile: without an option, the user's folder and the name of the machine.

    Raises UsageError if something else than a profile is there, which writing would destroy.
    """
    if output is not None:
        _there(output)
        return output
    first = path = entry_merge.own_path(key)
    for number in count(2):
        present = _there(path)
        if present is None or present.key == key:
            break
        # another machine's: names end in digits of hashes, which may agree
        path = first.with_stem(f"{first.stem}-{number}")
    return path


def _there(path: Path) -> Profile | None:
    """Return the profile at a path. Raises UsageError if another file is there."""
    if not os.path.exists(path):  # noqa: PTH110 - false in a folder that may not be entered: writing will fail and say so
        return None
    try:
        return profile_files.read(path)
    except ProfileError as problem:
        why = problem.reason.rstrip(".")
        raise UsageError(f"{path} exists and is not a profile ({why}). Name another file with --output.") from problem


def keep(profile: Profile, path: Path, *, sizes_named: bool = False) -> Kept:
    """Write a profile to this path, or to one that is writable, together with the entries that are there already.

    Raises EnvironmentProblem if no place on this machine takes it; it is printed then.
    """
    try:
        with _delayed_signals():
            written = entry_merge.keep(profile, path)
    except OSError as nowhere:
        click.echo(text_of(profile))
        raise EnvironmentProblem(
            f"{path} could not be written ({nowhere.strerror or nowhere}), and no other place either. Nothing is lost: "
            "the profile is printed above; save it as a file, and name that in AUTOTUNE_PROFILE."
        ) from nowhere
    if written.set_aside is not None:
        note(messages.kept_aside(written.path, written.set_aside))
    why = None if written.problem is None else written.problem.strerror or str(written.problem)
    place, together = written.path, written.profile
    return Kept(measured=profile, profile=together, path=place, output=path, why=why, sizes_named=sizes_named)


@contextmanager
def _delayed_signals() -> Iterator[None]:
    """Delay signals that end a verb until the end of the `with`, which raises KeyboardInterrupt if one came."""
    arrived: list[int] = []
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers if callable(signal.getsignal(number))}
    for number in before:
        signal.signal(number, lambda number, _frame: arrived.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if arrived:
        raise KeyboardInterrupt


def tell(each: Sequence[Kept], *, finished: bool, as_json: bool, program: Mapping[str, Any] | None = None) -> None:
    """Print what was measured for each allocation, where it is, and what to do next.

    As JSON it is one object with the profiles of all allocations, and what a program gained.
    """
    if as_json:
        gain = {} if program is None else {"program": program}
        print_json("calibrate/1", {"profiles": [_document(kept) for kept in each], **gain})
    for kept in each:
        if not as_json:
            print_profile(_by_speedup(kept.measured))
        _say(kept)
    if not finished:
        note(messages.RESUME)


def _by_speedup(profile: Profile) -> Profile:
    """Return the entries as the closing table shows them: by speed-up, then those without."""
    statuses = list(Status)

    def place(entry: Entry) -> tuple[int, float]:
        return statuses.index(entry.status), -(entry.evidence.leading_speedup or 1.0)

    return profile.replace(entries=tuple(sorted(profile.entries, key=place)))


def _document(kept: Kept) -> dict[str, Any]:
    from autotune.profiles.profile_document import encode_profile

    document: dict[str, Any] = {
        "path": str(kept.path),
        "earlier_entries": _earlier(kept),
        "profile": encode_profile(kept.measured),
    }
    if kept.outcome is not None:
        document["calibration"] = {
            "seconds": kept.outcome.wall_seconds,
            "sampled_seconds": kept.outcome.sampled_seconds,
            "entries": len(kept.measured.entries),
            "undecided_or_noisy": sum(not entry.is_decided for entry in kept.measured.entries),
        }
    return document


def _say(kept: Kept) -> None:
    """Say on standard error where the profile is and what to do next."""
    tuned = sum(entry.status is Status.TUNED for entry in kept.measured.entries)
    note(messages.profile_written(kept.path, tuned=tuned, total=len(kept.measured.entries)))
    undecided = [entry for entry in kept.measured.entries if not entry.is_decided]
    if undecided:
        counts, command = count_statuses(undecided), _to_decide(kept, undecided)
        busy = kept.was_busy or any(entry.status is Status.NOISY for entry in undecided)
        note(messages.entries_undecided(counts, command, busy=busy, budget=kept.budget_needed))
    if _earlier(kept):
        total = sum(entry.status is Status.TUNED for entry in kept.profile.entries)
        note(messages.earlier(_earlier(kept), tuned=total - tuned))
    if kept.why is not None:
        note(messages.written_elsewhere(kept.output, kept.path, kept.why))
    names = {entry.operation.name for entry in kept.measured.entries}
    estimators = {row.name for row in CATALOGUE.values() if row.family is Family.ESTIMATOR}
    is_estimator = bool(names) and names <= estimators
    own = min(names) if is_estimator or (len(names) == 1 and not names & CATALOGUE.keys()) else None
    is_searched = str(kept.path.absolute().parent) in {place for _, place in folders.places()}
    note(messages.how_to_use(kept.path, is_searched=is_searched, own=own, is_estimator=is_estimator))
    if is_disabled():
        note(messages.SWITCHED_OFF)
    if is_searched and sys.stderr.isatty():  # a log of a batch job is no place for a browser
        note(messages.how_to_see(own_command()))


def _to_decide(kept: Kept, undecided: Sequence[Entry]) -> str:
    """Return the command that decides the rest."""
    names = dict.fromkeys(entry.operation.name for entry in undecided)
    if kept.sizes_named or not names.keys() <= CATALOGUE.keys():
        return messages.SAME_UNTIL_DECIDED
    dtypes = dict.fromkeys(entry.operation.dtype for entry in undecided)
    wanted = [] if list(dtypes) == ["float64"] else [f"--dtype {dtype}" for dtype in dtypes]
    words = [own_command(), "calibrate", *names, *wanted, "--until-decided"]
    return " ".join(words)


def _earlier(kept: Kept) -> int:
    """Return the entries of earlier runs that are in the file too."""
    now = set(kept.measured.entries)
    return sum(entry not in now for entry in kept.profile.entries)


def own_command(path: str | None = None) -> str:
    """Return the word that starts autotune in a shell with this path, the calling one's if None: name or whole path."""
    if shutil.which("autotune", path=path) is not None:
        return "autotune"
    sibling = Path(sys.executable).with_name("autotune")
    return str(sibling) if sibling.exists() else f"{sys.executable} -m autotune"
