"""The public function explain(): the choice for each operation in this process, and its reason."""

import os
import sys
from typing import Any

from autotune.controls.placement import cpus_for
from autotune.controls.thread_variables import limit_of_workers
from autotune.intercept.array_loops import CLASSES, MEASURED_LAYOUTS, Reduction, loop_names, reduction_of
from autotune.intercept.operations import LOOP_KINDS, MET, MET_AS, NEAREST, Layout
from autotune.model.catalogue import ALIASES, row_of
from autotune.model.configuration import Configuration, clamp
from autotune.model.operation import Operation
from autotune.model.policy import COMMANDS
from autotune.profiles.lookup import Level
from autotune.profiles.loop_plan import measured_dtype
from autotune.profiles.resolve import Resolution
from autotune.runtime.explanation import Explained, Explanation
from autotune.runtime.lookup_configuration import clamp_to_limits
from autotune.runtime.naming import as_operation
from autotune.runtime.process_settings import why_plain
from autotune.runtime.process_state import state

_NOTHING = "No measured entry covers it."


def explain(operation: str | None = None, /, *, dtype: Any = "float64", **sizes: int) -> Explanation:
    """Explain the choice for each measured operation: its configuration, fit level, profile and reason.

    Parameters
    ----------
    operation : str, optional
        Only this operation's entries, or those of the command that `autotune tune` keeps under this name. Without a
        name the text is an overview without the reasons of single entries. A function of NumPy that another operation
        serves in unchanged programs, such as log or slogdet, is answered with that one, too.
    dtype : dtype
        That of the operation.
    **sizes : int
        Only the entry for these sizes, measured or in between.

    Returns
    -------
    Explanation
        Shows as a text of 80 columns at a prompt and in print(), and as a table in a notebook. Each nearer entry and
        each file that was refused is in it with its reason.

    Raises
    ------
    BadSize
        For a size that the operation does not have.

    Notes
    -----
    Nothing is changed.

    Examples
    --------
    >>> import autotune
    >>> text = str(autotune.explain("svd", n=500))

    """
    resolution = state.resolution()
    setting = state.setting
    if resolution is None:
        rows: tuple[Explained, ...] = ()
    elif operation is not None and sizes:
        rows = (_explain_request(resolution, operation, dtype, sizes),)
    else:
        name = None if operation is None else _entry_name(operation, resolution)
        rows = tuple(
            _explain_operation(resolution, item) for item in resolution.operations() if name in {None, item.name}
        )
    results = sys.modules.get("autotune.parallel.result_memory")  # if anything has made a result yet
    per_call = state.per_call
    calls, switched = (0, 0) if per_call is None else per_call.counts()
    guard = None if per_call is None else per_call.guard
    learner = None if per_call is None else per_call.learner
    return Explanation(
        per_call=None if per_call is None else f"{per_call.reason()}{_loops_off(resolution)}",
        loops=None if per_call is None else per_call.loops_cut(),
        loops_alone={} if per_call is None else per_call.loops_alone(),
        calls=calls,
        switched=switched,
        saved=None if per_call is None else per_call.savings(),
        learned=None if learner is None else tuple(learner.lessons()),
        spent_seconds=0.0 if learner is None else learner.account.lost_seconds,
        dropped=() if guard is None else tuple(guard.dropped),
        usable_cpus=None if resolution is None else resolution.usable_cpus,
        limit=None if resolution is None else resolution.limit,
        blas_threads=setting.blas_threads,
        blas_threads_reason=setting.reason,
        operations=rows,
        refusals=() if resolution is None else resolution.refusals,
        failure=setting.failure,
        waiting=setting.waiting,
        held_bytes=0 if results is None else int(results.kept_bytes()),
        overview=operation is None,
        hint=_served_by(operation, is_own=any(row.entry for row in rows)),
    )


def _loops_off(resolution: Resolution | None) -> str:
    """Say why no loop is cut though calls are switched; empty where loops may be."""
    plain = None if resolution is None else why_plain(resolution)
    is_off = plain is not None and plain.calls is None and plain.loops is not None
    return f" Loops of ufuncs run as plain NumPy: {plain.loops}" if plain is not None and is_off else ""


def _served_by(name: str | None, *, is_own: bool) -> str:
    """Say in a sentence which operation serves a function of NumPy in unchanged programs; empty where it is its own.

    `is_own` if there are entries of this name, which may be a function of the user's.
    """
    if name is None or (is_own and row_of(name) is None):
        return ""
    kinds = (kind for kind, members in CLASSES.items() if name in members.ufuncs.split())
    reduction = reduction_of(name)
    kind = next(kinds, None if reduction == Reduction.NEVER else "reductions")
    if kind is not None:
        first, second = loop_names(kind, Layout.CONTIGUOUS)
        said = (
            f"np.{name} in an unchanged program is a loop of the class {kind}, which is measured as {first} and "
            f"{second}: `autotune explain {first}`. Operations without loop_ in their names are those of map_blocks."
        )
        is_rounded = reduction == Reduction.ROUNDED
        return f"{said} Sums of floating-point numbers need `autotune run --reductions`." if is_rounded else said
    if name in MET_AS:
        return f"In an unchanged program calls of {name} run as {MET_AS[name]}: `autotune explain {MET_AS[name]}`."
    if name in NEAREST:
        return (
            f"Calls of {name} are not tuned one by one, since its work is not that of {NEAREST[name]}, the nearest "
            "operation. It runs with the BLAS threads of the process: `autotune run --blas-threads N` sets them, and "
            "`autotune tune -- CMD` measures them."
        )
    return ""


def _entry_name(name: str, resolution: Resolution) -> str:
    """Return the name of the entries: that of the catalogue, or of a command that was tuned under it."""
    command = COMMANDS + name
    is_command = resolution.names_operation(command) and not resolution.names_operation(name)
    return command if is_command else ALIASES.get(name, name)


def _explain_request(resolution: Resolution, operation: str, dtype: Any, sizes: dict[str, int]) -> Explained:
    named = as_operation(operation, dtype, sizes)
    if named is None:
        return Explained(operation=f"{operation} {dtype}", level=Level.DEFAULT, choice=Configuration(), reason=_NOTHING)
    return _explain_operation(resolution, named)


def _rule(resolution: Resolution, operation: Operation, *, is_tuned: bool) -> str:
    """Say why a tuned call runs plain, or from which size on the loops that an operation stands for are cut, if any."""
    kinds = [
        (kind, layout)
        for kind in LOOP_KINDS
        for layout in Layout.ALL
        if operation.name in loop_names(kind, layout)
        and (layout == Layout.CONTIGUOUS or operation.name == MEASURED_LAYOUTS.get(layout))
    ]
    plain = why_plain(resolution)
    if operation.name in MET and plain.calls is not None and is_tuned:
        return f" But calls run as plain NumPy here: {plain.calls}"
    if not kinds:
        return ""
    if plain.loops is not None:
        return f" Loops of unchanged programs run as plain NumPy here: {plain.loops}"
    starts = []
    for kind, layout in kinds:
        dtype = measured_dtype(loop_names(kind, layout), operation.dtype, resolution.measured_sizes)
        plan = next((p for p in resolution.loops if (p.kind, p.dtype, p.layout) == (kind, dtype, layout)), None)
        if plan is not None:
            starts.append(f"{kind} from {plan.ranges[0].elements:,} elements on")
    if starts:
        return f" In unchanged programs loops of {', of '.join(starts)} are cut; shorter ones run as plain NumPy."
    names = " or ".join(", ".join(loop_names(*kind)) for kind in kinds)
    return f" In unchanged programs no such loop is cut: {names} would all have to gain at the same size."


def _explain_operation(resolution: Resolution, operation: Operation) -> Explained:
    match, passed = resolution.look_up(operation)
    override = state.overrides.get(operation)
    rule = _rule(resolution, operation, is_tuned=match is not None and not match.entry.choice.is_default)
    if match is None:
        return Explained(
            operation=str(operation),
            level=Level.DEFAULT,
            choice=override or Configuration(),
            reason=_NOTHING + rule if override is None else "This process learned it while it ran.",
            refused=tuple(passed),
        )
    usable_cpus = resolution.usable_cpus
    choice, reason = clamp_to_limits(match.entry.choice, usable_cpus), match.entry.reason + rule
    if choice != clamp(match.entry.choice, usable_cpus):
        reason = (
            f"Held to {choice} by {limit_of_workers(os.environ, usable_cpus)}, which the user or a framework set. "
            f"Without it {match.entry.choice} would run, of which the profile says: {reason}"
        )
    elif choice != match.entry.choice:
        reason += f" The profile asks for {match.entry.choice}; the {usable_cpus} usable CPUs here allow {choice}."
    if override is not None:
        choice = override
        reason += (
            " But the default was faster in this process, so the live guard dropped the choice."
            if override.is_default
            else " This process learned another choice while it ran."
        )
    workers = choice.workers or 1
    if choice.placement is not None and workers > 1 and cpus_for(choice.placement, workers) is None:
        reason += f" The CPUs here have no room for placement={choice.placement}: workers run anywhere."
    return Explained(
        operation=str(match.entry.operation),
        level=match.level,
        choice=choice,
        reason=reason,
        source=match.path,
        fit=match.why,
        entry=match.entry,
        refused=tuple(refusal for refusal in passed if refusal.path != match.path),
    )
