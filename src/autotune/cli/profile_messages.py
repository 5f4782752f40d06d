"""The sentences about profiles and their entries: show, explain, forget, verify, report."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from autotune.cli.machine_messages import LAYERS
from autotune.model import units
from autotune.model.catalogue import row_of
from autotune.model.entry import Alternative, Status
from autotune.model.units import count_of

if TYPE_CHECKING:
    from autotune.search.verification import Check


# --- a profile --------------------------------------------------------------------------

NO_PROFILE = (
    "No entry is in force on this machine. `autotune calibrate` measures it and writes a profile; the reasons above "
    "say why others are not used."
)
EMPTY_PROFILE = "The profile has no entries: it changes nothing."
STATUSES = {
    Status.TUNED: "tuned",
    Status.DEFAULT_KEPT: "default kept",
    Status.UNDECIDED: "undecided",
    Status.NOISY: "too noisy to tell",
    Status.FAILED: "could not be measured",
}


def made(
    created: str | None,
    *,
    version: str | None,
    effort: str | None,
    resolution: float | None,
    neighbours: int = 0,
    copies: int = 1,
) -> str:
    parts = [
        f"Measured {created or 'at an unknown time'}" + (f" by autotune {version}" if version else ""),
        effort and f"effort {effort}",
        copies > 1 and f"{copies} copies of each trial at once",
        neighbours and f"next to {count_of(neighbours, 'busy process', 'busy processes')}",
    ]
    line = ", ".join(part for part in parts if part)
    return line if resolution is None else f"{line}; differences below {resolution:.1%} cannot be told"


RENUMBERED = "CPUs had other numbers than the system lists (lxcfs): load of others was seen for all CPUs together."


def risk(expected_wrong: float, *, tested: int) -> str:
    operations = count_of(tested, "operation was", "operations were")
    return f"{operations} tested; at most {expected_wrong:.2g} wrong choices are expected among them"


def corners(corners: Iterable[Alternative]) -> str:
    """List the four corners of tasks, each with the speed-up that exploration measured; it is no claim."""
    speeds = (
        f"{corner.choice.blas_threads or 1} x {corner.choice.workers or 1} {units.speedup(corner.speedup)}"
        for corner in corners
    )
    return f"BLAS threads x workers: {', '.join(speeds)}"


def retained(count: int) -> str:
    return f"The process holds {units.memory(count)} more memory than by default."


def summary(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {status}" for status, number in counts.items()) + "."


def expected(speedup: float) -> str:
    return f"Expected over all states of the machine: {units.speedup(speedup)}."


def full_capacity(share: float) -> str:
    return (
        f"Speed-ups are those at full capacity, which the machine had {share:.0%} of the time; where the one expected "
        "over all of it differs, the entry's reason says so."
    )


def profile_at(path: object) -> str:
    return f"Profile {path}"


def local_profile(layer: str, *, in_force: int) -> str:
    return f"{LAYERS[layer][:1].upper()}{LAYERS[layer][1:]}; {count_of(in_force, 'entry', 'entries')} in force."


def _calibrate(names: Sequence[str], sizes: Sequence[str]) -> str:
    """Return the command that measures operations, or a function of the user's, at these sizes."""
    own = [name for name in names if row_of(name) is None]
    subjects = [f"--workload FILE.py:{own[0]}"] if own else names
    return " ".join(["autotune calibrate", *subjects, *sizes])


def not_measured(names: Sequence[str], sizes: Sequence[str]) -> str:
    named = " ".join([*names, *sizes])
    return f"No entry in force covers {named}. `{_calibrate(names, sizes)}` measures it."


FORGET_WHICH = "Name the operations whose entries are to be removed: autotune forget qr n=300."


def forgotten(count: int, path: object) -> str:
    return f"{count_of(count, 'entry was', 'entries were')} removed from {path}."


def nothing_to_forget(words: Iterable[str]) -> str:
    return f"No entry of the profile is about {' '.join(words)}; nothing was changed. `autotune show` lists them."


def stands_elsewhere(words: Sequence[str], path: object, layer: str) -> str:
    """Describe an entry of a profile that is not in the user's own folder."""
    return (
        f"{' '.join(words)} stands in {path} ({LAYERS[layer]}), which `forget` leaves as it is; nothing was changed. A "
        f"decided entry of your own goes first: `autotune calibrate {' '.join(words)}` measures it here."
    )


NOTHING_APPLIES = "`autotune calibrate` measures this machine."
ONE_OPERATION = "Name one operation, then its sizes: autotune explain svd n=500."
MOST_NAMED = 8


def how_to_measure(name: str, sizes: Sequence[str], *, measured: list[str]) -> str:
    """Name the sizes of an operation that have an entry, and the command that adds others."""
    listed = ", ".join(measured[:MOST_NAMED]) + (", ..." if len(measured) > MOST_NAMED else "")
    hint = f"Measured: {listed}. " if measured else ""
    return f"{hint}`{_calibrate([name], sizes)}` measures {' '.join([name, *sizes])}."


def not_in_catalogue(name: str) -> str:
    """Describe a name that may be a function of the user's whose profile is not used."""
    return (
        f"{name} is neither an operation of the catalogue nor a function in a profile that is used here. If you "
        "calibrated it, its profile is among those that are not used; `autotune show` gives the reasons. "
        f"`{_calibrate([name], ())}` measures it."
    )


# --- a profile that is verified ---------------------------------------------------------

STANDINGS = {
    "holds": "holds",
    "no-longer-holds": "no longer holds",
    "slower": "SLOWER than plain NumPy",
    "failed": "FAILED",
    "open": "could not be told",
    "refused": "not for this machine",
}


def verdict(checks: Iterable["Check"]) -> str:
    counts: dict[str, int] = {}
    for check in checks:
        counts[check.standing] = counts.get(check.standing, 0) + 1
    if not counts:
        return "The profile has no choices to verify: it changes nothing."
    said = summary(
        {
            words if counts[standing] == 1 else words.replace("holds", "hold"): counts[standing]
            for standing, words in STANDINGS.items()
            if standing in counts
        }
    )
    worse = {"slower", "failed", "no-longer-holds"} & counts.keys()
    if worse:
        said += " `autotune calibrate` with these operations measures them anew."
    if "open" in counts:
        said += " A larger --budget, on a quiet machine, tells the rest."
    return said


# --- a report ---------------------------------------------------------------------------

REPORT = "autotune-report.html"
ONE_FORMAT = "Give at most one of --output, --json, --csv and --optuna."
ONE_HISTORY = "--optuna writes the history of one profile; name one."
NO_HISTORY = (
    "There is no journal of this profile's calibration on this machine, so there is no history to write. "
    "`autotune calibrate` keeps one of its last run."
)


def unchanged(path: object, why: str) -> str:
    return f"{path} could not be written ({why}), and is as it was. Make room there, or let this user write to it."


def not_written(path: object, why: str) -> str:
    return f"{path} could not be written ({why}). Nothing was changed: name another file."


def report_written(path: object) -> str:
    return f"The report is in {path}: open it in a browser."


def exists_already(path: object) -> str:
    return f"{path} exists already: name a new file."


def history_written(path: object, count: int) -> str:
    studies = count_of(count, "study", "studies")
    return f"{path} holds {studies}, one for every size. `optuna-dashboard {path}` shows it, once that is installed."
