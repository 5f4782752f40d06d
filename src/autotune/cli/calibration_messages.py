"""The sentences of a calibration: its progress, its end, and the program that it is for."""

from collections.abc import Iterable, Sequence
from math import isfinite
from shlex import join
from typing import TYPE_CHECKING

from autotune.cli.profile_messages import STATUSES
from autotune.model import units
from autotune.model.configuration import Configuration
from autotune.model.entry import Entry, Status
from autotune.model.units import count_of

if TYPE_CHECKING:
    from autotune.model.measurement import Failure
    from autotune.recording.program_gain import VerifiedGain
    from autotune.search.events import Confirming, Exploring


# --- a calibration while it runs --------------------------------------------------------

SELF_TEST = "Self-test: timing resolution and CPU capacity."


def explored(event: "Exploring") -> str:
    return f"{exploring(event)}  ({_times(event.elapsed, event.remaining)})"


def exploring(event: "Exploring") -> str:
    dtype = "" if event.dtype == "float64" else f" {event.dtype}"
    return f"[{event.index}/{event.total}] exploring {event.name}{dtype}"


def trying(configuration: Configuration) -> str:
    return f"tried {configuration}"


def confirmation_begins(event: "Confirming") -> str:
    return f"Exploration is done. {confirming(event)}  ({_times(event.elapsed, event.remaining)})"


def confirming(event: "Confirming") -> str:
    return (
        f"confirming in fresh processes: {event.decided} decided, {event.undecided} undecided, "
        f"about {units.clock(event.seconds_left)} more"
    )


def best_so_far(configuration: Configuration, speedup: float) -> str:
    return f"best so far {configuration} at {units.seeming(speedup)}x the default"


def best(operation: str, configuration: Configuration, speedup: float) -> str:
    return f"  {operation}: {configuration} looks {units.seeming(speedup)}x as fast as the default"


def trial_failed(operation: str, configuration: Configuration, failure: "Failure") -> str:
    return f"  {operation}: {configuration} {failure.kind}: {failure.reason}"


def decided(operation: str, entry: Entry) -> str:
    if entry.status is not Status.TUNED:
        return f"  {operation}: {STATUSES[entry.status]}: {entry.reason}"
    evidence = entry.evidence
    interval = units.interval(evidence.interval)
    return f"  {operation}: {entry.choice}, {units.speedup(evidence.speedup)} ({interval})"


def now(where: str, *, doing: str, best: str, elapsed: float, remaining: float) -> str:
    """Return the line that is replaced at every event."""
    parts = (where or "getting ready", _times(elapsed, remaining), best, doing)
    return " | ".join(part for part in parts if part)


def _times(elapsed: float, remaining: float) -> str:
    left = f", {units.clock(remaining)} left" if isfinite(remaining) else ""
    return f"{units.clock(elapsed)} spent{left}"


# --- a calibration at its end -----------------------------------------------------------


def written(path: object, *, tuned: int, total: int) -> str:
    return f"{tuned} of {total} entries are tuned; the others run as plain NumPy. The profile is in {path}."


SAME_UNTIL_DECIDED = "the same command with --until-decided."


def undecided(counts: str, command: str, *, busy: bool, budget: str | None = None) -> str:
    """Tell of entries without a decision, `counts` by their status; `busy` if the load of others is the likely cause.

    `budget` is what would be enough, as far as that is known.
    """
    said = f"Without a decision: {counts}"
    if busy:
        return f"{said} Others used the CPUs: repeat the same command at a quieter moment."
    enough = "" if budget is None else f" By what is known so far --budget {budget} would be enough."
    return f"{said}{enough} To decide the rest: {command}"


def earlier(count: int, *, tuned: int) -> str:
    entries = count_of(count, "entry", "entries")
    return f"It also holds {entries} of earlier runs, {tuned} of them tuned, which stay in use."


def for_cpus(place: int, total: int, *, cpus: int) -> str:
    return f"Allocation {place} of {total}: {count_of(cpus, 'CPU')}"


def how_to_use(path: object, *, is_searched: bool, own: str | None = None) -> str:
    """Name the next step; `is_searched` if programs look there by themselves, `own` for a user's function only."""
    if is_searched and own is not None:
        return (
            f'Programs use it by autotune.tuned_call({own}, ...) or `with autotune.tuned("{own}", ...)`; '
            f"`autotune explain {own}` tells why."
        )
    if is_searched:
        return (
            "Programs use it by `autotune run -- CMD`, autotune.apply(), map_blocks and the like; "
            "`autotune explain` says what applies."
        )
    return f"Programs do not look there by themselves: set AUTOTUNE_PROFILE={path} for them."


def how_to_see(command: str) -> str:
    """Name the commands that show the profile; `command` is the word that starts autotune."""
    return f"See it in pictures, in a browser: {command} report --open"


def written_elsewhere(output: object, path: object, why: object) -> str:
    return f"{output} could not be written ({why}). Nothing is lost: the profile is in {path}."


RESUME = "Interrupted. The same command with --resume goes on from here and repeats no finished trial."
NOTHING_TO_RESUME = "There is no calibration of this machine to go on with. Run `autotune calibrate` without --resume."


def resumed_differs(names: Iterable[str]) -> str:
    return (
        f"The interrupted calibration was asked something else: {', '.join(names)}. "
        "Give --resume alone to go on with it, or leave --resume out to begin anew."
    )


def small_quota(quota: float) -> str:
    return (
        f"The CPU quota is {quota:g} of one CPU: everything is paused in between, so what is found here says "
        "little. Calibrate with a quota of at least one CPU if you can."
    )


def written_nowhere(output: object, why: str) -> str:
    return (
        f"{output} could not be written ({why}), and no other place either. Nothing is lost: the profile is "
        "printed above; save it as a file, and name that in AUTOTUNE_PROFILE."
    )


def not_a_profile(path: object, reason: str) -> str:
    return f"{path} exists and is not a profile ({reason.rstrip('.')}). Name another file with --output."


def lacks_dtype(names: Sequence[str], dtype: str) -> str:
    """Name the operations that were asked for and have no such dtype."""
    return f"Not measured with {dtype}, since the catalogue has them with real numbers only: {', '.join(names)}."


def workload_failed(name: str, reason: str) -> str:
    return f"{name} could not be measured, so nothing was written. {reason}"


def workload_alone(operation: str) -> str:
    return f"--workload tunes your function alone; calibrate {operation} with a command of its own."


def tuned_together(alias: str, row: str) -> str:
    return f"{alias} is tuned as {row}, work of the same shape: {row} is measured."


# --- a program that is calibrated for ---------------------------------------------------

NO_COMMAND = "Name a command after --, such as `autotune calibrate -- python simulate.py`."
PROGRAM_ALONE = "A command or a recording is calibrated for alone: name no operations with it, and not both of them."
NOTHING_TO_MEASURE = (
    "Nothing that this program calls can be tuned, or it takes less than 1 % of the run. `autotune advise -- CMD` says "
    "where the time goes."
)
PROGRAM_DIFFERS = "The tuned runs ended or wrote otherwise than the plain ones: `autotune compare -- CMD` shows it."
NO_VERIFY_RUNS = "No runs of the command were asked for."
NOTHING_GAINED = "Nothing that the program calls is tuned, so it runs as before: no pairs of runs were made."


def recording_run(command: Sequence[str]) -> str:
    return f"Recording one run of {join(command)}."


def recorded_run_failed(command: Sequence[str], status: int) -> str:
    how = f"was ended by signal {-status}" if status < 0 else f"ended with exit status {status}"
    return (
        f"{join(command)} {how}, with empty input: nothing is measured for it. `autotune advise -- CMD` shows its "
        "output; --record there and --recording here take what it called until then."
    )


def not_measurable(call: str) -> str:
    return (
        f"{call} takes its part of the run and cannot be calibrated: the catalogue has no such operation with this "
        "dtype."
    )


def program_operations(count: int, share: float) -> str:
    return f"Calibrating {count_of(count, 'operation')}: {share:.0%} of the run."


def loop_class(names: Sequence[str], members: Sequence[str]) -> str:
    """Name the functions of a program whose loops are tuned by those of others."""
    functions = ", ".join(f"np.{name}" for name in names)
    return (
        f"In the program {functions}: tuned as a class of loops, whose cheapest and dearest member are measured: "
        f"{' and '.join(members)}."
    )


def weighted_by_spool(count: int) -> str:
    return f"{count_of(count, 'operation')} that programs have called here count more (the spool of $AUTOTUNE_RECORD)."


def runs_too_long(pairs: int, needed: float, allowed: float) -> str:
    return (
        f"{count_of(pairs, 'pair')} of runs of the command would take {needed:.0f} s, more than the {allowed:.0f} s of "
        "the budget: `autotune compare -- CMD` runs them."
    )


def verifying_runs(pairs: int) -> str:
    return f"Running the command in {count_of(pairs, 'pair')}, plain and tuned."


def program_gain(gained: "VerifiedGain") -> str:
    speedup, low, high = gained.predicted, gained.predicted_low, gained.predicted_high
    by_entries = f"{speedup:.2f} times as fast by its entries ({low:.2f} to {high:.2f})"
    # where none of its calls is tuned there is no interval
    said = f"The whole program: {by_entries if low < high else 'as fast as before, since none of its calls is tuned'}"
    if gained.measured is None:
        return f"{said}."
    with_start = gained.predicted_with_start
    if with_start is not None and f"{with_start:.2f}" != f"{speedup:.2f}":
        said += f", {with_start:.2f} with the {gained.start_seconds:.2g} s that `autotune run` takes to start"
    interval = gained.interval
    runs = f"{gained.measured:.2f} in {count_of(gained.pairs, 'pair')} of its runs"
    repeat = "`autotune compare -- CMD` repeats them, at a quieter moment or with more --pairs"
    if interval is None:
        return f"{said}, {runs}: too few to tell. {repeat}."
    shown = f"{said}, {runs}, 95 % interval {units.interval(interval)}."
    if units.cannot_tell(interval):
        shown += f" The pairs cannot tell on this machine now: {repeat}."
    return shown
