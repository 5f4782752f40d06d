"""`autotune calibrate`."""

import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autotune.cli import messages
from autotune.cli.doctor import share_of_others
from autotune.cli.options import FILE, PRESENT_FILE, store_option
from autotune.cli.program import FAILED, INTERRUPTED
from autotune.cli.program_calibration import (
    VERIFY_RUNS,
    WithCommand,
    for_program,
    gain_of,
    recorded_program,
    tell_gain,
    weigh_by_spool,
)
from autotune.cli.progress import progress
from autotune.cli.request_options import interrupted_request, make_request, request_options
from autotune.cli.store_warm_starts import Log, note_warm_start, relatives
from autotune.cli.terminal import json_option, note
from autotune.cli.write_outcome import Kept, keep, place, tell
from autotune.controls.placement import hold_to
from autotune.errors import BadWorkload
from autotune.host import cgroup
from autotune.host.cpu_variables import PROCESSES
from autotune.host.detect import detect
from autotune.host.machine_warnings import isolation, noise
from autotune.host.numeric_libraries import isolating_tool
from autotune.model import units
from autotune.model.catalogue import CATALOGUE
from autotune.model.entry import Status
from autotune.model.record import Record
from autotune.search.request import Request

if TYPE_CHECKING:
    from autotune.model.profile import Key, Profile

UNFORESEEN = 1.5
"""Factor on the time that the open tests are expected to need: further candidates are tested where one fails, and
exploration goes on. Of 33 simulated calibrations that were cut short, the budget so advised decided 28, without it
21."""


@click.command(cls=WithCommand, epilog=f"Operations: {', '.join(CATALOGUE)}.")
@request_options
@click.option("--record", type=FILE, help="Keep the command's recording here.")
@click.option(
    "--recording",
    type=PRESENT_FILE,
    help="Measure what this recording holds. Its command still runs for --verify-runs.",
)
@click.option(
    "--verify-runs",
    type=click.IntRange(min=0),
    default=VERIFY_RUNS,
    show_default=True,
    metavar="N",
    help="Pairs of runs of the command that tell what it gained.",
)
@click.option("--until-decided", is_flag=True, help="Go on until every entry is decided, without a budget.")
@click.option("--output", type=FILE, help="Where the profile goes.")
@click.option("--resume", is_flag=True, help="Go on where an interrupted calibration ended.")
@click.option(
    "--cpus",
    metavar="N,N,...",
    help="Measure for programs that are given N CPUs, such as 1,2,4,all: a profile for each number.",
)
@store_option
@json_option
def calibrate(
    words: tuple[str, ...],
    record: Path | None,
    recording: Path | None,
    verify_runs: int,
    output: Path | None,
    resume: bool,
    store: str | None,
    as_json: bool,
    **options: Any,
) -> int:
    """Measure this machine and write its profile.

    OPERATION is a name of the catalogue below, such as svd or log; without one all of it is measured, estimators of
    scikit-learn with --effort thorough only. A choice is kept only if it was proved faster than plain NumPy in fresh
    processes. Other entries of the same profile stay. Ctrl-C and SIGTERM keep what was decided. With --until-decided it
    goes on, without a budget, until it has decided every entry.

    Where a store is named, what it knows of this machine's relatives is tried first.

    With --cpus each profile is measured under an affinity mask of N CPUs, the largest first, and what it
    finds is tried first for the smaller ones; a budget is for all of them together. --output then names a file
    for each: profile-2cpu.yaml.

    With a command after -- one run of it is recorded, and just what it calls is measured, ordered by the time that it
    takes; pairs of runs of the command then tell what it gained. Its input is empty and what it prints is not shown.
    These runs come on top of the --budget; --verify-runs 0 leaves out the pairs.

    With --copies the profile is for one of K processes that share the CPUs: it applies where a launcher, or
    AUTOTUNE_PROCESSES=K, says so.

    \b
    Examples:
      autotune calibrate
      autotune calibrate -- python simulate.py --steps 100
      autotune calibrate svd qr m=1000,4000 n=50 --budget 5m
      autotune calibrate --workload simulate.py:step n=1000,4000
      autotune calibrate --cpus 1,2,4,all --budget 30m
    """
    if options["copies"] > 1:
        os.environ[PROCESSES] = str(options["copies"])  # the profile is for one of them, and for its share of the CPUs
    request = make_request(words, output=output and str(output.absolute()), **options)
    program = recorded_program(words, recording=recording, record=record)
    seconds = request.seconds
    request = weigh_by_spool(request) if program is None else for_program(request, program, runs=verify_runs)
    masks = allocations_of(request.cpus)
    if request.budget_seconds is not None:
        request = replace(request, budget_seconds=request.budget_seconds / len(masks))
    if resume:
        request = interrupted_request(key_within(masks[0]), request)
        output = None if request.output is None else Path(request.output)
    kept, finished = calibrate_allocations(request, output, resume=resume, store=store)
    gained = gain_of(program, kept[0].path if finished else None, runs=verify_runs, seconds=seconds)
    tell(kept, finished=finished, program=None if gained is None else asdict(gained), as_json=as_json)
    if gained is not None:
        tell_gain(gained)
    return INTERRUPTED if not finished else FAILED if any(each.path != each.output for each in kept) else 0


def calibrate_allocations(
    request: Request, output: Path | None, *, resume: bool, store: str | None
) -> tuple[list[Kept], bool]:
    """Calibrate one allocation after the other, and write each profile; False if it was interrupted.

    Raises BadWorkload if the user's function cannot be measured at all.
    """
    from autotune.search.journal import has_finished, journal_path
    from autotune.search.runner import calibrate_machine

    turns = plan_allocations(request.cpus, output)
    is_done = resume and all(has_finished(journal_path(turn.key), request) for turn in turns)
    if is_done:
        note(messages.HAD_FINISHED)
    was_busy = not is_done and forewarn(request)
    stored = [] if resume else relatives(store, turns[0].key)
    kept: list[Kept] = []
    for turn in turns:
        if len(turns) > 1:
            note(messages.for_cpus(len(kept) + 1, len(turns), cpus=turn.key.usable_cpus))
        with hold_to(turn.cpus), progress() as report:
            log = Log((lambda _: None) if is_done else report)
            others = [earlier.measured for earlier in kept]
            outcome = calibrate_machine(request, report=log, resume=resume, relatives=[*others, *stored])
        refuse_failed_workload(request, outcome.profile)
        budget = enough_for(log.seconds_needed, request, turns=len(turns))
        if outcome.finished or outcome.profile.entries:
            written = keep(outcome.profile, turn.path, sizes_named=bool(request.sizes or request.recorded))
            kept.append(written.replace(outcome=outcome, was_busy=was_busy, budget_needed=budget))
        note_warm_start(outcome.profile, stored, log.tried)
        if not outcome.finished:
            return kept, False
    return kept, True


def forewarn(request: Request) -> bool:
    """Say, before measuring, what will be left out, and warn of a small CPU quota, another NumPy and a busy machine.

    Returns whether the machine is busy.
    """
    for warning in isolation(isolating_tool()):
        note(warning)
    quota = cgroup.quota(cgroup.folders())
    if quota is not None and quota < 1:
        note(messages.small_quota(quota))
    for dtype in request.dtypes:
        lacking = [row.name for row in request.kinds if request.operations and dtype not in row.dtypes]
        if 0 < len(lacking) < len(request.kinds):  # all of them: the plan refuses it
            note(messages.lacks_dtype(lacking, dtype))
    busy = [] if request.neighbours else list(noise(share_of_others(detect()[1])))
    for warning in busy:
        note(warning)
    return bool(busy)


class AllocationRun(Record, kw_only=True):
    """One allocation that is measured."""

    cpus: frozenset[int] | None
    """The CPUs to be held to; None: as it is."""
    key: "Key"
    path: Path
    """The path of its profile."""


def plan_allocations(cpus: str | None, output: Path | None) -> list[AllocationRun]:
    """Return the allocations to be measured, the largest first. Raises UsageError for CPUs that are not usable."""
    masks = allocations_of(cpus)
    turns = []
    for mask in masks:
        key = key_within(mask)
        named = output
        if output is not None and len(masks) > 1:
            named = output.with_name(f"{output.stem}-{key.usable_cpus}cpu{output.suffix}")
        turns.append(AllocationRun(cpus=mask, key=key, path=place(key, named)))
    return turns


def allocations_of(cpus: str | None) -> list[frozenset[int] | None]:
    """Return the CPUs to be held to for each allocation; None: as it is."""
    if cpus is None:
        return [None]
    from autotune.search.environment import cpu_subsets

    machine, allocation = detect()
    # what --copies divides is divided afterwards
    usable_cpus = len(allocation.cpus) if allocation.processes > 1 else allocation.usable_cpus
    return cpu_subsets(cpus, cpus=machine.cpus, allowed=allocation.cpus, usable_cpus=usable_cpus)


def key_within(cpus: frozenset[int] | None) -> "Key":
    """Return the key of a profile measured on these CPUs."""
    from autotune.search.runner import this_key

    with hold_to(cpus):
        return this_key()


def refuse_failed_workload(request: Request, profile: "Profile") -> None:
    """Raise BadWorkload if no size of the user's function could be measured."""
    failures = [entry.reason for entry in profile.entries if entry.status is Status.FAILED]
    if request.workload is not None and failures and len(failures) == len(profile.entries):
        raise BadWorkload(f"{request.workload.name} could not be measured, so nothing was written. {failures[0]}")


def enough_for(needed: float | None, request: Request, *, turns: int) -> str | None:
    """Return the budget for all allocations that should let each decide all; None if that is not known."""
    return None if needed is None or needed <= request.seconds else units.budget(UNFORESEEN * needed * turns)
