"""`autotune env`."""

import os

import click

from autotune.cli import messages
from autotune.cli.options import json_option
from autotune.cli.terminal import note, print_json
from autotune.controls import thread_variables

threads_option = click.option(
    "--blas-threads", type=click.IntRange(min=1), metavar="N", help="This count instead of the profile's."
)


@click.command()
@threads_option
@json_option
def env(blas_threads: int | None, as_json: bool) -> None:
    """Print shell lines that set BLAS threads for programs started later, as the profile says.

    Only variables that a BLAS library alone reads, and none that you have set. Nothing is printed to standard output
    where the count is best left alone; the reason goes to standard error.

    \b
    Examples:
      eval "$(autotune env)"
      autotune env --blas-threads 4
    """
    threads, reason = choose_threads(blas_threads)
    variables = thread_variables.exports(threads, os.environ)
    if as_json:
        print_json("env/1", {"blas_threads": threads, "reason": reason, "variables": variables})
        return
    note(reason)
    for name, value in variables.items():
        click.echo(f"export {name}={value}")


def choose_threads(blas_threads: int | None) -> tuple[int | None, str]:
    """BLAS threads for child processes and the reason: the option's, else the profile's; None leaves them alone."""
    if blas_threads is not None:
        return blas_threads, messages.as_asked(blas_threads)
    from autotune.runtime.process_threads import process_threads

    return process_threads()
