"""Entries of profiles as a table: each a row, and its reason below it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from autotune.cli.messages import limit_text, summary
from autotune.cli.terminal import TablePrinter, print_lines, width
from autotune.model import units
from autotune.model.entry import Entry, Status
from autotune.model.operation import Operation
from autotune.model.units import STATUSES, count_of
from autotune.runtime.text_table import TextColumn, operation_name, printable, wrap

if TYPE_CHECKING:
    from autotune.model.profile import Profile

WIDE = 96
"""Least width of the terminal, in columns, at which a speed-up and its interval are on one line."""
STYLES = {Status.TUNED: "green", Status.UNDECIDED: "yellow", Status.NOISY: "yellow", Status.FAILED: "red"}


def print_profile(profile: "Profile") -> None:
    """Print the machine of a profile, every entry with its evidence and reason, and the counts by status."""
    print_lines([part for line in heading(profile) for part in wrap(printable(line), width())])
    print_lines([""])
    if profile.entries:
        print_entries(profile.entries)
    else:
        print_lines(["The profile has no entries: it changes nothing."])


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
        cells = [*_cells(entry), *sources[number : number + 1]]
        table.print_row(cells, *_notes(entry), style=STYLES.get(entry.status))
    print_lines(["", count_statuses(entries)])
    tuned = (entry.evidence for entry in entries if entry.status is Status.TUNED)
    shares = [evidence.full_capacity_share or 0.0 for evidence in tuned if evidence.was_short_of_capacity]
    if shares:
        share = sorted(shares)[len(shares) // 2]  # the median; `statistics` takes 5 ms to load
        text = (
            f"Times are those at full capacity, which the machine had {share:.0%} of the time. Where the "
            "speed-up expected over all states of the machine differs by 5 % or more, the table shows that one, and "
            "the one at full capacity below it."
        )
        print_lines(wrap(text, width()))


def gain_column() -> TextColumn:
    return TextColumn("speed-up", 22 if width() >= WIDE else 16, right=True)


def gain(speedup: float | None, interval: tuple[float, float] | None) -> str:
    """Return a speed-up with its interval, on two lines where the column is narrow."""
    text = units.speedup(speedup)
    return f"{text}{' ' if width() >= WIDE else chr(10)}({units.interval(interval)})" if interval else text


def heading(profile: "Profile") -> Iterator[str]:
    """Yield the machine that a profile is for, and how it was measured."""
    key, made = profile.key, profile.provenance
    software = key.software
    name = made.cpu or " ".join(str(part) for part in (key.hardware.vendor, key.hardware.model) if part is not None)
    blas = " ".join(part for part in (software.blas, software.blas_version, software.kernels) if part)
    yield f"{name or 'Unknown CPU'}: {count_of(key.usable_cpus, 'usable CPU')}{limit_text(key.limit)}"
    yield f"BLAS {blas or 'unknown'}, NumPy {software.numpy or 'unknown'}"
    conditions = (
        f"Measured {made.created or 'at an unknown time'}" + (f" by autotune {made.autotune}" if made.autotune else ""),
        made.effort and f"effort {made.effort}",
        made.copies > 1 and f"{made.copies} copies of each trial at once",
        made.neighbours and f"next to {count_of(made.neighbours, 'busy process', 'busy processes')}",
    )
    untold = "" if made.resolution is None else f"; differences below {made.resolution:.1%} cannot be resolved"
    yield ", ".join(part for part in conditions if part) + untold
    if made.renumbered_cpus:
        yield "CPUs had other numbers than the system lists (lxcfs): load of others was seen for all CPUs together."
    if made.expected_wrong:
        tested = count_of(made.rules_tested, "size was", "sizes were")
        yield f"{tested} tested; at most {made.expected_wrong:.2g} wrong choices are expected among them"


def count_statuses(entries: Iterable[Entry]) -> str:
    """Return the number of entries of each status, in a sentence."""
    counts = Counter(entry.status for entry in entries)
    return summary({STATUSES[status]: counts[status] for status in Status if counts[status]})


def plain_operation(operation: Operation) -> dict[str, Any]:
    return {"operation": operation.name, "dtype": operation.dtype, "sizes": operation.size}


def plain_entry(entry: Entry) -> dict[str, Any]:
    evidence = entry.evidence
    return {
        **plain_operation(entry.operation),
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
    evidence, is_tuned = entry.evidence, entry.status is Status.TUNED
    return [
        operation_name(entry.operation),
        str(entry.choice) if is_tuned else STATUSES[entry.status],
        units.seconds(evidence.default_seconds),
        units.seconds(evidence.tuned_seconds if is_tuned else None),
        gain(evidence.leading_speedup, evidence.leading_interval) if is_tuned else units.UNKNOWN,
    ]


def _notes(entry: Entry) -> list[str]:
    evidence = entry.evidence
    notes = [printable(entry.reason)]
    if entry.status is Status.TUNED and (evidence.depends_on_capacity or evidence.expected_speedup is None):
        notes[0] += f" {evidence.capacity_note}".rstrip()
    if evidence.retained_bytes is not None:
        notes.append(f"The process holds {units.memory(evidence.retained_bytes)} more memory than by default.")
    if entry.corners:
        speeds = (
            f"{corner.choice.blas_threads or 1} x {corner.choice.workers or 1} {units.speedup(corner.speedup)}"
            for corner in entry.corners
        )
        notes.append(f"BLAS threads x workers: {', '.join(speeds)}")
    return notes
