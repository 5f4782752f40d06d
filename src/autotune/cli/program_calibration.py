"""Calibration for one program: the calls that it makes are measured, and its gain is printed."""

import os
import sys
from dataclasses import replace
from pathlib import Path
from shlex import join
from statistics import median
from typing import TYPE_CHECKING

import click

from autotune.cli import messages
from autotune.cli.advise import advise_here, read_recording, write_recording
from autotune.cli.compare import run_tuned_pairs
from autotune.cli.run import recording_variables
from autotune.cli.terminal import note
from autotune.errors import BadWorkload, UsageError
from autotune.model import units
from autotune.recording.program_gain import VerifiedGain
from autotune.search.request import Request

if TYPE_CHECKING:
    from autotune.recording.recording import Recording

VERIFY_RUNS = 3
START_PAIRS = 3
"""Pairs of processes that load NumPy: the time that `autotune run` adds is many times their scatter."""
LOADING_SECONDS = 0.6
"""Allowance for a process that loads NumPy under `autotune run`; 0.15 to 0.3 s are usual."""
BUDGET_SECONDS = 120.0
"""Default budget for a program, which calls a few operations and not the whole catalogue."""
COMMAND = "autotune.command"


class WithCommand(click.Command):
    """A verb whose arguments may end with `-- CMD [ARG]...`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Set the command apart, which has options of its own."""
        if "--" in args:
            place = args.index("--")
            ctx.meta[COMMAND] = tuple(args[place + 1 :])
            args = args[:place]
        elif (start := self._program_without_dashes(args)) is not None:
            dashes = ["--", "python"] if args[start].endswith(".py") else ["--"]
            raise UsageError(messages.command_without_dashes(join([*args[:start], *dashes, *args[start:]])))
        return super().parse_args(ctx, args)

    def _program_without_dashes(self, args: list[str]) -> int | None:
        """Return the place of the first word that is a Python or its script, and no option or value of one."""
        flags = {name for each in self.params if getattr(each, "is_flag", False) for name in each.opts}
        for place, word in enumerate(args):
            before = args[place - 1] if place else ""
            is_value = before.startswith("-") and "=" not in before and before not in flags
            is_program = Path(word).name.startswith("python") or word.endswith(".py")
            if is_program and not is_value and not word.startswith("-"):
                return place
        return None

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
            raise UsageError("Name a command after --, such as `autotune calibrate -- python simulate.py`.")
        return None
    if words or (command and recording is not None):
        raise UsageError(
            "A command or a recording is calibrated for alone: name no operations with it, and not both of them."
        )
    if recording is not None:
        return read_recording(recording, is_to_run=True)
    return recorded_run(command, record)


def recorded_run(command: tuple[str, ...], kept: Path | None) -> "Recording":
    """Record a run of a command, whose input is empty and whose output is not shown, and keep it if a path is given.

    Raises BadWorkload if the command fails.
    """
    from autotune.recording.run_recorded import run_recorded

    note(messages.recording_run(join(command)))
    try:
        recorded = run_recorded(command, os.environ, recording_variables, is_silent=True)
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise BadWorkload(messages.cannot_run(command[0], reason)) from None
    write_recording(kept, recorded)
    status = recorded.status
    if status:
        how = f"was ended by signal {-status}" if status < 0 else f"ended with exit status {status}"
        raise BadWorkload(
            f"{join(command)} {how}, with empty input: nothing is measured for it. `autotune advise -- CMD` shows its "
            "output; --record there and --recording here take what it called until then."
        )
    return recorded


def for_program(request: Request, recorded: "Recording", *, runs: int) -> Request:
    """Ask for what a program calls, and say how long that and `runs` pairs of its runs take.

    Raises BadWorkload if nothing of it can be tuned.
    """
    from autotune.recording.recorded_work import recorded_work

    work = recorded_work(recorded)
    for call in work.left_out:
        note(messages.not_measurable(call))
    if not work.operations:
        raise BadWorkload(
            "Nothing that this program calls can be tuned, or it takes less than 1 % of the run. `autotune advise -- "
            "CMD` says where the time goes."
        )
    budget = request.budget_seconds
    if budget is None and not request.until_decided:
        budget = BUDGET_SECONDS
    note(messages.program_operations(len(work.weights), len(work.operations), work.share, budget))
    if runs and recorded.is_complete and least_seconds(recorded, runs) <= request.seconds:
        note(messages.runs_follow(runs, verification_seconds(recorded.wall_seconds, runs)))
    for members, functions in work.classes.items():
        note(messages.loop_class(functions, members))
    return replace(request, recorded=work.operations, weights=work.weights, budget_seconds=budget)


def gain_of(recorded: "Recording | None", profile: Path | None, *, runs: int, seconds: float) -> VerifiedGain | None:
    """Say what a program gains by its profile: as its entries predict, and as pairs of its runs show.

    None without a recorded program or a profile.
    """
    if recorded is None or profile is None:
        return None
    gain = advise_here(recorded, profile).gain
    predicted = VerifiedGain(predicted=gain.speedup, predicted_low=gain.low, predicted_high=gain.high)
    least = least_seconds(recorded, runs)
    if gain.low == gain.high == 1:  # no entry for it is tuned: both sides of a pair would be the same program
        return replace(predicted, why_not=messages.NOTHING_GAINED)
    if not runs:
        return replace(predicted, why_not=messages.NO_VERIFY_RUNS)
    if not recorded.is_complete:
        return replace(predicted, why_not=messages.RECORDED_IN_PART)
    if least > seconds:
        return replace(predicted, why_not=messages.runs_too_long(runs, least, seconds))
    usual = verification_seconds(recorded.wall_seconds, runs)
    note(messages.verifying_runs(runs, usual))
    load_numpy = (sys.executable, "-c", "import numpy")
    options, named = ["--children"], {"AUTOTUNE_PROFILE": str(profile.absolute())}
    try:
        starts = run_tuned_pairs(load_numpy, options, named, pairs=START_PAIRS, seconds=2 * usual)
        pairs = run_tuned_pairs(recorded.command, options, named, pairs=runs, seconds=2 * usual)
    except BadWorkload as problem:  # of a recording from another machine, say
        return replace(predicted, why_not=str(problem))
    if pairs.failure:
        return replace(predicted, why_not=messages.failed_in_every_run(pairs.failure))
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


def least_seconds(recorded: "Recording", runs: int) -> float:
    """Return the time of pairs of runs, and of the one before them, if each takes as long as the recorded one."""
    return (2 * runs + 1) * recorded.wall_seconds


def verification_seconds(run_seconds: float, pairs: int) -> float:
    """Return the usual time of pairs of runs, and of those of processes that load NumPy, with room for scatter."""
    run = run_seconds + messages.RUN_START_SECONDS
    return units.SPARE_TIME * (2 * pairs + 1) * run + (2 * START_PAIRS + 1) * LOADING_SECONDS


def tell_gain(gained: VerifiedGain) -> None:
    if gained.why_not != messages.NOTHING_GAINED:
        note(gain_text(gained))
    if gained.why_not is not None:
        note(gained.why_not)
    if gained.same_output is False:
        note(messages.PROGRAM_DIFFERS)


def gain_text(gained: VerifiedGain) -> str:
    """Say what a whole program gains, as predicted and as measured."""
    said = f"The whole program: {gained.predicted:.2f} times as fast by its entries"
    if gained.predicted_low < gained.predicted_high:  # else its tuned calls have no interval here
        said += f" ({gained.predicted_low:.2f} to {gained.predicted_high:.2f})"
    if gained.measured is None:
        return f"{said}."
    with_start = gained.predicted_with_start
    if with_start is not None and f"{with_start:.2f}" != f"{gained.predicted:.2f}":
        said += f", {with_start:.2f} with the {gained.start_seconds:.2g} s that `autotune run` takes to start"
    repeat = "`autotune compare -- CMD` repeats them, at a quieter moment or with more --pairs."
    pairs = f"{units.count_of(gained.pairs, 'pair')} of its runs"
    if gained.interval is None:
        return f"{said}. {pairs}: too few to tell what it gained. {repeat}"
    said += f", {gained.measured:.2f} in {pairs}, 95 % interval {units.interval(gained.interval)}."
    if units.cannot_tell(gained.interval):
        said += f" The pairs cannot tell on this machine now: {repeat}"
    else:
        least, most = gained.interval
        start = (with_start or gained.predicted) / gained.predicted
        if most < start * gained.predicted_low or least > gained.predicted_high:
            said += f" Entries and runs disagree: a few runs may all meet one state of the machine. {repeat}"
    return said


def weigh_by_spool(request: Request) -> Request:
    """Let operations that programs have called here count more, where all of the catalogue is asked for."""
    from autotune.daemon.spool import spool_weights

    if request.operations or request.workload is not None:
        return request
    weights = spool_weights()
    if weights:
        note(messages.weighted_by_spool(len(weights)))
    return replace(request, weights=weights)
