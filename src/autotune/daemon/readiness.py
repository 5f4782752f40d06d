"""Whether anything may be measured now: idle machine, configured hours, daily budget, pause, excluded programs.

The idle window has hysteresis, since BOINC's users ask for it (BOINC #6483, #5871, #4336): different thresholds and
durations open and close it, and each time that load closes it soon, the next quiet period has to be twice as long.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from autotune.daemon.context import DaemonContext
from autotune.daemon.daemon_settings import IdleThresholds
from autotune.daemon.sensors import LoadSample, MachineSensors

PROGRAM_CHECK_SECONDS = 1.0
"""Between two searches for excluded programs while something is measured."""
HOST_BUSY_SECONDS = 120.0
"""Before another attempt after another process held the host's measuring lock."""
STABLE_SECONDS = 600.0
"""Duration of an open window after which the next quiet period is short again."""
MAX_DOUBLINGS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleWindow:
    """The machine is idle while it is open."""

    is_open: bool = False
    since: float | None = None
    """When the stretch began that may change it: quiet while it is closed, load while it is open."""
    why: str = "The daemon has just started."
    opened: float = 0.0
    """When it last opened, monotonic seconds."""
    short_openings: int = 0
    """Number of times in a row that load closed it before `STABLE_SECONDS`."""


def next_window(window: IdleWindow, sample: LoadSample, limits: IdleThresholds) -> IdleWindow:
    if sample.obstacle is not None:
        return _close(window, sample.obstacle)
    if sample.foreign_cpus is None and sample.waiting is None:
        return _close(window, "This system does not report its load, so nothing is measured.")
    if window.is_open:
        return _after_load(window, sample, limits)
    return _after_quiet(window, sample, limits)


def _close(window: IdleWindow, why: str) -> IdleWindow:
    return replace(window, is_open=False, since=None, why=why)


def _after_quiet(window: IdleWindow, sample: LoadSample, limits: IdleThresholds) -> IdleWindow:
    foreign, waiting = sample.foreign_cpus, sample.waiting
    if foreign is not None and foreign > limits.start_below:
        return _close(window, f"{_load(foreign)} The machine counts as quiet below {limits.start_below:g}.")
    if waiting is not None and waiting > limits.start_waiting:
        return _close(window, f"Tasks wait for a CPU {waiting:.0%} of the time.")
    since = sample.began if window.since is None else window.since
    quiet = sample.ended - since
    needed = limits.quiet_seconds * 2 ** min(window.short_openings, MAX_DOUBLINGS)
    if quiet < needed:
        return replace(window, since=since, why=f"Quiet for {quiet:.0f} of {needed:.0f} seconds.")
    why = f"The machine was quiet for {quiet:.0f} seconds."
    return replace(window, is_open=True, since=None, opened=sample.ended, why=why)


def _after_load(window: IdleWindow, sample: LoadSample, limits: IdleThresholds) -> IdleWindow:
    if sample.foreign_cpus is None or sample.foreign_cpus <= limits.stop_above:
        return replace(window, since=None)
    since = sample.began if window.since is None else window.since
    if sample.ended - since < limits.busy_seconds:
        return replace(window, since=since)
    is_short = sample.ended - window.opened < STABLE_SECONDS
    short_openings = window.short_openings + 1 if is_short else 0
    return replace(_close(window, _load(sample.foreign_cpus)), short_openings=short_openings)


def _load(cpus: float) -> str:
    return f"Other processes keep {cpus:.2f} CPUs busy."


class Readiness:
    """The idle window, and every other reason not to measure."""

    def __init__(self, context: DaemonContext, sensors: MachineSensors) -> None:
        self._context = context
        self._sensors = sensors
        self.window = IdleWindow()
        self._host_busy_until = float("-inf")
        self._own_seconds: float | None = None
        self._checked_programs = float("-inf")

    def observe(self, *, measuring: bool, helping: bool) -> None:
        """Take in the load since the last call, and what measuring cost.

        `measuring`: a trial runs. `helping`: another child process of the daemon runs, whose load is no other's and
        ends soon.
        """
        context = self._context
        sample = self._sensors.sample(context.settings.idle.busy_seconds, measuring=measuring)
        own, before = self._sensors.own_seconds(), self._own_seconds
        self._own_seconds = own
        if measuring and own is not None and before is not None and own > before:
            context.state.cpu_time = context.state.cpu_time.plus(context.moment.day, own - before)
            context.state.count("cpu_seconds", own - before)
            context.has_unsaved = True
        if sample is None or helping:
            return
        was_open = self.window.is_open
        self.window = next_window(self.window, sample, context.settings.idle)
        if was_open != self.window.is_open:
            context.log.write("idle" if self.window.is_open else "busy", self.window.why)

    def objection(self) -> str | None:
        """Say why no measurement may begin now; None if one may."""
        return self._refusal() or (None if self.window.is_open else self.window.why) or self._exclusion()

    def objection_to_running(self) -> str | None:
        """Say why a running measurement has to end now; None if it may go on."""
        why = self._refusal() if self.window.is_open else self.window.why
        now = self._context.moment.running
        if why is None and now - self._checked_programs >= PROGRAM_CHECK_SECONDS:
            self._checked_programs = now
            why = self._exclusion()
        return why

    def close(self, why: str) -> None:
        """Close the window: the machine has to be quiet for a while again."""
        self.window = _close(self.window, why)

    def forgive(self) -> None:
        """Ask for the shortest quiet period again: a person waits for a measurement."""
        self.window = replace(self.window, short_openings=0)

    def wait_for_host(self) -> None:
        self._host_busy_until = self._context.moment.running + HOST_BUSY_SECONDS

    def _refusal(self) -> str | None:
        """Say why nothing may be measured at any load."""
        settings, state, moment = self._context.settings, self._context.state, self._context.moment
        if state.paused_until is not None:
            if moment.wall < state.paused_until:
                return "Measuring is paused."
            state.paused_until = None
            self._context.has_unsaved = True
        if moment.running < self._host_busy_until:
            return "Another process measures on this host."
        local = datetime.fromtimestamp(moment.wall)  # noqa: DTZ006 - the hours are configured in local time
        if settings.hours and not any(hours.contain(local) for hours in settings.hours):
            return "It is outside the configured hours."
        limit = settings.daily_cpu_seconds
        if limit is not None and state.cpu_time.remaining(moment.day, limit) == 0:
            return f"The {limit:g} CPU seconds of this day are spent."
        return None

    def _exclusion(self) -> str | None:
        name = self._sensors.running_program(self._context.settings.exclude)
        return None if name is None else f"{name} is running."
