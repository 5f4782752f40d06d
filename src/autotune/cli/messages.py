"""The sentences of the command line: what happened and where, what follows from it, what to do."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isfinite
from shlex import join
from typing import TYPE_CHECKING, Any

from autotune.model import units
from autotune.model.allocation import Limit
from autotune.model.catalogue import COMMANDS
from autotune.model.configuration import Configuration
from autotune.model.entry import Alternative, Entry, Status
from autotune.model.units import count_of

if TYPE_CHECKING:
    from autotune.model.measurement import Failure
    from autotune.search.events import Confirming, Exploring
    from autotune.search.verification import Check
    from autotune.share.mirror import MirroredClass

# --- the command itself -------------------------------------------------------------------

PROGRAM = """Finds the mix of BLAS threads, workers and chunk sizes that makes NumPy fastest on this machine.

Measure once with `autotune calibrate`; programs that call `autotune.apply()` then run with the measured choices, others
do under `autotune run`. Nothing is applied that was not proved faster than plain NumPy.
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
    "advise": "Record one run of a command, and say what autotune can do for it here.",
    "calibrate": "Measure this machine and write its profile.",
    "run": "Run a command with BLAS threads set as the profile says.",
    "compare": "Run a command plain and tuned, in pairs of runs, and print the speed-up.",
    "tune": "Find the thread counts at which a whole command runs fastest.",
    "env": "Print shell lines that set BLAS threads as the profile says.",
    "nproc": "Print how many CPUs a program may use, every limit counted.",
    "show": "List the profiles on this machine and the entries in force.",
    "explain": "Say what applies here, from where, and what was refused.",
    "verify": "Measure the choices once more: do they still hold here?",
    "forget": "Remove entries from the profile of this machine.",
    "report": "Write a page of figures about the entries in force, or compare profiles.",
    "doctor": "Describe this machine, its limits, its BLAS and the settings.",
    "store": "Share profiles between the machines of a cluster.",
    "cluster": "Calibrate every kind of node of a cluster.",
    "daemon": "Keep profiles up to date: measure in idle time what programs call and what has changed.",
}

INTERRUPTED = "Interrupted."


def no_such_verb(verb: str, nearest: str) -> str:
    return f"There is no verb {verb!r}. Did you mean {nearest}?"


def operations(names: Iterable[str]) -> str:
    """List the operations that can be measured, for the end of a verb's help."""
    return f"Operations: {', '.join(names)}."


def unwritten(why: str) -> str:
    """Standard output takes no more."""
    return f"autotune: the output could not be written ({why}). The command was carried out; only its output is lost."


def error(text: str) -> str:
    """A refusal, on standard error."""
    return f"autotune: {text}"


# --- a profile ----------------------------------------------------------------------------

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

LIMITS = {
    Limit.NONE: "",
    Limit.AFFINITY: ", limited by an affinity mask or cpuset",
    Limit.QUOTA: ", limited by a CPU quota",
    Limit.CAP: ", limited by AUTOTUNE_CPUS or by what a batch system gave this job",
    Limit.SHARED: ", its share among several processes",
}


def machine(name: str | None, *, cpus: int, limit: Limit) -> str:
    """The machine of a profile, in one line."""
    return f"{name or 'Unknown CPU'}: {count_of(cpus, 'usable CPU')}{LIMITS[limit]}"


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
    """Describe the measurement of a profile in one line."""
    parts = [
        f"Measured {created or 'at an unknown time'}" + (f" by autotune {version}" if version else ""),
        effort and f"effort {effort}",
        copies > 1 and f"{copies} copies of each trial at once",
        neighbours and f"next to {count_of(neighbours, 'busy process', 'busy processes')}",
    ]
    line = ", ".join(part for part in parts if part)
    return line if resolution is None else f"{line}; differences below {resolution:.1%} cannot be told"


def risk(expected_wrong: float, *, tested: int) -> str:
    """The expected number of wrong choices, in one line."""
    verb = "was" if tested == 1 else "were"
    return (
        f"{count_of(tested, 'operation')} {verb} tested; at most {expected_wrong:.2g} wrong choices are expected among "
        "them"
    )


def corners(corners: Iterable[Alternative]) -> str:
    """The four corners of tasks, each with the speed-up that exploration measured; it is no claim."""
    speeds = (
        f"{corner.choice.blas_threads or 1} x {corner.choice.workers or 1} {units.speedup(corner.speedup)}"
        for corner in corners
    )
    return f"BLAS threads x workers: {', '.join(speeds)}"


def retained(count: int) -> str:
    return f"The process holds {units.memory(count)} more memory than by default."


def summary(counts: Mapping[str, int]) -> str:
    """The number of entries of each status."""
    return ", ".join(f"{number} {status}" for status, number in counts.items()) + "."


def profile_at(path: object) -> str:
    return f"Profile {path}"


LAYERS = {
    "named": "named by AUTOTUNE_PROFILE",
    "user": "this user's",
    "node": "this machine's daemon's",
    "system": "the administrator's",
    "cluster": "from the cluster's store",
    "shipped": "shipped with autotune",
}


def local_profile(layer: str, *, in_force: int) -> str:
    """Describe the source of a profile and the number of its entries in force."""
    return (
        f"{LAYERS[layer][:1].upper()}{LAYERS[layer][1:]}; {count_of(in_force, 'entry', 'entries')} in force."
    )


def not_measured(words: Iterable[str]) -> str:
    """Nothing in force is about these operations and sizes."""
    named = " ".join(words)
    return f"No entry in force is about {named}. `autotune calibrate {named}` measures it."


FORGET_WHICH = "Name the operations whose entries are to be removed: autotune forget qr n=300."


def forgotten(count: int, path: object) -> str:
    """Entries were removed from a file."""
    return f"{count} {'entry was' if count == 1 else 'entries were'} removed from {path}."


def nothing_to_forget(words: Iterable[str]) -> str:
    """No entry of the user's own profiles is about these operations and sizes."""
    return f"No entry of the profile is about {' '.join(words)}; nothing was changed. `autotune show` lists them."


NOTHING_APPLIES = "`autotune calibrate` measures this machine."
ONE_OPERATION = "Name one operation, then its sizes: autotune explain svd n=500."
MOST_NAMED = 8


def how_to_measure(named: str, *, measured: list[str]) -> str:
    """An operation or size without an entry: the sizes that have one, and the command that adds it."""
    some = ", ".join(measured[:MOST_NAMED]) + (", ..." if len(measured) > MOST_NAMED else "")
    known = f"Measured: {some}. " if measured else ""
    return f"{known}`autotune calibrate {named}` measures {named}."


def not_in_catalogue(name: str) -> str:
    """An operation that may be a function of the user's whose profile is not used."""
    return (
        f"{name} is neither an operation of the catalogue nor a function in a profile that is used here. If you "
        "calibrated it, its profile is among those that are not used, for the reasons above. "
        f"`autotune calibrate --workload FILE.py:{name}` measures it."
    )


# --- this machine ----------------------------------------------------------------------------

ALL_WELL = "Nothing here makes NumPy slow."
THREADS_OF_YOURS = "environment; no profile exceeds it"
_PYTHONS = {"gil": "a GIL", "free-threaded": "free threading"}


def usable(cpus: int, limit: Limit) -> str:
    return f"CPUs that a program may keep busy: {cpus}{LIMITS[limit]}."


def numpy_and_python(numpy: str | None, python: str | None) -> str:
    return f"NumPy {numpy or 'not installed'}, Python with {_PYTHONS[python or 'gil']}"


def cpu_limit(name: str, value: float | None, source: str) -> str:
    """One limit on the CPUs."""
    return f"{name}: {'not set' if value is None else format(value, 'g')} ({source})"


def setting(name: str, value: object, source: str) -> str:
    """A folder or setting, and where it comes from."""
    return f"{name}: {value} ({source})"


def other_packages(kind: str, names: Iterable[str]) -> str:
    """Other distributions that install something of the same name."""
    return (
        f"Several distributions install the {kind} `autotune`: {', '.join(names)}. They overwrite each other's files; "
        "uninstall all of them, and install this one again."
    )


def core_state(refusal: str | None) -> str:
    """Whether unchanged programs can be sped up here."""
    if refusal is None:
        return "The C core is in use: calls and loops of unchanged programs can be tuned."
    return f"Calls and loops of unchanged programs run as NumPy makes them. {refusal}"


def wait_source(exponent: int | None, *, variable: str | None, is_default: bool) -> str:
    """State where the time-out of idle BLAS threads comes from; `variable` if the user set it."""
    if variable is not None:
        return f"{variable}; idle BLAS threads spin for 2^{exponent} cycles"
    if exponent is None:
        return "no profile has measured it; idle BLAS threads spin as long as their library lets them"
    if is_default:
        return "profile; no shorter time of idle BLAS threads was shown to cost nothing"
    return f"profile; idle BLAS threads spin for 2^{exponent} cycles under `autotune run` and apply()"


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


def best_so_far(configuration: Configuration, speedup: float | None) -> str:
    return f"best so far {configuration} at {units.speedup(speedup)} the default"


def best(operation: str, configuration: Configuration, speedup: float | None) -> str:
    """A new leader; not yet a claim."""
    return f"  {operation}: {configuration} looks {units.speedup(speedup)} as fast as the default"


def trial_failed(operation: str, configuration: Configuration, failure: "Failure") -> str:
    """A configuration that cannot be used."""
    return f"  {operation}: {configuration} {failure.kind}: {failure.reason}"


def decided(operation: str, entry: Entry) -> str:
    """An entry is final."""
    if entry.status is not Status.TUNED:
        return f"  {operation}: {STATUSES[entry.status]}: {entry.reason}"
    evidence = entry.evidence
    interval = units.interval(evidence.interval)
    return f"  {operation}: {entry.choice}, {units.speedup(evidence.speedup)} ({interval})"


def now(where: str, *, doing: str, best: str, elapsed: float, remaining: float) -> str:
    """The line that is replaced at every event."""
    parts = (where or "getting ready", _times(elapsed, remaining), best, doing)
    return " | ".join(part for part in parts if part)


def _times(elapsed: float, remaining: float) -> str:
    left = f", {units.clock(remaining)} left" if isfinite(remaining) else ""
    return f"{units.clock(elapsed)} spent{left}"


# --- a calibration at its end ---------------------------------------------------------------


def written(path: object, *, faster: int, total: int) -> str:
    """Name the file of the profile and count the entries of this run."""
    return f"{faster} of {total} entries run faster than plain NumPy. The profile is in {path}."


def undecided(count: int, command: str) -> str:
    """Describe the entries left open, and the command that decides them."""
    entries = "1 entry is" if count == 1 else f"{count} entries are"
    return f"{entries} undecided: the time ended, or others used the CPUs. To decide the rest: {command}"


def earlier(count: int, *, faster: int) -> str:
    """Count the entries of earlier runs in the profile."""
    entries = count_of(count, "entry", "entries")
    return f"It also holds {entries} of earlier runs, {faster} of them faster, which stay in use."


def for_cpus(place: int, total: int, *, cpus: int) -> str:
    """The turn of one of several allocations has come."""
    return f"Allocation {place} of {total}: {cpus} CPU{'s' * (cpus != 1)}"


def how_to_use(path: object, *, found: bool, own: str | None = None) -> str:
    """Name the next step; `found` if programs look in that place by themselves, `own` for a user's function only."""
    if found and own is not None:
        return f'Programs use it by autotune.tuned("{own}"); `autotune explain {own}` tells why.'
    if found:
        return (
            "Programs use it by `autotune run -- CMD`, autotune.apply(), map_blocks and the like; "
            "`autotune explain` says what applies."
        )
    return f"Programs do not look there by themselves: set AUTOTUNE_PROFILE={path} for them."


def how_to_see(command: str) -> str:
    """Name the commands that show the profile; `command` is the word that starts autotune."""
    return f"See it in pictures, in a browser: {command} report --open"


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
    """Operations named together with a function of the user's."""
    return f"--workload tunes your function alone; calibrate {operation} with a command of its own."


# --- a whole command ------------------------------------------------------------------------


def tuned(entry: Entry, *, by: str) -> str:
    """Result of tuning a command."""
    if entry.status is not Status.TUNED:
        return f"{STATUSES[entry.status].capitalize()}: {entry.reason}"
    evidence = entry.evidence
    return (
        f"{units.speedup(evidence.speedup)} ({units.interval(evidence.interval)}) as good as the command as it "
        f"stands, {by}, in {evidence.pairs} pairs of runs."
    )


BY_TIME = "by its time"
BY_METRIC = "by the number that it prints"


def entry_written(path: object, name: str, *, own_name: bool) -> str:
    """Name the file that the entry of a command was written to, and the verbs that use it; `own_name`: by --name."""
    short = name.removeprefix(COMMANDS)
    option = f" --name {short}" if own_name else ""
    return (
        f"The profile {path} holds it as {name}: `autotune run{option} -- CMD` uses it, `autotune explain {short}` "
        f"shows it."
    )


def no_tuned_command(name: str) -> str:
    """`run --name` names a command that was not tuned."""
    return (
        f"No profile here holds {name}; `autotune tune --name {name.removeprefix(COMMANDS)} -- CMD` makes it."
    )


def command_as_it_stands(name: str) -> str:
    """A command that was tuned without a gain."""
    return f"{name} was tuned, and nothing was proved faster than the command as it stands."


def command_of_more_cpus(name: str, configuration: object, usable_cpus: int) -> str:
    """A tuned command whose threads do not fit the CPUs."""
    return f"{name} is not used: it was tuned for more CPUs ({configuration}) than the {usable_cpus} usable here."


def command_without_place(name: str, place: object) -> str:
    """A tuned command that lacks a place for a value."""
    return (
        f"{name} is not used: it was tuned with {place} in its arguments, which this command does not have."
    )


def command_of_own_variables(name: str, names: Sequence[str]) -> str:
    """A tuned command, whose thread variables the user has set otherwise."""
    return f"{name} is not used: it was tuned with another value of {', '.join(names)} than you have set."


def running_tuned(name: str, configuration: object, speedup: float | None) -> str:
    """Describe the run of a command that was tuned as a whole."""
    gain = "" if speedup is None else f", {units.speedup(speedup)} as fast as the command as it stands"
    return f"autotune run: {name} as `autotune tune` measured it: {configuration}{gain}."


def no_place(option: str, place: str) -> str:
    """Values for a place that the command does not have."""
    return f"{option} needs a place to put its values: write {place} into the command's arguments."


def no_values(place: str, option: str) -> str:
    """A place in the command without values for it."""
    return f"The command has {place}: give the values to try, its usual one first, as {option} 10000,100000."


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
    """Count the verdicts, and name the next step."""
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
    return (
        f"No store is named. Write `store: /nfs/autotune` (a folder or a URL) into {path}, "
        "set AUTOTUNE_STORE, or give --store."
    )


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


def published(profile: object, name: str, *, new: bool, newly_signed: bool) -> str:
    if new:
        return f"{profile} is in the store as {name}{', signed' if newly_signed else ''}."
    if newly_signed:
        return f"The store had {profile} already, as {name}; the signature is new."
    return f"The store has {profile} already, as {name}."


def mirrored(mirror: "MirroredClass") -> str:
    """The mirror's content of a class."""
    entries = count_of(mirror.entries, "entry", "entries")
    contested = f", {mirror.contested} contested" if mirror.contested else ""
    return f"{mirror.key.slug}: {entries} of {count_of(mirror.hosts, 'host')}; {mirror.confirmed} confirmed{contested}."


def nothing_pulled(address: str) -> str:
    return (
        f"The store {address} has no trusted profile for this kind of machine. `autotune calibrate` and "
        "`autotune store publish` on two such machines add one."
    )


def no_mirror(problem: OSError) -> str:
    return f"The local mirror cannot be written ({problem}). Programs go on with the profiles that they had."


def refused_file(name: str, reason: str) -> str:
    return f"{name} is not used: {reason}"


def more_refused(count: int) -> str:
    return f"{count_of(count, 'more file')} not used; --json lists all."


def listed_class(folder: str, *, hosts: int, files: int) -> str:
    return f"{folder}  {count_of(hosts, 'host')}, {count_of(files, 'publication')}"


def listed_publication(host: str, created: str | None, entries: int, signer: str | None) -> str:
    by = f", signed by {signer}" if signer else ""
    return f"{host}  {created or 'at an unknown time'}  {count_of(entries, 'entry', 'entries')}{by}"


def empty_store(address: str) -> str:
    return f"The store {address} is empty."


def empty_class(folder: str, address: str) -> str:
    return f"The store {address} has no trusted publication of {folder}."


def not_a_class(text: str) -> str:
    return f"{text!r} is not the name of a class; `autotune store list` prints them."


def pruned(name: str, reason: str, *, gone: bool) -> str:
    return f"{name} {'was' if gone else 'would be'} removed: {reason}"


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
    """The part of a calibration that other machines saved."""
    return (
        f"Warm start from {count_of(profiles, 'profile')} of the store: {brought} of {chosen} choices came from there "
        f"and were tried first, which saved {units.clock(seconds)} of exploration or more."
    )


# --- the daemon -----------------------------------------------------------------------------

DAEMON_RESUMED = "The daemon measures again as soon as the machine is idle."
DAEMON_RELOADED = "The daemon has read its configuration again."


def daemon_paused(span: str | None) -> str:
    """Say for how long nothing is measured."""
    end = "until `autotune daemon resume`" if span is None else f"for {span}"
    return f"The daemon measures nothing {end}."


def daemon_ordered(operation: str) -> str:
    """Say when an order is measured."""
    return f"{operation} is measured next, once the machine is idle; `autotune daemon status` says what it waits for."


def daemon_stopped(pid: int) -> str:
    """Say that the daemon has ended."""
    return f"The daemon (process {pid}) has ended. Profiles stay in force."


def daemon_installed(files: Iterable[object], following: str) -> str:
    """Name the files of the unit, and the command that starts it."""
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


# --- a report ---------------------------------------------------------------------------------

REPORT = "autotune-report.html"
ONE_FORMAT = "Give at most one of --output, --json, --csv and --optuna."
ONE_HISTORY = "--optuna writes the history of one profile; name one."
NO_HISTORY = (
    "There is no journal of this profile's calibration on this machine, so there is no history to write. "
    "`autotune calibrate` keeps one of its last run."
)


def not_written(path: object, why: str) -> str:
    return f"{path} could not be written ({why}). Nothing was changed: name another file."


def report_written(path: object) -> str:
    return f"The report is in {path}: open it in a browser."


def exists_already(path: object) -> str:
    return f"{path} exists already: name a new file."


def history_written(path: object, count: int) -> str:
    studies = count_of(count, "study", "studies")
    return f"{path} holds {studies}, one for every size. `optuna-dashboard {path}` shows it, once that is installed."


# --- a command that is run --------------------------------------------------------------------

ONLY_VARIABLES = (
    "--blas-threads and --environment-only set variables only; --reductions, --learn and --children do more."
)
NAME_ALONE = (
    "--name asks for what `tune` chose; --blas-threads, --reductions, --learn, --wait and --children ask for "
    "more."
)
NO_SUCH_COMMAND = "there is no such command"


def as_asked(threads: int) -> str:
    return f"{count_of(threads, 'BLAS thread')}, as asked."


def running(
    threads: int | None, reason: str, *, calls: bool, user_limit: int | None, text: str | None = None
) -> str:
    """Describe the effect of `run` on the command; `calls` if calls and loops of its Pythons are tuned, too.

    `text` says why the choice of `tune` for it is not used.
    """
    reason = reason if text is None else f"{reason} {text}"
    rest = ", calls and loops of its Pythons as measured" if calls else ""
    if threads is not None and user_limit is not None:
        return f"autotune run: your own BLAS thread variables stay ({count_of(user_limit, 'thread')}){rest}."
    count = "are left alone" if threads is None else f"are {threads}"
    return f"autotune run: BLAS threads of the process {count}{rest}. {reason}"


def cannot_run(command: str, why: str) -> str:
    return f"autotune run: {command} cannot be run: {why}."


def tuned_together(alias: str, row: str) -> str:
    """An operation was named by an alias."""
    return f"{alias} is tuned as {row}, work of the same shape: {row} is measured."


# --- a cluster ---------------------------------------------------------------------------------

WHICH_BATCH_SYSTEM = "Say which batch system the file is for: --slurm, --pbs, --lsf or --sge."
ONE_NODE = (
    "One node confirms nothing: other nodes use its profiles only if they are signed (--sign), or once a second node "
    "has measured the same."
)
CLUSTER_INTERRUPTED = "Interrupted. Finished results are kept; the nodes stop within seconds."
TASKS = {"examine": "self-test", "search": "search of {}", "confirm": "confirmation of {}"}


def cluster_now(jobs: Iterable[str], *, standing: tuple[int, int, int], elapsed: float) -> str:
    """The progress of a cluster's calibration, in one line."""
    total, searched, waiting = standing
    done = f"{searched}/{total} searched, {waiting} to confirm, {units.clock(elapsed)}"
    return f"{done} | {' | '.join(jobs)}"


def worker_joined(host: str, worker: str, slug: str | None) -> str:
    return f"Host {host} ({worker}) takes part" + (f", class {slug}." if slug else ".")


def worker_rejected(worker: str, reason: str) -> str:
    return f"Worker {worker} is left out: {reason}"


def worker_left(worker: str, job: str | None) -> str:
    return f"Worker {worker} is gone." + (f" Its {job} goes to another." if job else "")


def job_done(name: str, host: str, counts: Mapping[str, int], standing: tuple[int, int, int]) -> str:
    total, searched, waiting = standing
    entries = f": {summary(counts)}" if counts else "."
    return f"[{searched}/{total}, {waiting} to confirm] Host {host}: {name}{entries}"


def job_failed(name: str, host: str, reason: str, *, busy: bool) -> str:
    following = "It is asked again." if busy else "Another host is asked, if there is one."
    return f"Host {host}: {name}: {reason} {following}"


def cluster_class(slug: str, *, hosts: int) -> str:
    """A heading."""
    return f"\nClass {slug}, measured by {count_of(hosts, 'host')}:"


def cluster_written(path: object) -> str:
    return (
        f"Written: {path}. Nodes of this class that see this folder use it; with a store (`autotune cluster calibrate "
        "--store`) the others do, too."
    )


def cluster_published(hosts: int, address: str) -> str:
    return (
        f"Published for {count_of(hosts, 'host')} to {address}. `autotune store pull` brings it to each node."
    )


def not_published(problem: object) -> str:
    return f"{problem} The profiles are written to files instead."


def cluster_missing(slug: str, unit: str, reason: str) -> str:
    return f"{unit} of class {slug}: {reason}"


def cluster_ended(problem: str) -> str:
    return f"{problem} Results that finished before are kept."


# --- a program that is calibrated for ------------------------------------------------------------

NO_COMMAND = "Name a command after --, such as `autotune calibrate -- python simulate.py`."
PROGRAM_ALONE = (
    "A command or a recording is calibrated for alone: name no operations with it, and not both of them."
)
NOTHING_TO_MEASURE = (
    "Nothing that this program calls can be tuned, or it takes less than 1 % of the run. `autotune advise -- CMD` says "
    "where the time goes."
)
PROGRAM_DIFFERS = (
    "The tuned runs ended or wrote otherwise than the plain ones: `autotune compare -- CMD` shows it."
)
NO_VERIFY_RUNS = "No runs of the command were asked for."


def recording_run(command: Sequence[str]) -> str:
    return f"Recording one run of {join(command)}."


def recorded_run_failed(command: Sequence[str], status: int) -> str:
    """The command to calibrate for failed."""
    how = f"was ended by signal {-status}" if status < 0 else f"ended with exit status {status}"
    return (
        f"{join(command)} {how}, with empty input: nothing is measured for it. `autotune advise -- CMD` shows its "
        "output; --record there and --recording here take what it called until then."
    )


def not_measurable(call: str) -> str:
    return f"{call} takes its part of the run and cannot be calibrated: dtypes are float64 and float32."


def program_operations(count: int, share: float) -> str:
    return f"Calibrating {count_of(count, 'operation')}: {share:.0%} of the run."


def weighted_by_spool(count: int) -> str:
    return f"{count_of(count, 'operation')} that programs have called here count more (the spool of $AUTOTUNE_RECORD)."


def runs_too_long(pairs: int, needed: float, allowed: float) -> str:
    return (
        f"{count_of(pairs, 'pair')} of runs of the command would take {needed:.0f} s, more than the {allowed:.0f} s of "
        "the budget: `autotune compare -- CMD` runs them."
    )


def verifying_runs(pairs: int) -> str:
    return f"Running the command in {count_of(pairs, 'pair')}, plain and tuned."


def program_gain(
    predicted: tuple[float, float, float], measured: float | None, interval: tuple[float, float] | None
) -> str:
    """The gain of a whole program, as predicted and as measured."""
    speedup, low, high = predicted
    said = f"The whole program: {speedup:.2f} times as fast by its entries ({low:.2f} to {high:.2f})"
    if measured is None:
        return f"{said}."
    shown = "" if interval is None else f", 95 % interval {interval[0]:.2f} to {interval[1]:.2f}"
    return f"{said}, {measured:.2f} in pairs of its runs{shown}."


# --- a comparison ------------------------------------------------------------------------------

ONLY_ENVIRONMENT = "Only variables of the environment were set."
NO_REPORT = (
    "No Python of the command reported what was in force: none loaded NumPy, or they ended without their exit "
    "handlers."
)


def compared(speedup: float, interval: tuple[float, float] | None, pairs: int) -> str:
    """The speed-up of a command."""
    runs = f"{pairs} pair{'s' * (pairs > 1)} of runs"
    if interval is None:
        return (
            f"Speed-up {speedup:.3f} in {runs}; an interval needs 3 pairs: give a larger --pairs or --budget."
        )
    low, high = interval
    return f"Speed-up {speedup:.3f}, 95 % interval {low:.3f} to {high:.3f}, in {runs}."


def compared_runs(*, same_status: bool, same_output: bool | None) -> str:
    """Whether all runs of a command did the same."""
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


def compared_failures(status: int) -> str:
    """The command failed in every run."""
    end = f"signal {-status} ended it" if status < 0 else f"exit status {status}"
    return f"The command failed in every run ({end}), so the speed-up is that of a failure: run it alone to see why."


def compared_in_force(reason: str, *, calls: float, tuned: float, loops: float) -> str:
    """Describe the effect of `run` on a tuned run of a command."""
    return (
        f"In force in a run: {tuned:.0f} of {calls:.0f} calls of linear algebra had a thread count of their own, and "
        f"{loops:.0f} loops ran on several CPUs. {reason}"
    )
