"""The command `autotune`: its verbs, and the translation of exceptions into exit codes."""

import errno
import os
import signal
import sys
from contextlib import suppress
from importlib import import_module
from types import FrameType
from typing import Any

import click

from autotune._version import __version__
from autotune.cli import VERBS
from autotune.cli.terminal import common_options, report_error
from autotune.errors import AutotuneError, EnvironmentProblem, MissingPackage, UsageError

FAILED, WRONG_USAGE, NOT_ALLOWED, INTERRUPTED = 1, 2, 3, 130
CODES = {UsageError: WRONG_USAGE, EnvironmentProblem: NOT_ALLOWED}
"""Exit codes of errors; FAILED for others."""

EXIT_CODES = """\b
Exit codes:
    0  done
    1  a check failed, or the output went elsewhere than asked
    2  wrong usage
    3  the machine or the environment does not allow it
  130  interrupted; everything finished is saved
"""


class Program(click.Group):
    """Loads a verb's module when the verb is used: `autotune --help` loads none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in VERBS:
            return None
        verb = getattr(import_module(f"autotune.cli.{cmd_name}"), cmd_name)
        assert isinstance(verb, click.Command)
        add_common_options(verb)
        return verb

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve as click does, but answer an unknown verb with the nearest one."""
        if args[0] not in VERBS:
            from difflib import get_close_matches  # takes 2 ms

            near = get_close_matches(args[0], VERBS, 1)
            hint = f"Did you mean {near[0]}?" if near else "`autotune --help` lists all."
            ctx.fail(f"There is no verb {args[0]!r}. {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run as click does, but report output that cannot be written in a sentence, not by a traceback."""
        for name in ("stdout", "stderr"):  # None where the caller has closed the stream (`>&-`)
            if getattr(sys, name) is None:
                setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - until the process ends
        try:
            try:
                return super().main(*args, **extra)
            finally:
                sys.stdout.flush()
        except OSError as problem:
            if problem.filename is not None or problem.errno == errno.EPIPE:
                raise  # not of a stream; or a closed pipe, which click handles
            _discard_output()
            why = problem.strerror or problem
            with suppress(OSError):
                click.echo(
                    f"autotune: the output could not be written ({why}). The command was carried out; only its output "
                    "is lost.",
                    err=True,
                )
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
        except (AutotuneError, ModuleNotFoundError) as problem:
            error = problem if isinstance(problem, AutotuneError) else MissingPackage.of_import(problem)
            if error is None:
                raise
            report_error(error)
            code = next((code for kind, code in CODES.items() if isinstance(error, kind)), FAILED)
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            code = INTERRUPTED
        ctx.exit(code or 0)


def add_common_options(command: click.Command) -> None:
    """Give a verb, and every verb of a group, the options --quiet and --verbose."""
    if not any("--quiet" in option.opts for option in command.params):
        command.params += common_options()
    for inner in command.commands.values() if isinstance(command, click.Group) else ():
        add_common_options(inner)


def _discard_output() -> None:
    """Discard the buffered output: writing it at exit would fail once more."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


@click.command(cls=Program, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="autotune")
def program() -> None:
    """Find the mix of BLAS threads, workers and chunk sizes that makes NumPy fastest on this machine.

    Measure once with `autotune calibrate`; programs that call `autotune.apply()` then run with the measured choices,
    others do under `autotune run`. No choice is used that was not proved faster than plain NumPy.
    """


def main() -> None:
    """Run the command line and end the process with its exit code."""
    if sys.argv[1:2] != ["run"]:  # a signal ends this one as it will end the command, which takes its place
        _treat_as_interrupts("SIGTERM", "SIGHUP")
    program(prog_name="autotune")


def _treat_as_interrupts(*names: str) -> None:
    """Have signals end a verb as Ctrl-C does: what is finished is kept, and no process or folder is left.

    Batch systems and `docker stop` send SIGTERM, a terminal that is closed SIGHUP. What is ignored, as under nohup,
    stays so.
    """
    for name in names:
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _interrupt)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt once: others follow while results are saved, such as systemd's SIGHUP after SIGTERM."""
    for each in {number, signal.SIGTERM, getattr(signal, "SIGHUP", number)}:
        signal.signal(each, lambda _number, _frame: None)  # Python reports one that is pending as lost with SIG_IGN
    raise KeyboardInterrupt
