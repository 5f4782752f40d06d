"""`autotune run`."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping

import click

from autotune.cli.env import choice
from autotune.controls import environment

NOT_EXECUTABLE, NOT_FOUND = 126, 127
"""Exit statuses as shells give them (POSIX.1-2017, Shell Command Language, 2.8.2)."""


@click.command(context_settings={"allow_interspersed_args": False})
@click.option(
    "--blas-threads", type=click.IntRange(min=1), metavar="N", help="This count instead of the profile's."
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- CMD [ARG]...")
def run(blas_threads: int | None, command: tuple[str, ...]) -> int:
    """Run a command with BLAS threads set in its environment, as the profile says.

    The command takes the place of autotune and its exit status is the one you get: 127 if it is not found,
    126 if it cannot be executed. Variables that you have set stay as they are.

    \b
    Examples:
      autotune run -- python simulate.py --steps 100
      autotune run --blas-threads 1 -- make test
    """  # noqa: D301 - click's mark for lines that are not to be filled is the character itself
    threads, _ = choice(blas_threads)
    return become(command, {**os.environ, **environment.exports(threads, os.environ)})


def become(command: tuple[str, ...], environ: Mapping[str, str]) -> int:
    """Replace this process by a command; return the exit status only where that fails.

    Windows cannot replace a process: there the command is waited for.
    """
    sys.stdout.flush()
    try:
        if os.name == "nt":
            return subprocess.run(command, env=environ, check=False).returncode  # noqa: S603 - the user's own
        os.execvpe(command[0], command, environ)  # noqa: S606 - the user's own
    except (OSError, ValueError) as problem:  # ValueError: a NUL byte in an argument
        if not isinstance(problem, PermissionError) and not _exists(command[0]):
            why, status = "there is no such command", NOT_FOUND
        else:  # a script whose interpreter is missing also counts as "file not found"
            why, status = getattr(problem, "strerror", None) or str(problem), NOT_EXECUTABLE
        click.echo(f"autotune run: {command[0]} cannot be run: {why}.", err=True)
        return status


def _exists(command: str) -> bool:
    return os.path.lexists(command) if os.path.dirname(command) else shutil.which(command) is not None  # noqa: PTH120
