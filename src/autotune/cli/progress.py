"""Progress of a calibration: a live line on a terminal, plain lines in a log."""

from contextlib import AbstractContextManager

from autotune.cli.terminal import show_events
from autotune.search.events import Exploring, Listener, Tried
from autotune.search.progress_text import Board


def progress() -> AbstractContextManager[Listener]:
    """Show events on standard error: live if it is a terminal, as plain lines otherwise."""
    board = Board()
    return show_events(board.take, board.line, transient=(Exploring, Tried))
