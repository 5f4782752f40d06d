"""Procedures: the steps of each kind of job, and what follows from its result for the state and for profiles.

A procedure is a generator: it yields the command of the next child process, is sent the child's result, and returns
the end of the job. One that is dropped in the middle leaves nothing in force: only the profile helper's `adopt` writes
where programs look.

The canary times new entries against the default once more before programs use them. One run is `autotune verify` of
these entries, whose verdict "slower" has a one-sided error of 2.5 %; two such runs of at most three have one of 0.2 %.
"""

import json
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from math import log
from pathlib import Path

from autotune.daemon.child_processes import DEFAULT_SECONDS, ChildCommand, ChildResult
from autotune.daemon.context import DaemonContext
from autotune.daemon.inventory import PROFILE_HELPER, UNKNOWN_ANSWER, Inventory
from autotune.daemon.schedule import CLASS_WIDE, JobCause, ScheduledJob
from autotune.daemon.sensors import fingerprint
from autotune.daemon.state import CanaryProgress, CanaryVerdict, UnfinishedCalibration
from autotune.daemon.store_sync import is_pulled, put_into_force
from autotune.errors import BadDocument
from autotune.model.codec import decode, encode
from autotune.model.constraints import Positive
from autotune.model.operation import Operation

CLAIMS = "autotune.share.claims"
GRACE = 3.0
"""Largest time of a measuring child, in budgets: NumPy loads, and a proof that was begun is finished."""
HOST_BUSY_STATUS, USAGE_STATUS = 3, 2
"""Exit codes of the command line."""
MAX_CANARY_RUNS = 3
SLOWER_RUNS = 2
"""Runs with the verdict "slower" that refuse a profile."""
MAX_CANARY_ENTRIES = 5
"""Entries of a profile that are timed: those used most."""
RETRY_SECONDS = 3600.0
"""Before a job that failed is tried again, for the first time."""
QUARANTINE_SUFFIX = ".quarantined"
"""Appended to the name of a profile, so that programs do not read it."""


class JobEnd(StrEnum):
    """The kind of end of a job."""

    ADOPTED = "adopted"
    FINE = "fine"
    """A profile may stay in use, or entries still hold."""
    DOUBTED = "doubted"
    """Some entries do not hold any more."""
    QUARANTINED = "quarantined"
    LEFT = "left-out"
    """It stayed undecided, or another host does it."""
    BUSY = "host-busy"
    """Another process measures on this host."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedEntry:
    """An entry that `autotune verify --json` has timed again."""

    operation: str
    dtype: str
    sizes: dict[str, int]
    standing: str
    reason: str
    speedup: Positive | None = None
    """The default's time over its own."""

    @property
    def at_size(self) -> Operation:
        """The operation at this size."""
        return Operation(name=self.operation, dtype=self.dtype, sizes=tuple(self.sizes.items()))

    @property
    def is_slower(self) -> bool:
        """Is it slower than the default, or does it fail?"""
        return self.standing in {"slower", "failed"}

    @property
    def is_doubtful(self) -> bool:
        """Does this check put the entry in doubt?"""
        return self.is_slower or self.standing == "no-longer-holds"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """The result of a job."""

    end: JobEnd
    why: str
    entries: tuple[CheckedEntry, ...] = ()
    """The entries as they were timed last."""


Steps = Generator[ChildCommand, ChildResult, JobResult]


class _JobEnded(Exception):
    """Ends a procedure with a result."""

    def __init__(self, end: JobEnd, why: str) -> None:
        super().__init__(why)
        self.result = JobResult(end=end, why=why)


def do_job(
    context: DaemonContext, job: ScheduledJob, inventory: Inventory
) -> Generator[ChildCommand, ChildResult, JobEnd]:
    """Do a job with the interpreter that has this inventory, and what follows from the result."""
    try:
        if job.operation is None:
            result = yield from _try_profile(context, job)
        elif job.cause is JobCause.AGE:
            result = yield from _recheck(context, job.operation, inventory)
        else:
            result = yield from _calibrate(context, job, job.operation, inventory)
    except _JobEnded as ended:
        result = ended.result
    except OSError as error:  # the state folder has become read-only
        why = f"{error.filename} cannot be written: {error.strerror or error}."
        result = JobResult(end=JobEnd.FAILED, why=why)
    _record_result(context, job, inventory, result)
    return result.end


def report(context: DaemonContext, event: str, job: ScheduledJob, why: str) -> None:
    """Write an event of a job to the log and to the recent events."""
    facts = {"job": job.subject, "cause": job.cause.name.lower(), "interpreter": job.interpreter}
    context.recent.append({"wall": context.moment.wall, "event": event, "why": why, **facts})
    context.log.write(event, why, **facts)


def _calibrate(context: DaemonContext, job: ScheduledJob, operation: Operation, inventory: Inventory) -> Steps:
    """Measure an operation, time the result once more, and put it into force."""
    candidate = context.paths.candidate
    if job.cause in CLASS_WIDE and context.settings.store is not None:
        # one host of the class measures it for all; a store that does not answer hinders nothing
        subject = f"{operation.name}-{operation.dtype}"
        arguments = (context.settings.store, inventory.key, subject)
        answer = (yield ChildCommand(module=CLAIMS, arguments=arguments)).document
        if answer.get("mine") is False:
            raise _JobEnded(JobEnd.LEFT, f"{answer.get('holder')} measures it for its class.")
    candidate.unlink(missing_ok=True)
    begun = UnfinishedCalibration(job.interpreter, operation)
    resumes = context.state.unfinished == begun  # whatever the cause was then
    context.state.unfinished = begun
    sizes = (f"{name}={value}" for name, value in operation.sizes)
    words = (operation.name, *sizes, "--dtype", operation.dtype, "--output", str(candidate))
    command = _measuring(context, "calibrate", *words)
    result = yield (replace(command, arguments=(*command.arguments, "--resume")) if resumes else command)
    if resumes and result.status == USAGE_STATUS:
        # its journal has no session yet, or is of another calibration
        result = yield command
    if result.status != 0:
        raise _failure(result)
    final = yield from _run_canary(context, candidate, None)
    answer = (yield _helper("adopt", str(candidate), inventory.profile)).document
    counts = answer.get("new")
    if not isinstance(counts, dict):
        raise _JobEnded(JobEnd.FAILED, str(answer.get("problem", UNKNOWN_ANSWER)))
    statuses = ", ".join(f"{count} {status}" for status, count in counts.items())
    why = f"In force from now on: {statuses or 'nothing new'}."
    if "set_aside" in answer:
        why = f"{why} The profile before it could not be read; it is kept as {answer['set_aside']}."
    return replace(final, end=JobEnd.ADOPTED, why=why)


def _try_profile(context: DaemonContext, job: ScheduledJob) -> Steps:
    """Time the most used entries of a profile against the default."""
    used = sorted(context.state.used, key=lambda operation: -context.state.used[operation])
    yield from _excerpt(context, job.path, used, MAX_CANARY_ENTRIES)
    final = yield from _run_canary(context, context.paths.excerpt, job.path)
    why = f"None of its {len(final.entries)} most used choices is slower than the default."
    return replace(final, end=JobEnd.FINE, why=why)


def _recheck(context: DaemonContext, operation: Operation, inventory: Inventory) -> Steps:
    """Check whether the entries of an operation still hold."""
    entries = inventory.of(operation.name, operation.dtype)
    tuned = [entry.operation for entry in entries if entry.status == "tuned"]
    yield from _excerpt(context, inventory.profile, tuned, len(tuned))
    checked = yield from _time_again(context, context.paths.excerpt)
    doubtful = sum(entry.is_doubtful for entry in checked)
    end = JobEnd.DOUBTED if doubtful else JobEnd.FINE
    why = f"{doubtful} of {len(checked)} entries do not hold any more."
    return JobResult(end=end, why=why, entries=checked)


def _run_canary(context: DaemonContext, timed: Path, tried: str | None) -> Steps:
    """Time a profile until the canary decides. Raises _JobEnded unless it may be used.

    Verdicts of a profile under trial are remembered, so that an interruption costs one run at most.
    """
    earlier = context.state.canaries.get(tried or "")
    stamp = fingerprint(tried or timed)
    progress = earlier if earlier is not None and earlier.profile == stamp else CanaryProgress(stamp)
    while True:
        entries = yield from _time_again(context, timed)
        progress = replace(progress, verdicts=(*progress.verdicts, canary_verdict(entries)))
        if tried is not None:
            context.state.canaries[tried] = progress
        may_use = canary_decision(progress.verdicts)
        if may_use:
            return JobResult(end=JobEnd.FINE, why="", entries=entries)
        if may_use is False:
            why = next((f"{entry.at_size}: {entry.reason}" for entry in entries if entry.is_slower), "")
            raise _JobEnded(JobEnd.QUARANTINED, why)
        if len(progress.verdicts) >= MAX_CANARY_RUNS:
            raise _JobEnded(JobEnd.LEFT, "The re-timings stayed undecided.")


def canary_verdict(entries: Sequence[CheckedEntry]) -> CanaryVerdict:
    """Judge one run. An entry that is refused, or no longer faster, does no harm."""
    if any(entry.is_slower for entry in entries):
        return CanaryVerdict.SLOWER
    is_open = any(entry.standing == "open" for entry in entries)
    return CanaryVerdict.OPEN if is_open else CanaryVerdict.FINE


def canary_decision(verdicts: Sequence[CanaryVerdict]) -> bool | None:
    """Say whether a profile may be used after these runs, oldest first; None: it has to be timed again.

    One fine run is enough, or two if another one was slower.
    """
    slower, fine = verdicts.count(CanaryVerdict.SLOWER), verdicts.count(CanaryVerdict.FINE)
    if slower >= SLOWER_RUNS:
        return False
    return True if verdicts[-1] is CanaryVerdict.FINE and fine > slower else None


def _measuring(context: DaemonContext, *arguments: str) -> ChildCommand:
    seconds = context.settings.job_seconds
    return ChildCommand(
        arguments=(*arguments, "--budget", f"{seconds:.0f}s", "--json"),
        seconds=GRACE * seconds + DEFAULT_SECONDS,
        measuring=True,
        environ={"XDG_STATE_HOME": str(context.paths.state / "home")},  # journals apart from those of a user
    )


def _helper(*arguments: str) -> ChildCommand:
    return ChildCommand(module=PROFILE_HELPER, arguments=arguments)


def _excerpt(
    context: DaemonContext, profile: str, used: Iterable[Operation], most: int
) -> Generator[ChildCommand, ChildResult, None]:
    """Write the entries of a profile that are to be timed, those of the operations used most."""
    wanted = {"most": most, "used": list(map(encode, used))}
    answer = (yield _helper("excerpt", profile, str(context.paths.excerpt), json.dumps(wanted))).document
    if "problem" in answer:
        raise _JobEnded(JobEnd.FAILED, str(answer["problem"]))


def _time_again(
    context: DaemonContext, profile: Path
) -> Generator[ChildCommand, ChildResult, tuple[CheckedEntry, ...]]:
    """Run `autotune verify --json` on a profile. Raises _JobEnded without an answer."""
    result = yield _measuring(context, "verify", str(profile))
    answer = result.document
    if "entries" not in answer:
        raise _failure(result)
    try:
        entries: tuple[CheckedEntry, ...] = decode(tuple[CheckedEntry, ...], answer["entries"])
    except BadDocument:
        raise _JobEnded(JobEnd.FAILED, UNKNOWN_ANSWER) from None
    context.state.count("retimings")
    return entries


def _failure(result: ChildResult) -> _JobEnded:
    is_busy = result.status == HOST_BUSY_STATUS and "holds this host" in result.words
    return _JobEnded(JobEnd.BUSY if is_busy else JobEnd.FAILED, result.last_line)


def _record_result(context: DaemonContext, job: ScheduledJob, inventory: Inventory, result: JobResult) -> None:
    """Record a result, and do what follows for the profiles that programs read."""
    state = context.state
    state.count(str(result.end))
    for entry in result.entries:
        if entry.speedup is not None:
            state.count("rechecked_entries")
            state.count("rechecked_log_speedup", log(entry.speedup))
    report(context, str(result.end), job, result.why)
    if result.end is not JobEnd.BUSY:
        if job.operation is None:
            _record_trial(context, job, result)
        elif job.cause is JobCause.AGE:
            _record_recheck(context, job.operation, inventory, result)
        else:
            _record_calibration(context, job, job.operation, inventory, result)
    context.save()


def _record_trial(context: DaemonContext, job: ScheduledJob, result: JobResult) -> None:
    context.state.canaries.pop(job.path, None)
    if result.end is JobEnd.FINE:
        _accept(context, job)
    elif result.end is JobEnd.QUARANTINED:
        _quarantine(context, Path(job.path), result.why)
    else:
        context.state.delay(job.subject, context.moment.wall, RETRY_SECONDS)


def _accept(context: DaemonContext, job: ScheduledJob) -> None:
    """Trust a profile, and put it into force if it was pulled."""
    trusted, path = context.state.trusted, Path(job.path)
    if is_pulled(context.paths, path):
        try:
            target = put_into_force(context.paths, path)
        except OSError as error:
            why = f"{path} cannot be put into force: {error.strerror or error}."
            context.log.write("pull", why, level="warning")
            context.state.delay(job.subject, context.moment.wall, RETRY_SECONDS)
            return
        trusted[str(target)] = fingerprint(target)
        context.log.write("pull", f"{target} is in force.")
    trusted[job.path] = fingerprint(path)
    context.state.retries.pop(job.subject, None)


def _quarantine(context: DaemonContext, path: Path, why: str) -> None:
    """Take a profile that makes programs slower out of use, or never put it into use."""
    if is_pulled(context.paths, path):
        # the file stays, so that the next pull finds it unchanged and does not fetch it again
        context.state.trusted[str(path)] = fingerprint(path)
        context.log.write("quarantine", f"{path} is not put into force: {why}", level="warning")
        return
    try:
        path.replace(path.with_name(path.name + QUARANTINE_SUFFIX))
    except OSError as error:
        context.state.trusted[str(path)] = fingerprint(path)  # or it would be timed for ever
        text = (
            f"{path} makes programs slower ({why}) and cannot be renamed: {error.strerror or error}. "
            "Remove it, or set AUTOTUNE_DISABLE=1."
        )
        context.log.begin("quarantine", text, level="error")
    else:
        context.log.write("quarantine", f"{path} is out of use: {why}", level="warning")


def _record_recheck(context: DaemonContext, operation: Operation, inventory: Inventory, result: JobResult) -> None:
    state = context.state
    for entry in result.entries:
        if entry.is_doubtful:
            state.doubts[entry.at_size] = f"{operation} was checked again. {entry.reason}"
    if result.end in {JobEnd.FINE, JobEnd.DOUBTED}:
        state.checked.setdefault(inventory.key, {})[operation] = context.moment.wall
        state.retries.pop(str(operation), None)
    else:
        state.delay(str(operation), context.moment.wall, RETRY_SECONDS)


def _record_calibration(
    context: DaemonContext, job: ScheduledJob, operation: Operation, inventory: Inventory, result: JobResult
) -> None:
    """Record a calibration. Its order is served, whatever the result."""
    state = context.state
    if state.unfinished == UnfinishedCalibration(job.interpreter, operation):
        state.unfinished = None
    if operation in state.orders:
        state.orders[operation] = (*state.orders[operation], job.interpreter)
        state.drop_served_orders(each.name for each in context.settings.interpreters)
    state.delay(job.subject, context.moment.wall, RETRY_SECONDS)  # a size that stays noisy waits ever longer
    if result.end is not JobEnd.ADOPTED:
        return
    # default-kept is an answer too; what stayed undecided becomes a job of its own later
    whole = Operation(name=operation.name, dtype=operation.dtype)
    for requests in (state.demand, state.doubts):
        for request in list(requests):
            same_rule = (request.name, request.dtype) == (whole.name, whole.dtype)
            if request == operation or (same_rule and not operation.sizes):
                del requests[request]
    state.checked.setdefault(inventory.key, {})[whole] = context.moment.wall
    state.trusted[inventory.profile] = fingerprint(inventory.profile)
    if context.settings.store is not None:
        state.unpublished[inventory.profile] = job.interpreter
