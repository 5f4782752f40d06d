"""A profile on a terminal."""

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from autotune.cli import messages, units
from autotune.cli.entry_table import Column, Ledger, gain, gain_width
from autotune.cli.terminal import printable
from autotune.model.entry import Entry, Status
from autotune.model.operation import Operation
from autotune.model.profile import Profile

if TYPE_CHECKING:
    from rich.console import Console

STYLES = {
    Status.TUNED: "green",
    Status.DEFAULT_KEPT: "",
    Status.UNDECIDED: "yellow",
    Status.NOISY: "yellow",
    Status.FAILED: "red",
}


def render(profile: Profile, console: "Console") -> None:
    """The machine, every entry with its evidence and its reason, and how many there are of each status."""
    for line in heading(profile):
        console.print(line)
    console.print()
    if not profile.entries:
        console.print(messages.EMPTY_PROFILE)
        return
    ledger = Ledger(
        console,
        (
            Column("operation"),
            Column("choice"),
            Column("default", 8),
            Column("tuned", 8),
            Column("speed-up", gain_width(console)),
        ),
    )
    for entry in profile.entries:
        ledger.write(_cells(entry, console), _why(entry), style=STYLES[entry.status])
    console.print()
    console.print(summary(profile.entries))


def heading(profile: Profile) -> list[str]:
    """What the profile is about, and who made it."""
    key, made = profile.key, profile.provenance
    software = key.software
    name = made.cpu or " ".join(
        str(part) for part in (key.hardware.vendor, key.hardware.model) if part is not None
    )
    blas = " ".join(part for part in (software.blas, software.blas_version, software.kernels) if part)
    lines = [
        messages.machine(name or None, cpus=key.usable_cpus, limit=key.limit),
        messages.libraries(blas or None, numpy=software.numpy),
        messages.made(
            made.created,
            version=made.autotune,
            effort=made.effort,
            resolution=made.resolution,
            neighbours=made.neighbours,
            copies=made.copies,
        ),
    ]
    if made.expected_wrong:
        lines.append(messages.risk(made.expected_wrong, tested=made.rules_tested))
    return [printable(line) for line in lines]


def summary(entries: Iterable[Entry]) -> str:
    """How many entries have each status."""
    counts = Counter(entry.status for entry in entries)
    return messages.summary(
        {messages.STATUSES[status]: counts[status] for status in Status if counts[status]}
    )


def operation_name(operation: Operation) -> str:
    """An operation as it is written in a table: float64 goes without saying."""
    sizes = [f"{name}={value}" for name, value in operation.sizes]
    dtype = [] if operation.dtype == "float64" else [operation.dtype]
    return printable(" ".join([operation.name, *dtype, *sizes]))


def _cells(entry: Entry, console: "Console") -> tuple[str, ...]:
    tuned = entry.status is Status.TUNED
    return (
        operation_name(entry.operation),
        str(entry.choice) if tuned else messages.STATUSES[entry.status],
        units.seconds(entry.default_seconds),
        units.seconds(entry.tuned_seconds if tuned else None),
        gain(*_gain(entry), console),
    )


def _gain(entry: Entry) -> tuple[str, str]:
    """The speed-up and its interval. What was tested and did not stand is in the reason, and is no gain."""
    if entry.status is not Status.TUNED:
        return units.speedup(None), ""
    return units.speedup(entry.ratio), units.speedup_interval(entry.ratio_low, entry.ratio_high)


def _why(entry: Entry) -> str:
    lines = [printable(entry.reason)]
    if entry.retained_bytes is not None:
        lines.append(messages.retained(entry.retained_bytes))
    if entry.corners:
        lines.append(messages.corners(entry.corners))
    return "\n".join(lines)
