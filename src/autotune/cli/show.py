"""`autotune show`."""

from collections.abc import Sequence

import click

from autotune.cli import messages
from autotune.cli.entry_table import plain_entry, print_entries, print_profile
from autotune.cli.in_force import InForce, LocalProfile, in_force, not_covered
from autotune.cli.options import Selection
from autotune.cli.program import FAILED
from autotune.cli.terminal import json_option, note, print_json, print_lines, width
from autotune.model.units import STATUSES
from autotune.profiles.lookup import LookupResult
from autotune.runtime.process_settings import is_disabled
from autotune.runtime.text_table import printable, wrap


@click.command()
@click.argument("words", nargs=-1, metavar="[FILE] [OPERATION]... [NAME=N,N]...")
@json_option
def show(words: tuple[str, ...], as_json: bool) -> int:
    """List the profiles on this machine, the entries in force, and those that are open.

    Each entry has its speed-up with the 95 % interval, and its reason. Times are for one unit of work. OPERATION and
    NAME=N,N narrow the list. With FILE, every entry of this profile is shown, whether it applies here or not.

    \b
    Examples:
      autotune show
      autotune show svd qr n=500,1000
      autotune show profiles/cluster-node.yaml --json
    """
    selection = Selection.parse(words)
    if selection.files:
        return show_file(selection, as_json=as_json)
    state = in_force()
    entries = [match for match in state.entries if selection.contains(match.entry.operation)]
    missing = None
    if not entries:
        every = [str(match.entry.operation) for match in state.entries]
        missing = not_covered(selection.names, selection.texts, every)
    if as_json:
        rows = [{**plain_entry(match.entry), "level": str(match.level), "profile": match.path} for match in entries]
        print_json("show/1", {"profiles": [vars(profile) for profile in state.profiles], "entries": rows})
    else:
        print_in_force(state, entries)
    if is_disabled():
        note(messages.SWITCHED_OFF)
    if state.outdated:
        note(state.outdated)
    if missing is not None:
        note(missing)
        return FAILED
    return 0


def show_file(selection: Selection, *, as_json: bool) -> int:
    from autotune.profiles import profile_files

    (path,) = selection.files
    profile = selection.narrow(profile_files.read(path))
    if as_json:
        from autotune.profiles.profile_document import encode_profile

        print_json("profile/1", {"path": str(path), "profile": encode_profile(profile)})
    else:
        print_lines([f"Profile {printable(str(path))}"])
        print_profile(profile)
    return 0


def print_in_force(state: InForce, entries: Sequence[LookupResult]) -> None:
    """Print the profiles, numbered, and the entries with the number of their profile."""
    numbers = {profile.path: f"[{number}]" for number, profile in enumerate(state.profiles, 1)}
    for profile in state.profiles:
        layer = messages.LAYERS[profile.layer]
        source = f"{layer[0].upper()}{layer[1:]}; {in_force_text(profile)}."
        name = f"{numbers[profile.path]} {printable(profile.path)}"
        print_lines([name, *wrap(f"{source} {profile.reason}", width(), indent=4)])
    if entries:
        print_lines([""])
        print_entries([match.entry for match in entries], [numbers[match.path] for match in entries])


def in_force_text(profile: LocalProfile) -> str:
    """Count the entries of a profile that are in force, and those that are open, by status."""

    def count(*statuses: str) -> str:
        numbers = {STATUSES[status]: profile.statuses.get(status, 0) for status in statuses}
        return ", ".join(f"{number} {status}" for status, number in numbers.items() if number)

    decided, undecided = count("tuned", "default-kept"), count("undecided", "noisy", "failed")
    said = f"in force: {decided}" if decided else "no entry in force"
    return f"{said}; open: {undecided}" if undecided else said
