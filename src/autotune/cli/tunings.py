"""A profile as a table, or as a list where the terminal is narrow."""

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from autotune.cli import messages, units
from autotune.cli.terminal import NARROW, printable
from autotune.model.operation import Operation
from autotune.model.profile import Profile
from autotune.model.tuning import Status, Tuning

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

STYLES = {Status.TUNED: "green", Status.DEFAULT_KEPT: "", Status.NOISY: "yellow", Status.FAILED: "red"}


def render(profile: Profile, console: "Console") -> None:
    """The machine, every entry with its evidence and its reason, and how many there are of each status."""
    for line in heading(profile):
        console.print(line)
    console.print()
    if not profile.tunings:
        console.print(messages.EMPTY_PROFILE)
        return
    console.print(_list(profile.tunings) if console.width < NARROW else _table(profile.tunings))
    console.print(summary(profile.tunings))


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


def summary(tunings: Iterable[Tuning]) -> str:
    """How many entries have each status."""
    counts = Counter(tuning.status for tuning in tunings)
    return messages.summary(
        {messages.STATUSES[status]: counts[status] for status in Status if counts[status]}
    )


def operation_name(operation: Operation) -> str:
    """An operation as it is written in a table: float64 goes without saying."""
    sizes = [f"{name}={value}" for name, value in operation.sizes]
    dtype = [] if operation.dtype == "float64" else [operation.dtype]
    return printable(" ".join([operation.name, *dtype, *sizes]))


def _table(tunings: Iterable[Tuning]) -> "RenderableType":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=False)
    table.add_column("operation", overflow="fold", max_width=26)
    table.add_column("choice, and why", overflow="fold", ratio=1)
    for title in ("default", "tuned", "speed-up"):
        table.add_column(title, justify="right", no_wrap=True)
    for tuning in tunings:
        speedup, interval = _gain(tuning)
        table.add_row(
            operation_name(tuning.operation),
            _why(tuning),
            units.seconds(tuning.default_seconds),
            units.seconds(tuning.tuned_seconds),
            f"{speedup}\n{interval}".rstrip(),
            style=STYLES[tuning.status],
        )
    return table


def _list(tunings: Iterable[Tuning]) -> "RenderableType":
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    rows: list[RenderableType] = []
    for tuning in tunings:
        rows.append(Text(operation_name(tuning.operation), style="bold", overflow="fold"))
        text = Text(f"{_why(tuning)}\n", overflow="fold")
        text.append(_times(tuning), style=STYLES[tuning.status])
        rows.append(Padding(text, (0, 0, 1, 2)))
    return Group(*rows)


def _times(tuning: Tuning) -> str:
    if tuning.tuned_seconds is None:
        return units.seconds(tuning.default_seconds)
    speedup, interval = _gain(tuning)
    return f"{units.seconds(tuning.default_seconds)} -> {units.seconds(tuning.tuned_seconds)}, {speedup}" + (
        f" ({interval})" if interval else ""
    )


def _gain(tuning: Tuning) -> tuple[str, str]:
    """The speed-up and its interval. What was tested and did not stand is in the reason, and is no gain."""
    if tuning.status is not Status.TUNED:
        return units.speedup(None), ""
    return units.speedup(tuning.ratio), units.speedup_interval(tuning.ratio_low, tuning.ratio_high)


def _why(tuning: Tuning) -> str:
    choice = str(tuning.choice) if tuning.status is Status.TUNED else messages.STATUSES[tuning.status]
    lines = [f"{choice}: {printable(tuning.reason)}"]
    if tuning.retained_bytes is not None:
        lines.append(messages.retained(tuning.retained_bytes))
    if tuning.corners:
        lines.append(messages.corners(tuning.corners))
    return "\n".join(lines)
