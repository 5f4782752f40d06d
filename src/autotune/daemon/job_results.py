"""Consequences of a job's result for the state and for the profiles that programs read."""

from math import log
from pathlib import Path

from autotune.daemon.context import DaemonContext
from autotune.daemon.inventory import Inventory
from autotune.daemon.procedures import JobEnd, JobResult, doubts
from autotune.daemon.schedule import JobCause, ScheduledJob
from autotune.daemon.sensors import fingerprint
from autotune.daemon.state import UnfinishedCalibration
from autotune.daemon.store_sync import is_pulled, put_into_force
from autotune.model.operation import Operation

RETRY_SECONDS = 3600.0
"""Before a job that failed is tried again, for the first time."""
REGRET_SECONDS = 86400.0
"""The same for a calibration whose choice turned out slower than the default."""
QUARANTINE_SUFFIX = ".quarantined"
"""Appended to the name of a profile, so that programs do not read it."""


def record_result(context: DaemonContext, job: ScheduledJob, inventory: Inventory, result: JobResult) -> None:
    """Record a result, and do what follows for the profiles."""
    state = context.state
    state.count(str(result.end))
    state.count("retimings", result.retimings)
    for entry in result.entries:
        if entry.speedup is not None:
            state.count("rechecked_entries")
            state.count("rechecked_log_speedup", log(entry.speedup))
    context.report(
        str(result.end),
        job.subject,
        result.why,
        cause=job.cause.name.lower(),
        interpreter=job.interpreter,
        retimings=result.retimings,
    )
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
        context.delay(job.subject, RETRY_SECONDS)


def _accept(context: DaemonContext, job: ScheduledJob) -> None:
    """Trust a profile, and put it into force if it was pulled."""
    trusted, path = context.state.trusted, Path(job.path)
    if is_pulled(context.paths, path):
        try:
            target = put_into_force(context.paths, path)
        except OSError as error:
            why = f"{path} cannot be put into force: {error.strerror or error}."
            context.log.write("pull", why, level="warning")
            context.delay(job.subject, RETRY_SECONDS)
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
    for entry in filter(doubts, result.entries):
        state.doubts[entry.operation] = f"{operation} was checked again. {entry.reason}"
    if result.end in {JobEnd.FINE, JobEnd.DOUBTED}:
        state.checked.setdefault(inventory.key, {})[operation] = context.moment.wall
        state.retries.pop(str(operation), None)
    else:
        context.delay(str(operation), RETRY_SECONDS)


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
    if result.end is not JobEnd.ADOPTED:
        context.delay(job.subject, REGRET_SECONDS if result.end is JobEnd.QUARANTINED else RETRY_SECONDS)
        return
    # default-kept is an answer too; what stayed undecided becomes a job of its own later
    whole = Operation(name=operation.name, dtype=operation.dtype)
    for requests in (state.demand, state.doubts):
        for request in list(requests):
            same_rule = (request.name, request.dtype) == (whole.name, whole.dtype)
            if request == operation or (same_rule and not operation.sizes):
                del requests[request]
    context.delay(job.subject, RETRY_SECONDS)  # a size that stays noisy waits ever longer
    state.checked.setdefault(inventory.key, {})[whole] = context.moment.wall
    state.trusted[inventory.profile] = fingerprint(inventory.profile)
    if context.settings.store is not None:
        state.unpublished[inventory.profile] = job.interpreter
