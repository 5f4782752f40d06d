"""Every sentence of the command line. What happened and where, what follows from it, what to do."""

from collections.abc import Iterable, Iterator, Mapping
from math import isfinite
from typing import TYPE_CHECKING, Any

from autotune.cli import units
from autotune.model.allocation import Limit
from autotune.model.configuration import Configuration
from autotune.model.entry import Entry, Status

if TYPE_CHECKING:
    from autotune.model.measurement import Failure
    from autotune.search.events import Confirming, Exploring
    from autotune.search.verification import Check

# --- the command itself -------------------------------------------------------------------

PROGRAM = """Finds the mix of BLAS threads, workers and chunk sizes that makes NumPy fastest on this machine.

Measure once with `autotune calibrate`; programs that call `autotune.apply()` then run with what was found, others do
under `autotune run`. Nothing is applied that was not proved faster than plain NumPy.
"""

EXIT_CODES = """\b
Exit codes:
    0  done
    1  a check failed, or the output went elsewhere than asked
    2  wrong usage
    3  the machine or the environment does not allow it
  130  interrupted; everything finished is saved
"""

VERBS = {
    "calibrate": "Measure this machine and write its profile.",
    "show": "Show a profile: every choice, its gain and its reason.",
    "verify": "Measure a profile's choices once more: do they still hold here?",
    "report": "Show a profile as a page of figures, or several side by side.",
    "explain": "Say what applies here, from where, and what was refused.",
    "doctor": "Describe this machine, its limits and its BLAS.",
    "env": "Print shell lines that set BLAS threads as the profile says.",
    "run": "Run a command with BLAS threads set as the profile says.",
    "tune": "Find the thread counts at which a whole command runs fastest.",
    "daemon": "Keep profiles up to date: measure in idle time what programs call and what has changed.",
    "publish": "Give a profile to the cluster's store.",
    "pull": "Bring what the cluster's store holds for this machine.",
    "list": "Say what the cluster's store holds.",
    "prune": "Remove from the cluster's store what nobody needs.",
    "keys": "Make or show the key that signs what you publish.",
    "cluster": "Print a batch file that calibrates each kind of node, for sites without Dask.",
}

SIZES = {
    "n": "Columns of a matrix, and its rows without --m; numbers in an array.",
    "m": "Rows of a matrix.",
    "k": "What a product sums over.",
    "count": "Matrices in a stack.",
    "tasks": "Tasks of a batch.",
}

INTERRUPTED = "Interrupted."


def no_such_verb(verb: str, nearest: str) -> str:
    """A verb that does not exist."""
    return f"There is no verb {verb!r}. Did you mean {nearest}?"


def operations(names: Iterable[str]) -> str:
    """What can be measured, below the help of a verb."""
    return f"Operations: {', '.join(names)}."


def unsaid(why: str) -> str:
    """Standard output takes no more."""
    return (
        f"autotune: the output could not be written ({why}). What was asked is done; only its words are lost."
    )


def error(text: str) -> str:
    """A refusal, on standard error."""
    return f"autotune: {text}"


# --- a profile ----------------------------------------------------------------------------

NO_PROFILE = "There is no profile for this machine yet. `autotune calibrate` measures it and writes one."
EMPTY_PROFILE = "The profile has no entries: it changes nothing."

STATUSES = {
    Status.TUNED: "tuned",
    Status.DEFAULT_KEPT: "default kept",
    Status.UNDECIDED: "undecided",
    Status.NOISY: "too noisy to tell",
    Status.FAILED: "could not be measured",
}

LIMITS = {
    Limit.NONE: "",
    Limit.AFFINITY: ", limited by an affinity mask or cpuset",
    Limit.QUOTA: ", limited by a CPU quota",
    Limit.CAP: ", limited by AUTOTUNE_CPUS",
    Limit.SHARED: ", its share among several processes",
}


def machine(name: str | None, *, cpus: int, limit: Limit) -> str:
    """The machine of a profile, in one line."""
    return f"{name or 'Unknown CPU'}: {cpus} usable CPU{'s' * (cpus != 1)}{LIMITS[limit]}"


def libraries(blas: str | None, *, numpy: str | None) -> str:
    """The software of a profile, in one line."""
    return f"BLAS {blas or 'unknown'}, NumPy {numpy or 'unknown'}"


def made(
    created: str | None,
    *,
    version: str | None,
    effort: str | None,
    resolution: float | None,
    neighbours: int = 0,
    copies: int = 1,
) -> str:
    """Who made a profile, in which company, and how finely that machine could tell, in one line."""
    by = f"autotune {version}" if version else "an unknown version"
    how = f", effort {effort}" if effort else ""
    noise = f"; differences below {resolution:.1%} cannot be told" if resolution is not None else ""
    company = f", {copies} copies of each trial at once" if copies > 1 else ""
    company += f", beside {neighbours} busy process{'es' * (neighbours != 1)}" if neighbours else ""
    return f"Measured {created or 'at an unknown time'} by {by}{how}{company}{noise}"


def risk(expected_wrong: float, *, tested: int) -> str:
    """How far the choices of a profile can be believed, in one line."""
    operations = "1 operation was" if tested == 1 else f"{tested} operations were"
    return f"{operations} tested; at most {expected_wrong:.2g} wrong choices are expected among them"


def corners(corners: Iterable[tuple[Configuration, float]]) -> str:
    """The four corners of tasks, each with its speed; as search found them, so not a claim."""
    speeds = (
        f"{corner.blas_threads or 1} x {corner.workers or 1} {units.speedup(ratio)}"
        for corner, ratio in corners
    )
    return f"BLAS threads x workers: {', '.join(speeds)}"


def retained(count: int) -> str:
    """What a choice costs in memory."""
    return f"The process holds {units.memory(count)} more memory than by default."


def summary(counts: Mapping[str, int]) -> str:
    """How many entries have each status."""
    return ", ".join(f"{number} {status}" for status, number in counts.items()) + "."


NOTHING_APPLIES = "`autotune calibrate` measures this machine."
SIZES_WITHOUT_OPERATION = "Sizes belong to an operation; name it: autotune explain svd --n 500."


# --- this machine ----------------------------------------------------------------------------

ALL_WELL = "Nothing here makes NumPy slow."
_PYTHONS = {"gil": "a GIL", "free-threaded": "free threading"}


def usable(cpus: int, limit: Limit) -> str:
    """How many CPUs a program may use, and why no more."""
    return f"CPUs that a program may keep busy: {cpus}{LIMITS[limit]}."


def numpy_and_python(numpy: str | None, python: str | None) -> str:
    """The software around the BLAS."""
    return f"NumPy {numpy or 'not found'}, Python with {_PYTHONS[python or 'gil']}"


# --- a calibration while it runs ------------------------------------------------------------


SELF_TEST = "Self-test: timing resolution and CPU capacity."


def explored(event: "Exploring") -> str:
    """Exploration of an operation begins."""
    return f"{exploring(event)}  ({_times(event.elapsed, event.remaining)})"


def exploring(event: "Exploring") -> str:
    """Exploration of an operation."""
    dtype = "" if event.dtype == "float64" else f" {event.dtype}"
    return f"[{event.index}/{event.total}] exploring {event.name}{dtype}"


def trying(configuration: Configuration) -> str:
    return f"tried {configuration}"


def confirmation_begins(event: "Confirming") -> str:
    """All operations were explored; candidates go to the test."""
    return f"Exploration is done. {confirming(event)}  ({_times(event.elapsed, event.remaining)})"


def confirming(event: "Confirming") -> str:
    """A round of confirmation."""
    return (
        f"confirming in fresh processes: {event.decided} decided, {event.undecided} undecided, "
        f"about {units.clock(event.seconds_left)} more"
    )


def best_so_far(configuration: Configuration, ratio: float | None) -> str:
    return f"best so far {configuration} at {units.speedup(ratio)} the default"


def best(operation: str, configuration: Configuration, ratio: float | None) -> str:
    """A new leader; not yet a claim."""
    return f"  {operation}: {configuration} looks {units.speedup(ratio)} as fast as the default"


def trial_failed(operation: str, configuration: Configuration, failure: "Failure") -> str:
    """A configuration that cannot be used."""
    return f"  {operation}: {configuration} {failure.kind}: {failure.reason}"


def decided(operation: str, entry: Entry) -> str:
    """An entry is final."""
    if entry.status is not Status.TUNED:
        return f"  {operation}: {STATUSES[entry.status]}: {entry.reason}"
    interval = units.speedup_interval(entry.ratio_low, entry.ratio_high)
    return f"  {operation}: {entry.choice}, {units.speedup(entry.ratio)} ({interval})"


def now(where: str, *, doing: str, best: str, elapsed: float, remaining: float) -> str:
    """The line that is replaced at every event."""
    parts = (where or "getting ready", _times(elapsed, remaining), best, doing)
    return " | ".join(part for part in parts if part)


def _times(elapsed: float, remaining: float) -> str:
    left = f", {units.clock(remaining)} left" if isfinite(remaining) else ""
    return f"{units.clock(elapsed)} spent{left}"


# --- a calibration at its end ---------------------------------------------------------------


def written(path: object, *, faster: int, total: int) -> str:
    """Where the profile went, and what is in it."""
    return f"{faster} of {total} entries run faster than plain NumPy. The profile is in {path}."


def undecided(count: int, command: str) -> str:
    """What the time or others left open, and the command that decides it."""
    entries = "1 entry is" if count == 1 else f"{count} entries are"
    return f"{entries} undecided: the time ended, or others used the CPUs. To decide the rest: {command}"


def earlier(count: int) -> str:
    """What else is in the profile."""
    return f"It also holds {count} entr{'y' if count == 1 else 'ies'} of earlier runs, which stay in use."


def for_cpus(place: int, total: int, *, cpus: int) -> str:
    """The turn of one of several allocations has come."""
    return f"Allocation {place} of {total}: {cpus} CPU{'s' * (cpus != 1)}"


def how_to_use(path: object, *, found: bool) -> str:
    """What to do next; `found` if programs look in that place by themselves."""
    if found:
        return (
            "Programs use it by autotune.apply(), map_blocks and the like; "
            "`autotune explain` says what applies."
        )
    return f"Programs do not look there by themselves: set AUTOTUNE_PROFILE={path} for them."


def how_to_see(command: str) -> str:
    """What to do next, to look at it; `command` is how autotune is called here."""
    return f"See it in pictures, in a browser: {command} report --html report.html"


def written_elsewhere(asked: object, path: object, why: object) -> str:
    """The output could not go where it was asked to."""
    return f"{asked} could not be written ({why}). Nothing is lost: the profile is in {path}."


RESUME = "Interrupted. The same command with --resume goes on from here and repeats no finished trial."
NOTHING_TO_RESUME = (
    "There is no calibration of this machine to go on with. Run `autotune calibrate` without --resume."
)


def resumed_differs(names: Iterable[str]) -> str:
    """--resume was given together with something else than what the calibration was asked."""
    return (
        f"The interrupted calibration was asked something else: {', '.join(names)}. "
        "Give --resume alone to go on with it, or leave --resume out to begin anew."
    )


def small_quota(quota: float) -> str:
    """The machine pauses whatever is measured."""
    return (
        f"The CPU quota is {quota:g} of one CPU: everything is paused in between, so what is found here says "
        "little. Calibrate with a quota of at least one CPU if you can."
    )


def written_nowhere(asked: object, why: str) -> str:
    """No place on this machine takes the profile."""
    return (
        f"{asked} could not be written ({why}), and no other place either. Nothing is lost: the profile is "
        "printed above; save it as a file, and name that in AUTOTUNE_PROFILE."
    )


def not_a_profile(path: object, reason: str) -> str:
    """The output would replace something else."""
    return f"{path} exists and is not a profile ({reason.rstrip('.')}). Name another file with --output."


def workload_failed(name: str, reason: str) -> str:
    """The user's function cannot be measured at any size."""
    return f"{name} could not be measured, so nothing was written. {reason}"


def workload_alone(operation: str) -> str:
    """Operations beside a function of the user's."""
    return f"--workload tunes your function alone; calibrate {operation} with a command of its own."


def profile_at(path: object) -> str:
    """Which file is shown."""
    return f"Profile {path}"


# --- a whole command ------------------------------------------------------------------------


def tuned(entry: Entry, *, by: str) -> str:
    """Result of tuning a command."""
    if entry.status is not Status.TUNED:
        return f"{STATUSES[entry.status].capitalize()}: {entry.reason}"
    interval = units.speedup_interval(entry.ratio_low, entry.ratio_high)
    return (
        f"{units.speedup(entry.ratio)} ({interval}) as good as the command as it stands, {by}, "
        f"in {entry.pairs} pairs of runs."
    )


BY_TIME = "by its time"
BY_METRIC = "by the number that it prints"


def entry_written(path: object, name: str) -> str:
    """Where the entry of a command was written."""
    return f"The profile {path} holds it as {name}."


def no_place(option: str, place: str) -> str:
    """Values for a place that the command does not have."""
    return f"{option} needs a place to put its values: write {place} into the command's arguments."


def no_values(place: str, option: str) -> str:
    """A place in the command without values for it."""
    return f"The command has {place}: give the values to try, its usual one first, as {option} 10000,100000."


NO_PLACE_TO_SEPARATE = "--separate cannot be combined with {workers}: both would be the number of workers."
MAXIMIZE_WITHOUT_METRIC = "--maximize says what to do with a number; name the number with --metric."


def not_whole_numbers(option: str, text: str) -> str:
    """A list of counts that is none."""
    return f"{option} {text!r} is not a list of whole numbers of at least 1, such as 1,2,4."


def too_many_workers(most: int, usable_cpus: int) -> str:
    """More workers than CPUs."""
    return f"{most} workers do not fit the {usable_cpus} CPUs that may be used here; leave them out."


def not_a_pattern(text: str, why: object) -> str:
    """A metric that is no regular expression."""
    return f"--metric {text!r} is not a regular expression: {why}."


def not_a_name(text: str) -> str:
    """A name that a profile cannot hold."""
    return f"--name {text!r} cannot stand in a profile: use at most 50 small letters, digits and _."


# --- a profile that is verified ---------------------------------------------------------------

STANDINGS = {
    "holds": "holds",
    "no-longer-holds": "no longer holds",
    "slower": "SLOWER than plain NumPy",
    "failed": "FAILED",
    "open": "could not be told",
    "refused": "not for this machine",
}


def verdict(checks: Iterable["Check"]) -> str:
    """How many choices came to which verdict, and what to do."""
    counts: dict[str, int] = {}
    for check in checks:
        counts[check.standing] = counts.get(check.standing, 0) + 1
    if not counts:
        return "The profile has no choices to verify: it changes nothing."
    said = summary({words: counts[standing] for standing, words in STANDINGS.items() if standing in counts})
    worse = {"slower", "failed", "no-longer-holds"} & counts.keys()
    if worse:
        said += " `autotune calibrate` with these operations measures them anew."
    if "open" in counts:
        said += " A larger --budget, on a quiet machine, tells the rest."
    return said


# --- a store that a cluster shares --------------------------------------------------------------


def no_store(path: object) -> str:
    """Nobody named a store."""
    return (
        f"No store is named. Write `store: /nfs/autotune` (a folder or a URL) into {path}, "
        "set AUTOTUNE_STORE, or give --store."
    )


NOTHING_TO_PUBLISH = "This host has measured nothing yet. `autotune calibrate` does, and writes a profile."


def published(profile: object, name: str, *, new: bool) -> str:
    """Where a profile went."""
    return f"{profile} is in the store as {name}." if new else f"The store has {profile} already, as {name}."


def mirrored(folder: str, *, entries: int, hosts: int, confirmed: int, contested: int) -> str:
    """What the mirror holds of a class."""
    counted = f"{entries} entr{'y' if entries == 1 else 'ies'} of {hosts} host{'s' * (hosts != 1)}"
    disputed = f", {contested} contested" if contested else ""
    return f"{folder}: {counted}; {confirmed} confirmed{disputed}."


def nothing_pulled(address: str) -> str:
    """The store has no class of this machine."""
    return (
        f"The store {address} holds nothing that is believed here for this kind of machine. "
        "`autotune calibrate` and `autotune publish` change that."
    )


def no_mirror(problem: OSError) -> str:
    """The local copy cannot be written."""
    return f"What was pulled cannot be written ({problem}). Programs go on with what they had."


def refused_file(name: str, reason: str) -> str:
    """A file of a store that is not used."""
    return f"{name} is not used: {reason}"


def more_refused(count: int) -> str:
    """Refusals that are not printed."""
    return f"{count} more are not used; --json names them all."


def listed_class(folder: str, *, hosts: int, files: int) -> str:
    """A class in a store."""
    return f"{folder}  {hosts} host{'s' * (hosts != 1)}, {files} publication{'s' * (files != 1)}"


def listed_publication(host: str, *, created: str | None, entries: int, signer: str | None) -> str:
    """A publication in a class."""
    by = f", signed by {signer}" if signer else ""
    return f"{host}  {created or 'at an unknown time'}  {entries} entr{'y' if entries == 1 else 'ies'}{by}"


def empty_store(address: str) -> str:
    """Nobody published yet."""
    return f"The store {address} is empty."


def empty_class(folder: str, address: str) -> str:
    """A class without anything that is believed."""
    return f"The store {address} holds nothing of {folder} that is believed here."


def not_a_class(text: str) -> str:
    """A name that no class has."""
    return f"{text!r} is not the name of a class; `autotune list` prints them."


def pruned(name: str, reason: str, *, gone: bool) -> str:
    """A file that goes."""
    return f"{name} {'is removed' if gone else 'would go'}: {reason}"


def pruned_all(count: int, *, gone: bool) -> str:
    """How many go."""
    files = f"{count} file{'s' * (count != 1)}"
    return f"{files} removed." if gone else f"{files} would go."


def key_use(path: object, name: str) -> str:
    """What a key is for."""
    return (
        f"This is key {name}; its private part is in {path}. Others trust it once this line stands in "
        "`trusted_keys` of their config.yaml."
    )


def store_away(problem: object) -> str:
    """A calibration begins without what others know."""
    return f"{problem} The calibration begins without what other machines found."


# --- the daemon -----------------------------------------------------------------------------

DAEMON_RESUMED = "The daemon measures again as soon as the machine is idle."
DAEMON_RELOADED = "The daemon has read its configuration again."


def daemon_paused(span: str | None) -> str:
    """Return how long nothing is measured."""
    end = "until `autotune daemon resume`" if span is None else f"for {span}"
    return f"The daemon measures nothing {end}."


def daemon_ordered(operation: str) -> str:
    """Return when an order is measured."""
    return f"{operation} is measured next, once the machine is idle; `autotune daemon status` says what it waits for."


def daemon_stopped(pid: int) -> str:
    """Return that the daemon has ended."""
    return f"The daemon (process {pid}) has ended. Profiles stay in force."


def daemon_installed(files: Iterable[object], following: str) -> str:
    """Return the files of the unit, and the command that starts it."""
    return f"Written: {', '.join(map(str, files))}. Start it with `{following}`."


def daemon_status(status: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the daemon does, and why."""
    yield f"autotune {status['version']} runs as process {status['pid']}, configured by {status['configuration']}."
    running = status["running"]
    if running:
        yield f"Now: {running['what']}, for {units.clock(running['seconds'])}. {running['why']}"
    else:
        yield f"Now: nothing. {status['waiting'] or status['why']}"
    daily = status["daily_cpu_seconds"]
    limit = "" if daily is None else f" of {units.clock(daily)}"
    yield f"CPU time spent today: {units.clock(status['spent_cpu_seconds'])}{limit}"
    for interpreter in status["interpreters"]:
        entries = summary(interpreter["entries"]) if interpreter["entries"] else "none."
        yield f"{interpreter['name']}: entries: {entries}"
        stale = interpreter["stale"] and f"Stale: {interpreter['stale']}"
        yield from (f"    {text}" for text in (interpreter["problem"], stale) if text)
    if status["store"]:
        store = status["store"]
        pulled = units.moment(store["pulled"]) if store["pulled"] else "never"
        yield (
            f"Store {store['url']}: last pulled: {pulled}; failures in a row: {store['failures']}; "
            f"pulled profiles to be tested: {store['staged']}; profiles to be published: {store['unpublished']}"
        )
    yield f"Operations called without a profile entry: {status['demand']}; ordered: {status['orders']}"
    yield from (f"In doubt: {why}" for why in status["doubts"])
    for event in status["recent"]:
        yield f"  {units.moment(event['wall'])} {event['event']}: {event['job']}: {event['why']}"


def daemon_queue(answer: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the daemon will measure next, and why."""
    yield answer["waiting"] or "The machine is idle."
    for number, job in enumerate(answer["queue"], 1):
        yield f"{number}. {job['subject']} [{job['cause']}] {job['reason']}"
    if not answer["queue"]:
        yield "Nothing waits to be measured."


def warm_start(profiles: int, *, brought: int, chosen: int, seconds: float) -> str:
    """What a calibration owes to other machines."""
    known = f"{profiles} profile{'s' * (profiles != 1)} of the store"
    return (
        f"Warm start from {known}: {brought} of {chosen} choices came from there and were tried first, which saved "
        f"{units.clock(seconds)} of search or more."
    )


# --- a report ---------------------------------------------------------------------------------

REPORT_AS_WHAT = "Say what to make, one of --html FILE, --json, --csv and --optuna FILE."
ONE_HISTORY = "--optuna writes the history of one profile; name one."
NO_HISTORY = (
    "There is no journal of this profile's calibration on this machine, so there is no history to write. "
    "`autotune calibrate` keeps one of its last run."
)


def not_written(path: object, why: str) -> str:
    """The output cannot go where it was asked to."""
    return f"{path} could not be written ({why}). Nothing was changed: name another file."


def report_written(path: object) -> str:
    """Where the page is, and what to do with it."""
    return f"The report is in {path}: open it in a browser."


def exists_already(path: object) -> str:
    """The output would be mixed with something else."""
    return f"{path} exists already: name a new file."


def history_written(path: object, count: int) -> str:
    """Where the search history is, and what to do with it."""
    return (
        f"{path} holds {count} stud{'y' if count == 1 else 'ies'}, one for every size. "
        f"`pip install optuna-dashboard`, then: optuna-dashboard {path}"
    )


# --- a command that is run --------------------------------------------------------------------

ONLY_VARIABLES = (
    "--blas-threads and --environment-only set variables only; --reductions and --children are for more."
)
NO_SUCH_COMMAND = "there is no such command"


def cannot_run(command: str, why: str) -> str:
    """The command does not start."""
    return f"autotune run: {command} cannot be run: {why}."


def tuned_together(asked: str, row: str) -> str:
    """An operation was named by another name: what is measured for it."""
    return f"{asked} is tuned as {row}, work of the same shape: {row} is measured."


# --- a cluster ---------------------------------------------------------------------------------

WHICH_BATCH_SYSTEM = "Say which batch system the file is for: --slurm, --pbs, --lsf or --sge."
CLUSTER_INTERRUPTED = "Interrupted. What finished is kept; the nodes stop within seconds."
ERRANDS = {"examine": "self-test", "search": "search of {}", "confirm": "confirmation of {}"}


def not_on_nodes(option: str, instead: str) -> str:
    """An option that only makes sense on this machine."""
    return f"--scheduler does not go with {option}: {instead}"


def job_name(errand: str, unit: str) -> str:
    """What a node does."""
    return ERRANDS[errand].format(unit)


def job_running(name: str, host: str) -> str:
    """What a node does now."""
    return f"{host}: {name}"


def cluster_now(doing: Iterable[str], *, standing: tuple[int, int, int], elapsed: float) -> str:
    """Where a calibration of a cluster stands, in one line."""
    units_, searched, waiting = standing
    done = f"{searched}/{units_} searched, {waiting} to confirm, {units.clock(elapsed)}"
    return f"{done} | {' | '.join(doing)}"


def worker_came(host: str, worker: str, slug: str | None) -> str:
    """A node takes part."""
    return f"Host {host} ({worker}) takes part" + (f", class {slug}." if slug else ".")


def worker_refused(worker: str, reason: str) -> str:
    """A worker does not."""
    return f"Worker {worker} is left out: {reason}"


def worker_left(worker: str, doing: str | None) -> str:
    """A worker went away."""
    return f"Worker {worker} is gone." + (f" Its {doing} goes to another." if doing else "")


def job_done(name: str, host: str, counts: Mapping[str, int], standing: tuple[int, int, int]) -> str:
    """A node has finished something."""
    units_, searched, waiting = standing
    found = f": {summary(counts)}" if counts else "."
    return f"[{searched}/{units_}, {waiting} to confirm] Host {host}: {name}{found}"


def job_failed(name: str, host: str, reason: str, *, busy: bool) -> str:
    """A node could not do something; what follows."""
    following = "It is asked again." if busy else "Another host is asked, if there is one."
    return f"Host {host}: {name}: {reason} {following}"


def cluster_class(slug: str, *, hosts: int) -> str:
    """What follows is about a class of nodes."""
    return f"\nClass {slug}, measured by {hosts} host{'s' * (hosts != 1)}:"


def cluster_written(path: object) -> str:
    """Where the profile of a class is."""
    return (
        f"Written: {path}. Nodes of this class that see this folder use it; `autotune calibrate --scheduler` "
        "with a store (`--store`) gives it to the others."
    )


def cluster_published(hosts: int, address: str) -> str:
    """A class is in the store."""
    return f"Published for {hosts} host{'s' * (hosts != 1)} to {address}. `autotune pull` brings it to each node."


def not_published(problem: object) -> str:
    """The store does not take what was measured; what follows."""
    return f"{problem} What was measured is written to files instead."


def cluster_missed(slug: str, unit: str, reason: str) -> str:
    """A part of what was asked is missing."""
    return f"{unit} of class {slug}: {reason}"


def cluster_ended(problem: str) -> str:
    """The calibration of a cluster ended early."""
    return f"{problem} What finished before is kept."
