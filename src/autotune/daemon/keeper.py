"""Keeps the profiles true, one tick at a time: looks, decides, has children do it, remembers.

Nothing in here waits. Whoever turns the loop calls `tick` every `pause` seconds; clock, world and children are
passed in.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from math import exp, log
from pathlib import Path
from typing import Any

from autotune.daemon import canary, clock, cluster, courses, memory, schedule, spool
from autotune.daemon.budget import left, spend
from autotune.daemon.clock import Moment
from autotune.daemon.courses import Course, End, Outcome, Step
from autotune.daemon.idle import Window, step
from autotune.daemon.jobs import Child, Ended, Launcher
from autotune.daemon.log import Log
from autotune.daemon.places import Places
from autotune.daemon.schedule import Cause, Job, Knowledge
from autotune.daemon.settings import Interpreter, Settings
from autotune.daemon.stamps import stamp, stamps
from autotune.daemon.survey import OWN, Survey, change, survey
from autotune.daemon.world import Senses
from autotune.errors import UsageError
from autotune.host.allocation import usable_cpus

IDLE_PAUSE = 10.0
"""Seconds between two ticks while nothing runs: half a millisecond each, 0.01 % of a CPU."""
CHILD_PAUSE = 0.5
MEASURING_PAUSE = 0.25
"""While something is measured: a machine that becomes busy gets its CPUs back within a second."""
LOOK_SECONDS = 30.0
"""Between two looks at files and limits: changes are noticed within a minute."""
MEMORY_SECONDS = 1.0
SAVE_SECONDS = 60.0
"""Between two times that unimportant news is written down; decisions are at once."""
STORE_SECONDS = 60.0
"""For one visit to the cluster's store."""
HOST_BUSY_SECONDS = 120.0
"""Before it is tried again whether somebody else still measures on this host."""
NOTHING_STATUS = 1
"""Of `autotune pull`: the store answers, and has nothing for this machine."""
MOST_RECENT = 20
QUARANTINED = ".quarantined"
"""Appended to the name of a profile that is put aside, so that nobody reads it."""


@dataclass(slots=True, kw_only=True)
class Running:
    """A child, and what goes on once it has ended."""

    child: Child
    step: Step
    began: float
    interpreter: Interpreter
    then: Callable[[Ended], None]
    job: Job | None = None
    course: Course | None = None
    looked: float = 0.0


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
        now: Callable[[], Moment] = clock.now,
        usable: Callable[[], tuple[int, str]] = usable_cpus,
        memory_bytes: int | None = None,
    ) -> None:
        self.settings = settings
        self.places = places
        self._launcher = launcher
        self._senses = senses
        self._log = log
        self._now = now
        self._usable = usable
        self._memory_bytes = memory_bytes
        self.memory, problem = memory.load(self._state)
        if problem is not None:
            log.say("state", problem, level="warning")
        self.moment = now()
        self.window = Window()
        self.running: Running | None = None
        self.surveys: dict[str, Survey] = {}
        self.problems: dict[str, str] = {}
        """Interpreter -> why it cannot be asked."""
        self.recent: deque[dict[str, Any]] = deque(maxlen=MOST_RECENT)
        self.waiting = ""
        """Why nothing is being measured."""
        self._stamps: dict[str, Any] = {}
        self._due: set[str] = set()
        self._profiles: dict[str, str] = {}
        self._publish: list[tuple[Interpreter, str]] = []
        self._done: set[str] = set()
        self._looked = float("-inf")
        self._saved = self.moment.running
        self._next_pull: float | None = None
        self._host_busy = float("-inf")
        self._own: float | None = None
        self._dirty = False

    @property
    def _state(self) -> Path:
        return self.places.state / "state.json"

    @property
    def pause(self) -> float:
        """Seconds until the next tick."""
        if self.running is None:
            return IDLE_PAUSE
        return MEASURING_PAUSE if self.running.step.measuring else CHILD_PAUSE

    # --- one tick ---------------------------------------------------------------------------

    def tick(self) -> None:
        """Look, decide, act."""
        before, self.moment = self.moment, self._now()
        jumped = clock.jump(before, self.moment)
        if jumped is not None:
            self._log.say("clock", jumped, level="warning")
            if self.running is not None and self.running.step.measuring:
                self._interrupt(jumped)
            self.window = Window(why=jumped)
            self._next_pull = None
        if self.moment.running - self._looked >= LOOK_SECONDS:
            self._looked = self.moment.running
            self._look()
        self._feel()
        self._follow()
        if self.running is None:
            self._begin()
        if self._dirty and self.moment.running - self._saved >= SAVE_SECONDS:
            self.save()

    def stop(self) -> None:
        """End what runs, and write down what is known."""
        self._interrupt("The daemon stops.")
        self.save()

    def save(self) -> None:
        """Write down what is known. A folder that cannot be written costs the memory only."""
        self._saved, self._dirty = self.moment.running, False
        try:
            memory.save(self._state, self.memory)
        except OSError as problem:
            self._dirty = True
            why = f"{self._state} cannot be written ({problem.strerror or problem}); the daemon goes on without."
            self._log.once("state", why)
        else:
            self._log.over("state", f"{self._state} can be written again.")

    def reload(self, settings: Settings) -> None:
        """Other settings. What is measured with an interpreter that is not listed any more ends."""
        names = {one.name for one in settings.interpreters}
        if self.running is not None and self.running.interpreter.name not in names:
            self._interrupt("Its interpreter is not listed any more.")
        self.settings = settings
        for known in (self.surveys, self._stamps, self.problems):
            for name in known.keys() - names:
                known.pop(name)
        self._looked = float("-inf")
        self._next_pull = None

    # --- looking ----------------------------------------------------------------------------

    def _look(self) -> None:
        """At everything that changes seldom."""
        usable, limit = self._usable()
        for one in self.settings.interpreters:
            known = self.surveys.get(one.name)
            watched = (one.python, *(known.watch if known else ()), *(self._watched_profiles(known)))
            seen = (usable, str(limit), stamps(watched))
            if self._stamps.get(one.name) != seen:
                self._stamps[one.name] = seen
                self._due.add(one.name)
        self._profiles = {
            path: name
            for name, known in self.surveys.items()
            for path in {one.path for one in known.entries if one.status == "tuned"}
            if self.memory.trusted.get(path) != stamp(path)
        }
        found = spool.take(self.places.spool, shared=self.places.shared, done=self._done)
        for why in found.refused:
            self._log.say("spool", why, level="warning")
        for asked, calls in found.calls.items():
            row = self.memory.demand.setdefault(str(asked), [asked.name, asked.dtype, asked.size, 0])
            row[3] += calls
            self._dirty = True
        for asked, why in found.dropped.items():
            self.memory.doubts[str(asked)] = [asked.name, asked.dtype, asked.size, why]
            self._dirty = True
        self.memory.fade(self.moment.wall)

    def _watched_profiles(self, known: Survey | None) -> list[str]:
        """Folders that profiles come into, and the ones that apply."""
        applying = {one.path for one in known.entries} if known else set()
        folders = {str(Path(path).parent) for path in applying} | {str(self.places.profiles)}
        return sorted(applying | folders)

    def _feel(self) -> None:
        """How busy the machine is, and what that means."""
        measuring = self.running is not None and self.running.step.measuring
        sample = self._senses.sample(self.settings.idle.busy_seconds, measuring=measuring)
        own = self._senses.own_seconds()
        if measuring and own is not None and self._own is not None and own > self._own:
            self.memory.spent = spend(self.memory.spent, self.moment.day, own - self._own)
            self.memory.count("cpu_seconds", own - self._own)
            self._dirty = True
        self._own = own
        if sample is None:
            return
        if self.running is not None and not measuring:
            return  # what our own child does says nothing of the machine, and will be over soon
        was_open = self.window.open
        self.window = step(self.window, sample, self.settings.idle)
        if was_open != self.window.open:
            self._log.say("idle" if self.window.open else "busy", self.window.why)

    def _obstacle(self) -> str | None:
        """Why nothing may be measured although the machine is idle."""
        if self.memory.paused_until is not None:
            if self.moment.wall < self.memory.paused_until:
                return "It is paused."
            self.memory.paused_until = None
            self._dirty = True
        if self.moment.running < self._host_busy:
            return "Somebody else measures on this host."
        here = datetime.fromtimestamp(self.moment.wall)  # noqa: DTZ006 - people configure local hours
        if self.settings.hours and not any(hours.holds(here) for hours in self.settings.hours):
            return "It is none of the hours that are configured."
        if left(self.memory.spent, self.moment.day, self.settings.daily_cpu_seconds) == 0:
            return f"The {self.settings.daily_cpu_seconds:g} CPU seconds of this day are spent."
        return None

    def _excluded(self) -> str | None:
        name = self._senses.running(self.settings.exclude)
        return None if name is None else f"{name} is running."

    # --- the child that runs ----------------------------------------------------------------

    def _follow(self) -> None:
        """Go on with what has ended; end what must."""
        running = self.running
        if running is None:
            return
        ended = running.child.ended()
        if ended is not None:
            self.running = None
            running.then(ended)
            return
        if running.step.measuring:
            why = self.window.why if not self.window.open else self._obstacle()
            if why is None and self.moment.running - running.looked >= MEMORY_SECONDS:
                running.looked = self.moment.running
                why = self._excluded() or self._too_large(running)
            if why is not None:
                self._interrupt(why)
                return
        if self.moment.running - running.began > running.step.seconds:
            self.running = None
            running.child.kill()
            said = f"It took longer than {running.step.seconds:.0f} seconds and was killed."
            running.then(Ended(status=-9, words=said))

    def _too_large(self, running: Running) -> str | None:
        limit = self.settings.memory_bytes or self._memory_bytes
        held = running.child.resident_bytes()
        if limit is None or held is None or held <= limit:
            return None
        if running.job is not None:
            self.memory.failed(running.job.subject, self.moment.wall, 3600.0)
            self.memory.interrupted = None
            self._fulfil(running.job)
        return f"It held {held >> 20} MiB of memory; {limit >> 20} are allowed."

    def _interrupt(self, why: str) -> None:
        """Kill what runs, and forget what it was doing: its unfinished trial counts for nothing."""
        running, self.running = self.running, None
        if running is None:
            return
        running.child.kill()
        if running.course is not None:
            running.course.close()
        if running.job is not None:
            self.memory.count("interrupted")
            self._tell("interrupted", running.job, why)
            self.save()
        elif running.step.module == courses.CLERK:
            self._due.add(running.interpreter.name)

    def _start(
        self,
        interpreter: Interpreter,
        step: Step,
        then: Callable[[Ended], None],
        *,
        environ: Mapping[str, str] = {},
        job: Job | None = None,
        course: Course | None = None,
    ) -> None:
        try:
            child = self._launcher.start(interpreter, step.module, step.arguments, environ)
        except OSError as problem:
            then(
                Ended(
                    status=127,
                    words=f"{interpreter.python} cannot be started: {problem.strerror or problem}.",
                )
            )
            return
        self.running = Running(
            child=child,
            step=step,
            began=self.moment.running,
            interpreter=interpreter,
            then=then,
            job=job,
            course=course,
            looked=self.moment.running,
        )

    # --- what is begun ----------------------------------------------------------------------

    def _begin(self) -> None:
        """The next thing to do: first what needs no idle machine."""
        for one in self.settings.interpreters:
            if one.name in self._due and not self._delayed(f"survey {one.name}"):
                self._due.discard(one.name)
                words = ("survey", str(self.places.profiles))
                self._start(
                    one,
                    Step(module=courses.CLERK, arguments=words),
                    partial(self._surveyed, one),
                )
                return
        if self.settings.store is not None and self._visit_store(self.settings.store):
            return
        jobs = schedule.queue(self.knowledge())
        obstacle = self._obstacle()
        if not self.window.open or not jobs or obstacle is not None:
            self.waiting = self.window.why if not self.window.open else obstacle or "There is nothing to do."
            return
        excluded = self._excluded()
        if excluded is not None:
            self.waiting = excluded
            return
        self.waiting = ""
        self._measure(jobs[0])

    def knowledge(self) -> Knowledge:
        """What decisions are made of."""
        return Knowledge(
            settings=self.settings,
            memory=self.memory,
            surveys=self.surveys,
            untried=self._profiles,
            now=self.moment.wall,
        )

    def _delayed(self, subject: str) -> bool:
        return self.moment.wall < self.memory.attempts.get(subject, [0.0, 0.0])[1]

    def _surveyed(self, interpreter: Interpreter, ended: Ended) -> None:
        name, subject = interpreter.name, f"survey {interpreter.name}"
        try:
            found = survey(ended.answer)
        except (ValueError, KeyError, TypeError) as problem:
            why = (
                courses.last_words(ended)
                if isinstance(problem, ValueError) and not ended.answer
                else str(problem)
            )
            self.problems[name] = f"{interpreter.python} cannot be asked: {why}"
            self._log.once(subject, self.problems[name])
            self.memory.failed(subject, self.moment.wall, 60.0)
            self._due.add(name)
            return
        self._log.over(subject, f"{interpreter.python} answers again.")
        self.problems.pop(name, None)
        self.memory.attempts.pop(subject, None)
        self.surveys[name] = found
        self.memory.noticed.setdefault(found.key, self.moment.wall)
        before = self._known_before(interpreter)
        self.memory.known[name] = dict(found.facts)
        changed = None if before is None else change(before, found.facts)
        if changed is not None:
            self.memory.stale[name] = changed
            self.memory.attempts.clear()  # what failed before may not fail now
            self.memory.count("changes")
            self._log.say("stale", changed, interpreter=name)
        for one in found.entries:
            if one.path == found.profile:
                key = schedule.checked_key(found.key, one.operation.name, one.operation.dtype)
                self.memory.checked.setdefault(key, _wall(found.created) or self.moment.wall)
        missing = {one.interpreter for one in schedule.queue(self.knowledge()) if one.cause is Cause.MISSING}
        if changed is None and name not in missing:
            self.memory.stale.pop(name, None)
        self._looked = float("-inf")  # what it says to watch is looked at now
        # the stamps to come include what the survey named: that alone is no change
        usable, limit = self._usable()
        watched = (interpreter.python, *found.watch, *self._watched_profiles(found))
        self._stamps[name] = (usable, str(limit), stamps(watched))
        self.save()

    def _known_before(self, interpreter: Interpreter) -> dict[str, Any] | None:
        """The facts when last seen: of this interpreter, or of the same Python with the environment it had."""
        listed = {one.name for one in self.settings.interpreters}
        known = self.memory.known
        former = [one for one in known if one not in listed and one.rpartition(" ")[2] == interpreter.python]
        before = known.get(interpreter.name)
        for name in former:
            before = before or known[name]
            del known[name]
        return before

    def _visit_store(self, url: str) -> bool:
        """Publish, or pull, if it is time."""
        if self._publish:
            interpreter, path = self._publish.pop(0)
            self._store(interpreter, ("publish", path, "--store", url), "publish")
            return True
        if self._next_pull is None:
            host = next((one.host for one in self.surveys.values()), None)
            if host is None:
                return False
            self._next_pull = cluster.next_pull(
                host,
                self.moment.wall,
                interval=self.settings.pull_seconds,
                failures=self.memory.pull_failures,
            )
        if self.moment.wall < self._next_pull:
            return False
        self._store(self.settings.interpreters[0], ("pull", "--store", url), "pull")
        return True

    def _store(self, interpreter: Interpreter, words: tuple[str, ...], errand: str) -> None:
        def then(ended: Ended) -> None:
            done = ended.status in {0, NOTHING_STATUS} if errand == "pull" else ended.status == 0
            if errand == "pull":
                self.memory.pull_failures = 0 if done else self.memory.pull_failures + 1
                self.memory.pulled = self.moment.wall if done else self.memory.pulled
                self._next_pull = None
            self.memory.count(f"{errand}_{'done' if done else 'failed'}")
            if done:
                self._log.over(errand, "The store answers again.")
            else:
                self._log.once(errand, f"{courses.last_words(ended)} Nothing changes locally.")
            self._dirty = True

        step = Step(module=courses.CLI, arguments=words, seconds=STORE_SECONDS)
        self._start(interpreter, step, then, environ=self.places.pulling)

    # --- measuring --------------------------------------------------------------------------

    def _measure(self, job: Job) -> None:
        """Begin a course."""
        interpreter = next(one for one in self.settings.interpreters if one.name == job.interpreter)
        course = self._course(job)
        self._tell("begun", job, job.reason)
        self.save()
        self._advance(interpreter, job, course, None)

    def _course(self, job: Job) -> Course:
        known = self.surveys[job.interpreter]
        seconds, work = self.settings.job_seconds, self.places.state
        match job.cause:
            case Cause.TRIAL:
                return courses.trial(
                    job,
                    seconds=seconds,
                    excerpt=work / "excerpt.yaml",
                    used=[],
                    runs=[canary.Verdict(each) for each in self.memory.trials.get(job.path, [])],
                )
            case Cause.AGE:
                return courses.recheck(
                    job,
                    seconds=seconds,
                    profile=Path(known.profile),
                    excerpt=work / "excerpt.yaml",
                    entries=[
                        one.operation for one in known.of(job.operation, job.dtype) if one.status == "tuned"
                    ],
                )
        resume = job.cause is Cause.RESUME
        self.memory.interrupted = {
            "interpreter": job.interpreter,
            "operation": job.operation,
            "dtype": job.dtype,
            "sizes": dict(job.sizes),
        }
        candidate = work / "candidate.yaml"
        candidate.unlink(missing_ok=True)
        return courses.calibration(
            job,
            seconds=seconds,
            candidate=candidate,
            profile=Path(known.profile),
            seed=0,
            resume=resume,
            claim=(self.settings.store, known.key)
            if job.cause is Cause.MISSING and self.settings.store is not None
            else None,
        )

    def _advance(self, interpreter: Interpreter, job: Job, course: Course, ended: Ended | None) -> None:
        """The next step of a course, or its end."""
        try:
            following = next(course) if ended is None else course.send(ended)
        except StopIteration as stop:
            self._finish(interpreter, job, stop.value)
            return
        self._start(
            interpreter,
            following,
            lambda end: self._advance(interpreter, job, course, end),
            environ=self.places.measuring if following.measuring else {},
            job=job,
            course=course,
        )

    def _finish(self, interpreter: Interpreter, job: Job, outcome: Outcome) -> None:
        """Remember what came of a job."""
        remembered = self.memory
        remembered.count(str(outcome.end))
        remembered.count("retimings", outcome.runs)
        for ratio in outcome.ratios:
            remembered.count("rechecked_entries")
            remembered.count("rechecked_log_ratio", log(ratio))
        self._tell(str(outcome.end), job, outcome.why, runs=outcome.runs)
        if outcome.end is End.BUSY:
            self._host_busy = self.moment.running + HOST_BUSY_SECONDS
        elif job.cause in {Cause.TRIAL, Cause.AGE}:
            self._judged(job, outcome)
        else:
            self._measured(interpreter, job, outcome)
        self.save()

    def _judged(self, job: Job, outcome: Outcome) -> None:
        """Of a trial, or of entries that were checked again."""
        remembered, known = self.memory, self.surveys[job.interpreter]
        for operation, dtype, sizes, why in outcome.doubts:
            text = " ".join([operation, dtype, *(f"{name}={value}" for name, value in sizes.items())])
            remembered.doubts[text] = [operation, dtype, sizes, why]
        if outcome.end in {End.FINE, End.DOUBTED}:
            if job.cause is Cause.AGE:
                key = schedule.checked_key(known.key, job.operation, job.dtype)
                remembered.checked[key] = self.moment.wall
            else:
                remembered.trusted[job.path] = stamp(job.path)
                self._profiles.pop(job.path, None)
            remembered.attempts.pop(job.subject, None)
        elif outcome.end is End.QUARANTINED:
            self._set_aside(job, outcome)
        else:
            remembered.failed(job.subject, self.moment.wall, 3600.0)

    def _set_aside(self, job: Job, outcome: Outcome) -> None:
        """Take a profile that makes programs slower out of use."""
        path = Path(job.path)
        self._profiles.pop(job.path, None)
        try:
            path.replace(path.with_name(path.name + QUARANTINED))
        except OSError as problem:
            self.memory.trusted[job.path] = stamp(
                job.path
            )  # nothing more can be done: do not time it for ever
            why = (
                f"{path} makes programs slower ({outcome.why}), and cannot be put aside: "
                f"{problem.strerror or problem}. Remove it, or set AUTOTUNE_DISABLE=1."
            )
            self._log.once("quarantine", why, level="error")
        else:
            self._log.say("quarantine", f"{path} is put aside: {outcome.why}", level="warning")
        self._due.add(job.interpreter)

    def _measured(self, interpreter: Interpreter, job: Job, outcome: Outcome) -> None:
        """Of a calibration: what it was for is settled, or will be tried again."""
        remembered, known = self.memory, self.surveys[job.interpreter]
        remembered.interrupted = None
        self._fulfil(job)
        if outcome.end is not End.ADOPTED:
            first = 86400.0 if outcome.end is End.QUARANTINED else 3600.0
            remembered.failed(job.subject, self.moment.wall, first)
            return
        text = " ".join([job.operation, job.dtype, *(f"{name}={value}" for name, value in job.sizes)])
        # an entry that is default-kept is an answer too; one that could not be told is asked for later
        for asked in (remembered.demand, remembered.doubts):
            for each in [
                each for each in asked if each == text or (not job.sizes and each.startswith(f"{text} "))
            ]:
                asked.pop(each)
        remembered.failed(job.subject, self.moment.wall, 3600.0)  # a size that stays noisy waits ever longer
        remembered.checked[schedule.checked_key(known.key, job.operation, job.dtype)] = self.moment.wall
        remembered.trusted[known.profile] = stamp(known.profile)
        if self.settings.store is not None and (interpreter, known.profile) not in self._publish:
            self._publish.append((interpreter, known.profile))
        self._due.add(interpreter.name)

    def _fulfil(self, job: Job) -> None:
        """An order is done with, whatever came of it."""
        wish = [job.operation, job.dtype, dict(job.sizes)]
        self.memory.wishes = [one for one in self.memory.wishes if one != wish]

    def _tell(self, event: str, job: Job, why: str, **facts: Any) -> None:
        """Into the log, and into what `status` shows."""
        self.recent.append(
            {"wall": self.moment.wall, "event": event, "job": job.subject, "why": why, **facts}
        )
        self._log.say(
            event, why, job=job.subject, cause=job.cause.name.lower(), interpreter=job.interpreter, **facts
        )

    # --- orders -----------------------------------------------------------------------------

    def pause_until(self, wall: float) -> None:
        """Measure nothing before this time."""
        self.memory.paused_until = wall
        if self.running is not None and self.running.step.measuring:
            self._interrupt("It was paused.")
        self._log.say("paused", "It was ordered.")
        self.save()

    def resume(self) -> None:
        """Measure again."""
        self.memory.paused_until = None
        self._log.say("resumed", "It was ordered.")
        self.save()

    def order(self, operation: str, dtype: str, sizes: dict[str, int]) -> None:
        """Measure this as soon as the machine is idle. Raises UsageError if too much has been ordered."""
        wish = [operation, dtype, sizes]
        if len(self.memory.wishes) >= 100:
            raise UsageError("100 orders wait already.")
        if wish not in self.memory.wishes:
            self.memory.wishes.append(wish)
        self._log.say(
            "ordered", " ".join([operation, dtype, *(f"{key}={value}" for key, value in sizes.items())])
        )
        self.save()

    # --- reports ----------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """What the daemon does, and why."""
        remembered, running = self.memory, self.running
        doing = None
        if running is not None:
            doing = {
                "what": running.job.subject if running.job else " ".join(running.step.arguments[:1]),
                "why": running.job.reason if running.job else "It needs no idle machine.",
                "measuring": running.step.measuring,
                "seconds": self.moment.running - running.began,
            }
        return {
            "idle": self.window.open,
            "why": self.window.why,
            "waiting": self.waiting,
            "running": doing,
            "paused_until": remembered.paused_until,
            "spent_cpu_seconds": remembered.spent.cpu_seconds
            if remembered.spent.day == self.moment.day
            else 0.0,
            "daily_cpu_seconds": self.settings.daily_cpu_seconds,
            "interpreters": [self._interpreter(one) for one in self.settings.interpreters],
            "demand": len(remembered.demand),
            "orders": len(remembered.wishes),
            "doubts": [row[3] for row in remembered.doubts.values()][:MOST_RECENT],
            "counts": remembered.counts,
            "recent": list(self.recent),
            "store": None
            if self.settings.store is None
            else {
                "url": self.settings.store,
                "pulled": remembered.pulled,
                "failures": remembered.pull_failures,
            },
        }

    def _interpreter(self, one: Interpreter) -> dict[str, Any]:
        known = self.surveys.get(one.name)
        levels = [entry.level for entry in known.entries] if known else []
        return {
            "name": one.name,
            "problem": self.problems.get(one.name),
            "stale": self.memory.stale.get(one.name),
            "key": known and known.key,
            "profile": known and known.profile,
            "entries": {level: levels.count(level) for level in sorted(set(levels))},
        }

    def queue(self) -> list[dict[str, Any]]:
        """What comes next, and why; the first 20."""
        return [job.as_dict() for job in schedule.queue(self.knowledge())[:MOST_RECENT]]

    def figures(self) -> dict[str, Any]:
        """What the metrics show besides the totals."""
        entries = [one for known in self.surveys.values() for one in known.entries]
        own = [one.ratio for one in entries if one.level in OWN and one.status == "tuned" and one.ratio]
        counts = self.memory.counts
        checked = counts.get("rechecked_entries", 0.0)
        return {
            "levels": {
                level: sum(one.level == level for one in entries)
                for level in sorted({one.level for one in entries})
            },
            "oldest_check": min(self.memory.checked.values(), default=None),
            "expected_ratio": exp(sum(map(log, own)) / len(own)) if own else None,
            "rechecked_ratio": exp(counts["rechecked_log_ratio"] / checked) if checked else None,
            "stale": len(self.memory.stale),
        }


def _wall(created: str | None) -> float | None:
    """Seconds since 1970 of an ISO date; None if it is none."""
    try:
        return None if created is None else datetime.fromisoformat(created).timestamp()
    except (ValueError, OverflowError):
        return None
