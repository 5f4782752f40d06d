"""`autotune show`."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from autotune.cli import profile_messages
from autotune.cli.entry_table import plain_entry, print_entries, print_profile
from autotune.cli.in_force import InForce, in_force, matches, not_covered
from autotune.cli.options import json_option, parse_size_lists, split_words
from autotune.cli.program import FAILED
from autotune.cli.terminal import note, print_json, print_lines, width
from autotune.model.catalogue import ALIASES
from autotune.model.profile import Profile
from autotune.profiles import profile_files
from autotune.profiles.lookup import LookupResult
from autotune.runtime.text_table import printable, wrap


@click.command()
@click.argument("words", nargs=-1, metavar="[FILE] [OPERATION]... [NAME=N,N]...")
@json_option
def show(words: tuple[str, ...], as_json: bool) -> int:
    """List the profiles on this machine and the entries in force, each with its speed-up, interval and reason.

    OPERATION and NAME=N,N narrow the list. With FILE, every entry of this profile is shown, whether it applies here or
    not. Times are for one unit of work; the interval is the 95 % interval.

    \b
    Examples:
      autotune show
      autotune show svd qr n=500,1000
      autotune show profiles/cluster-node.yaml --json
    """
    names, texts = split_words(words)
    sizes = parse_size_lists(texts)
    if names and is_file(names[0]):
        return show_file(Path(names[0]), names[1:], sizes, as_json=as_json)
    state = in_force()
    entries = state.select(names, sizes)
    missing = None
    if not entries:
        every = [match.entry for match in state.entries]
        missing = not_covered(names, texts, every) if every else profile_messages.NO_PROFILE
    if as_json:
        print_json("show/1", document(state, entries))
    else:
        print_in_force(state, entries)
    if state.outdated:
        note(state.outdated)
    if missing is not None:
        note(missing)
        return FAILED
    return 0


def is_file(word: str) -> bool:
    """Is an argument a profile's file rather than an operation?"""
    return word.endswith((".yaml", ".yml")) or Path(word).is_file()


def show_file(path: Path, names: list[str], sizes: dict[str, tuple[int, ...]], *, as_json: bool) -> int:
    """Show the entries of one file."""
    profile = select_entries(profile_files.read(path), names, sizes)
    if as_json:
        from autotune.profiles.profile_document import encode_profile

        print_json("profile/1", {"path": str(path), "profile": encode_profile(profile)})
    else:
        print_lines([profile_messages.profile_at(printable(str(path)))])
        print_profile(profile)
    return 0


def select_entries(profile: Profile, names: list[str], sizes: dict[str, tuple[int, ...]]) -> Profile:
    """Keep the entries of these operations and sizes."""
    wanted = {ALIASES.get(name, name) for name in names}
    entries = tuple(entry for entry in profile.entries if matches(entry.operation, wanted, sizes))
    return replace(profile, entries=entries)


def print_in_force(state: InForce, entries: tuple[LookupResult, ...]) -> None:
    """Print the profiles, numbered, and the entries with the number of their profile."""
    numbers = {profile.path: f"[{number}]" for number, profile in enumerate(state.profiles, 1)}
    for profile in state.profiles:
        source = profile_messages.local_profile(profile.layer, in_force=profile.in_force)
        name = f"{numbers[profile.path]} {printable(profile.path)}"
        print_lines([name, *wrap(f"{source} {profile.reason}", width(), indent=4)])
    if entries:
        print_lines([""])
        print_entries([match.entry for match in entries], [numbers[match.path] for match in entries])


def document(state: InForce, entries: tuple[LookupResult, ...]) -> dict[str, Any]:
    """Return the profiles and entries for programs."""
    return {
        "profiles": [asdict(profile) for profile in state.profiles],
        "entries": [
            {**plain_entry(match.entry), "level": str(match.level), "profile": match.path} for match in entries
        ],
    }
