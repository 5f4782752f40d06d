"""The sentences about commands that are run as a whole: run, env, compare and tune."""

from collections.abc import Sequence

from autotune.cli.profile_messages import STATUSES
from autotune.model import units
from autotune.model.catalogue import COMMANDS
from autotune.model.entry import Entry, Status
from autotune.model.units import count_of
from autotune.runtime.process_settings import threads_text

# --- a whole command --------------------------------------------------------------------


def tuned(entry: Entry, *, by: str) -> str:
    if entry.status is not Status.TUNED:
        return f"{STATUSES[entry.status].capitalize()}: {entry.reason}"
    evidence = entry.evidence
    return (
        f"{units.speedup(evidence.speedup)} ({units.interval(evidence.interval)}) as good as the command as it "
        f"stands, {by}, in {evidence.pairs} pairs of runs."
    )


BY_TIME = "by its time"
BY_METRIC = "by the number that it prints"


def entry_written(path: object, name: str, *, own_name: bool, is_tuned: bool) -> str:
    """Name the file that the entry of a command was written to, and the verbs that use it; `own_name`: by --name."""
    short = name.removeprefix(COMMANDS)
    option = f" --name {short}" if own_name else ""
    use = f"`autotune run{option} -- CMD` uses it, " if is_tuned else ""
    return f"The profile {path} holds it as {name}: {use}`autotune explain {short}` shows it."


def no_tuned_command(name: str) -> str:
    """`run --name` names a command that was not tuned."""
    return f"No profile here holds {name}; `autotune tune --name {name.removeprefix(COMMANDS)} -- CMD` makes it."


def command_as_it_stands(name: str) -> str:
    return f"{name} was tuned, and nothing was proved faster than the command as it stands."


def command_of_more_cpus(name: str, configuration: object, usable_cpus: int) -> str:
    return f"{name} is not used: it was tuned for more CPUs ({configuration}) than the {usable_cpus} usable here."


def command_without_place(name: str, place: object) -> str:
    return f"{name} is not used: it was tuned with {place} in its arguments, which this command does not have."


def command_of_own_variables(name: str, names: Sequence[str]) -> str:
    return f"{name} is not used: it was tuned with another value of {', '.join(names)} than you have set."


def running_tuned(name: str, configuration: object, speedup: float | None) -> str:
    gain = "" if speedup is None else f", {units.speedup(speedup)} as fast as the command as it stands"
    return f"autotune run: {name} as `autotune tune` measured it: {configuration}{gain}."


def no_place(option: str, place: str) -> str:
    return f"{option} needs a place to put its values: write {place} into the command's arguments."


def no_values(place: str, option: str) -> str:
    return f"The command has {place}: give the values to try, its usual one first, as {option} 10000,100000."


MAXIMIZE_WITHOUT_METRIC = "--maximize says what to do with a number; name the number with --metric."


def not_whole_numbers(option: str, text: str) -> str:
    return f"{option} {text!r} is not a list of whole numbers of at least 1, such as 1,2,4."


def too_many_workers(most: int, usable_cpus: int) -> str:
    return f"{most} workers do not fit the {usable_cpus} CPUs that may be used here; leave them out."


def not_a_pattern(text: str, why: object) -> str:
    return f"--metric {text!r} is not a regular expression: {why}."


def not_a_name(text: str) -> str:
    return f"--name {text!r} cannot stand in a profile: use at most 50 small letters, digits and _."


# --- a command that is run --------------------------------------------------------------

ONLY_VARIABLES = (
    "--blas-threads and --environment-only set variables only; --reductions, --learn and --children do more."
)
NAME_ALONE = (
    "--name asks for what `tune` chose; --blas-threads, --reductions, --learn, --wait and --children ask for "
    "something else."
)
NO_SUCH_COMMAND = "there is no such command"


def as_asked(threads: int) -> str:
    return f"{count_of(threads, 'BLAS thread')}, as asked."


def running(
    threads: int | None,
    reason: str,
    *,
    calls: bool,
    user_limit: int | None,
    text: str | None = None,
    learns: bool = False,
    wait: str | None = None,
) -> str:
    """Describe the effect of `run` on the command; `calls` if calls and loops of its Pythons are tuned, too.

    `learns` if it also learns about those that were not measured; `wait` is what idle threads do: sleep or spin.

    `text` says why the choice of `tune` for it is not used.
    """
    reason = reason if text is None else f"{reason} {text}"
    rest = " Calls and loops of its Pythons run as measured" if calls else ""
    rest += ", others are learned" if calls and learns else ""
    rest += "." if calls else ""
    rest += "" if wait is None else f" Idle threads {wait}."
    if threads is not None and user_limit is not None:
        return f"autotune run: your own BLAS thread variables stay ({count_of(user_limit, 'thread')}).{rest}"
    return f"autotune run: {threads_text(threads)} {reason}{rest}"


KEPT_FROM_SITE = "Its calls run as plain NumPy: Python's options -I, -E and -S keep autotune out."


def cannot_run(command: str, why: str) -> str:
    return f"{command} cannot be run: {why}."


# --- a comparison -----------------------------------------------------------------------

NO_REPORT = (
    "No Python of the command reported what was in force: none loaded NumPy, or they ended without their exit handlers."
)


def compared(speedup: float, interval: tuple[float, float] | None, pairs: int) -> str:
    runs = f"{count_of(pairs, 'pair')} of runs"
    if interval is None:
        said = f"Speed-up {units.speedup(speedup)} in {runs}"
        return f"{said}; an interval needs 3 pairs: give a larger --pairs or --budget."
    said = f"Speed-up {units.speedup(speedup)}, 95 % interval {units.interval(interval)}, in {runs}."
    if units.cannot_tell(interval):
        said += (
            " These runs cannot tell whether tuned ones are faster: the interval is wide and contains 1. Repeat it on "
            "a quieter machine, or with more --pairs and --budget."
        )
    return said


def compared_runs(*, same_status: bool, same_output: bool | None) -> str:
    status = (
        "All runs ended with the same exit status"
        if same_status
        else "The exit statuses of the runs differ (--json lists them)"
    )
    output = {
        True: "and wrote the same",
        False: "and the tuned runs wrote something else than the plain ones",
        None: "and the output varies between plain runs, so that it cannot be compared",
    }[same_output]
    return f"{status} {output}."


def compared_short_runs(seconds: float) -> str:
    return (
        f"A plain run takes {seconds:.2g} s, and the start of `autotune run`, some tenths of a second, is part of each "
        "tuned one: give the command more to do."
    )


def compared_failures(status: int) -> str:
    end = f"signal {-status} ended it" if status < 0 else f"exit status {status}"
    return f"The command failed in every run ({end}), so there is no speed-up: run it alone to see why."


def compared_in_force(reason: str, *, calls: float, tuned: float, loops: float) -> str:
    """Describe the effect of `run` on a tuned run of a command."""
    return (
        f"In force in a run: {tuned:.0f} of {calls:.0f} calls of linear algebra had a thread count of their own, and "
        f"{loops:.0f} loops ran on several CPUs. {reason}"
    )
