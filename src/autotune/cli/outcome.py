"""What becomes of a profile once it was measured: joined with what is there, written, told."""

import json
from dataclasses import dataclass
from pathlib import Path

import click

from autotune.cli import messages
from autotune.cli.terminal import console
from autotune.cli.tunings import render
from autotune.errors import EnvironmentProblem, ProfileError, UsageError
from autotune.model.profile import Key, Profile
from autotune.model.tuning import Status
from autotune.store import files, folders, join
from autotune.store.text import text_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A profile that was written."""

    profile: Profile
    path: Path
    """Where it is."""
    asked: Path
    """Where it should be."""
    why: str | None = None
    """Why it is somewhere else; None if it is where it should be."""


def place(key: Key, output: Path | None) -> Path:
    """Where the profile is to go: if nobody says, into the user's folder under the name of the machine.

    Raises UsageError if something else than a profile is there, which writing would destroy.
    """
    path = output or folders.user_profiles() / f"{key.slug}.yaml"
    try:
        exists = path.exists()
    except OSError:
        exists = False  # a folder that may not be entered: writing will fail too, and say so
    if exists:
        try:
            files.read(path)
        except ProfileError as problem:
            raise UsageError(messages.not_a_profile(path, problem.reason)) from problem
    return path


def keep(profile: Profile, path: Path, *, sizes_named: bool = False) -> Kept:
    """Write a profile to this path, or where it can be, together with the entries that are there already.

    Raises EnvironmentProblem if no place on this machine takes it; it is printed then.
    """
    try:
        written, place, problem = join.keep(profile, path, sizes_named=sizes_named)
    except OSError as nowhere:
        click.echo(text_of(profile))
        raise EnvironmentProblem(
            messages.written_nowhere(path, nowhere.strerror or str(nowhere))
        ) from nowhere
    why = None if problem is None else problem.strerror or str(problem)
    return Kept(profile=written, path=place, asked=path, why=why)


def tell(kept: Kept, *, finished: bool, as_json: bool) -> None:
    """Print the profile, where it is, and what to do next."""
    if as_json:
        from autotune.store.schema import document_of

        click.echo(json.dumps({"path": str(kept.path), **document_of(kept.profile)}, indent=2))
    else:
        render(kept.profile, console())
    faster = sum(tuning.status is Status.TUNED for tuning in kept.profile.tunings)
    lines = [messages.written(kept.path, faster=faster, total=len(kept.profile.tunings))]
    if kept.why is not None:
        lines.append(messages.written_elsewhere(kept.asked, kept.path, kept.why))
    lines.append(messages.how_to_use(kept.path, found=kept.path.parent == folders.user_profiles()))
    if not finished:
        lines.append(messages.RESUME)
    for line in lines:
        click.echo(line, err=True)
