"""What is remembered of a job that has ended, and what follows for the files that programs read."""

from math import log
from pathlib import Path

from autotune.daemon import staging
from autotune.daemon.book import Book
from autotune.daemon.file_fingerprint import stamp
from autotune.daemon.inventory import Survey
from autotune.daemon.procedures import End, Outcome
from autotune.daemon.remembered import subject_of
from autotune.daemon.schedule import Cause, Job, checked_key

RETRY_SECONDS = 3600.0
"""Before what failed is tried again, for the first time."""
REGRET_SECONDS = 86400.0
"""The same, of a calibration whose find was slower than the default."""
QUARANTINED = ".quarantined"
"""Appended to the name of a profile that is put aside, so that nobody reads it."""


def remember(book: Book, job: Job, known: Survey, outcome: Outcome) -> None:
    """All that follows from an outcome, but for what is done next."""
    memory = book.memory
    memory.count(str(outcome.end))
    memory.count("retimings", outcome.runs)
    for ratio in outcome.ratios:
        memory.count("rechecked_entries")
        memory.count("rechecked_log_ratio", log(ratio))
    book.tell(str(outcome.end), job, outcome.why, runs=outcome.runs)
    if outcome.end is not End.BUSY:
        match job.cause:
            case Cause.TRIAL:
                _tried(book, job, outcome)
            case Cause.AGE:
                _checked(book, job, known, outcome)
            case _:
                _calibrated(book, job, known, outcome)
    book.save()


def _tried(book: Book, job: Job, outcome: Outcome) -> None:
    """A profile was put to the test."""
    memory = book.memory
    memory.trials.pop(job.path, None)
    if outcome.end is End.FINE:
        _take_in(book, job)
    elif outcome.end is End.QUARANTINED:
        _set_aside(book, job, outcome)
    else:
        memory.failed(job.subject, book.moment.wall, RETRY_SECONDS)


def _take_in(book: Book, job: Job) -> None:
    """It may be used, and is from now on if it was pulled."""
    memory, path = book.memory, Path(job.path)
    if staging.is_staged(book.places, job.path):
        try:
            target = staging.enforce(book.places, path)
        except OSError as problem:
            book.log.say(
                "pull", f"{path} cannot be put into force: {problem.strerror or problem}.", level="warning"
            )
            memory.failed(job.subject, book.moment.wall, RETRY_SECONDS)
            return
        memory.trusted[str(target)] = stamp(str(target))
        book.log.say("pull", f"{target} is in force.")
    memory.trusted[job.path] = stamp(job.path)
    memory.attempts.pop(job.subject, None)


def _set_aside(book: Book, job: Job, outcome: Outcome) -> None:
    """Take a profile that makes programs slower out of use, or never into it."""
    path = Path(job.path)
    if staging.is_staged(book.places, job.path):
        # it stays, so that the next pull finds it unchanged and does not bring it again
        book.memory.trusted[job.path] = stamp(job.path)
        book.log.say("quarantine", f"{path} is not taken into use: {outcome.why}", level="warning")
        return
    try:
        path.replace(path.with_name(path.name + QUARANTINED))
    except OSError as problem:
        # nothing more can be done: do not time it for ever
        book.memory.trusted[job.path] = stamp(job.path)
        why = (
            f"{path} makes programs slower ({outcome.why}), and cannot be put aside: "
            f"{problem.strerror or problem}. Remove it, or set AUTOTUNE_DISABLE=1."
        )
        book.log.once("quarantine", why, level="error")
    else:
        book.log.say("quarantine", f"{path} is put aside: {outcome.why}", level="warning")


def _checked(book: Book, job: Job, known: Survey, outcome: Outcome) -> None:
    """Entries were checked again; those that do not hold any more are in doubt from now on."""
    memory = book.memory
    for operation, dtype, sizes, why in outcome.doubts:
        memory.doubts[subject_of(operation, dtype, sizes)] = [operation, dtype, sizes, why]
    if outcome.end in {End.FINE, End.DOUBTED}:
        memory.checked[checked_key(known.key, job.operation, job.dtype)] = book.moment.wall
        memory.attempts.pop(job.subject, None)
    else:
        memory.failed(job.subject, book.moment.wall, RETRY_SECONDS)


def _calibrated(book: Book, job: Job, known: Survey, outcome: Outcome) -> None:
    """What a calibration was for is settled, or will be tried again. An order is done with, whatever came of it."""
    memory, wall = book.memory, book.moment.wall
    memory.interrupted = None
    _served(book, job)
    if outcome.end is not End.ADOPTED:
        first = REGRET_SECONDS if outcome.end is End.QUARANTINED else RETRY_SECONDS
        memory.failed(job.subject, wall, first)
        return
    # an entry that is default-kept is an answer too; one that could not be told is asked for later
    subject = job.subject
    for asked in (memory.demand, memory.doubts):
        for each in [
            one for one in asked if one == subject or (not job.sizes and one.startswith(f"{subject} "))
        ]:
            asked.pop(each)
    memory.failed(job.subject, wall, RETRY_SECONDS)  # a size that stays noisy waits ever longer
    memory.checked[checked_key(known.key, job.operation, job.dtype)] = wall
    memory.trusted[known.profile] = stamp(known.profile)
    if book.settings.store is not None:
        memory.unpublished[known.profile] = job.interpreter


def _served(book: Book, job: Job) -> None:
    """If it was ordered, that is done with for this interpreter."""
    memory = book.memory
    if [job.operation, job.dtype, dict(job.sizes)] in memory.wishes:
        memory.served.setdefault(job.subject, []).append(job.interpreter)
        memory.strike(one.name for one in book.settings.interpreters)
