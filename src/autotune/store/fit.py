"""Whether a profile, and each of its entries, may speak for this machine. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, fields

from autotune.controls.configured import clamp
from autotune.model.profile import Key, Profile
from autotune.model.tuning import Status, Tuning
from autotune.store.folders import Layer
from autotune.store.level import Level

_VERSION = "key.software.blas_version"


@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """This machine, as far as the fit of a profile depends on it."""

    key: Key
    host: str | None = None
    """Identity of the host: a hash, not its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What became of a profile."""

    level: Level | None
    """None: refused."""
    reason: str
    """A sentence; that of a refusal names the field, what the profile has and what is here."""


def fit(profile: Profile, layer: Layer, here: Here) -> Fit:
    """How well a profile fits this machine.

    Hardware and software must be equal, except for the patch version of the BLAS library. That holds for a
    file that the user named too: counts measured elsewhere prove nothing here. What another host measured is
    believed if the user named the file, or the administrator or this package brought it.
    """
    theirs, ours = profile.key, here.key
    for field, recorded, present in _differences(theirs, ours):
        if field != _VERSION or not _same_series(recorded, present):
            return Fit(level=None, reason=_differs(field, recorded, present))
    recorded, present = profile.provenance.host or "unknown", here.host or "unknown"
    same_host = here.host is not None and recorded == present
    if layer is Layer.USER and not same_host:
        reason = _differs("provenance.host", recorded, present)
        advice = "No second host confirms it; name the file in AUTOTUNE_PROFILE to use it anyway."
        return Fit(level=None, reason=f"{reason} {advice}")
    level = Level.HOST if same_host else Level.CLASS
    where = "on this host" if same_host else "on another host of this class"
    reason = f"It was measured {where}."
    if theirs.software != ours.software:
        versions = _differs(_VERSION, theirs.software.blas_version, ours.software.blas_version)
        level, reason = Level.STALE, f"Stale: {versions}"
    if not same_allocation(theirs, ours):
        level = Level.ALLOCATION
        reason = f"It was measured with {_allocation(theirs)}; here: {_allocation(ours)}."
    if layer is Layer.NAMED:
        level, reason = Level.EXPLICIT, f"The user named it. {reason}"
    return Fit(level=level, reason=reason)


def refusal(tuning: Tuning, theirs: Key, ours: Key) -> str | None:
    """Why an entry of a profile that fits is not used here; None if it is.

    With another allocation a choice is used only if the clamp to the usable CPUs leaves it as it was
    measured. With more CPUs than it was measured with, a choice of BLAS threads is not used: the default that
    it beat was slower than the default here.
    """
    if same_allocation(theirs, ours) or tuning.status is not Status.TUNED:
        return None
    clamped = clamp(tuning.choice, ours.usable_cpus)
    if clamped != tuning.choice:
        return (
            f"choice: {tuning.choice} was measured with {theirs.usable_cpus} usable CPUs; the "
            f"{ours.usable_cpus} here leave {clamped}, which was not measured."
        )
    if tuning.choice.blas_threads is not None and ours.usable_cpus > theirs.usable_cpus:
        return (
            f"choice: {tuning.choice} beat the default of {theirs.usable_cpus} usable CPUs; with the "
            f"{ours.usable_cpus} here the default is another one."
        )
    return None


def same_allocation(theirs: Key, ours: Key) -> bool:
    """Do both have as many usable CPUs, for the same reason?"""
    return (theirs.usable_cpus, theirs.limit) == (ours.usable_cpus, ours.limit)


def _differences(theirs: Key, ours: Key) -> Iterator[tuple[str, object, object]]:
    for part in ("hardware", "software"):
        recorded, present = getattr(theirs, part), getattr(ours, part)
        for item in fields(recorded):
            pair = (getattr(recorded, item.name), getattr(present, item.name))
            if pair[0] != pair[1]:
                yield f"key.{part}.{item.name}", *pair


def _same_series(recorded: object, present: object) -> bool:
    """Do two BLAS versions differ in the patch only? 0.3.30 and 0.3.31 do; 2024.0 and 2024.2 do not."""
    series = [str(version).split(".")[:2] for version in (recorded, present) if version is not None]
    return len(series) == 2 and series[0] == series[1]


def _differs(field: str, recorded: object, present: object) -> str:
    said, found = ("unknown" if value is None else value for value in (recorded, present))
    return f"{field}: the profile has {said}, this machine has {found}."


def _allocation(key: Key) -> str:
    cpus = "1 usable CPU" if key.usable_cpus == 1 else f"{key.usable_cpus} usable CPUs"
    return cpus if key.limit == "none" else f"{cpus} (limited by {key.limit})"
