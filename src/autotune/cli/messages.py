"""Sentences that verbs print next to their results: what happened, what follows from it, and what to do.

An error's sentence is written where it is raised; a line of a table or of progress where it is formatted. The types
of entries and the catalogue are not loaded for sentences: `autotune run` starts without them.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from autotune.model import units
from autotune.model.allocation import LIMITED_BY, Limit
from autotune.model.units import STATUSES, count_of

if TYPE_CHECKING:
    from autotune.model.entry import Entry
    from autotune.search.verification import Check
    from autotune.share.mirror import MirroredClass

LAYERS = {
    "named": "named by AUTOTUNE_PROFILE",
    "user": "this user's",
    "node": "this machine's daemon's",
    "system": "the administrator's",
    "cluster": "from the cluster's store",
    "shipped": "shipped with autotune",
}


def summary(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {status}" for status, number in counts.items()) + "."


def limit_text(limit: Limit) -> str:
    """Name the limit of usable CPUs, after a comma; empty for none."""
    return f", limited by {LIMITED_BY[limit]}" if limit in LIMITED_BY else ""


# --- a calibration ----------------------------------------------------------------------


def tuned_together(alias: str, row: str) -> str:
    return f"{alias} is tuned as {row}, work of the same shape: {row} is measured."


def lacks_dtype(names: Sequence[str], dtype: str) -> str:
    """Name the operations that were asked for and have no such dtype."""
    return f"Not measured with {dtype}, since the catalogue has them with real numbers only: {', '.join(names)}."


def small_quota(quota: float) -> str:
    return (
        f"The CPU quota is {quota:g} of one CPU: everything is paused in between, so what is found here says "
        "little. Calibrate with a quota of at least one CPU if you can."
    )


def for_cpus(place: int, total: int, *, cpus: int) -> str:
    return f"Allocation {place} of {total}: {count_of(cpus, 'CPU')}"


def profile_written(path: object, *, tuned: int, total: int) -> str:
    rest = f"; the default stays for {f'the other {total - tuned}' if tuned else 'all'}" if tuned < total else ""
    return f"Tuned: {tuned} of {count_of(total, 'entry', 'entries')}{rest}. The profile is in {path}."


SAME_UNTIL_DECIDED = "the same command with --until-decided."


def entries_undecided(counts: str, command: str, *, busy: bool, budget: str | None = None) -> str:
    """Describe entries without a decision, `counts` by their status; `busy` if the load of others is the likely cause.

    `budget` is what should be enough, as far as that is known.
    """
    said = f"Without a decision: {counts}"
    if busy:
        return (
            f"{said} Others used the CPUs: repeat the same command at a quieter moment. Where fewer BLAS threads "
            "looked faster, `autotune compare --blas-threads 1 -- CMD` and `autotune tune -- CMD` measure a whole "
            "program now."
        )
    enough = "" if budget is None else f" By what is known so far --budget {budget} should be enough."
    return f"{said}{enough} To decide the rest: {command}"


def earlier(count: int, *, tuned: int) -> str:
    entries = count_of(count, "entry", "entries")
    return f"It also holds {entries} of earlier runs, {tuned} of them tuned, which stay in use."


def how_to_use(path: object, *, is_searched: bool, own: str | None = None, is_estimator: bool = False) -> str:
    """Name the next step; `is_searched` if programs look there by themselves, `own` if only its scopes use it."""
    if is_searched and own is not None:
        call = "" if is_estimator else f"autotune.tuned_call({own}, ...) or "
        return f'Programs use it by {call}`with autotune.tuned("{own}", ...)`; `autotune explain {own}` says why.'
    if is_searched:
        return (
            "Programs use it by `autotune run -- CMD`, autotune.apply(), map_blocks and the like; "
            "`autotune explain` says what applies."
        )
    return f"Programs do not look there by themselves: set AUTOTUNE_PROFILE={path} for them."


def how_to_see(command: str) -> str:
    """Name the command that shows the profile; `command` is the word that starts autotune."""
    return f"See it in pictures, in a browser: {command} report --open"


def written_elsewhere(output: object, path: object, why: object) -> str:
    return f"{output} could not be written ({why}). Nothing is lost: the profile is in {path}."


def kept_aside(path: object, set_aside: object) -> str:
    return f"The file that was at {path} could not be read as a profile; nothing is lost: it is now {set_aside}."


RESUME = "Interrupted. The same command with --resume goes on from here and repeats no finished trial."

HAD_FINISHED = "The calibration had come to its end: nothing is measured, and its profile is written once more."

# --- a program that is calibrated for ---------------------------------------------------


def recording_run(command: str) -> str:
    return f"Recording one run of {command}."


def not_measurable(call: str) -> str:
    return (
        f"{call} takes its part of the run and cannot be calibrated: the catalogue has no such operation with this "
        "dtype."
    )


def program_operations(names: int, sizes: int, share: float, budget: float | None) -> str:
    """Tell what is measured for a program, its part of the run, and the longest time that this takes."""
    time = "" if budget is None else f", in up to {units.clock(budget)}"
    return f"Calibrating {count_of(names, 'operation')} at {count_of(sizes, 'size')}: {share:.0%} of the run{time}."


def loop_class(names: Sequence[str], members: Sequence[str]) -> str:
    """Name the functions of a program whose loops are tuned by those of others."""
    functions = ", ".join(f"np.{name}" for name in names)
    return (
        f"In the program {functions}: tuned as a class of loops, for which its cheapest and dearest members are "
        f"measured: {', '.join(members)}."
    )


def weighted_by_spool(count: int) -> str:
    return f"{count_of(count, 'operation')} that programs have called here count more (the spool of $AUTOTUNE_RECORD)."


def runs_follow(pairs: int, seconds: float) -> str:
    runs = f"{count_of(pairs, 'pair')} of runs of the command"
    return f"Where choices are proved, {runs} follow: about {units.clock(seconds)}."


def verifying_runs(pairs: int, seconds: float) -> str:
    return f"Running the command in {count_of(pairs, 'pair')}, plain and tuned: about {units.clock(seconds)}."


def command_without_dashes(words: str) -> str:
    return f"A command comes after --: `autotune calibrate {words}`."


RUN_START_SECONDS = 0.1
"""Time that `autotune run` takes to start, as messages state it."""
NO_VERIFY_RUNS = "No runs of the command were asked for."
RECORDED_IN_PART = (
    "The recording ended before the command did, whose time is not known: `autotune compare -- CMD` runs it in pairs."
)
NOTHING_GAINED = "This profile tunes nothing that the program calls: no pairs of runs were made."
PROGRAM_DIFFERS = "The tuned runs ended or wrote otherwise than the plain ones: `autotune compare -- CMD` shows it."


def runs_too_long(pairs: int, needed: float, allowed: float) -> str:
    return (
        f"{count_of(pairs, 'pair')} of runs of the command would take {needed:.0f} s or more, and the budget is "
        f"{allowed:.0f} s: `autotune compare -- CMD` runs them."
    )


# --- a command that is run, compared or tuned as a whole --------------------------------


CALIBRATE_FOR_COMMAND = "`autotune calibrate -- CMD` measures what the command calls."


def pairs_foreseen(first_seconds: float, pairs: int, fitting: int, *, seconds: float) -> str:
    """Say how many pairs of runs fit the budget, and about how long they take, by the first run."""
    fit = "" if fitting == pairs else f"{fitting} of "
    return (
        f"A plain run takes {units.digits(first_seconds)} s. The budget allows {fit}{count_of(pairs, 'pair')} of runs: "
        f"about {units.clock(seconds)}."
    )


def too_few_pairs(options: str, *, fewest: int) -> str:
    return f"Too few for a speed-up, which needs {fewest} pairs: give {options}."


def failed_in_every_run(status: int) -> str:
    """Describe a command whose runs all ended with this status; negative: the signal that ended them."""
    end = f"signal {-status} ended it" if status < 0 else f"exit status {status}"
    return f"The command failed in every run ({end}), so there is no speed-up: run it alone to see why."


def as_asked(threads: int) -> str:
    return f"{count_of(threads, 'BLAS thread')}, as asked."


def running_tuned(name: str, configuration: object, speedup: float | None, cpu_ratio: float | None) -> str:
    gain = "" if speedup is None else f", {units.speedup(speedup)} as fast as the command as it stands"
    gain += "" if cpu_ratio is None else f", with {cpu_ratio:.2f} of its CPU seconds"
    return f"autotune run: {name} as `autotune tune` measured it: {configuration}{gain}."


def running(
    effect: str, *, user_limit: int | None = None, calls: str = "", is_kept_out: bool = False, wait: str | None = None
) -> str:
    """Describe the effect of `run` on the command, whose BLAS threads are as `effect` says, or as the user set them.

    `calls` is what is done for calls and loops of its Pythons, `is_kept_out` if options of Python keep it from that;
    `wait` is what idle threads do: sleep or spin.
    """
    rest = f" {calls}" if calls else ""
    rest += "" if wait is None else f" Idle threads {wait}."
    rest += " Its calls run as plain NumPy: Python's options -I, -E and -S keep autotune out." if is_kept_out else ""
    if user_limit is not None:
        effect = f"your own BLAS thread variables stay ({count_of(user_limit, 'thread')})."
    return f"autotune run: {effect}{rest}"


def command_runs_plain(reason: str) -> str:
    return f"nothing is set, the command runs as without autotune. Please report this error of autotune: {reason}"


def calls_run_plain(reason: str) -> str:
    return f"Calls and loops of its Pythons run as plain NumPy: {reason}"


def calls_run(*, calls: bool, loops: bool, why_no_loops: str | None, learns: bool, reductions: bool) -> str:
    """Describe what `run` does for calls and for loops; `calls` and `loops` are whether profiles have choices."""
    none = "no profile here has a choice for them."
    if calls and loops:
        said = "Calls and loops of its Pythons run as profiles say."
    elif calls:
        said = f"Calls of its Pythons run as profiles say, loops of ufuncs as plain NumPy: {why_no_loops or none}"
    elif loops:
        said = f"Long loops of its Pythons run as profiles say, calls of linear algebra as plain NumPy: {none}"
    elif learns:
        said = "No profile here has a choice for calls or loops of its Pythons."
    else:
        said = calls_run_plain(why_no_loops or none)
    if learns:
        said += " Others are learned." if calls or loops else " They are learned."
    return f"{said} Sums are computed in fixed blocks." if reductions else said


def cannot_run(command: str, why: object) -> str:
    return f"{command} cannot be run: {why}."


NO_REPORT = (
    "No Python of the command reported what was in force: none loaded NumPy, or they ended without their exit handlers."
)


def command_tuned(entry: "Entry", *, by_metric: bool) -> str:
    if entry.status != "tuned":
        return f"{STATUSES[entry.status].capitalize()}: {entry.reason}"
    evidence, ratio = entry.evidence, entry.evidence.cpu_ratio
    return (
        f"{units.speedup(evidence.speedup)} ({units.interval(evidence.interval)}) as good as the command as it stands, "
        f"by {'the number that it prints' if by_metric else 'its time'}, in {evidence.pairs} pairs of runs."
        + ("" if ratio is None else f" It took {ratio:.2f} of its CPU seconds.")
    )


def entry_written(path: object, name: str, *, own_name: bool, is_tuned: bool) -> str:
    """Name the file that the entry of a command was written to, and the verbs that use it; `own_name`: by --name."""
    short = name.partition(".")[2]
    option = f" --name {short}" if own_name else ""
    use = f"`autotune run{option} -- CMD` uses it, " if is_tuned else ""
    return f"The profile {path} holds it as {name}: {use}`autotune explain {short}` shows it."


# --- profiles and their entries ---------------------------------------------------------

NO_PROFILE = (
    "No entry is in force on this machine. `autotune calibrate` measures it and writes a profile. `autotune show` "
    "lists the profiles that are not used, with the reasons."
)
SWITCHED_OFF_FOR_COMMAND = "switched off by AUTOTUNE_DISABLE, so that the command runs with plain NumPy."
SWITCHED_OFF = (
    "AUTOTUNE_DISABLE is set here: programs that are started with it run as plain NumPy, and no choice of a profile is "
    "in force."
)
NOTHING_APPLIES = "`autotune calibrate` measures this machine."
MOST_NAMED = 8


def _calibrate(names: Sequence[str], sizes: Sequence[str]) -> str:
    """Return the command that measures operations, or a function of the user's, at these sizes."""
    from autotune.model.catalogue import row_of

    own = [name for name in names if row_of(name) is None]
    subjects = [f"--workload FILE.py:{own[0]}"] if own else names
    return " ".join(["autotune calibrate", *subjects, *sizes])


def not_measured(names: Sequence[str], sizes: Sequence[str], measured: Sequence[str] = ()) -> str:
    """Name the sizes of these operations that have an entry, and the command that adds others."""
    listed = ", ".join(measured[:MOST_NAMED]) + (", ..." if len(measured) > MOST_NAMED else "")
    hint = f"Measured: {listed}. " if measured else ""
    named = " ".join([*names, *sizes])
    return f"No entry in force covers {named}. {hint}`{_calibrate(names, sizes)}` measures it."


def does_not_fit(name: str, sizes: Sequence[str], *, needed: int, allowed: int) -> str:
    """Describe sizes, of which the largest need more bytes than a calibration may take here."""
    return (
        f"No entry in force covers {' '.join([name, *sizes])}, and none can be measured here: its arrays take "
        f"{units.memory(needed)}, a calibration at most {units.memory(allowed)}, a quarter of the memory."
    )


def not_in_catalogue(name: str, nearest: Sequence[str]) -> str:
    """Describe a name that may be a function of the user's whose profile is not used."""
    hint = f"Did you mean {', '.join(nearest)}? " if nearest else ""
    return (
        f"{name} is neither an operation of the catalogue nor a function in a profile that is used here. {hint}If you "
        "calibrated it, its profile is among those that are not used; `autotune show` gives the reasons. "
        f"`{_calibrate([name], ())}` measures it."
    )


def removed_entries(count: int, path: object) -> str:
    return f"{count_of(count, 'entry was', 'entries were')} removed from {path}."


def nothing_to_forget(words: Iterable[str]) -> str:
    return f"No entry of the profile is about {' '.join(words)}; nothing was changed. `autotune show` lists them."


def stands_elsewhere(words: Sequence[str], path: object, layer: str) -> str:
    """Describe an entry of a profile that is not in the user's own folder."""
    return (
        f"{' '.join(words)} stands in {path} ({LAYERS[layer]}), which `forget` leaves as it is; nothing was changed. A "
        f"decided entry of your own goes first: `autotune calibrate {' '.join(words)}` measures it here."
    )


STANDINGS = {
    "holds": "holds",
    "no-longer-holds": "no longer holds",
    "slower": "SLOWER than plain NumPy",
    "failed": "FAILED",
    "open": "could not be told",
    "refused": "not verified here",
}


def nothing_to_verify(words: Sequence[str], choices: Mapping[str, int]) -> str:
    """Describe entries, narrowed by `words`, that keep plain NumPy; `choices` counts those of each operation."""
    named = f"{' '.join(words)}: no" if words else "No"
    listed = ", ".join(f"{name} ({number})" for name, number in choices.items())
    rest = f" Operations with choices: {listed}." if listed else ""
    return f"{named} choices to verify: every entry keeps plain NumPy.{rest}"


def verdict(checks: Sequence["Check"]) -> str:
    counts = Counter(str(check.standing) for check in checks)
    said = summary({
        words if counts[standing] == 1 else words.replace("holds", "hold"): counts[standing]
        for standing, words in STANDINGS.items()
        if standing in counts
    })  # fmt: skip
    if any(check.standing.bad for check in checks):
        said += " `autotune calibrate` with these operations measures them anew."
    if "open" in counts:
        said += " A larger --budget, on a quiet machine, tells the rest."
    return said


def report_written(path: object) -> str:
    return f"The report is in {path}: open it in a browser."


def history_written(path: object, count: int) -> str:
    studies = count_of(count, "study", "studies")
    return f"{path} holds {studies}, one for every size. `optuna-dashboard {path}` shows it, once that is installed."


# --- a store that machines share --------------------------------------------------------

NOTHING_TO_PUBLISH = (
    "No profile here was measured by this host. `autotune calibrate` writes one; other files are published if you name "
    "them."
)
UNSIGNED = (
    "Other hosts use an entry once two hosts have published the same choice, or a key that they trust has signed it "
    "(--sign; `autotune store keys --new` makes a key)."
)
UNCONFIRMED = (
    "Entries without confirmation are not applied here. Calibrate and publish on a second host of this class, or sign "
    "with `autotune store publish --sign` and list the key in `trusted_keys` of config.yaml here."
)


def profile_published(profile: object, name: str, *, new: bool, newly_signed: bool) -> str:
    if new:
        return f"{profile} is in the store as {name}{', signed' if newly_signed else ''}."
    if newly_signed:
        return f"The store had {profile} already, as {name}; the signature is new."
    return f"The store has {profile} already, as {name}."


def class_mirrored(mirror: "MirroredClass") -> str:
    entries = f"{count_of(mirror.entries, 'entry', 'entries')} of {count_of(mirror.hosts, 'host')}"
    contested = f", {mirror.contested} contested" if mirror.contested else ""
    return f"{mirror.key.slug}: {entries}; {mirror.decided} decided, {mirror.confirmed} confirmed{contested}."


def nothing_pulled(address: str) -> str:
    return (
        f"The store {address} has no trusted profile for this kind of machine. `autotune calibrate` and "
        "`autotune store publish` on two such machines, or on one with --sign, add one."
    )


def refused_file(name: str, reason: str) -> str:
    return f"{name} is not used: {reason}"


def more_refused(count: int) -> str:
    return f"{count_of(count, 'more file')} not used; --json lists all."


def empty_store(address: str) -> str:
    return f"The store {address} is empty."


def empty_class(folder: str, address: str) -> str:
    return f"The store {address} has no trusted publication of {folder}."


def pruned_all(count: int, *, gone: bool) -> str:
    return f"{count_of(count, 'file')} {'removed' if gone else 'would be removed'}."


def key_use(path: object, name: str) -> str:
    return (
        f"This is key {name}; its private part is in {path}. Machines trust it once this line is in `trusted_keys` of "
        "their config.yaml."
    )


def store_away(problem: object) -> str:
    return f"{problem} The calibration begins without the choices of other machines."


def warm_start(profiles: int, *, brought: int, chosen: int, seconds: float) -> str:
    return (
        f"Warm start from {count_of(profiles, 'profile')} of the store: {brought} of {chosen} choices came from there "
        f"and were tried first, which saved {units.clock(seconds)} of exploration or more."
    )


# --- the nodes of a cluster -------------------------------------------------------------

ONE_NODE = (
    "One node confirms nothing: other nodes use its profiles only if they are signed (--sign), or once a second node "
    "has measured the same."
)
CLUSTER_INTERRUPTED = "Interrupted. Finished results are kept; the nodes stop within seconds."


def cluster_written(path: object) -> str:
    return (
        f"Written: {path}. Nodes of this class that see this folder use it; with a store (`autotune cluster calibrate "
        "--store`) the others do, too."
    )


def cluster_published(hosts: int, address: str) -> str:
    return f"Published for {count_of(hosts, 'host')} to {address}. `autotune store pull` brings it to each node."


# --- the daemon -------------------------------------------------------------------------

DAEMON_RESUMED = "The daemon measures again as soon as the machine is idle."
DAEMON_RELOADED = "The daemon has read its configuration again."


def daemon_paused(span: str | None) -> str:
    end = "until `autotune daemon resume`" if span is None else f"for {span}"
    return f"The daemon measures nothing {end}."


def daemon_ordered(operations: Iterable[str]) -> str:
    listed = ", ".join(operations)
    return f"{listed}: measured next, once the machine is idle. `autotune daemon status` says what it waits for."


def daemon_stopped(pid: int) -> str:
    return f"The daemon (process {pid}) has ended. Profiles stay in force."


def daemon_installed(files: Iterable[object], following: str) -> str:
    return f"Written: {', '.join(map(str, files))}. Start it with `{following}`."
