"""Where every choice comes from, and why others were refused."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from autotune.controls.configured import clamp
from autotune.model.allocation import Limit
from autotune.model.catalogue import ALIASES
from autotune.model.configuration import Configuration
from autotune.model.tuning import Tuning
from autotune.runtime.config import meant
from autotune.runtime.guard import Dropped, Saved
from autotune.runtime.state import state
from autotune.store.climb import Found, Refusal
from autotune.store.level import Level
from autotune.store.resolve import Resolution

_NOTHING = "Nothing that was measured speaks for it."


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """One operation and what is done for it."""

    operation: str
    """With its dtype and sizes."""
    level: Level
    choice: Configuration
    reason: str
    """Why this choice, or why the default was kept."""
    source: str | None = None
    """The profile it comes from; None if no profile speaks for it."""
    fit: str | None = None
    """Why the profile has this level."""
    tuning: Tuning | None = None
    """The entry with its evidence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What autotune does in this process. Its text is for people."""

    usable_cpus: int | None
    limit: Limit | None
    blas_threads: int | None
    """The process-wide count that apply() set; None if it left it alone."""
    blas_threads_reason: str
    operations: tuple[Explained, ...]
    refusals: tuple[Refusal, ...]
    """Files and entries that are not used."""
    failure: str | None = None
    """Why nothing is known at all."""
    per_call: str | None = None
    """What is done for single calls, or why not; None: nothing was asked for."""
    calls: int = 0
    """Single calls met so far."""
    switched: int = 0
    """Those of them that run with a count of their own."""
    saved: Saved | None = None
    """What the live guard knows to have been saved; None without one, or while it knows too little."""
    dropped: tuple[Dropped, ...] = ()
    """Entries that lost against the default in this process."""

    def as_dict(self) -> dict[str, Any]:
        """The same as plain values, for JSON."""
        return {
            "usable_cpus": self.usable_cpus,
            "limit": None if self.limit is None else str(self.limit),
            "blas_threads": self.blas_threads,
            "blas_threads_reason": self.blas_threads_reason,
            "failure": self.failure,
            "per_call": None
            if self.per_call is None
            else {
                "reason": self.per_call,
                "calls": self.calls,
                "switched": self.switched,
                "saved_seconds": None if self.saved is None else self.saved._asdict(),
                "dropped": [one._asdict() for one in self.dropped],
            },
            "operations": [_plain(row) for row in self.operations],
            "refusals": [refusal._asdict() for refusal in self.refusals],
        }

    def __str__(self) -> str:
        return "\n".join(_lines(self))


def explain(operation: str | None = None, /, *, dtype: Any = "float64", **sizes: int) -> Explanation:
    """What is done for each operation that was measured, at which level, from which profile, and why.

    With a name, only that operation's entries; with sizes too, the entry that speaks for them, measured or
    in between. Every file and entry that was refused is there with its reason. Nothing is changed. Raises
    BadSize for a size that the operation does not have.
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
            _measured(entry, resolution.usable_cpus)
            for entry in resolution.entries()
            if name in {None, entry.tuning.operation.name}
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
    )


def _asked(resolution: Resolution, operation: str, dtype: Any, sizes: dict[str, int]) -> Explained:
    named = meant(operation, dtype, sizes)
    entry = None if named is None else resolution.find(named)
    if entry is None:
        asked = str(named) if named is not None else f"{operation} {dtype}"
        return Explained(operation=asked, level=Level.DEFAULT, choice=Configuration(), reason=_NOTHING)
    return _measured(entry, resolution.usable_cpus)


def _measured(entry: Found, usable_cpus: int) -> Explained:
    choice, reason = clamp(entry.tuning.choice, usable_cpus), entry.tuning.reason
    if choice != entry.tuning.choice:
        reason += (
            f" The profile asks for {entry.tuning.choice}; the {usable_cpus} usable CPUs here allow {choice}."
        )
    return Explained(
        operation=str(entry.tuning.operation),
        level=entry.level,
        choice=choice,
        reason=reason,
        source=entry.path,
        fit=entry.why,
        tuning=entry.tuning,
    )


def _plain(row: Explained) -> dict[str, Any]:
    tuning = row.tuning
    return {
        "operation": row.operation,
        "level": str(row.level),
        "choice": row.choice.as_dict(),
        "status": None if tuning is None else str(tuning.status),
        "ratio": None if tuning is None else tuning.ratio,
        "interval": None
        if tuning is None or tuning.ratio_low is None
        else [tuning.ratio_low, tuning.ratio_high],
        "reason": row.reason,
        "source": row.source,
        "fit": row.fit,
    }


def _call_lines(explanation: Explanation) -> Iterator[str]:
    if explanation.per_call is None:
        return
    yield f"{explanation.per_call} {explanation.calls} calls so far, {explanation.switched} of them tuned."
    if explanation.saved is not None:
        saved = explanation.saved
        yield (
            f"Seconds saved so far by calls of more than a millisecond: {saved.seconds:.3g} "
            f"(95 % interval {saved.low:.3g} to {saved.high:.3g})."
        )
    for one in explanation.dropped:
        yield f"Dropped: {one}"


def _lines(explanation: Explanation) -> Iterator[str]:
    if explanation.failure is not None:
        yield f"NumPy runs as it would without autotune: {explanation.failure}"
        return
    limit = "" if explanation.limit in {None, Limit.NONE} else f" (limited by {explanation.limit})"
    yield f"Usable CPUs: {explanation.usable_cpus}{limit}"
    count = "left alone" if explanation.blas_threads is None else str(explanation.blas_threads)
    yield f"BLAS threads of the process: {count}. {explanation.blas_threads_reason}"
    yield from _call_lines(explanation)
    for row in explanation.operations:
        gain = (
            ""
            if row.tuning is None or row.tuning.ratio is None
            else f", {row.tuning.ratio:.2f} of the default's time"
        )
        yield f"{row.operation}: {row.choice}{gain} [{row.level}]"
        yield f"    {row.reason}"
        if row.source is not None:
            yield f"    from {row.source}: {row.fit}"
    if not explanation.operations:
        yield "Nothing that was measured fits here."
    for refusal in explanation.refusals:
        entry = f", {refusal.entry}" if refusal.entry else ""
        yield f"Not used: {refusal.path}{entry}: {refusal.reason}"
