"""Where every choice comes from, and why others were refused."""

import sys
from typing import Any

from autotune.controls.apply_configuration import clamp
from autotune.controls.placement import cpus_for
from autotune.model.catalogue import ALIASES
from autotune.model.configuration import Configuration
from autotune.model.operation import Operation
from autotune.profiles.fit_level import Level
from autotune.profiles.resolve import Resolution
from autotune.runtime.applied import state
from autotune.runtime.explanation import Explained, Explanation
from autotune.runtime.lookup_configuration import meant

_NOTHING = "Nothing that was measured speaks for it."


def explain(operation: str | None = None, /, *, dtype: Any = "float64", **sizes: int) -> Explanation:
    """What is done for each operation that was measured, at which level, from which profile, and why.

    With a name, only that operation's entries; with sizes too, the entry that speaks for them, measured or
    in between. Every nearer entry that was refused is there with its reason, and every file. What is returned
    shows as a text of 80 columns, at a prompt and when printed; without a name the text is an overview, which
    leaves out the reasons of single entries. Nothing is changed. Raises BadSize for a size
    that the operation does not have.
    """
    resolution = state.resolution()
    setting = state.setting
    if resolution is None:
        rows: tuple[Explained, ...] = ()
    elif operation is not None and sizes:
        rows = (_asked(resolution, operation, dtype, sizes),)
    else:
        name = None if operation is None else ALIASES.get(operation, operation)
        rows = tuple(
            _explained(resolution, one) for one in resolution.operations() if name in {None, one.name}
        )
    per_call = state.per_call
    calls, switched = (0, 0) if per_call is None else per_call.counts()
    guard = None if per_call is None else per_call.guard
    return Explanation(
        per_call=None if per_call is None else per_call.why,
        calls=calls,
        switched=switched,
        saved=None if guard is None else guard.saved(),
        dropped=() if guard is None else tuple(guard.dropped),
        usable_cpus=None if resolution is None else resolution.usable_cpus,
        limit=None if resolution is None else resolution.limit,
        blas_threads=setting.blas_threads,
        blas_threads_reason=setting.why,
        operations=rows,
        refusals=() if resolution is None else resolution.refusals,
        failure=setting.failure,
        held_bytes=_held(),
        overview=operation is None,
    )


def _asked(resolution: Resolution, operation: str, dtype: Any, sizes: dict[str, int]) -> Explained:
    named = meant(operation, dtype, sizes)
    if named is None:
        return Explained(
            operation=f"{operation} {dtype}", level=Level.DEFAULT, choice=Configuration(), reason=_NOTHING
        )
    return _explained(resolution, named)


def _explained(resolution: Resolution, operation: Operation) -> Explained:
    found, passed = resolution.climbed(operation)
    if found is None:
        return Explained(
            operation=str(operation),
            level=Level.DEFAULT,
            choice=Configuration(),
            reason=_NOTHING,
            refused=tuple(passed),
        )
    usable_cpus = resolution.usable_cpus
    choice, reason = clamp(found.entry.choice, usable_cpus), found.entry.reason
    if choice != found.entry.choice:
        reason += (
            f" The profile asks for {found.entry.choice}; the {usable_cpus} usable CPUs here allow {choice}."
        )
    workers = choice.workers or 1
    if choice.placement is not None and workers > 1 and cpus_for(choice.placement, workers) is None:
        reason += f" The CPUs here have no room for placement={choice.placement}: workers run anywhere."
    return Explained(
        operation=str(found.entry.operation),
        level=found.level,
        choice=choice,
        reason=reason,
        source=found.path,
        fit=found.why,
        entry=found.entry,
        refused=tuple(one for one in passed if one.path != found.path),
    )


def _held() -> int:
    """Bytes kept by the runtime; none if nothing has made a result yet."""
    results = sys.modules.get("autotune.parallel.result_memory")
    return 0 if results is None else int(results.held())
