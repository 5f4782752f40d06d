"""Entries of profiles as a table: each a row, and its reason below it."""

from collections import Counter
from collections.abc import Iterable, Sequence
from math import log
from statistics import median
from typing import Any

from autotune.cli import machine_messages, profile_messages
from autotune.cli.terminal import TablePrinter, print_lines, width
from autotune.model import units
from autotune.model.entry import Entry, Status
from autotune.model.operation import Operation
from autotune.model.profile import Profile
from autotune.runtime.text_table import TextColumn, printable, wrap

WIDE = 96
"""From so many columns of the terminal a speed-up and its interval stand on one line."""
TOLD_APART = 0.05
"""Difference of two speed-ups, as a logarithm, from which on both are shown."""
STYLES = {
    Status.TUNED: "green",
    Status.DEFAULT_KEPT: None,
    Status.UNDECIDED: "yellow",
    Status.NOISY: "yellow",
    Status.FAILED: "red",
}


def print_profile(profile: Profile) -> None:
    """Print the machine of a profile, every entry with its evidence and reason, and the counts by status."""
    print_lines([part for line in heading(profile) for part in wrap(line, width())])
    print_lines([""])
    if not profile.entries:
        print_lines([profile_messages.EMPTY_PROFILE])
        return
    print_entries(profile.entries)


def print_entries(entries: Sequence[Entry], sources: Sequence[str] = ()) -> None:
    """Print a table of entries and their counts; `sources` names the profile of each."""
    table = TablePrinter([
        TextColumn("operation"),
        TextColumn("choice"),
        TextColumn("default", 8, right=True),
        TextColumn("tuned", 8, right=True),
        gain_column(),
        *([TextColumn("from", 5, right=True)] if sources else []),
    ])  # fmt: skip
    for number, entry in enumerate(entries):
        table.print_row([*_cells(entry), *sources[number : number + 1]], *_notes(entry), style=STYLES[entry.status])
    print_lines(["", count_statuses(entries)])
    shares = [entry.evidence.full_capacity_share or 0.0 for entry in entries if entry.evidence.was_short_of_capacity]
    if shares:
        print_lines(wrap(profile_messages.full_capacity(median(shares)), width()))


def gain_column() -> TextColumn:
    """Return the column of a speed-up with its interval."""
    return TextColumn("speed-up", 22 if width() >= WIDE else 16, right=True)


def gain(speedup: float | None, interval: tuple[float, float] | None) -> str:
    """Return a speed-up with its interval, on two lines where the column is narrow."""
    text = units.speedup(speedup)
    return f"{text}{' ' if width() >= WIDE else chr(10)}({units.interval(interval)})" if interval else text


def heading(profile: Profile) -> list[str]:
    """Return the machine that a profile is for, and how it was measured."""
    key, made = profile.key, profile.provenance
    software = key.software
    name = made.cpu or " ".join(str(part) for part in (key.hardware.vendor, key.hardware.model) if part is not None)
    blas = " ".join(part for part in (software.blas, software.blas_version, software.kernels) if part)
    lines = [
        machine_messages.machine(name or None, cpus=key.usable_cpus, limit=key.limit),
        machine_messages.libraries(blas or None, numpy=software.numpy),
        profile_messages.made(
            made.created,
            version=made.autotune,
            effort=made.effort,
            resolution=made.resolution,
            neighbours=made.neighbours,
            copies=made.copies,
        ),
    ]
    if made.renumbered_cpus:
        lines.append(profile_messages.RENUMBERED)
    if made.expected_wrong:
        lines.append(profile_messages.risk(made.expected_wrong, tested=made.rules_tested))
    return [printable(line) for line in lines]


def count_statuses(entries: Iterable[Entry]) -> str:
    """Return the number of entries of each status, in a sentence."""
    counts = Counter(entry.status for entry in entries)
    return profile_messages.summary(
        {profile_messages.STATUSES[status]: counts[status] for status in Status if counts[status]}
    )


def operation_name(operation: Operation) -> str:
    """Return an operation as a table shows it; float64 is left out."""
    sizes = [f"{name}={value}" for name, value in operation.sizes]
    dtype = [] if operation.dtype == "float64" else [operation.dtype]
    return printable(" ".join([operation.name, *dtype, *sizes]))


def plain_entry(entry: Entry) -> dict[str, Any]:
    """Return an entry for programs."""
    evidence = entry.evidence
    return {
        "operation": entry.operation.name,
        "dtype": entry.operation.dtype,
        "sizes": entry.operation.size,
        "status": str(entry.status),
        "choice": entry.choice.as_dict(),
        "default_seconds": evidence.default_seconds,
        "tuned_seconds": evidence.tuned_seconds,
        "speedup": evidence.speedup,
        "interval": evidence.interval,
        "expected_speedup": evidence.expected_speedup,
        "full_capacity_share": evidence.full_capacity_share,
        "speedup_limit": evidence.speedup_limit,
        "reason": entry.reason,
    }


def _cells(entry: Entry) -> list[str]:
    """Return the cells of a row. What was tested and not proved is in the reason, and is no speed-up."""
    if entry.status is not Status.TUNED:
        return [
            operation_name(entry.operation),
            profile_messages.STATUSES[entry.status],
            units.seconds(entry.evidence.default_seconds),
            units.UNKNOWN,
            units.UNKNOWN,
        ]
    return [
        operation_name(entry.operation),
        str(entry.choice),
        units.seconds(entry.evidence.default_seconds),
        units.seconds(entry.evidence.tuned_seconds),
        gain(entry.evidence.speedup, entry.evidence.interval),
    ]


def _notes(entry: Entry) -> list[str]:
    evidence = entry.evidence
    # of a default that was kept it would read as a gain, which full capacity did not confirm
    is_told = evidence.was_short_of_capacity and entry.status is not Status.DEFAULT_KEPT
    expected = evidence.expected_speedup if is_told else None
    notes = [printable(entry.reason)]
    if expected and evidence.speedup and abs(log(expected / evidence.speedup)) >= TOLD_APART:
        notes[0] += f" {profile_messages.expected(expected)}"
    if entry.evidence.retained_bytes is not None:
        notes.append(profile_messages.retained(entry.evidence.retained_bytes))
    if entry.corners:
        notes.append(profile_messages.corners(entry.corners))
    return notes
