"""Procedures: the steps of each kind of job.

A procedure is a generator: it yields the command of the next child process, is sent the child's result, and returns
the result of the job. One that is dropped in the middle leaves nothing in force: only the profile helper's `adopt`
writes where programs look.

The canary times new entries against the default once more before programs use them. One run is `autotune verify` of
these entries, whose verdict "slower" has a one-sided error of 2.5 %; two such runs of at most three have one of 0.2 %.
"""

import json
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from autotune.daemon.child_processes import DEFAULT_SECONDS, ChildCommand, ChildResult
from autotune.daemon.context import DaemonContext
from autotune.daemon.inventory import PROFILE_HELPER, UNKNOWN_ANSWER, Inventory
from autotune.daemon.schedule import CLASS_WIDE, JobCause, ScheduledJob
from autotune.daemon.sensors import fingerprint
from autotune.daemon.state import CanaryProgress, CanaryVerdict, UnfinishedCalibration
from autotune.model.codec import encode
from autotune.model.operation import Operation

COMMAND_LINE = "autotune"
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
    """An entry that `autotune verify` has timed again."""

    operation: Operation
    standing: str
    reason: str
    speedup: float | None
    """The default's time over its own."""

    @property
    def is_slower(self) -> bool:
        """Is it slower than the default, or does it fail?"""
        return self.standing in {"slower", "failed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """The result of a job."""

    end: JobEnd
    why: str
    retimings: int = 0
    entries: tuple[CheckedEntry, ...] = ()
    """The entries as they were timed last."""


Steps = Generator[ChildCommand, ChildResult, JobResult]


class _JobEnded(Exception):
    """Ends a procedure with a result."""

    def __init__(self, end: JobEnd, why: str, *, retimings: int = 0) -> None:
        super().__init__(why)
        self.result = JobResult(end=end, why=why, retimings=retimings)


def job_steps(context: DaemonContext, job: ScheduledJob, inventory: Inventory) -> Steps:
    """Do a job with the interpreter that has this inventory."""
    try:
        if job.cause is JobCause.TRIAL:
            return (yield from _try_profile(context, job))
        assert job.operation is not None
        if job.cause is JobCause.AGE:
            return (yield from _recheck(context, job, inventory))
        return (yield from _calibrate(context, job, job.operation, inventory))
    except _JobEnded as ended:
        return ended.result
    except OSError as error:  # the state folder has become read-only
        why = f"{error.filename} cannot be written: {error.strerror or error}."
        return JobResult(end=JobEnd.FAILED, why=why)


def _calibrate(context: DaemonContext, job: ScheduledJob, operation: Operation, inventory: Inventory) -> Steps:
    """Measure an operation, time the result once more, and put it into force."""
    candidate = context.paths.candidate
    if job.cause in CLASS_WIDE and context.settings.store is not None:
        # one host of the class measures it for all; a store that does not answer hinders nothing
        subject = f"{operation.name}-{operation.dtype}"
        arguments = (context.settings.store, inventory.key, subject)
        answer = json_answer((yield ChildCommand(module=CLAIMS, arguments=arguments)))
        if answer.get("mine") is False:
            raise _JobEnded(JobEnd.LEFT, f"{answer.get('holder')} measures it for its class.")
    candidate.unlink(missing_ok=True)
    begun = UnfinishedCalibration(job.interpreter, operation)
    resumes = context.state.unfinished == begun  # whatever the cause was then
    context.state.unfinished = begun
    command = _calibration(context, operation)
    result = yield (replace(command, arguments=(*command.arguments, "--resume")) if resumes else command)
    if resumes and result.status == USAGE_STATUS:
        # its journal has no session yet, or is of another calibration
        result = yield command
    if result.status != 0:
        raise _failure(result)
    final = yield from _run_canary(context, candidate, None)
    scope = "sizes" if operation.sizes else "all"
    answer = json_answer((yield _helper("adopt", str(candidate), inventory.profile, scope)))
    counts = answer.get("new")
    if not isinstance(counts, dict):
        raise _JobEnded(JobEnd.FAILED, str(answer.get("problem", UNKNOWN_ANSWER)), retimings=final.retimings)
    statuses = ", ".join(f"{count} {status}" for status, count in counts.items())
    why = f"In force from now on: {statuses or 'nothing new'}."
    return replace(final, end=JobEnd.ADOPTED, why=why)


def _try_profile(context: DaemonContext, job: ScheduledJob) -> Steps:
    """Time the most used entries of a profile against the default."""
    used = sorted(context.state.used, key=lambda operation: -context.state.used[operation])
    yield from _excerpt(context, job.path, used, MAX_CANARY_ENTRIES)
    final = yield from _run_canary(context, context.paths.excerpt, job.path)
    why = f"None of its {len(final.entries)} most used choices is slower than the default."
    return replace(final, end=JobEnd.FINE, why=why)


def _recheck(context: DaemonContext, job: ScheduledJob, inventory: Inventory) -> Steps:
    """Check whether the entries of an operation still hold."""
    assert job.operation is not None
    entries = inventory.of(job.operation.name, job.operation.dtype)
    tuned = [entry.operation for entry in entries if entry.status == "tuned"]
    yield from _excerpt(context, inventory.profile, tuned, len(tuned))
    checked = _checked_entries((yield _verification(context, context.paths.excerpt)))
    doubtful = sum(doubts(entry) for entry in checked)
    end = JobEnd.DOUBTED if doubtful else JobEnd.FINE
    why = f"{doubtful} of {len(checked)} entries do not hold any more."
    return JobResult(end=end, why=why, retimings=1, entries=checked)


def doubts(entry: CheckedEntry) -> bool:
    """Does this check put the entry in doubt?"""
    return entry.is_slower or entry.standing == "no-longer-holds"


# --- the canary ---------------------------------------------------------------------------------


def _run_canary(context: DaemonContext, timed: Path, tried: str | None) -> Steps:
    """Time a profile until the canary decides. Raises _JobEnded unless it may be used.

    Verdicts of a profile under trial are remembered, so that an interruption costs one run at most.
    """
    earlier = context.state.canaries.get(tried or "")
    stamp = fingerprint(tried or timed)
    progress = earlier if earlier is not None and earlier.profile == stamp else CanaryProgress(stamp)
    while True:
        entries = _checked_entries((yield _verification(context, timed)))
        progress = replace(progress, verdicts=(*progress.verdicts, canary_verdict(entries)))
        if tried is not None:
            context.state.canaries[tried] = progress
        may_use = canary_decision(progress.verdicts)
        retimings = len(progress.verdicts)
        if may_use:
            return JobResult(end=JobEnd.FINE, why="", retimings=retimings, entries=entries)
        if may_use is False:
            raise _JobEnded(JobEnd.QUARANTINED, _slowest(entries), retimings=retimings)
        if retimings >= MAX_CANARY_RUNS:
            raise _JobEnded(JobEnd.LEFT, "The re-timings stayed undecided.", retimings=retimings)


def canary_verdict(entries: Iterable[CheckedEntry]) -> CanaryVerdict:
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


def _slowest(entries: Sequence[CheckedEntry]) -> str:
    slower = next((entry for entry in entries if entry.is_slower), None)
    return "" if slower is None else f"{slower.operation}: {slower.reason}"


# --- commands, and what they answer -------------------------------------------------------------


def _calibration(context: DaemonContext, operation: Operation) -> ChildCommand:
    sizes = (f"{name}={value}" for name, value in operation.sizes)
    seconds = context.settings.job_seconds
    return _measuring(
        context,
        *("calibrate", operation.name, *sizes, "--dtype", operation.dtype),
        *("--budget", f"{seconds:.0f}s", "--output", str(context.paths.candidate), "--json"),
    )


def _verification(context: DaemonContext, profile: Path) -> ChildCommand:
    seconds = context.settings.job_seconds
    return _measuring(context, "verify", str(profile), "--json", "--budget", f"{seconds:.0f}s")


def _measuring(context: DaemonContext, *arguments: str) -> ChildCommand:
    return ChildCommand(
        module=COMMAND_LINE,
        arguments=arguments,
        seconds=GRACE * context.settings.job_seconds + DEFAULT_SECONDS,
        measuring=True,
        environ=context.paths.journals,
    )


def _helper(*arguments: str) -> ChildCommand:
    return ChildCommand(module=PROFILE_HELPER, arguments=arguments)


def _excerpt(
    context: DaemonContext, profile: str, used: Iterable[Operation], most: int
) -> Generator[ChildCommand, ChildResult, None]:
    """Write the entries of a profile that are to be timed, those of the operations used most."""
    wanted = {"most": most, "used": list(map(encode, used))}
    answer = json_answer((yield _helper("excerpt", profile, str(context.paths.excerpt), json.dumps(wanted))))
    if "problem" in answer:
        raise _JobEnded(JobEnd.FAILED, str(answer["problem"]))


def json_answer(result: ChildResult) -> dict[str, Any]:
    """Parse a child's answer; without one, its last line is the problem."""
    try:
        answer = json.loads(result.answer)
    except ValueError:
        answer = None
    return answer if isinstance(answer, dict) else {"problem": result.last_line}


def _checked_entries(result: ChildResult) -> tuple[CheckedEntry, ...]:
    """Parse the answer of `autotune verify --json`. Raises _JobEnded without one."""
    entries = json_answer(result).get("entries")
    if not isinstance(entries, list):
        raise _failure(result)
    try:
        return tuple(_checked_entry(**entry) for entry in entries)
    except (TypeError, AttributeError):
        raise _JobEnded(JobEnd.FAILED, UNKNOWN_ANSWER) from None


def _checked_entry(
    *,
    operation: str,
    dtype: str,
    sizes: dict[str, int],
    standing: str,
    reason: str,
    speedup: float | None = None,
    **_: object,
) -> CheckedEntry:
    return CheckedEntry(
        operation=Operation(name=operation, dtype=dtype, sizes=tuple(sizes.items())),
        standing=standing,
        reason=reason,
        speedup=speedup if isinstance(speedup, int | float) and speedup > 0 else None,
    )


def _failure(result: ChildResult) -> _JobEnded:
    is_busy = result.status == HOST_BUSY_STATUS and "holds this host" in result.words
    return _JobEnded(JobEnd.BUSY if is_busy else JobEnd.FAILED, result.last_line)
