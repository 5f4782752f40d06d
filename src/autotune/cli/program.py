"""The command `autotune`: its verbs, and the translation of exceptions into exit codes."""

import errno
import os
import sys
from contextlib import suppress
from importlib import import_module
from typing import Any

import click

from autotune._version import __version__
from autotune.cli import program_messages
from autotune.cli.terminal import common_options, write_error
from autotune.errors import AutotuneError, EnvironmentProblem, MissingPackage, UsageError
from autotune.runtime.text_table import printable

FAILED, WRONG_USAGE, NOT_ALLOWED, INTERRUPTED = 1, 2, 3, 130


class Program(click.Group):
    """Loads a verb's module when the verb is used: `autotune --help` loads none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(program_messages.VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in program_messages.VERBS:
            return None
        verb = getattr(import_module(f"autotune.cli.{cmd_name}"), cmd_name)
        assert isinstance(verb, click.Command)
        add_common_options(verb)
        return verb

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve as click does, but answer an unknown verb with the nearest one."""
        if args[0] not in program_messages.VERBS:
            from difflib import get_close_matches  # takes 2 ms

            near = get_close_matches(args[0], program_messages.VERBS, 1)
            ctx.fail(program_messages.no_such_verb(args[0], near[0] if near else None))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        with formatter.section("Verbs"):
            formatter.write_dl(list(program_messages.VERBS.items()))

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run as click does, but report output that cannot be written in a sentence, not by a traceback."""
        _replace_closed_streams()
        try:
            try:
                return super().main(*args, **extra)
            finally:
                sys.stdout.flush()
        except OSError as problem:
            if problem.filename is not None or problem.errno == errno.EPIPE:
                raise  # not of a stream; or a closed pipe, which click handles
            _discard_output()
            with suppress(OSError):
                click.echo(program_messages.unwritten(problem.strerror or str(problem)), err=True)
            sys.exit(FAILED)

    def invoke(self, ctx: click.Context) -> None:
        """Run the verb, which returns its exit code (None is 0), and leave with it.

        Unexpected exceptions pass through: their traceback is what a bug report needs.
        """
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):  # names of CPUs and files may not fit the terminal's encoding
                stream.reconfigure(errors="backslashreplace")
        try:
            code = super().invoke(ctx)
        except AutotuneError as problem:
            write_error(program_messages.error(printable(str(problem))))
            code = exit_code(problem)
        except ModuleNotFoundError as problem:
            missing = MissingPackage.of_import(problem)
            if missing is None:
                raise
            write_error(program_messages.error(str(missing)))
            code = NOT_ALLOWED
        except KeyboardInterrupt:
            click.echo(program_messages.INTERRUPTED, err=True)
            code = INTERRUPTED
        ctx.exit(code or 0)


def add_common_options(command: click.Command) -> None:
    """Give a verb, and every verb of a group, the options --quiet and --verbose."""
    if not any("--quiet" in option.opts for option in command.params):
        command.params += common_options()
    for inner in command.commands.values() if isinstance(command, click.Group) else ():
        add_common_options(inner)


def _replace_closed_streams() -> None:
    """Let output go nowhere where the caller has closed its stream (`>&-`), for which Python has None."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - until the process ends


def _discard_output() -> None:
    """Discard the buffered output: writing it at exit would fail once more."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def exit_code(problem: AutotuneError) -> int:
    """Return the exit code of an error."""
    match problem:
        case UsageError():
            return WRONG_USAGE
        case EnvironmentProblem():
            return NOT_ALLOWED
        case _:
            return FAILED


@click.command(
    cls=Program,
    help=program_messages.PROGRAM,
    epilog=program_messages.EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="autotune")
def program() -> None: ...
