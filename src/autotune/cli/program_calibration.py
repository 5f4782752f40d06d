"""Calibration for one program: what it calls is measured, and what it gains is told."""

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import click

from autotune.cli import calibration_messages, command_messages
from autotune.cli.advise import advise_here, read_recording, write_recording
from autotune.cli.run import recording_variables
from autotune.cli.terminal import note
from autotune.errors import BadWorkload, UsageError
from autotune.recording.program_gain import VerifiedGain
from autotune.search.request import Request

if TYPE_CHECKING:
    from autotune.bench.command_pairs import PairedRuns
    from autotune.recording.recording import Recording

VERIFY_RUNS = 3
START_PAIRS = 3
"""Pairs of processes that load NumPy: the time that `autotune run` adds is many times their scatter."""
BUDGET_SECONDS = 120.0
"""For a program, if no budget is named: it calls a few operations, and not the whole catalogue."""
COMMAND = "autotune.command"


class WithCommand(click.Command):
    """A verb whose arguments may end with `-- CMD [ARG]...`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Set the command apart, which has options of its own."""
        if "--" in args:
            place = args.index("--")
            ctx.meta[COMMAND] = tuple(args[place + 1 :])
            args = args[:place]
        return super().parse_args(ctx, args)

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Format as click does, with the command at the end."""
        pieces = [*self.collect_usage_pieces(ctx), "[-- CMD [ARG]...]"]
        formatter.write_usage(ctx.command_path, " ".join(pieces))


def recorded_program(words: tuple[str, ...], *, recording: Path | None, record: Path | None) -> "Recording | None":
    """Return the recording of the command that the command line names, or the kept one; None without either.

    Raises UsageError for both, or for operations with them, and BadWorkload for a command that fails.
    """
    command: tuple[str, ...] = click.get_current_context().meta.get(COMMAND, ())
    if not command and recording is None:
        if COMMAND in click.get_current_context().meta or record is not None:
            raise UsageError(calibration_messages.NO_COMMAND)
        return None
    if words or (command and recording is not None):
        raise UsageError(calibration_messages.PROGRAM_ALONE)
    if recording is not None:
        return read_recording(recording, is_to_run=True)
    recorded = recorded_run(command)
    if record is not None:
        write_recording(record, recorded)
    return recorded


def recorded_run(command: tuple[str, ...]) -> "Recording":
    """Record a run of a command, whose input is empty and whose output is not shown. Raises BadWorkload if it fails."""
    from autotune.recording.run_recorded import run_recorded

    note(calibration_messages.recording_run(command))
    try:
        recorded = run_recorded(
            command, os.environ, lambda folder: recording_variables(os.environ, folder), is_silent=True
        )
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise BadWorkload(command_messages.cannot_run(command[0], str(reason))) from None
    if recorded.status:
        raise BadWorkload(calibration_messages.recorded_run_failed(command, recorded.status))
    return recorded


def for_program(request: Request, recorded: "Recording") -> Request:
    """Ask for what a program calls. Raises BadWorkload if nothing of it can be tuned."""
    from autotune.recording.recorded_work import recorded_work

    work = recorded_work(recorded)
    for call in work.left_out:
        note(calibration_messages.not_measurable(call))
    if not work.operations:
        raise BadWorkload(calibration_messages.NOTHING_TO_MEASURE)
    note(calibration_messages.program_operations(len(work.operations), work.share))
    for members, functions in work.classes.items():
        note(calibration_messages.loop_class(functions, members))
    budget = request.budget_seconds
    if budget is None and not request.until_decided:
        budget = BUDGET_SECONDS
    return replace(request, recorded=work.operations, weights=work.weights, budget_seconds=budget)


def gain_of(recorded: "Recording | None", profile: Path | None, *, runs: int, seconds: float) -> VerifiedGain | None:
    """Say what a program gains by its profile: as its entries predict, and as pairs of its runs show.

    None without a recorded program or a profile.
    """
    if recorded is None or profile is None:
        return None
    gain = advise_here(recorded, profile).gain
    predicted = VerifiedGain(predicted=gain.speedup, predicted_low=gain.low, predicted_high=gain.high)
    needed = (2 * runs + 1) * recorded.wall_seconds
    if gain.low == gain.high == 1:  # no entry for it is tuned: both sides of a pair would be the same program
        return replace(predicted, why_not=calibration_messages.NOTHING_GAINED)
    if not runs:
        return replace(predicted, why_not=calibration_messages.NO_VERIFY_RUNS)
    if needed > seconds:
        return replace(predicted, why_not=calibration_messages.runs_too_long(runs, needed, seconds))
    note(calibration_messages.verifying_runs(runs))
    variables = {**os.environ, "AUTOTUNE_PROFILE": str(profile.absolute())}
    load_numpy = (sys.executable, "-c", "import numpy")
    try:
        starts = _pairs_of(load_numpy, variables, pairs=START_PAIRS, seconds=needed)
        pairs = _pairs_of(recorded.command, variables, pairs=runs, seconds=2 * needed)
    except BadWorkload as problem:  # of a recording from another machine, say
        return replace(predicted, why_not=str(problem))
    start = median(variant.seconds - plain.seconds for plain, variant in zip(starts.plain, starts.variant, strict=True))
    return replace(
        predicted,
        start_seconds=start,
        predicted_with_start=1 / (1 / gain.speedup + start / recorded.wall_seconds),
        measured=pairs.speedup,
        interval=pairs.interval,
        pairs=len(pairs.plain),
        same_output=pairs.same_output if pairs.same_status else False,
    )


def _pairs_of(command: Sequence[str], variables: dict[str, str], *, pairs: int, seconds: float) -> "PairedRuns":
    """Run a command plain and by `autotune run`, the latter with these variables. Raises BadWorkload."""
    from autotune.bench.command_pairs import run_pairs

    by_run = [sys.executable, "-m", "autotune", "run", "-q", "--children", "--", *command]
    return run_pairs(
        command, by_run, pairs=pairs, seconds=seconds, seed=0, environ=os.environ, variant_environ=variables
    )


def weigh_by_spool(request: Request) -> Request:
    """Let operations that programs have called here count more, where all of the catalogue is asked for."""
    from autotune.daemon.spool import spool_weights

    if request.operations or request.workload is not None:
        return request
    weights = spool_weights()
    if weights:
        note(calibration_messages.weighted_by_spool(len(weights)))
    return replace(request, weights=weights)
