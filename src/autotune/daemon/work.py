"""A job becomes the course of steps that does it."""

from pathlib import Path

from autotune.daemon import procedures
from autotune.daemon.book import Book
from autotune.daemon.file_fingerprint import stamp
from autotune.daemon.inventory import Survey
from autotune.daemon.procedures import Course, End, Outcome
from autotune.daemon.schedule import SHARED, Cause, Job


def course(book: Book, job: Job, known: Survey) -> Course:
    """What to do for a job. Raises OSError if the state folder cannot be used."""
    match job.cause:
        case Cause.TRIAL:
            return procedures.trial(
                job,
                seconds=book.settings.job_seconds,
                excerpt=book.places.state / "excerpt.yaml",
                used=_most_used(book),
                runs=_runs(book, job.path),
            )
        case Cause.AGE:
            return procedures.recheck(
                job,
                seconds=book.settings.job_seconds,
                profile=Path(known.profile),
                excerpt=book.places.state / "excerpt.yaml",
                entries=[
                    one.operation for one in known.of(job.operation, job.dtype) if one.status == "tuned"
                ],
            )
    return _calibration(book, job, known)


def no_place(problem: OSError) -> Outcome:
    """It could not even begin."""
    why = f"{problem.filename} cannot be written: {problem.strerror or problem}."
    return Outcome(end=End.FAILED, why=why)


def _calibration(book: Book, job: Job, known: Survey) -> Course:
    candidate = book.places.state / "candidate.yaml"
    candidate.unlink(missing_ok=True)
    begun = {
        "interpreter": job.interpreter,
        "operation": job.operation,
        "dtype": job.dtype,
        "sizes": dict(job.sizes),
    }
    before, book.memory.interrupted = book.memory.interrupted, begun
    store = book.settings.store
    return procedures.calibration(
        job,
        seconds=book.settings.job_seconds,
        candidate=candidate,
        profile=Path(known.profile),
        resume=before == begun,  # whatever the cause: what was ordered, say, comes first, and goes on, too
        claim=(store, known.key) if job.cause in SHARED and store is not None else None,
    )


def _most_used(book: Book) -> list[list[object]]:
    """Operations at a size, those that programs call most first."""
    ranked = sorted(book.memory.used.values(), key=lambda row: -row[3])
    return [row[:3] for row in ranked]


def _runs(book: Book, path: str) -> list[str]:
    """The re-timings of a profile so far, which the course goes on with; none if it is another one by now."""
    trials, now = book.memory.trials, stamp(path)
    if path not in trials or trials[path][0] != now:
        trials[path] = [now, []]
    runs: list[str] = trials[path][1]
    return runs
