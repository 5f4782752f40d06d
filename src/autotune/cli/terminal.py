"""Output of the command line: notes, errors, tables and JSON documents, fitted to the terminal."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import click

from autotune.runtime.text_table import TextColumn, TextTable, printable

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
_QUIET = "autotune.quiet"
_E = TypeVar("_E")


def width() -> int:
    """Count the columns of the terminal; 80 where there is none."""
    import shutil  # here as below: `run`, which prints a line, starts without what others need

    return max(20, shutil.get_terminal_size().columns)


def begin_line() -> None:
    """Begin a line on a terminal where a command may have printed a text without a newline.

    Spaces for all columns but one, and a carriage return, leave an empty line where it is (as zsh's PROMPT_SP).
    """
    if sys.stderr.isatty():
        columns = os.get_terminal_size(sys.stderr.fileno()).columns or 80
        click.echo(f"{' ' * (columns - 1)}\r", nl=False, err=True)


def note(sentence: str) -> None:
    """Write a sentence to standard error, unless --quiet was given."""
    if not is_quiet():
        write_error(sentence)


def report_error(problem: object) -> None:
    write_error(f"autotune: {problem}")


def write_error(sentence: str) -> None:
    """Write a sentence to standard error, with control characters spelled out: names and reasons come from files.

    On a terminal it is folded between words, and paths stay whole.
    """
    sentence = printable(sentence)
    if sys.stderr.isatty():
        from textwrap import fill

        sentence = fill(sentence, width(), break_long_words=False, break_on_hyphens=False)
    click.echo(sentence, err=True)


def is_quiet() -> bool:
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(_QUIET))


def _set_quiet(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.meta[_QUIET] = True


def _set_verbose(_context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        import logging

        logging.basicConfig(format="%(name)s: %(message)s")  # to standard error
        logging.getLogger("autotune").setLevel(logging.DEBUG)


def common_options() -> list[click.Parameter]:
    options = (
        ("--quiet", _set_quiet, "Errors only on standard error."),
        ("--verbose", _set_verbose, "Also write the messages of the logger `autotune` to standard error."),
    )
    return [
        click.Option([name[1:3], name], is_flag=True, expose_value=False, callback=callback, help=text)
        for name, callback, text in options
    ]


def print_lines(lines: Iterable[str], *, style: str | None = None, bold: bool = False, err: bool = False) -> None:
    """Print lines; colours only on a terminal, and not where NO_COLOR is set."""
    text = "\n".join(lines)
    if text:
        color = False if os.environ.get("NO_COLOR") else None
        click.secho(text, fg=style, bold=bold or None, err=err, color=color)


@contextmanager
def show_events(
    take: Callable[[_E], str | None], live_line: Callable[[_E], str], transient: tuple[type, ...] = ()
) -> Iterator[Callable[[_E], None]]:
    """Show events on standard error: a live line on a terminal, plain lines in a log, nothing with --quiet.

    `take` notes an event and returns the line to keep of it, if any; `live_line` returns the line that each event
    replaces on a terminal, where no line is kept of `transient` events.
    """
    if is_quiet():
        yield lambda _: None
        return
    if not sys.stderr.isatty():

        def write(event: _E) -> None:
            line = take(event)
            if line is not None:
                with suppress(OSError):  # a log on a full disk must not cost the measurements
                    write_error(line)

        yield write
        return

    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    screen = Console(stderr=True, markup=False, emoji=False, highlight=False)
    # no refresh thread: it would be one more thing that runs during a timing
    live = Live(console=screen, auto_refresh=False, transient=True)

    def show(event: _E) -> None:
        line = take(event)
        with suppress(OSError):  # nor must a terminal that was closed
            if line is not None and not isinstance(event, transient):
                screen.print(line)
            live.update(Text(live_line(event), no_wrap=True, overflow="ellipsis"), refresh=True)

    live.start()
    try:
        yield show
    finally:
        with suppress(OSError):
            live.stop()


def json_text(schema: str, document: Mapping[str, Any]) -> str:
    """Format a JSON object that begins with the name and version of its schema, such as `autotune.show/1`."""
    from json import dumps

    return dumps({"schema": f"autotune.{schema}", **document}, indent=2)


def print_json(schema: str, document: Mapping[str, Any]) -> None:
    click.echo(json_text(schema, document))


class TablePrinter:
    """Prints a table row by row."""

    def __init__(self, columns: Sequence[TextColumn], *, err: bool = False) -> None:
        self._table = TextTable(columns, width())
        self._err = err
        self._heading = self._table.heading()

    def print_row(self, cells: Sequence[str], *notes: str, style: str | None = None) -> None:
        """Print the titles once, then a row and its notes."""
        print_lines(self._heading, bold=True, err=self._err)
        self._heading = []
        print_lines(self._table.row(cells, *notes), style=style, err=self._err)
