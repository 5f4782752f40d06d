"""`autotune report`."""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autotune.cli import messages
from autotune.cli.fitting_profile import applying
from autotune.cli.program import FAILED
from autotune.cli.terminal import printable
from autotune.errors import EnvironmentProblem, UsageError
from autotune.host.trusted_files import replace_file
from autotune.profiles import profile_files
from autotune.report.rows import TABLES, tables
from autotune.report.subject import Subject, labels

if TYPE_CHECKING:
    from autotune.model.measurement import Session
    from autotune.model.profile import Profile


@click.command()
@click.argument("profiles", nargs=-1, type=click.Path(path_type=Path), metavar="[PROFILE]...")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Write a page with figures.")
@click.option("--json", "as_json", is_flag=True, help="Print all numbers as JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print one table of them as CSV.")
@click.option(
    "--table",
    type=click.Choice(list(TABLES)),
    default="entries",
    show_default=True,
    help="Which one, with --csv.",
)
@click.option(
    "--optuna",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the search history for optuna-dashboard.",
)
def report(
    profiles: tuple[Path, ...],
    html: Path | None,
    as_json: bool,
    as_csv: bool,
    table: str,
    optuna: Path | None,
) -> int:
    """Show a profile as a page of figures, or several side by side.

    Without PROFILE, the one that applies on this machine. The page is one file that needs no network: gains
    with their intervals, times over sizes, what every knob did, how near the machine's limits it comes, and how
    the search went, where the journal of the calibration is still on this machine. It needs the extra
    numpy-autotune[report].

    \b
    Examples:
      autotune report --html report.html
      autotune report before.yaml after.yaml --html compared.html
      autotune report --csv --table trials > trials.csv
      autotune report --optuna history.log && optuna-dashboard history.log
    """
    if sum((html is not None, as_json, as_csv, optuna is not None)) != 1:
        raise UsageError(messages.REPORT_AS_WHAT)
    subjects = found(profiles)
    if not subjects:
        click.echo(messages.NO_PROFILE, err=True)
        return FAILED
    if html is not None:
        written(html, drawn(subjects))
    elif optuna is not None:
        exported(subjects, optuna)
    elif as_json:
        click.echo(json.dumps(tables(subjects), indent=2))
    else:
        click.echo(lines(tables(subjects)[table]), nl=False)
    return 0


def found(paths: Sequence[Path]) -> list[Subject]:
    """The profiles in these files, or the one that applies here; none if none does."""
    asked = paths or [path for path in (applying(),) if path is not None]
    read = [profile_files.read(path) for path in asked]
    return [
        Subject(label=label, profile=profile, path=str(path), sessions=sessions(profile))
        for label, profile, path in zip(labels(asked), read, asked, strict=True)
    ]


def sessions(profile: "Profile") -> "tuple[Session, ...]":
    """The sessions of the last calibration of this key, if it was this host that measured the profile."""
    from autotune.host.identity import host_id
    from autotune.search import journal
    from autotune.search.runner import journal_path

    return journal.sessions(journal_path(profile.key)) if profile.provenance.host == host_id() else ()


def drawn(subjects: Sequence[Subject]) -> str:
    """The page."""
    from autotune.report import library
    from autotune.report.figures import FIGURES
    from autotune.report.page import page

    code = library.javascript()
    return page(
        subjects, library=code, specs={name: library.compiled(spec) for name, spec in FIGURES.items()}
    )


def written(path: Path, content: str) -> None:
    """Write a page. Raises EnvironmentProblem."""
    try:
        replace_file(path, content.encode())
    except OSError as problem:
        raise EnvironmentProblem(messages.not_written(path, problem.strerror or str(problem))) from problem
    click.echo(messages.report_written(printable(str(path))), err=True)


def exported(subjects: Sequence[Subject], path: Path) -> None:
    """Write a profile's history for optuna-dashboard. Raises UsageError, EnvironmentProblem."""
    if len(subjects) > 1:
        raise UsageError(messages.ONE_HISTORY)
    if not subjects[0].sessions:
        raise EnvironmentProblem(messages.NO_HISTORY)
    if path.exists():
        raise UsageError(messages.exists_already(path))
    from autotune.report import optuna_storage

    try:
        count = optuna_storage.write(subjects[0], path)
    except OSError as problem:
        raise EnvironmentProblem(messages.not_written(path, problem.strerror or str(problem))) from problem
    click.echo(messages.history_written(printable(str(path)), count), err=True)


def lines(rows: Iterable["dict[str, Any] | Any"]) -> str:
    """Rows as CSV, with control characters spelled out; nothing for no rows."""
    plain = [
        {name: printable(value) if isinstance(value, str) else value for name, value in row.items()}
        for row in rows
    ]
    if not plain:
        return ""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(plain[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(plain)
    return text.getvalue()
