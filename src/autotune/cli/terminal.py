"""What a terminal can show."""

import shutil
import sys
from textwrap import fill
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

NARROW = 80
"""Below so many columns a table becomes a list."""


def console(*, stderr: bool = False) -> "Console":
    """The terminal, or the file, that words go to.

    Rich looks at NO_COLOR, COLUMNS and the encoding itself. Markup, emoji codes and guessed highlights are
    off: names in a profile are shown as they are.
    """
    from rich.console import Console

    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def say(sentence: str) -> None:
    """A sentence on standard error: on a terminal folded between words, where a path stays whole."""
    if sys.stderr.isatty():
        width = max(20, shutil.get_terminal_size().columns)
        sentence = fill(sentence, width, break_long_words=False, break_on_hyphens=False)
    click.echo(sentence, err=True)


def printable(text: str) -> str:
    """The text with control characters, line ends and direction marks spelled out, so that it cannot act."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text
    )
