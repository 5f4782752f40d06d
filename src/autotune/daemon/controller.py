"""Keeps the profiles true, one tick at a time: looks, decides, has children do it, remembers.

Nothing in here waits. Whoever turns the loop calls `tick` every `pause` seconds; clock, world and children are
passed in.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from autotune.daemon import clocks, outcomes, schedule, staging, status, work
from autotune.daemon.book import MOST_RECENT, Book
from autotune.daemon.child_processes import Ended, Launcher
from autotune.daemon.clocks import Moment
from autotune.daemon.daemon_settings import Interpreter, Settings
from autotune.daemon.file_fingerprint import stamp
from autotune.daemon.idle import Window
from autotune.daemon.inbox import Inbox
from autotune.daemon.interpreters import Interpreters
from autotune.daemon.log import Log
from autotune.daemon.occasion import Occasion
from autotune.daemon.paths import Places
from autotune.daemon.procedures import CLERK, Course, End, Outcome
from autotune.daemon.remembered import Memory, subject_of
from autotune.daemon.runner import Runner, Running
from autotune.daemon.schedule import Job, Knowledge
from autotune.daemon.sensors import Senses
from autotune.daemon.store_sync import Errands
from autotune.errors import UsageError
from autotune.host.usable_cpus import usable_cpus

IDLE_PAUSE = 10.0
"""Seconds between two ticks while nothing runs: half a millisecond each, 0.01 % of a CPU."""
CHILD_PAUSE = 0.5
MEASURING_PAUSE = 0.25
"""While something is measured: a machine that becomes busy gets its CPUs back within a second."""
LOOK_SECONDS = 30.0
"""Between two looks at files and limits: changes are noticed within a minute."""
MOST_ORDERS = 100


class Keeper:
    """The daemon without its loop, its signals and its socket."""

    def __init__(
        self,
        settings: Settings,
        places: Places,
        *,
        launcher: Launcher,
        senses: Senses,
        log: Log,
        now: Callable[[], Moment] = clocks.now,
        usable: Callable[[], tuple[int, str]] = usable_cpus,
        memory_bytes: int | None = None,
    ) -> None:
        self._now = now
        self._book = Book(settings, places, log, now())
        self._runner = Runner(self._book, launcher, memory_bytes)
        self._occasion = Occasion(self._book, senses)
        self._errands = Errands(self._book)
        self.interpreters = Interpreters(self._book, usable)
        self.waiting = ""
        """Why nothing is being measured."""
        self._inbox = Inbox(self._book)
        self._untried: dict[str, str] = {}
        self._looked = float("-inf")

    @property
    def pause(self) -> float:
        """Seconds until the next tick."""
        if self.running is None:
            return IDLE_PAUSE
        return MEASURING_PAUSE if self._runner.measuring else CHILD_PAUSE

    @property
    def settings(self) -> Settings:
        """What is configured."""
        return self._book.settings

    @property
    def memory(self) -> Memory:
        """What is remembered."""
        return self._book.memory

    @property
    def window(self) -> Window:
        """Is the machine idle?"""
        return self._occasion.window

    @property
    def running(self) -> Running | None:
        """The child that runs."""
        return self._runner.running

    # --- one tick ---------------------------------------------------------------------------

    def tick(self) -> None:
        """Look, decide, act."""
        book = self._book
        before, book.moment = book.moment, self._now()
        jumped = clocks.jump(before, book.moment)
        if jumped is not None:
            self._jumped(jumped)
        if book.moment.running - self._looked >= LOOK_SECONDS:
            self._looked = book.moment.running
            self._look()
        self._occasion.feel(self.running)
        self._runner.follow(self._occasion.objection_to_more)
        if self.running is None:
            self._begin()
        book.save_news()

    def _jumped(self, why: str) -> None:
        """The machine slept, or somebody set the clock."""
        self._book.log.say("clock", why, level="warning")
        self._book.memory.settle(self._book.moment.wall)
        if self._runner.measuring:
            self._runner.interrupt(why)
        self._occasion.close(why)
        self._errands.plan_anew()

    def _look(self) -> None:
        """At everything that changes seldom."""
        self.interpreters.look()
        self._inbox.empty()
        book = self._book
        book.memory.fade(book.moment.wall)
        in_use = {
            entry.path: name
            for name, known in self.interpreters.surveys.items()
            for entry in known.entries
            if entry.status == "tuned"
        }
        pulled = {
            path: one.name
            for one in book.settings.interpreters
            if one.name in self.interpreters.surveys
            for path in staging.staged(book.places, one)
            if book.memory.trusted.get(path) != stamp(path) and not staging.in_force(book.places, path)
        }
        self._untried = pulled | in_use

    def _begin(self) -> None:
        """The next thing to do: first what needs no idle machine."""
        one = self.interpreters.due()
        if one is not None:
            self._runner.start(one, self.interpreters.question(), partial(self._asked, one))
            return
        errand = self._errands.next(self.interpreters.surveys)
        if errand is not None:
            self._runner.start(
                errand.interpreter, errand.step, partial(self._returned, errand.then), environ=errand.environ
            )
            return
        self._note_objection()
        if not self.waiting:
            self._measure_next()

    def _note_objection(self) -> None:
        self.waiting = self._occasion.objection() or ""

    def _asked(self, one: Interpreter, ended: Ended) -> None:
        self.interpreters.answered(one, ended)
        self._look_soon()

    def _returned(self, then: Callable[[Ended], None], ended: Ended) -> None:
        then(ended)
        self._look_soon()  # at what came

    def _look_soon(self) -> None:
        self._looked = float("-inf")

    # --- a job, from its beginning to its end -----------------------------------------------

    def _measure_next(self) -> None:
        jobs = schedule.queue(self.knowledge())
        if not jobs:
            known = self.interpreters.surveys
            self.waiting = "There is nothing to do." if known else "No interpreter can be asked what it has."
            return
        job = jobs[0]
        interpreter = next(one for one in self.settings.interpreters if one.name == job.interpreter)
        self._book.tell("begun", job, job.reason)
        try:
            course = work.course(self._book, job, self.interpreters.surveys[job.interpreter])
        except OSError as problem:  # the state folder has become read-only
            self._finish(job, work.no_place(problem))
            return
        self._advance(interpreter, job, course, None)

    def _advance(self, interpreter: Interpreter, job: Job, course: Course, ended: Ended | None) -> None:
        """The next step of a course, or its end."""
        try:
            following = next(course) if ended is None else course.send(ended)
        except StopIteration as stop:
            self._finish(job, stop.value)
            return
        self._book.save()
        self._runner.start(
            interpreter,
            following,
            lambda end: self._advance(interpreter, job, course, end),
            environ=self._book.places.measuring if following.measuring else {},
            job=job,
            course=course,
        )

    def _finish(self, job: Job, outcome: Outcome) -> None:
        outcomes.remember(self._book, job, self.interpreters.surveys[job.interpreter], outcome)
        if outcome.end is End.BUSY:
            self._occasion.host_is_busy()
        if outcome.end in {End.ADOPTED, End.QUARANTINED}:
            self.interpreters.again(job.interpreter)

    def _interrupt(self, why: str) -> None:
        ended = self._runner.interrupt(why)
        if ended is not None and ended.job is None and ended.step.module == CLERK:
            self.interpreters.again(ended.interpreter.name)

    # --- orders -----------------------------------------------------------------------------

    def stop(self) -> None:
        """End what runs, and write down what is known."""
        self._interrupt("The daemon stops.")
        self._book.save()

    def reload(self, settings: Settings) -> None:
        """Other settings. What is measured with an interpreter that is not listed any more ends."""
        names = {one.name for one in settings.interpreters}
        if self.running is not None and self.running.interpreter.name not in names:
            self._interrupt("Its interpreter is not listed any more.")
        self._book.settings = settings
        self.interpreters.forget_all_but(names)
        self.memory.strike(names)
        self._errands.plan_anew()
        self._look_soon()

    def pause_until(self, wall: float) -> None:
        """Measure nothing before this time."""
        self.memory.paused_until = wall
        if self._runner.measuring:
            self._interrupt("It was paused.")
        self._note_objection()  # the next tick may be ten seconds away, and `status` is asked now
        self._book.log.say("paused", "It was ordered.")
        self._book.save()

    def resume(self) -> None:
        """Measure again."""
        self.memory.paused_until = None
        self._note_objection()
        self._book.log.say("resumed", "It was ordered.")
        self._book.save()

    def order(self, operation: str, dtype: str, sizes: dict[str, int]) -> None:
        """Measure this with every interpreter, as soon as the machine is idle.

        Raises UsageError if too much has been ordered.
        """
        wish = [operation, dtype, sizes]
        if len(self.memory.wishes) >= MOST_ORDERS:
            raise UsageError(f"{MOST_ORDERS} orders wait already.")
        if wish not in self.memory.wishes:
            self.memory.wishes.append(wish)
        subject = subject_of(operation, dtype, sizes)
        self.memory.served.pop(subject, None)
        self._note_objection()
        self._book.log.say("ordered", subject)
        self._book.save()

    # --- reports ----------------------------------------------------------------------------

    def knowledge(self) -> Knowledge:
        """What decisions are made of."""
        untried = {
            path: name
            for path, name in self._untried.items()
            if stamp(path) not in ([], self.memory.trusted.get(path))
        }
        return self.interpreters.knowledge(untried)

    def status(self) -> dict[str, Any]:
        """What the daemon does, and why."""
        return status.status(
            self._book,
            self.interpreters,
            window=self.window,
            running=self.running,
            waiting=self.waiting,
            staged=sum(staging.is_staged(self._book.places, path) for path in self.knowledge().untried),
        )

    def figures(self) -> dict[str, Any]:
        """What the metrics show besides the totals."""
        return status.figures(self._book, self.interpreters)

    def queue(self) -> list[dict[str, Any]]:
        """What comes next, and why; the first 20 beside what runs."""
        running = None if self.running is None else self.running.job
        now = None if running is None else (running.interpreter, running.subject)
        jobs = schedule.queue(self.knowledge())
        return [job.as_dict() for job in jobs if (job.interpreter, job.subject) != now][:MOST_RECENT]
