"""Progress of a calibration: a live line on a terminal, plain lines in a log."""

from collections.abc import Iterator
from contextlib import contextmanager

from autotune.cli import calibration_messages
from autotune.cli.entry_table import operation_name
from autotune.cli.terminal import show_events
from autotune.runtime.text_table import printable
from autotune.search.events import Confirming, Decided, Event, Exploring, Listener, SelfTestStarted, Tried


class Board:
    """The state of the calibration, in words. Knows events only: no clock, no terminal."""

    def __init__(self) -> None:
        self._where = ""
        self._best: Tried | None = None
        self._doing = ""
        self._undecided: int | None = None

    def take(self, event: Event) -> str | None:
        """Note an event. Returns a line if it is one to keep."""
        match event:
            case SelfTestStarted():
                return calibration_messages.SELF_TEST
            case Exploring():
                self._where, self._best, self._doing = calibration_messages.exploring(event), None, ""
                return None if event.again else calibration_messages.explored(event)
            case Tried(failure=None):
                self._doing = calibration_messages.trying(event.configuration)
                return self._new_best(event)
            case Tried():
                assert event.failure is not None
                self._doing = calibration_messages.trying(event.configuration)
                return printable(
                    calibration_messages.trial_failed(
                        operation_name(event.operation), event.configuration, event.failure
                    )
                )
            case Confirming():
                first, self._undecided = self._undecided is None, event.undecided
                self._where, self._best, self._doing = calibration_messages.confirming(event), None, ""
                return calibration_messages.confirmation_begins(event) if first else None
            case Decided(entry=entry):
                return printable(calibration_messages.decided(operation_name(entry.operation), entry))

    def line(self, event: Event) -> str:
        """Write the line that is replaced at every event: trial, best so far, elapsed and remaining time."""
        best = self._best
        return calibration_messages.now(
            self._where,
            doing=self._doing,
            best=""
            if best is None or best.speedup is None
            else calibration_messages.best_so_far(best.configuration, best.speedup),
            elapsed=event.elapsed,
            remaining=event.remaining,
        )

    def _new_best(self, event: Tried) -> str | None:
        """Remember the fastest of its operation and size. Return a line if another configuration leads now."""
        before = self._best if self._best and self._best.operation == event.operation else None
        fastest = before.speedup if before and before.speedup is not None else 1.0
        if event.configuration.is_default or event.speedup is None or event.speedup <= fastest:
            return None
        self._best = event
        if before and before.configuration == event.configuration:
            return None
        return calibration_messages.best(operation_name(event.operation), event.configuration, event.speedup)


@contextmanager
def progress() -> Iterator[Listener]:
    """Show events on standard error: live if it is a terminal, as plain lines otherwise."""
    board = Board()
    with show_events(board.take, board.line, transient=(Exploring, Tried), overflow="crop") as show:
        yield show
