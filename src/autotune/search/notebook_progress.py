"""Progress of a calibration in a notebook cell: one line, replaced at each event."""

import sys
from typing import Any

from autotune.search.events import Confirming, Decided, Event, Exploring, Listener, Tried, ignore


def notebook_progress() -> Listener:
    """Return the listener that shows the events in the current cell; outside a notebook, one that ignores them."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if getattr(shell, "kernel", None) is None:  # a terminal, or no IPython at all
        return ignore
    return _Cell()


class _Cell:
    """The line in the cell."""

    def __init__(self) -> None:
        self._display: Any = None

    def __call__(self, event: Event) -> None:
        """Show an event."""
        from IPython.display import HTML, display

        line = HTML(f"<pre>{line_of(event)}</pre>")
        if self._display is None:
            self._display = display(line, display_id=True)
        else:
            self._display.update(line)


def line_of(event: Event) -> str:
    """Describe an event, the time spent and the time that is left."""
    match event:
        case Exploring():
            step = f"exploring {event.name} ({event.index} of {event.total})"
        case Tried(failure=None, speedup=float(speedup)):
            step = f"{event.operation}: {event.configuration}, {speedup:.2f} times as fast"
        case Tried():
            step = f"{event.operation}: {event.configuration} failed"
        case Confirming():
            step = f"proving: {event.undecided} undecided, {event.decided} decided"
        case Decided(entry=entry):
            step = f"{entry.operation}: {entry.status}"
        case _:
            step = "self-test: timing resolution and CPU capacity"
    left = "" if event.remaining == float("inf") else f", at most {event.remaining:.0f} s left"
    return f"autotune: {step} [{event.elapsed:.0f} s{left}]"
