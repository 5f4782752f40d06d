"""The daemon's decisions, one tick at a time: observe, decide, start or end a child process, record its result.

Nothing in here waits. `service` calls `tick` every `pause` seconds; clocks, sensors and child processes are passed in.
All work is done by procedures: generators that yield the command of a child process and are sent its result.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

from autotune.daemon.child_processes import ChildCommand, ChildProcess, ChildResult, StartChild
from autotune.daemon.context import MAX_RECENT, DaemonContext, DaemonLog
from autotune.daemon.daemon_settings import DaemonPaths, DaemonSettings, Interpreter
from autotune.daemon.inventory import Inventories
from autotune.daemon.procedures import JobEnd, do_job, report
from autotune.daemon.readiness import Readiness
from autotune.daemon.schedule import JobCause, ScheduledJob, ScheduleInput, queue
from autotune.daemon.sensors import MachineSensors, Moment, clock_jump, fingerprint, read_clocks
from autotune.daemon.spool import take_spool
from autotune.daemon.store_sync import StoreSync, is_in_force, pulled_profiles
from autotune.errors import UsageError
from autotune.host.usable_cpus import usable_cpus
from autotune.model.operation import Operation

IDLE_PAUSE = 10.0
"""Seconds between two ticks while no child runs: each takes half a millisecond, 0.01 % of a CPU."""
CHILD_PAUSE = 0.5
MEASURING_PAUSE = 0.25
"""While something is measured: a machine that becomes busy gets its CPUs back within a second."""
LOOK_SECONDS = 30.0
"""Between two looks at files and limits, so that a change is noticed within a minute."""
MAX_ORDERS = 100
RETIMINGS = frozenset({JobCause.TRIAL, JobCause.AGE})
"""Jobs that an order interrupts. A calibration is not interrupted: the next one would replace its journal."""

Procedure = Generator[ChildCommand, ChildResult, JobEnd | None]


@dataclass(slots=True)
class Activity:
    """A procedure that was begun, and the child process that it waits for."""

    interpreter: Interpreter
    """Runs its child processes."""
    procedure: Procedure
    job: ScheduledJob | None = None
    """None for inventories and visits to the store, which need no idle machine."""
    command: ChildCommand = field(init=False)
    child: ChildProcess = field(init=False)
    began: float = field(init=False)
    """When the child began, in monotonic seconds."""


class Controller:
    """The daemon without its process: no loop, no signals, no socket."""

    def __init__(
        self,
        settings: DaemonSettings,
        paths: DaemonPaths,
        *,
        start_child: StartChild,
        sensors: MachineSensors,
        log: DaemonLog,
        clocks: Callable[[], Moment] = read_clocks,
        usable: Callable[[], tuple[int, str]] = usable_cpus,
    ) -> None:
        self._clocks = clocks
        self._start_child = start_child
        self.context = DaemonContext(settings, paths, log, clocks())
        self.readiness = Readiness(self.context, sensors)
        self.inventories = Inventories(self.context, usable)
        self._store = StoreSync(self.context)
        self.running: Activity | None = None
        self.waiting = ""
        """Why nothing is being measured."""
        self._new_profiles: dict[str, str] = {}
        self._undeletable: set[str] = set()
        self._looked = float("-inf")

    @property
    def pause(self) -> float:
        """Seconds until the next tick."""
        if self.running is None:
            return IDLE_PAUSE
        return MEASURING_PAUSE if self.is_measuring else CHILD_PAUSE

    @property
    def is_measuring(self) -> bool:
        """Does a child run that needs an idle machine?"""
        return self.running is not None and self.running.command.measuring

    def tick(self) -> None:
        """Observe, decide, act."""
        context = self.context
        before, context.moment = context.moment, self._clocks()
        jump = clock_jump(before, context.moment)
        if jump is not None:
            self._handle_jump(jump)
        if context.moment.running - self._looked >= LOOK_SECONDS:
            self._looked = context.moment.running
            self._look()
        measuring = self.is_measuring
        self.readiness.observe(measuring=measuring, helping=self.running is not None and not measuring)
        if self.running is not None:
            self._follow(self.running)
        if self.running is None:
            self._begin()
        context.save_if_due()

    def _handle_jump(self, why: str) -> None:
        """Start afresh after a suspension or a change of the clock."""
        self.context.log.write("clock", why, level="warning")
        self.context.state.clamp_times(self.context.moment.wall)
        if self.is_measuring:
            self._interrupt(why)
        self.readiness.close(why)
        self._store.replan()

    def _look(self) -> None:
        """Look at what changes seldom: interpreters, spool, profiles."""
        context = self.context
        self.inventories.look()
        take_spool(context, self._undeletable)
        context.state.decay(context.moment.wall)
        pulled = {
            str(path): interpreter.name
            for interpreter in context.settings.interpreters
            if interpreter.name in self.inventories.by_name
            for path in pulled_profiles(context.paths, interpreter)
            if context.state.trusted.get(str(path)) != fingerprint(path) and not is_in_force(context.paths, path)
        }
        in_use = {
            entry.path: name
            for name, inventory in self.inventories.by_name.items()
            for entry in inventory.entries
            if entry.status == "tuned"
        }
        self._new_profiles = pulled | in_use

    def _begin(self) -> None:
        """Begin the next activity: first what needs no idle machine."""
        pending = self.inventories.next_question() or self._store.next_visit(self.inventories.by_name)
        if pending is not None:
            self._advance(Activity(*pending))
            return
        self._note_objection()
        if not self.waiting:
            self._measure_next()

    def _measure_next(self) -> None:
        job = next(iter(self.jobs()), None)
        if job is None:
            inventories = self.inventories.by_name
            self.waiting = "There is nothing to do." if inventories else "No interpreter can be asked what it has."
            return
        interpreter = next(each for each in self.context.settings.interpreters if each.name == job.interpreter)
        report(self.context, "begun", job, job.reason)
        procedure = do_job(self.context, job, self.inventories.by_name[job.interpreter])
        self._advance(Activity(interpreter, procedure, job))

    def _note_objection(self) -> None:
        """Note why nothing is measured: `status` may be asked before the next tick."""
        self.waiting = self.readiness.objection() or ""

    def _advance(self, activity: Activity, result: ChildResult | None = None) -> None:
        """Go on with an activity, from its beginning or with a child's result, until the next child runs."""
        self.running = None
        python = activity.interpreter.python
        while True:
            try:
                command = next(activity.procedure) if result is None else activity.procedure.send(result)
            except StopIteration as end:
                self._finish(activity.job, end.value)
                return
            if activity.job is not None:
                self.context.save()
            try:
                child = self._start_child(python, command, {**command.environ, **activity.interpreter.environment})
            except OSError as error:
                place = "" if error.filename in {None, python} else f" ({error.filename})"
                words = f"{python} cannot be started: {error.strerror or error}{place}."
                result = ChildResult(status=127, words=words)
            else:
                activity.command, activity.child = command, child
                activity.began = self.context.moment.running
                self.running = activity
                return

    def _follow(self, running: Activity) -> None:
        """Go on after a child that has ended; end one that may not go on.

        A child that meets an objection is forgotten; one that hangs has failed.
        """
        result = running.child.result()
        if result is None:
            objection = self.readiness.objection_to_running() if running.command.measuring else None
            if objection is not None:
                self._interrupt(objection)
                return
            seconds = running.command.seconds
            if self.context.moment.running - running.began <= seconds:
                return
            running.child.kill()
            result = ChildResult(status=-9, words=f"It took longer than {seconds:.0f} seconds and was killed.")
        self._advance(running, result)

    def _interrupt(self, why: str) -> None:
        """Kill the running child and drop its activity. The trial that it was doing counts for nothing."""
        running, self.running = self.running, None
        if running is None:
            return
        running.child.kill()
        running.procedure.close()
        if running.job is not None:
            self.context.state.count("interrupted")
            report(self.context, "interrupted", running.job, why)
            self.context.save()

    def _finish(self, job: ScheduledJob | None, end: JobEnd | None) -> None:
        if job is None:
            self._looked = float("-inf")  # look at what has come
            return
        if end is JobEnd.BUSY:
            self.readiness.wait_for_host()
        if end in {JobEnd.ADOPTED, JobEnd.QUARANTINED}:
            self.inventories.ask_again(job.interpreter)

    def stop(self) -> None:
        self._interrupt("The daemon stops.")
        self.context.save()

    def reload(self, settings: DaemonSettings) -> None:
        """Use other settings. A child of an interpreter that is not listed any more is ended."""
        names = {interpreter.name for interpreter in settings.interpreters}
        if self.running is not None and self.running.interpreter.name not in names:
            self._interrupt("Its interpreter is not listed any more.")
        self.context.settings = settings
        self.inventories.keep_only(names)
        self.context.state.drop_served_orders(names)
        self._store.replan()
        self._looked = float("-inf")

    def pause_until(self, wall: float | None) -> None:
        """Measure nothing before this time; None ends a pause."""
        self.context.state.paused_until = wall
        if wall is not None and self.is_measuring:
            self._interrupt("Measuring was paused.")
        self._accept_order("resumed" if wall is None else "paused", "It was ordered.")

    def order(self, operation: Operation) -> None:
        """Measure an operation with every interpreter, before all other work, as soon as the machine is idle.

        Raises UsageError if too many orders wait.
        """
        orders = self.context.state.orders
        if len(orders) >= MAX_ORDERS:
            raise UsageError(f"{MAX_ORDERS} orders wait already.")
        orders[operation] = ()
        job = None if self.running is None else self.running.job
        if job is not None and job.cause in RETIMINGS and self.is_measuring:
            self._interrupt(f"{operation} was ordered, which comes first.")
        self._accept_order("ordered", str(operation))

    def _accept_order(self, event: str, why: str) -> None:
        self.readiness.forgive()
        self._note_objection()
        self.context.log.write(event, why)
        self.context.save()

    def untested_profiles(self) -> dict[str, str]:
        """Return the paths of profiles that no canary has tested, each with the interpreter that tests it."""
        trusted = self.context.state.trusted
        return {
            path: name for path, name in self._new_profiles.items() if fingerprint(path) not in ((), trusted.get(path))
        }

    def jobs(self) -> list[ScheduledJob]:
        """Return the jobs that may begin now, the next first."""
        given = ScheduleInput(
            settings=self.context.settings,
            state=self.context.state,
            inventories=self.inventories.by_name,
            untested=self.untested_profiles(),
            now=self.context.moment.wall,
        )
        return queue(given)

    def next_jobs(self) -> list[dict[str, Any]]:
        """Return the next jobs and their reasons, without the running one, as JSON values."""
        job = None if self.running is None else self.running.job
        running = None if job is None else (job.interpreter, job.subject)
        return [job.as_dict() for job in self.jobs() if (job.interpreter, job.subject) != running][:MAX_RECENT]
