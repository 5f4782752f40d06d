"""`autotune env`."""

import json
import os

import click

from autotune.controls import thread_variables


@click.command()
@click.option(
    "--blas-threads", type=click.IntRange(min=1), metavar="N", help="This count instead of the profile's."
)
@click.option("--json", "as_json", is_flag=True, help="Print the variables, the count and why as JSON.")
def env(blas_threads: int | None, as_json: bool) -> None:
    """Print shell lines that set BLAS threads for programs started later, as the profile says.

    Only variables that a BLAS library alone reads, and none that you have set. Nothing is printed to
    standard output where the best is to leave the count alone; the reason goes to standard error.

    \b
    Examples:
      eval "$(autotune env)"
      autotune env --blas-threads 4
    """
    threads, reason = choice(blas_threads)
    variables = thread_variables.exports(threads, os.environ)
    if as_json:
        click.echo(json.dumps({"blas_threads": threads, "reason": reason, "variables": variables}, indent=2))
        return
    click.echo(reason, err=True)
    for name, value in variables.items():
        click.echo(f"export {name}={value}")


def choice(blas_threads: int | None) -> tuple[int | None, str]:
    """BLAS threads for child processes and why: what is given, else the profile's; None leaves them alone."""
    if blas_threads is not None:
        return blas_threads, f"{blas_threads} BLAS threads, as asked."
    from autotune.runtime.process_threads import process_threads

    return process_threads()
