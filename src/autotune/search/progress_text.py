"""Progress of a calibration in words: the lines that a log keeps, and the line that each event replaces."""

from math import isfinite

from autotune.model import units
from autotune.model.entry import Entry, Status
from autotune.model.operation import Operation
from autotune.model.units import STATUSES
from autotune.runtime.text_table import operation_name, printable
from autotune.search.events import Confirming, Decided, Event, Exploring, SelfTestStarted, Tried

LEAST_SEEMING = 1.01
"""Speed-up of single timings below which no line tells of it."""


class Board:
    """The state of the calibration, in words. Knows events only: no clock, no terminal."""

    def __init__(self) -> None:
        self._kept: set[str] = set()
        self._bests: dict[Operation, Tried] = {}
        self._where = ""
        self._best: Tried | None = None
        self._doing = ""
        self._confirms = False

    def take(self, event: Event) -> str | None:
        """Note an event. Returns a line if it is one to keep, and was not returned before."""
        line = self._line_of(event)
        if line is None or line in self._kept:
            return None
        self._kept.add(line)
        return printable(line)

    def _line_of(self, event: Event) -> str | None:
        match event:
            case SelfTestStarted():
                return "Self-test: timing resolution and CPU capacity."
            case Exploring():
                dtype = "" if event.dtype == "float64" else f" {event.dtype}"
                self._begin(f"[{event.index}/{event.total}] exploring {event.name}{dtype}")
                return None if event.again else f"{self._where}  ({_times(event)})"
            case Tried(failure=None):
                self._doing = f"tried {event.configuration}"
                return self._new_best(event)
            case Tried(failure=failure):
                assert failure is not None
                self._doing = f"tried {event.configuration}"
                name = operation_name(event.operation)
                return f"  {name}: {event.configuration} {failure.kind}: {failure.reason}"
            case Confirming():
                self._begin(
                    f"confirming in fresh processes: {event.decided} decided, {event.undecided} undecided, "
                    f"{_time_left(event)} more"
                )
                is_first, self._confirms = not self._confirms, True
                return f"Exploration is done. {self._where}  ({_times(event)})" if is_first else None
            case Decided():
                return _decision(event.entry)

    def line(self, event: Event) -> str:
        """Write the line that is replaced at every event: trial, best so far, elapsed and remaining time."""
        best, leader = self._best, None
        if best is not None and best.speedup is not None:
            leader = f"best so far {best.configuration} at {units.seeming(best.speedup)}x the default"
        parts = (self._where or "getting ready", _times(event), leader, self._doing)
        return " | ".join(part for part in parts if part)

    def _begin(self, where: str) -> None:
        self._where, self._best, self._doing = where, None, ""

    def _new_best(self, event: Tried) -> str | None:
        """Remember the fastest of its operation and size. Return a line if another configuration leads now."""
        before = self._bests.get(event.operation)
        fastest = before.speedup if before and before.speedup is not None else LEAST_SEEMING
        if event.configuration.is_default or event.speedup is None or event.speedup <= fastest:
            return None
        self._best = self._bests[event.operation] = event
        if before and before.configuration == event.configuration:
            return None
        name, speedup = operation_name(event.operation), units.seeming(event.speedup)
        return f"  {name}: {event.configuration} looks {speedup}x as fast as the default"


def _decision(entry: Entry) -> str:
    name, evidence = operation_name(entry.operation), entry.evidence
    if entry.status is not Status.TUNED:
        return f"  {name}: {STATUSES[entry.status]}: {entry.reason}"
    ends = evidence.leading_interval
    interval = " over all states of the machine" if ends is None else f" ({units.interval(ends)})"
    return f"  {name}: {entry.choice}, {units.speedup(evidence.leading_speedup)}{interval}"


def _time_left(event: Confirming) -> str:
    """Bound the time that is left: by what the open tests are expected to need, and by the budget."""
    expected = units.clock(event.seconds_left)
    if not isfinite(event.remaining):
        return f"{expected} or"
    most = units.clock(event.remaining)
    return f"{expected} to {most}" if event.seconds_left < event.remaining else f"up to {most}"


def _times(event: Event) -> str:
    left = f", {units.clock(event.remaining)} left" if isfinite(event.remaining) else ""
    return f"{units.clock(event.elapsed)} spent{left}"
