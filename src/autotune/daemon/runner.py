"""The one child that runs, from its start to its end."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from autotune.daemon.book import Book
from autotune.daemon.child_processes import Child, Ended, Launcher
from autotune.daemon.daemon_settings import Interpreter
from autotune.daemon.procedures import Course, Step
from autotune.daemon.schedule import Job

MEMORY_SECONDS = 1.0
"""Between two looks at the memory that a trial holds."""


@dataclass(slots=True, kw_only=True)
class Running:
    """A child, and what goes on once it has ended."""

    child: Child
    step: Step
    began: float
    """Monotonic seconds."""
    interpreter: Interpreter
    then: Callable[[Ended], None]
    job: Job | None = None
    course: Course | None = None
    weighed: float = 0.0
    """When its memory was last looked at."""


class Runner:
    """Starts children, one at a time; follows them; ends them."""

    def __init__(self, book: Book, launcher: Launcher, memory_bytes: int | None) -> None:
        """`memory_bytes`: what one job may hold unless it is configured; None: no limit."""
        self._book = book
        self._launcher = launcher
        self._memory_bytes = memory_bytes
        self.running: Running | None = None

    @property
    def measuring(self) -> bool:
        """Does something run that needs an idle machine?"""
        return self.running is not None and self.running.step.measuring

    def start(
        self,
        interpreter: Interpreter,
        step: Step,
        then: Callable[[Ended], None],
        *,
        environ: Mapping[str, str] = {},
        job: Job | None = None,
        course: Course | None = None,
    ) -> None:
        """Start a child; `then` is told how it ended, also if it could not even begin."""
        try:
            child = self._launcher.start(interpreter, step.module, step.arguments, environ)
        except OSError as problem:
            elsewhere = "" if problem.filename in {None, interpreter.python} else f" ({problem.filename})"
            why = f"{problem.strerror or problem}{elsewhere}"
            then(Ended(status=127, words=f"{interpreter.python} cannot be started: {why}."))
            return
        self.running = Running(
            child=child,
            step=step,
            began=self._book.moment.running,
            interpreter=interpreter,
            then=then,
            job=job,
            course=course,
            weighed=self._book.moment.running,
        )

    def follow(self, objection: Callable[[], str | None]) -> None:
        """Go on with what has ended. End what must: what is objected to while it measures is forgotten, what
        hangs or holds too much memory has failed.
        """
        running = self.running
        if running is None:
            return
        ended = running.child.ended()
        if ended is not None:
            self.running = None
            running.then(ended)
            return
        why = objection() if running.step.measuring else None
        if why is not None:
            self.interrupt(why)
            return
        fault = self._late(running) or self._too_large(running)
        if fault is not None:
            self.running = None
            running.child.kill()
            running.then(Ended(status=-9, words=fault))

    def interrupt(self, why: str) -> Running | None:
        """Kill what runs, and forget what it was doing: its unfinished trial counts for nothing. What it was."""
        running, self.running = self.running, None
        if running is None:
            return None
        running.child.kill()
        if running.course is not None:
            running.course.close()
        if running.job is not None:
            self._book.memory.count("interrupted")
            self._book.tell("interrupted", running.job, why)
            self._book.save()
        return running

    def _late(self, running: Running) -> str | None:
        if self._book.moment.running - running.began <= running.step.seconds:
            return None
        return f"It took longer than {running.step.seconds:.0f} seconds and was killed."

    def _too_large(self, running: Running) -> str | None:
        now = self._book.moment.running
        if now - running.weighed < MEMORY_SECONDS:
            return None
        running.weighed = now
        limit = self._book.settings.memory_bytes or self._memory_bytes
        held = running.child.resident_bytes()
        if limit is None or held is None or held <= limit:
            return None
        return f"It held {held >> 20} MiB of memory; {limit >> 20} are allowed."
