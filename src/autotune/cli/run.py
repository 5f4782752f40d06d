"""`autotune run`."""

import os
import re
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import click

from autotune.cli import messages
from autotune.cli.command_name import TunedCommand, command_name, tuned_command
from autotune.cli.env import choose, resolve_and_note, threads_option
from autotune.cli.terminal import note, report_error
from autotune.controls import thread_variables, wait_policy
from autotune.errors import error_text
from autotune.model.record import Record
from autotune.profiles.resolve import Resolution, resolve, resolve_before_numpy
from autotune.runtime.process_settings import PlainReasons, ProcessChoice, is_disabled, threads_text, why_plain

NOT_EXECUTABLE, NOT_FOUND = 126, 127
"""Exit statuses as shells give them (POSIX.1-2017, Shell Command Language, 2.8.2)."""
REPORT = "AUTOTUNE_START_REPORT"
"""Set by `compare`: a folder for reports of what was in force (`runtime/startup/sitecustomize.py`)."""
EFFECT = "effect"
"""In that folder: the sentence of `run`, and whether it set anything."""
_PYTHON = re.compile(r"(python|pypy)[0-9.]*t?(\.exe)?")
_FLAGS = re.compile(r"-([bBdEiIOPqRsStuvx]*)(?:([cmWX])(.*))?", re.DOTALL)


class RunOptions(Record):
    """Options of `run`, which `compare` has too.

    Raises click.UsageError for options that exclude each other, and UsageError for a name that no profile can hold.
    """

    blas_threads: int | None
    environment_only: bool
    name: str | None
    reductions: bool
    learn: bool
    wait: str | None
    children: bool

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if self.only_variables and (self.reductions or self.learn or self.children):
            raise click.UsageError(
                "--blas-threads and --environment-only set variables only; --reductions, --learn and --children do "
                "more."
            )
        if self.name is not None and not self.may_be_tuned:
            raise click.UsageError(
                "--name asks for what `tune` chose; --blas-threads, --reductions, --learn, --wait and --children ask "
                "for something else."
            )
        if self.name is not None:
            command_name(self.name, ())  # refuses it

    @property
    def only_variables(self) -> bool:
        """Whether nothing but variables of the environment are set."""
        return self.environment_only or self.blas_threads is not None

    @property
    def may_be_tuned(self) -> bool:
        """Whether a choice of `autotune tune` for the command is used if there is one."""
        is_plain = self.blas_threads is None and self.wait is None
        return is_plain and not (self.reductions or self.learn or self.children)

    def words(self) -> list[str]:
        """Spell the options as the command line has them."""
        words = []
        for name, value in vars(self).items():
            if value:
                words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
        return words


def run_options(verb: Callable[..., int]) -> Callable[..., int]:
    for option in (  # the last is the first of the help
        click.option("--children", is_flag=True, help="Also in the Pythons that those of the command start."),
        click.option(
            "--wait",
            type=click.Choice(["sleep", "spin"]),
            help="Let idle threads of OpenBLAS, MKL and OpenMP sleep soon, or spin on.",
        ),
        click.option(
            "--learn", is_flag=True, help="Also try other threads for calls and loops without an entry, and learn."
        ),
        click.option("--reductions", is_flag=True, help="Also compute sums on several CPUs: their last bits differ."),
        click.option("--name", metavar="NAME", help="The command's name in the profile; else the script's."),
        click.option("--environment-only", is_flag=True, help="Set variables only: one thread count for the process."),
        threads_option,
    ):
        verb = option(verb)
    return verb


@click.command(context_settings={"allow_interspersed_args": False})
@run_options
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- CMD [ARG]...")
def run(*, command: tuple[str, ...], **settings: Any) -> int:
    """Run a command with the measured choices in force.

    Every Python that the command is or starts (a script, pytest, a console script, one in a make file) calls
    autotune.apply() once it has loaded NumPy, with no change to the program. autotune has to be installed
    for that Python, and -I, -E and -S keep it from working. What those Pythons start runs as without it, unless
    there is --children. A command that `autotune tune` has proved a choice for runs with that choice instead, in
    variables of the environment, unless an option asks for something else. BLAS threads for the whole process, and how
    long idle ones spin, are set in the environment, which is all that --environment-only does; --blas-threads sets that
    count alone. --wait sets that idle threads of OpenBLAS, MKL and OpenMP sleep soon, or spin on.

    The command takes the place of autotune and its exit status is the one you get: 127 if it is not found, 126 if it
    cannot be executed. Variables that you have set stay as they are. One line on standard error says what was set, or
    why nothing was, and another one why a profile that AUTOTUNE_PROFILE names is not used; -q leaves them out.

    \b
    Examples:
      autotune run -- python simulate.py --steps 100
      autotune run --reductions -- pytest
      autotune run --learn -- python serve.py
      autotune run --blas-threads 1 -- make test
    """
    options = RunOptions(**settings)
    try:
        words, variables = prepare(options, command)
    except Exception as problem:  # noqa: BLE001 - whatever is wrong with a profile, the program must run
        say(messages.running(messages.command_runs_plain(error_text(problem))), sets=False)
        words, variables = command, {}
    return replace_process(words, {**os.environ, **variables})


def prepare(options: RunOptions, command: tuple[str, ...]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the words and the variables with which to run the command, and say what they do."""
    resolution = resolve_and_note(options.blas_threads)
    tuned = tuned_command(command, name=options.name, resolution=resolution) if options.may_be_tuned else None
    if isinstance(tuned, TunedCommand):
        say(messages.running_tuned(tuned.name, tuned.choice, tuned.speedup, tuned.cpu_ratio))
        return tuned.words, tuned.variables
    is_kept_out = is_kept_from_site(command) and not options.children
    choice = choose(options.blas_threads, resolution)
    extra = {**choice.variables, **wait_policy.wait_variables(options.wait, wait_policy.RUNTIMES)}
    variables = thread_variables.exports(choice.blas_threads, os.environ, extra=extra)
    calls = not (options.only_variables or is_kept_out or is_disabled())
    sets = bool(variables) or (calls and (options.learn or options.reductions))
    applied, may_gain = "", False
    if calls:
        profiles = resolution or resolve_before_numpy() or resolve()
        plain = why_plain(profiles)
        applied, may_gain = calls_text(options, profiles, plain), plain.loops is None
        variables |= startup_variables(
            os.environ, reductions=options.reductions, learn=options.learn, children=options.children
        )
    effect = effect_text(options, choice, tuned, calls=applied, is_kept_out=is_kept_out)
    say(effect, sets=sets, reports=calls, may_gain=may_gain)
    return command, variables


def effect_text(
    options: RunOptions, choice: ProcessChoice, why_not_tuned: str | None, *, calls: str, is_kept_out: bool
) -> str:
    """Describe what is set for the command, and what is done for `calls` and loops of its Pythons."""
    if is_disabled() and options.blas_threads is None:
        return messages.running(messages.SWITCHED_OFF_FOR_COMMAND, wait=options.wait)
    threads = (threads_text(choice.blas_threads), choice.reason, why_not_tuned)
    return messages.running(
        " ".join(filter(None, threads)),
        user_limit=users_own_limit(choice),
        calls=calls,
        is_kept_out=is_kept_out,
        wait=options.wait,
    )


def calls_text(options: RunOptions, resolution: Resolution, plain: PlainReasons) -> str:
    """Say what apply() in the command's Pythons does for their calls and loops (`runtime/per_call.py`)."""
    if plain.calls is not None:
        return messages.calls_run_plain(plain.calls)
    return messages.calls_run(
        calls=resolution.tunes_calls(),
        loops=bool(resolution.loops),
        why_no_loops=plain.loops,
        learns=options.learn and resolution.usable_cpus > 1,
        reductions=options.reductions and plain.loops is None,
    )


def is_kept_from_site(command: Sequence[str]) -> bool:
    """Is the command a Python with -I, -E or -S, which keep it from `runtime/startup/sitecustomize.py`?"""
    if _PYTHON.fullmatch(os.path.basename(command[0])) is None:  # noqa: PTH119 - pathlib costs `run` 4 ms
        return False
    words = iter(command[1:])
    for word in words:
        if word == "--check-hash-based-pycs":
            next(words, None)
            continue
        options = _FLAGS.fullmatch(word)
        if options is None or word == "-":
            return False
        flags, last, value = options.groups()
        if {"I", "E", "S"} & set(flags):
            return True
        if last in {"c", "m"}:
            return False
        if last is not None and not value:
            next(words, None)  # its value is the next word
    return False


def users_own_limit(choice: ProcessChoice) -> int | None:
    """Return the BLAS threads that the user's own variables allow where no count is set; None without a limit."""
    is_set = thread_variables.exports(choice.blas_threads, os.environ)
    return None if is_set else thread_variables.user_limit(os.environ)


def say(effect: str, *, sets: bool = True, reports: bool = False, may_gain: bool = False) -> None:
    """Say what is set; leave it for `compare`, with whether anything is, and whether Pythons report what they apply.

    `may_gain` is whether a profile could change how their calls or loops run.
    """
    with suppress(OSError):  # a full disk must not keep the command from running
        note(effect)
    folder = os.environ.get(REPORT)
    if folder:
        from json import dumps
        from pathlib import Path

        with suppress(OSError):
            text = dumps({"sentence": effect, "sets": sets, "reports": reports, "may_gain": may_gain})
            Path(folder, EFFECT).write_text(text, encoding="utf-8")


def startup_variables(
    environ: Mapping[str, str], *, reductions: bool, children: bool, learn: bool = False
) -> dict[str, str]:
    """Return variables that have a Python call apply() from its start (`runtime/startup/sitecustomize.py`)."""
    wishes = ["apply", *(["reductions"] if reductions else []), *(["learn"] if learn else [])]
    return _startup(environ, "+".join(wishes), children=children)


def recording_variables(folder: str) -> dict[str, str]:
    """Return variables that have a Python, and all that it starts, record its calls into a folder."""
    return _startup(os.environ, f"record:{folder}", children=True)


def _startup(environ: Mapping[str, str], wish: str, *, children: bool) -> dict[str, str]:
    from autotune import runtime

    folder = os.path.join(runtime.__path__[0], "startup")  # noqa: PTH118
    places = [folder, *filter(None, [environ.get("PYTHONPATH")])]
    variables = {"PYTHONPATH": os.pathsep.join(places), "AUTOTUNE_START": wish}
    return {**variables, "AUTOTUNE_START_CHILDREN": "1"} if children else variables


def replace_process(command: tuple[str, ...], environ: Mapping[str, str]) -> int:
    """Replace this process by a command; return the exit status only where that fails.

    Windows cannot replace a process: there the command is waited for.
    """
    sys.stdout.flush()
    for name in ("SIGPIPE", "SIGXFSZ"):  # Python ignores them, which the command would go on to do
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    try:
        if os.name == "nt":
            import subprocess

            return subprocess.run(command, env=environ, check=False).returncode  # noqa: S603 - the user's own
        os.execvpe(command[0], command, environ)  # noqa: S606 - the user's own
    except (OSError, ValueError) as problem:  # ValueError: a NUL byte in an argument
        return cannot_start(command[0], problem)


def cannot_start(command: str, problem: Exception) -> int:
    """Say why a command cannot be started; return the exit status that shells give."""
    import shutil

    exists = os.path.lexists(command) if os.path.dirname(command) else shutil.which(command) is not None  # noqa: PTH120
    if not isinstance(problem, PermissionError) and not exists:
        why, status = "there is no such command", NOT_FOUND
    else:  # a script whose interpreter is missing also counts as "file not found"
        why, status = getattr(problem, "strerror", None) or str(problem), NOT_EXECUTABLE
    report_error(messages.cannot_run(command, why))
    return status
