"""`autotune forget`."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from autotune.cli import profile_messages
from autotune.cli.entry_table import operation_name, plain_entry
from autotune.cli.in_force import in_force
from autotune.cli.options import json_option, parse_size_lists, split_words
from autotune.cli.program import FAILED
from autotune.cli.show import is_file, select_entries
from autotune.cli.terminal import note, print_json, print_lines
from autotune.errors import EnvironmentProblem, UsageError
from autotune.model.profile import Profile
from autotune.profiles import folders, profile_files
from autotune.runtime.text_table import printable


@click.command()
@click.argument("words", nargs=-1, metavar="[FILE] OPERATION... [NAME=N,N]...")
@json_option
def forget(words: tuple[str, ...], as_json: bool) -> int:
    """Remove entries from the profile of this machine, so that another measurement can take their place.

    NAME=N,N narrow them to some sizes; without FILE, the profiles in the user's folder that are in force here are
    changed. Exits with 1 if no entry is about these operations and sizes; nothing is written then.

    \b
    Examples:
      autotune forget qr n=300
      autotune forget svd
      autotune forget profiles/cluster-node.yaml log n=1000000
    """
    names, texts = split_words(words)
    paths = [Path(names.pop(0))] if names and is_file(names[0]) else own_profiles()
    if not names:
        raise UsageError(profile_messages.FORGET_WHICH)
    sizes = parse_size_lists(texts)
    removed = [(path, remove_entries(path, names, sizes)) for path in paths]
    if as_json:
        print_json("forget/1", {"profiles": [document(path, gone) for path, gone in removed if gone.entries]})
    for path, gone in removed:
        if gone.entries and not as_json:
            print_lines(printable(operation_name(entry.operation)) for entry in gone.entries)
            note(profile_messages.forgotten(len(gone.entries), path))
    if any(gone.entries for _, gone in removed):
        return 0
    note(printable(nothing_removed(names, texts, sizes)))
    return FAILED


def nothing_removed(names: list[str], texts: list[str], sizes: dict[str, tuple[int, ...]]) -> str:
    """Say why nothing was removed: no profile, or only one that is not the user's own, has such an entry."""
    state = in_force()
    match = next(iter(state.select(names, sizes)), None)
    if match is None or Path(match.path).parent == folders.user_profiles():
        return profile_messages.nothing_to_forget([*names, *texts])
    layer = next(profile.layer for profile in state.profiles if profile.path == match.path)
    return profile_messages.stands_elsewhere([*names, *texts], match.path, layer)


def own_profiles() -> list[Path]:
    """Return the profiles in the user's folder that are in force here."""
    paths = [Path(profile.path) for profile in in_force().profiles if profile.in_force]
    return [path for path in paths if path.parent == folders.user_profiles()]


def remove_entries(path: Path, names: list[str], sizes: dict[str, tuple[int, ...]]) -> Profile:
    """Remove these entries from a file; returns the profile with the removed ones only.

    Scope of effect: replaces the file, if there is one to remove. Raises EnvironmentProblem where that fails.
    """
    profile = profile_files.read(path)
    gone = select_entries(profile, names, sizes)
    if gone.entries:
        rest = tuple(entry for entry in profile.entries if entry not in gone.entries)
        try:
            profile_files.write(replace(profile, entries=rest), path)
        except OSError as problem:
            why = problem.strerror or str(problem)
            raise EnvironmentProblem(profile_messages.unchanged(path, why)) from problem
    return gone


def document(path: Path, gone: Profile) -> dict[str, Any]:
    """Describe what was removed from a file as plain values."""
    return {"path": str(path), "removed": [plain_entry(entry) for entry in gone.entries]}
