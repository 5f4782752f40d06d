"""`autotune advise`."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autotune.cli import advice_text
from autotune.cli.env import note_unused_profiles
from autotune.cli.options import FILE, PRESENT_FILE, parse_duration
from autotune.cli.program import FAILED
from autotune.cli.run import cannot_start, recording_variables
from autotune.cli.terminal import begin_line, json_option, json_text, print_lines, width, write_error
from autotune.errors import UsageError

if TYPE_CHECKING:
    from autotune.recording.advice import Advice
    from autotune.recording.recording import Recording

_MOST_BYTES = 2**26
"""Largest size of a recording to read: thousands of processes."""


@click.command(context_settings={"allow_interspersed_args": False})
@click.option("--stop-after", metavar="TIME", help="Record for this time only, such as 2m; the command runs on.")
@click.option("--record", "kept", type=FILE, help="Keep the recording here.")
@click.option("--recording", type=PRESENT_FILE, help="Advise on a kept recording.")
@click.option("--profile", type=click.Path(path_type=Path, exists=True), help="A profile that goes before all others.")
@click.option("-o", "--output", type=FILE, help="Write the advice here.")
@json_option
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="-- CMD [ARG]...")
def advise(
    *,
    stop_after: str | None,
    kept: Path | None,
    recording: Path | None,
    profile: Path | None,
    output: Path | None,
    as_json: bool,
    command: tuple[str, ...],
) -> int:
    """Run a command once, record its calls of NumPy and SciPy, and say what autotune can do for it here.

    The command runs as it is, with its own input and output, and nothing is applied. Its exit status is the one you
    get (128 + N if signal N ended it). The advice follows on standard error, or goes into a file. Pythons that the
    command starts are recorded too, if autotune is installed for them.

    \b
    Examples:
      autotune advise -- python simulate.py --steps 100
      autotune advise --json -o advice.json -- pytest
      autotune advise --stop-after 2m -- python server.py
    """
    if bool(command) == (recording is not None):
        raise UsageError("Name a command after --, or a recording with --recording; not both.")
    if recording is not None:
        is_written = tell(advise_here(read_recording(recording), profile), output, as_json=as_json)
        return 0 if is_written else FAILED
    seconds = None if stop_after is None else parse_duration(stop_after)
    from autotune.recording.run_recorded import run_recorded

    def finish(recorded: "Recording") -> None:
        begin_line()
        write_recording(kept, recorded)
        tell(advise_here(recorded, profile), output, as_json=as_json)

    try:
        recorded = run_recorded(command, os.environ, recording_variables, stop_after=seconds, when_stopped=finish)
    except (OSError, ValueError) as problem:
        return cannot_start(command[0], problem)
    if recorded.is_complete:
        finish(recorded)
    return exit_status(recorded)


def exit_status(recorded: "Recording") -> int:
    """Return the command's own exit status; 128 + N for signal N, as shells do."""
    status = recorded.status or 0
    return status if status >= 0 else 128 - status


def advise_here(recorded: "Recording", profile: Path | None) -> "Advice":
    """Say what a recorded run would gain on this machine, by the profiles that fit it."""
    from autotune.controls import blas, wait_policy
    from autotune.profiles.resolve import resolve
    from autotune.recording.advice import advise_on
    from autotune.recording.known_gains import Limits
    from autotune.runtime.process_settings import why_plain

    resolution = resolve(profile)
    note_unused_profiles(resolution, outdated=True)
    plain = why_plain(resolution)
    own = wait_policy.exponent_of(os.environ)
    exponent = resolution.wait.exponent if own is None else own
    limits = Limits(
        calls=plain.calls,
        loops=plain.loops,
        blas_threads=blas.user_limit(),
        spin_exponent=wait_policy.DEFAULT_EXPONENT if exponent is None else exponent,
        loops_after_blas=resolution.wait.loops if exponent == resolution.wait.exponent else {},
    )
    return advise_on(recorded, resolution, limits)


def tell(advice: "Advice", output: Path | None, *, as_json: bool) -> bool:
    """Write the advice to standard error, or into a file.

    If the file cannot be written, the advice goes to standard error, and False is returned.
    """
    if as_json:
        text = json_text("advise/1", advice.as_dict())
    else:
        text = "\n".join(advice_text.lines(advice, 80 if output else width()))
    if output is not None:
        try:
            output.write_text(text + "\n", encoding="utf-8")
        except OSError as problem:
            write_error(f"{output} could not be written ({problem.strerror or problem}). The advice follows here.")
        else:
            return True
    print_lines([text], err=True)
    return output is None


def read_recording(path: Path, *, is_to_run: bool = False) -> "Recording":
    """Read a kept recording. Raises UsageError for another file, UntrustedFile for a device or one that is too large.

    If its command is to be run again, no other user may have written it either.
    """
    from autotune.host.trusted_files import FileRule, read_file
    from autotune.recording.recording import Recording

    rule = FileRule(_MOST_BYTES, any_owner=not is_to_run, follow_links=True)
    try:
        values = json.loads(read_file(path, rule).data)
    except (OSError, ValueError, RecursionError) as problem:
        raise UsageError(f"{path} is no recording: {problem}.") from None
    return Recording.from_dict(values)


def write_recording(path: Path | None, recorded: "Recording") -> None:
    """Keep a recording if a path is given; where that fails the advice still follows."""
    if path is None:
        return
    from autotune.host.trusted_files import replace_file

    try:
        replace_file(os.path.realpath(path), json.dumps(recorded.as_dict()).encode(), 0o644)
    except OSError as problem:
        write_error(f"The recording could not be kept in {path}: {problem.strerror or problem}.")
