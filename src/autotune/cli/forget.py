"""`autotune forget`."""

from pathlib import Path

import click

from autotune.cli import messages
from autotune.cli.entry_table import plain_entry
from autotune.cli.in_force import in_force
from autotune.cli.options import Selection
from autotune.cli.program import FAILED
from autotune.cli.terminal import json_option, note, print_json, print_lines
from autotune.errors import EnvironmentProblem, UnknownOperation, UsageError
from autotune.model.catalogue import nearest_names, row_of
from autotune.model.entry import Entry
from autotune.model.policy import COMMANDS
from autotune.profiles import folders, profile_files
from autotune.runtime.text_table import operation_name


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
    selection = Selection.parse(words)
    if not selection.names:
        raise UsageError("Name the operations whose entries are to be removed: autotune forget qr n=300.")
    removed = [(path, remove_entries(path, selection)) for path in selection.files or own_profiles()]
    removed = [(path, entries) for path, entries in removed if entries]
    missing = None if removed else nothing_removed(selection)
    if as_json:
        rows = [{"path": str(path), "removed": [plain_entry(entry) for entry in entries]} for path, entries in removed]
        print_json("forget/1", {"profiles": rows})
    for path, entries in removed if not as_json else ():
        print_lines(operation_name(entry.operation) for entry in entries)
        note(messages.removed_entries(len(entries), path))
    if missing is None:
        return 0
    note(missing)
    return FAILED


def nothing_removed(selection: Selection) -> str:
    """Say why nothing was removed: no profile, or only one that is not the user's own, has such an entry.

    Raises UnknownOperation for a name that neither the catalogue nor an entry has.
    """
    words = [*selection.names, *selection.texts]
    entries = [match.entry for match in in_force().entries]
    entries += [entry for path in selection.files for entry in profile_files.read(path).entries]
    own_names = {entry.operation.name for entry in entries}
    for name in selection.names:
        if row_of(name) is None and name not in own_names:
            command = [COMMANDS + name] if COMMANDS + name in own_names else []
            raise UnknownOperation(name, command or nearest_names(name, own_names))
    if selection.files:
        return messages.nothing_to_forget(words)
    state = in_force()
    match = next((match for match in state.entries if selection.contains(match.entry.operation)), None)
    if match is None or Path(match.path).parent == folders.user_profiles():
        return messages.nothing_to_forget(words)
    layer = next(profile.layer for profile in state.profiles if profile.path == match.path)
    return messages.stands_elsewhere(words, match.path, layer)


def own_profiles() -> list[Path]:
    """Return the profiles in the user's folder that are in force here."""
    paths = [Path(profile.path) for profile in in_force().profiles if profile.statuses]
    return [path for path in paths if path.parent == folders.user_profiles()]


def remove_entries(path: Path, selection: Selection) -> tuple[Entry, ...]:
    """Remove entries from a file, and return them.

    Scope of effect: replaces the file, if there is one to remove. Raises EnvironmentProblem where that fails.
    """
    profile = profile_files.read(path)
    gone = selection.narrow(profile).entries
    if gone:
        rest = tuple(entry for entry in profile.entries if entry not in gone)
        try:
            profile_files.write(profile.replace(entries=rest), path)
        except OSError as problem:
            raise EnvironmentProblem(
                f"{path} could not be written ({problem.strerror or problem}), and is as it was. Make room there, or "
                "let this user write to it."
            ) from problem
    return gone
