"""When the machine is idle enough to measure on: with hysteresis, so that it does not flicker. Pure.

BOINC shows what happens without: users ask for "some sort of hysteresis" (#6483), for fewer suspends (#5871)
and for a pause before work comes back (#4336). So what opens the window and what closes it have thresholds
and dwell times of their own, and a long way lies between them.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """What opens the window, and what closes it."""

    start_below: float = 0.08
    """CPUs' worth of others' work below which the machine counts as quiet. A second's work every ten
    seconds is more."""
    start_waiting: float = 0.05
    """Share of the time during which some task waited for a CPU, below which it counts as quiet."""
    quiet_seconds: float = 60.0
    """How long it has to be quiet before anything is measured."""
    stop_above: float = 0.4
    """CPUs' worth of others' work above which it counts as busy. Somebody who shares two CPUs with a trial
    on both gets two thirds of one."""
    busy_seconds: float = 0.5
    """How long it has to be busy before a trial is ended: half of the second in which the CPU is given
    back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What a stretch of time looked like. None: the system does not say."""

    began: float
    ended: float
    """Monotonic seconds."""
    foreign_cpus: float | None = None
    """CPUs' worth of work of others, on average."""
    waiting: float | None = None
    """Share of the time during which some task waited for a CPU; says nothing while our own trials wait."""
    obstacle: str | None = None
    """Why nothing may be measured whatever the load is: a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """May be measured in while it is open."""

    open: bool = False
    since: float | None = None
    """When what would change it began: quiet while it is closed, load while it is open."""
    why: str = "The daemon has just started."


def step(window: Window, sample: Sample, limits: Thresholds) -> Window:
    """The window after a sample."""
    if sample.obstacle is not None:
        return Window(why=sample.obstacle)
    if sample.foreign_cpus is None and sample.waiting is None:
        return Window(why="This system does not say how busy it is, so nothing is ever measured unasked.")
    return _while_open(window, sample, limits) if window.open else _while_closed(window, sample, limits)


def _while_closed(window: Window, sample: Sample, limits: Thresholds) -> Window:
    foreign, waiting = sample.foreign_cpus, sample.waiting
    if foreign is not None and foreign > limits.start_below:
        return Window(why=f"Others keep {foreign:.2f} CPUs busy; {limits.start_below:g} would be quiet.")
    if waiting is not None and waiting > limits.start_waiting:
        return Window(why=f"Tasks wait for a CPU {waiting:.0%} of the time.")
    since = sample.began if window.since is None else window.since
    quiet = sample.ended - since
    if quiet < limits.quiet_seconds:
        return Window(since=since, why=f"Quiet for {quiet:.0f} of {limits.quiet_seconds:.0f} seconds.")
    return Window(open=True, why=f"The machine was quiet for {quiet:.0f} seconds.")


def _while_open(window: Window, sample: Sample, limits: Thresholds) -> Window:
    if sample.foreign_cpus is None or sample.foreign_cpus <= limits.stop_above:
        return Window(open=True, why=window.why)
    since = sample.began if window.since is None else window.since
    if sample.ended - since < limits.busy_seconds:
        return Window(open=True, since=since, why=window.why)
    return Window(why=f"Others keep {sample.foreign_cpus:.2f} CPUs busy.")
