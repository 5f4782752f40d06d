"""`autotune verify`."""

import os
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from autotune.cli import messages
from autotune.cli.entry_table import gain, gain_column, plain_operation
from autotune.cli.in_force import in_force, not_covered
from autotune.cli.options import Selection, parse_duration, workload_option
from autotune.cli.program import FAILED
from autotune.cli.terminal import TablePrinter, json_option, note, print_json
from autotune.host.cpu_variables import PROCESSES
from autotune.profiles import profile_files
from autotune.runtime.text_table import TextColumn, operation_name

if TYPE_CHECKING:
    from autotune.bench.user_workload import UserWorkload
    from autotune.model.profile import Profile
    from autotune.search.verification import Check

STYLES = {"holds": "green", "slower": "red", "failed": "red", "open": "yellow", "no-longer-holds": "yellow"}


@click.command()
@click.argument("words", nargs=-1, metavar="[FILE] [OPERATION]... [NAME=N,N]...")
@click.option("--budget", metavar="TIME", default="2m", show_default=True, help="Time allowed, such as 90s or 5m.")
@workload_option("The function of yours that it has entries of.")
@json_option
def verify(words: tuple[str, ...], budget: str, workload: "UserWorkload | None", as_json: bool) -> int:
    """Measure choices against plain NumPy once more, in fresh processes.

    Without FILE, the entries in force on this machine; OPERATION and NAME=N,N narrow them. Says of every choice whether
    it still holds, with its speed-up (at full capacity, where that was reached often enough) and the 95 % interval.
    Exits with 1 if one no longer holds, is slower than plain NumPy or fails, or if nothing in the profile is for this
    machine.

    \b
    Examples:
      autotune verify
      autotune verify svd n=600
      autotune verify profiles/cluster-node.yaml --budget 10m --json
    """
    seconds = parse_duration(budget)
    selection = Selection.parse(words)
    path = next(iter(selection.files), None)
    profile = in_force().as_profile() if path is None else profile_files.read(path)
    is_narrowed = bool(selection.names or selection.texts)
    if profile is None or (is_narrowed and not selection.narrow(profile).entries):
        entries = () if profile is None else profile.entries
        note(not_covered(selection.names, selection.texts, [str(entry.operation) for entry in entries]))
        return FAILED
    shown = selection.narrow(profile)
    if path is not None:
        note(f"Profile {path}")
    checks: list[Check] = []
    columns = (TextColumn("operation"), TextColumn("choice"), TextColumn("", 23), gain_column())
    table = TablePrinter(columns, err=as_json)
    for check in verdicts(shown, seconds, workload):
        checks.append(check)
        print_check(table, check)
    if as_json:
        source = None if path is None else str(path)
        print_json("verify/1", {"path": source, "entries": [plain(check) for check in checks]})
    note(messages.verdict(checks) if checks else nothing_to_verify(profile, selection))
    return FAILED if has_failed(checks) else 0


def print_check(table: TablePrinter, check: "Check") -> None:
    cells = (
        operation_name(check.entry.operation),
        str(check.entry.choice),
        messages.STANDINGS[check.standing],
        gain(check.speedup, check.interval),
    )
    table.print_row(cells, check.reason, style=STYLES.get(check.standing))


def verdicts(profile: "Profile", seconds: float, own: "UserWorkload | None") -> "Iterator[Check]":
    """Return the verdict on each of the profile's choices, under the background load that it was measured under."""
    from autotune.search.runner import verify_profile

    if profile.provenance.copies > 1:
        os.environ.setdefault(PROCESSES, str(profile.provenance.copies))
    return verify_profile(profile, seconds=seconds, workload=own)


def nothing_to_verify(profile: "Profile", selection: Selection) -> str:
    choices = Counter(entry.operation.name for entry in profile.entries if not entry.choice.is_default)
    return messages.nothing_to_verify((*selection.names, *selection.texts), choices)


def has_failed(checks: "list[Check]") -> bool:
    """Does a choice no longer hold, does one fail, or is none for this machine?"""
    standings = {check.standing for check in checks}
    return any(standing.bad for standing in standings) or standings == {"refused"}


def plain(check: "Check") -> dict[str, Any]:
    entry = check.entry
    return {
        **plain_operation(entry.operation),
        "choice": entry.choice.as_dict(),
        "standing": str(check.standing),
        "reason": check.reason,
        "speedup": check.speedup,
        "interval": check.interval,
        "processes": check.processes,
        "recorded_speedup": entry.evidence.speedup,
    }
