"""`autotune env`."""

import os
from contextlib import suppress

import click

from autotune.cli import messages
from autotune.cli.terminal import json_option, note, print_json, print_lines
from autotune.controls import thread_variables
from autotune.profiles.resolve import Resolution, resolve, resolve_before_numpy
from autotune.runtime.process_settings import ProcessChoice, is_disabled, process_choice

threads_option = click.option(
    "--blas-threads", type=click.IntRange(min=1), metavar="N", help="This count instead of the profile's."
)


@click.command()
@threads_option
@json_option
def env(blas_threads: int | None, as_json: bool) -> None:
    """Print shell lines that set BLAS threads, and how long idle ones spin, for programs started later.

    As the profile says. Only variables that a BLAS library alone reads, and none that you have set. Nothing is
    printed to standard output where they are best left alone; the reason goes to standard error.

    \b
    Examples:
      eval "$(autotune env)"
      autotune env --blas-threads 4
    """
    choice = choose(blas_threads, resolve_and_note(blas_threads))
    variables = thread_variables.exports(choice.blas_threads, os.environ, extra=choice.variables)
    if as_json:
        print_json("env/1", {"blas_threads": choice.blas_threads, "reason": choice.reason, "variables": variables})
        return
    note(choice.reason)
    print_lines(f"export {name}={value}" for name, value in variables.items())


def resolve_and_note(blas_threads: int | None) -> Resolution | None:
    """Return what fits this machine, if it is known before NumPy is loaded, or a profile is named.

    Says why a profile that $AUTOTUNE_PROFILE names is not used. None, too, where no profile is used: with a count that
    the user asks for, or switched off.
    """
    if blas_threads is not None or is_disabled():
        return None
    resolution = resolve_before_numpy() or (resolve() if os.environ.get("AUTOTUNE_PROFILE") else None)
    if resolution is not None:
        note_unused_profiles(resolution)
    return resolution


def note_unused_profiles(resolution: Resolution, *, outdated: bool = False) -> None:
    """Say why profiles that the user names are not used and, if asked, those of this host for another NumPy or BLAS."""
    for sentence in (*resolution.unused_named, resolution.outdated if outdated else None):
        if sentence is not None:
            with suppress(OSError):  # a full disk must not keep a command from running
                note(f"autotune: {sentence}")


def choose(blas_threads: int | None, resolution: Resolution | None = None) -> ProcessChoice:
    """Choose what child processes get: the count of the option, else everything that the profile says."""
    if blas_threads is not None:
        return ProcessChoice(blas_threads, messages.as_asked(blas_threads))
    return process_choice(resolution)
