"""`autotune verify`."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autotune.bench.inspect_workload import describe
from autotune.cli import messages, units
from autotune.cli.entry_table import Column, Ledger, gain, gain_width
from autotune.cli.fitting_profile import applying
from autotune.cli.profile_table import operation_name
from autotune.cli.program import FAILED
from autotune.cli.terminal import console, printable
from autotune.host.shares import PROCESSES
from autotune.profiles import profile_files

if TYPE_CHECKING:
    from autotune.bench.user_workload import UserWorkload
    from autotune.model.profile import Profile
    from autotune.search.verification import Check

BUDGET = "2m"

STYLES = {"holds": "green", "slower": "red", "failed": "red", "open": "yellow", "no-longer-holds": "yellow"}


@click.command()
@click.argument("profile", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--budget", metavar="TIME", default=BUDGET, show_default=True, help="Time allowed, such as 90s or 5m."
)
@click.option("--workload", metavar="FILE.py:FUNCTION", help="The function of yours that it has entries of.")
@click.option("--json", "as_json", is_flag=True, help="Print the verdicts as JSON.")
def verify(profile: Path | None, budget: str, workload: str | None, as_json: bool) -> int:
    """Measure a profile's choices against plain NumPy once more, in fresh processes.

    Without PROFILE, the one that applies on this machine. Says of every choice whether it still holds, with
    its speed-up and the 95 % interval. Exits with 1 if one is slower than plain NumPy or fails, or if nothing
    in the profile is for this machine.

    \b
    Examples:
      autotune verify
      autotune verify profiles/cluster-node.yaml --budget 10m --json
    """
    seconds = units.budget(budget)
    path = profile or applying()
    if path is None:
        click.echo(messages.NO_PROFILE, err=True)
        return FAILED
    shown = profile_files.read(path)
    own = describe(workload) if workload is not None else None
    click.echo(messages.profile_at(printable(str(path))), err=as_json)
    checks: list[Check] = []
    ledger = _ledger(stderr=as_json)
    for check in verified(shown, seconds, own):
        checks.append(check)
        ledger(check)
    if as_json:
        click.echo(json.dumps({"path": str(path), "entries": [plain(check) for check in checks]}, indent=2))
    click.echo(messages.verdict(checks), err=True)
    return FAILED if failed(checks) else 0


def _ledger(*, stderr: bool) -> "Callable[[Check], None]":
    """Writes verdicts as they come."""
    screen = console(stderr=stderr)
    width = gain_width(screen)
    ledger = Ledger(
        screen, (Column("operation"), Column("choice"), Column("", 23), Column("speed-up", width))
    )

    def write(check: "Check") -> None:
        entry = check.entry
        interval = units.speedup_interval(check.ratio_low, check.ratio_high)
        cells = (
            operation_name(entry.operation),
            str(entry.choice),
            messages.STANDINGS[check.standing],
            gain(units.speedup(check.ratio), interval, screen),
        )
        ledger.write(cells, printable(check.reason), style=STYLES.get(check.standing, ""))

    return write


def verified(profile: "Profile", seconds: float, own: "UserWorkload | None") -> "Iterator[Check]":
    """The verdict on each of the profile's choices, measured in the company that it was measured in."""
    from autotune.search.runner import verify_profile

    if profile.provenance.copies > 1:
        os.environ.setdefault(PROCESSES, str(profile.provenance.copies))
    return verify_profile(profile, seconds=seconds, workload=own)


def failed(checks: "list[Check]") -> bool:
    """Is one slower or failing, or is nothing in it for this machine?"""
    from autotune.search.verification import Standing

    return any(check.standing.bad for check in checks) or (
        bool(checks) and all(check.standing is Standing.REFUSED for check in checks)
    )


def plain(check: "Check") -> dict[str, Any]:
    """A verdict as plain values."""
    entry = check.entry
    return {
        "operation": entry.operation.name,
        "dtype": entry.operation.dtype,
        "sizes": entry.operation.size,
        "choice": entry.choice.as_dict(),
        "standing": str(check.standing),
        "reason": check.reason,
        "ratio": check.ratio,
        "interval": None if check.ratio_low is None else [check.ratio_low, check.ratio_high],
        "processes": check.processes,
        "recorded_ratio": entry.ratio,
    }
