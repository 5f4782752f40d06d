"""The daemon's decisions, one tick at a time: observe, decide, start or end a child process, record its result.

Nothing in here waits. `service` calls `tick` every `pause` seconds; clocks, sensors and child processes are passed in.
All work is done by procedures: generators that yield the command of a child process and are sent its result.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from autotune.daemon.child_processes import ChildCommand, ChildProcess, ChildResult, ProcessLauncher
from autotune.daemon.context import MAX_RECENT, DaemonContext, DaemonLog
from autotune.daemon.daemon_settings import DaemonPaths, DaemonSettings, Interpreter
from autotune.daemon.inventory import Inventories
from autotune.daemon.job_results import record_result
from autotune.daemon.metrics import daemon_status
from autotune.daemon.procedures import JobEnd, JobResult, job_steps
from autotune.daemon.readiness import Readiness
from autotune.daemon.schedule import JobCause, ScheduledJob, ScheduleInput, queue
from autotune.daemon.sensors import MachineSensors, Moment, clock_jump, fingerprint, read_clocks
from autotune.daemon.spool import SpoolReader
from autotune.daemon.store_sync import StoreSync, is_in_force, is_pulled, pulled_profiles
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
MEMORY_CHECK_SECONDS = 1.0
MAX_ORDERS = 100
RETIMINGS = frozenset({JobCause.TRIAL, JobCause.AGE})
"""Jobs that an order interrupts. A calibration is not interrupted: the next one would replace its journal."""

Procedure = Generator[ChildCommand, ChildResult, JobResult | None]


@dataclass(frozen=True, slots=True)
class Activity:
    """A procedure, and the interpreter that its child processes run with."""

    interpreter: Interpreter
    procedure: Procedure
    job: ScheduledJob | None = None
    """None for inventories and visits to the store, which need no idle machine."""


@dataclass(slots=True, kw_only=True)
class RunningChild:
    """The child process that an activity waits for."""

    activity: Activity
    command: ChildCommand
    child: ChildProcess
    began: float
    """Monotonic seconds."""
    memory_checked: float


class Controller:
    """The daemon without its process: no loop, no signals, no socket."""

    def __init__(
        self,
        settings: DaemonSettings,
        paths: DaemonPaths,
        *,
        launcher: ProcessLauncher,
        sensors: MachineSensors,
        log: DaemonLog,
        clocks: Callable[[], Moment] = read_clocks,
        usable: Callable[[], tuple[int, str]] = usable_cpus,
        memory_bytes: int | None = None,
    ) -> None:
        """`memory_bytes`: physical memory that a job may hold unless it is configured; None: no limit."""
        self._clocks = clocks
        self._launcher = launcher
        self._memory_bytes = memory_bytes
        self.context = DaemonContext(settings, paths, log, clocks())
        self.readiness = Readiness(self.context, sensors)
        self.inventories = Inventories(self.context, usable)
        self._store = StoreSync(self.context)
        self._spool = SpoolReader(self.context)
        self.running: RunningChild | None = None
        self.waiting = ""
        """Why nothing is being measured."""
        self._untested: dict[str, str] = {}
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

    # --- one tick -------------------------------------------------------------------------------

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
        self._spool.empty()
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
        self._untested = pulled | in_use

    def _look_soon(self) -> None:
        self._looked = float("-inf")

    def _begin(self) -> None:
        """Begin the next activity: first what needs no idle machine."""
        interpreter = self.inventories.due()
        if interpreter is not None:
            self._advance(Activity(interpreter, self.inventories.ask(interpreter)))
            return
        visit = self._store.next_visit(self.inventories.by_name)
        if visit is not None:
            self._advance(Activity(*visit))
            return
        self._note_objection()
        if not self.waiting:
            self._measure_next()

    def _measure_next(self) -> None:
        jobs = queue(self.schedule_input())
        if not jobs:
            inventories = self.inventories.by_name
            self.waiting = "There is nothing to do." if inventories else "No interpreter can be asked what it has."
            return
        job = jobs[0]
        interpreter = next(each for each in self.context.settings.interpreters if each.name == job.interpreter)
        self._report("begun", job, job.reason)
        procedure = job_steps(self.context, job, self.inventories.by_name[job.interpreter])
        self._advance(Activity(interpreter, procedure, job))

    def _note_objection(self) -> None:
        """Note why nothing is measured: `status` may be asked before the next tick."""
        self.waiting = self.readiness.objection() or ""

    # --- an activity, from its beginning to its end -------------------------------------------------

    def _advance(self, activity: Activity, result: ChildResult | None = None) -> None:
        """Go on with an activity, from its beginning or with a child's result, until the next child runs."""
        self.running = None
        while True:
            try:
                command = next(activity.procedure) if result is None else activity.procedure.send(result)
            except StopIteration as end:
                self._finish(activity, end.value)
                return
            if activity.job is not None:
                self.context.save()
            try:
                child = self._start(activity.interpreter, command)
            except OSError as error:
                result = ChildResult(status=127, words=_start_failure(activity.interpreter, error))
            else:
                now = self.context.moment.running
                self.running = RunningChild(
                    activity=activity, command=command, child=child, began=now, memory_checked=now
                )
                return

    def _start(self, interpreter: Interpreter, command: ChildCommand) -> ChildProcess:
        environ = {**command.environ, **interpreter.environment}
        return self._launcher.start(interpreter.python, command, environ)

    def _follow(self, running: RunningChild) -> None:
        """Go on after a child that has ended; end one that may not go on.

        A child that meets an objection is forgotten; one that hangs or holds too much memory has failed.
        """
        result = running.child.result()
        if result is not None:
            self._advance(running.activity, result)
            return
        objection = self.readiness.objection_to_running() if running.command.measuring else None
        if objection is not None:
            self._interrupt(objection)
            return
        fault = self._overtime(running) or self._excess_memory(running)
        if fault is not None:
            running.child.kill()
            self._advance(running.activity, ChildResult(status=-9, words=fault))

    def _overtime(self, running: RunningChild) -> str | None:
        if self.context.moment.running - running.began <= running.command.seconds:
            return None
        return f"It took longer than {running.command.seconds:.0f} seconds and was killed."

    def _excess_memory(self, running: RunningChild) -> str | None:
        now = self.context.moment.running
        if now - running.memory_checked < MEMORY_CHECK_SECONDS:
            return None
        running.memory_checked = now
        limit, size = self.context.settings.memory_bytes or self._memory_bytes, running.child.resident_bytes()
        if limit is None or size is None or size <= limit:
            return None
        return f"It held {size >> 20} MiB of memory; {limit >> 20} MiB are allowed. It was killed."

    def _interrupt(self, why: str) -> None:
        """Kill the running child and drop its activity. The trial that it was doing counts for nothing."""
        running, self.running = self.running, None
        if running is None:
            return
        running.child.kill()
        running.activity.procedure.close()
        if running.activity.job is not None:
            self.context.state.count("interrupted")
            self._report("interrupted", running.activity.job, why)
            self.context.save()

    def _finish(self, activity: Activity, result: JobResult | None) -> None:
        job = activity.job
        if job is None or result is None:
            self._look_soon()  # at what has come
            return
        record_result(self.context, job, self.inventories.by_name[job.interpreter], result)
        if result.end is JobEnd.BUSY:
            self.readiness.wait_for_host()
        if result.end in {JobEnd.ADOPTED, JobEnd.QUARANTINED}:
            self.inventories.ask_again(job.interpreter)

    def _report(self, event: str, job: ScheduledJob, why: str) -> None:
        self.context.report(event, job.subject, why, cause=job.cause.name.lower(), interpreter=job.interpreter)

    # --- orders -------------------------------------------------------------------------------------

    def stop(self) -> None:
        """End the running child, and write the state."""
        self._interrupt("The daemon stops.")
        self.context.save()

    def reload(self, settings: DaemonSettings) -> None:
        """Use other settings. A child of an interpreter that is not listed any more is ended."""
        names = {interpreter.name for interpreter in settings.interpreters}
        if self.running is not None and self.running.activity.interpreter.name not in names:
            self._interrupt("Its interpreter is not listed any more.")
        self.context.settings = settings
        self.inventories.keep_only(names)
        self.context.state.drop_served_orders(names)
        self._store.replan()
        self._look_soon()

    def pause_until(self, wall: float) -> None:
        """Measure nothing before this time."""
        self.context.state.paused_until = wall
        if self.is_measuring:
            self._interrupt("Measuring was paused.")
        self._accept_order("paused", "It was ordered.")

    def resume(self) -> None:
        """End a pause."""
        self.context.state.paused_until = None
        self._accept_order("resumed", "It was ordered.")

    def order(self, operation: Operation) -> None:
        """Measure an operation with every interpreter, before all other work, as soon as the machine is idle.

        Raises UsageError if too many orders wait.
        """
        orders = self.context.state.orders
        if len(orders) >= MAX_ORDERS:
            raise UsageError(f"{MAX_ORDERS} orders wait already.")
        orders[operation] = ()
        job = None if self.running is None else self.running.activity.job
        if job is not None and job.cause in RETIMINGS and self.is_measuring:
            self._interrupt(f"{operation} was ordered, which comes first.")
        self._accept_order("ordered", str(operation))

    def _accept_order(self, event: str, why: str) -> None:
        self.readiness.forgive()
        self._note_objection()
        self.context.log.write(event, why)
        self.context.save()

    # --- reports ------------------------------------------------------------------------------------

    def schedule_input(self) -> ScheduleInput:
        """Return what decisions are made of."""
        state = self.context.state
        untested = {
            path: name
            for path, name in self._untested.items()
            if fingerprint(path) not in ((), state.trusted.get(path))
        }
        return ScheduleInput(
            settings=self.context.settings,
            state=state,
            inventories=self.inventories.by_name,
            untested=untested,
            now=self.context.moment.wall,
        )

    def status(self) -> dict[str, Any]:
        """Return what the daemon does, and why, as JSON values."""
        untested = self.schedule_input().untested
        return daemon_status(
            self.context,
            self.inventories,
            window=self.readiness.window,
            running=self._activity_status(),
            waiting=self.waiting,
            staged=sum(is_pulled(self.context.paths, path) for path in untested),
        )

    def _activity_status(self) -> dict[str, Any] | None:
        running = self.running
        if running is None:
            return None
        job = running.activity.job
        return {
            "what": job.subject if job else running.command.arguments[0],
            "why": job.reason if job else "It needs no idle machine.",
            "measuring": running.command.measuring,
            "seconds": self.context.moment.running - running.began,
        }

    def next_jobs(self) -> list[dict[str, Any]]:
        """Return the next jobs and their reasons, without the running one, as JSON values."""
        job = None if self.running is None else self.running.activity.job
        running = None if job is None else (job.interpreter, job.subject)
        jobs = queue(self.schedule_input())
        return [job.as_dict() for job in jobs if (job.interpreter, job.subject) != running][:MAX_RECENT]


def _start_failure(interpreter: Interpreter, error: OSError) -> str:
    place = "" if error.filename in {None, interpreter.python} else f" ({error.filename})"
    return f"{interpreter.python} cannot be started: {error.strerror or error}{place}."
