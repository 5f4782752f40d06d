"""`autotune report`."""

import csv
import io
import os
import webbrowser
from collections.abc import Iterable, Mapping, Sequence
from os.path import exists  # Path's raises for a name that is too long
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autotune.cli import messages
from autotune.cli.in_force import in_force, not_covered
from autotune.cli.options import FILE, Selection
from autotune.cli.program import FAILED
from autotune.cli.terminal import json_option, note, print_json
from autotune.errors import EnvironmentProblem, UsageError
from autotune.host.identity import is_measured_here
from autotune.host.trusted_files import replace_file
from autotune.profiles import profile_files
from autotune.report.rows import TABLES, Subject, labels, tables
from autotune.runtime.process_settings import is_disabled
from autotune.runtime.text_table import printable

if TYPE_CHECKING:
    from autotune.model.measurement import Session
    from autotune.model.profile import Profile

PAGE = "autotune-report.html"


@click.command()
@click.argument("words", nargs=-1, metavar="[FILE]... [OPERATION]... [NAME=N,N]...")
@click.option("--output", type=FILE, help=f"Where the page goes, instead of {PAGE}.")
@click.option("--open", "show", is_flag=True, help="Open the page in a browser.")
@json_option
@click.option("--csv", "table", type=click.Choice(list(TABLES)), help="Print one table of numbers as CSV.")
@click.option("--optuna", type=FILE, help="Write the search history for optuna-dashboard.")
def report(
    words: tuple[str, ...], output: Path | None, show: bool, as_json: bool, table: str | None, optuna: Path | None
) -> int:
    """Write a page of figures about the entries in force, or compare several profiles side by side.

    OPERATION and NAME=N,N narrow it. With FILE the page is about the entries of this profile, used here or not.

    The page is one file that needs no network: speed-ups with their intervals, times over sizes, the effect of every
    knob, how near the machine's limits it comes, and how the search went, where the journal of the calibration is still
    on this machine. --json and --csv print the numbers.

    \b
    Examples:
      autotune report --open
      autotune report before.yaml after.yaml --output compared.html
      autotune report svd qr n=500 --output svd.html
      autotune report --csv trials > trials.csv
      autotune report --optuna history.log && optuna-dashboard history.log
    """
    if sum((output is not None or show, as_json, table is not None, optuna is not None)) > 1:
        raise UsageError("Give at most one of --output, --json, --csv and --optuna.")
    selection = Selection.parse(words, most_files=None)
    subjects = read_subjects(list(dict.fromkeys(selection.files)))
    every = [str(entry.operation) for subject in subjects for entry in subject.profile.entries]
    subjects = [narrow(subject, selection) for subject in subjects]
    is_narrowed = bool(selection.names or selection.texts)
    if not subjects or (is_narrowed and not any(subject.profile.entries for subject in subjects)):
        note(not_covered(selection.names, selection.texts, every))
        return FAILED
    if not selection.files and is_disabled():
        note(messages.SWITCHED_OFF)
    if as_json:
        print_json("report/1", tables(subjects))
    elif table is not None:
        click.echo(as_csv(tables(subjects)[table]), nl=False)
    elif optuna is not None:
        write_history(subjects, optuna)
    else:
        write_page(output or Path(PAGE), subjects, show=show)
    return 0


def read_subjects(paths: Sequence[Path]) -> list[Subject]:
    """Read the profiles in these files, or what is in force; none if nothing is."""
    if not paths:
        profile = in_force().as_profile()
        label = "in force on this machine"
        return [] if profile is None else [Subject(label=label, profile=profile, sessions=sessions_of(profile))]
    profiles = [profile_files.read(path) for path in paths]
    return [
        Subject(label=label, profile=profile, path=str(path), sessions=sessions_of(profile))
        for label, profile, path in zip(labels(paths), profiles, paths, strict=True)
    ]


def narrow(subject: Subject, selection: Selection) -> Subject:
    """Keep the selected entries, and the measurements of their search."""
    sessions = [
        session.replace(measurements=tuple(row for row in session.measurements if selection.contains(row.operation)))
        for session in subject.sessions
    ]
    return subject.replace(profile=selection.narrow(subject.profile), sessions=tuple(sessions))


def sessions_of(profile: "Profile") -> "tuple[Session, ...]":
    """Return the sessions of the last calibration of this key, if this host measured the profile."""
    from autotune.search.journal import journal_path, sessions

    return sessions(journal_path(profile.key)) if is_measured_here(profile.provenance) else ()


def write_page(path: Path, subjects: Sequence[Subject], *, show: bool) -> None:
    """Write the page and open it if asked to. Raises EnvironmentProblem."""
    from autotune.report.page import page

    try:
        replace_file(os.path.realpath(path), page(subjects).encode())
    except OSError as problem:
        raise not_written(path, problem) from problem
    note(messages.report_written(path))
    if show:
        webbrowser.open(path.resolve().as_uri())


def write_history(subjects: Sequence[Subject], path: Path) -> None:
    """Write a profile's history for optuna-dashboard. Raises UsageError, EnvironmentProblem."""
    if len(subjects) > 1:
        raise UsageError("--optuna writes the history of one profile; name one.")
    if not subjects[0].sessions:
        raise EnvironmentProblem(
            "There is no journal of this profile's calibration on this machine, so there is no history to write. "
            "`autotune calibrate` keeps one of its last run."
        )
    if exists(path):  # noqa: PTH110
        raise UsageError(f"{path} exists already: name a new file.")
    from autotune.search.optuna_export import export_study

    try:
        count = export_study(subjects[0].profile, subjects[0].sessions, path)
    except OSError as problem:
        raise not_written(path, problem) from problem
    note(messages.history_written(path, count))


def not_written(path: Path, problem: OSError) -> EnvironmentProblem:
    why = problem.strerror or problem
    return EnvironmentProblem(f"{path} could not be written ({why}). Nothing was changed: name another file.")


def as_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """Format rows as CSV, with control characters spelled out; nothing for no rows."""
    plain = [
        {name: printable(value) if isinstance(value, str) else value for name, value in row.items()} for row in rows
    ]
    if not plain:
        return ""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(plain[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(plain)
    return text.getvalue()
