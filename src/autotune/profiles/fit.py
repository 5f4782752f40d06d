"""The ladder: the profiles and entries that may be used on this machine, and how well they fit. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import ceil

from autotune.host.numeric_libraries import series
from autotune.model.allocation import LIMITED_BY, Limit
from autotune.model.catalogue import CATALOGUE, Family
from autotune.model.configuration import Configuration, clamp
from autotune.model.entry import Entry, Evidence, Status
from autotune.model.policy import AGREEING_HOSTS, CPU_SLACK
from autotune.model.profile import Key, Profile, Provenance, is_same_computer, is_same_system
from autotune.model.record import Record
from autotune.model.units import count_of
from autotune.profiles.folders import Layer
from autotune.profiles.lookup import Level, Refusal, Rung

_VERSION = "key.software.blas_version"
_CONFIRMED_BY_PLACE = {Layer.NAMED, Layer.SYSTEM, Layer.SHIPPED}
"""Layers that need no second host: named by the user, installed by the administrator, or shipped."""
_RENAMED = (
    "this host had another name when it was measured, or is a clone of the one that was. `autotune verify` tells "
    "whether it still holds."
)
_UNCONFIRMED = (
    "No second host or trusted signer confirms any entry; name the file in AUTOTUNE_PROFILE to use it anyway."
)


class Site(Record, kw_only=True):
    """This machine, its software and this process's allocation, as far as the fit of a profile depends on them."""

    key: Key
    host: str | None = None
    """Identity of the host: a hash, not its name."""
    marks: tuple[str, ...] = ()
    """Hashes that stay when the host gets another name."""
    schedulable_cpus: int | None = None
    """CPUs in the affinity mask, before a quota, a cap or other processes: plain NumPy starts a thread for each."""


class Source(Record, kw_only=True):
    """A profile and where it was found."""

    layer: Layer
    path: str
    profile: Profile


class Fit(Record, kw_only=True):
    """The verdict on a profile."""

    level: Level | None
    """None: refused."""
    reason: str
    """A sentence; that of a refusal names the field, what the profile has and what is here."""
    outdated: str | None = None
    """The NumPy or BLAS of a profile that is refused for this alone, such as "NumPy 2.4"."""


FittingProfile = tuple[Level, str, Source]
"""A profile that fits, with its level and the reason."""


def fitting_profiles(sources: Iterable[Source], site: Site) -> tuple[list[FittingProfile], list[Refusal]]:
    """Return the profiles that fit, best level first, and the files that are not used.

    Sources come nearest layer first; within a level the nearer layer goes first.
    """
    fits = [(fit(source.profile, source.layer, site), source) for source in sources]
    refusals = [Refusal(source.path, None, each.reason, each.outdated) for each, source in fits if each.level is None]
    return [(level, each.reason, source) for level in Level for each, source in fits if each.level is level], refusals


def rungs(
    fitting: Iterable[FittingProfile], site: Site
) -> tuple[Mapping[tuple[str, str], Sequence[Rung]], list[Refusal]]:
    """Return the rungs of each operation and dtype, best level first, and every entry that is not used.

    Asked when profiles change; which rung covers a size is asked of `look_up` at each look-up.
    """
    built: dict[tuple[str, str], list[Rung]] = {}
    refusals: list[Refusal] = []
    for level, why, source in fitting:
        same = same_allocation(source.profile.key, site.key)
        by_operation: dict[tuple[str, str], list[Entry]] = {}
        for entry in source.profile.entries:
            carried_over = usable(entry, source, site)
            if isinstance(carried_over, str):
                refusals.append(Refusal(source.path, str(entry.operation), carried_over))
                carried_over = blank(entry, carried_over)
            by_operation.setdefault((entry.operation.name, entry.operation.dtype), []).append(carried_over)
        for pair, entries in by_operation.items():
            built.setdefault(pair, []).append(Rung(level, source.path, why, entries, same))
    return built, refusals


def blas_wait(fitting: Iterable[FittingProfile], site: Site) -> tuple[int | None, dict[str, int]]:
    """Return the wait policy of the best-fitting profile for this allocation that has one."""
    profiles = (source.profile for *_, source in fitting if same_allocation(source.profile.key, site.key))
    best = next((profile for profile in profiles if profile.blas_wait is not None), None)
    return (None, {}) if best is None else (best.blas_wait, dict(best.loops_after_blas))


def fit(profile: Profile, layer: Layer, site: Site) -> Fit:
    """Return the fit level of a profile on this machine.

    Hardware and software must be equal, except for the patch version of the BLAS library. That holds for a
    file that the user named too: counts measured elsewhere prove nothing here. What another host measured is
    believed if the user named the file, the administrator or this package brought it, or the entry says that
    a second host or a trusted signer confirms it.
    """
    origin, key = profile.key, site.key
    same_host = _same_host(profile, site)
    renamed = not same_host and _is_renamed(profile, layer, site)
    stale = ""
    for field, recorded, present in _differences(origin, key):
        if field != _VERSION or not _same_series(recorded, present):
            outdated = None if layer is Layer.SHIPPED or not (same_host or renamed) else _changed_software(origin, key)
            return Fit(level=None, reason=_difference(field, recorded, present), outdated=outdated)
        stale = f"Stale: {_difference(field, recorded, present)}"
    confirmed = layer in _CONFIRMED_BY_PLACE or any(entry.evidence.is_confirmed for entry in profile.entries)
    if not (same_host or renamed or confirmed):
        reason = _difference("provenance.host", profile.provenance.host, site.host)
        return Fit(level=None, reason=f"{reason} {_UNCONFIRMED}")
    # a shipped profile is no measurement of the user's, even if this host's name is in it
    is_shipped = layer is Layer.SHIPPED
    level = Level.HOST if same_host and not is_shipped else Level.CLASS
    place = "this host" if same_host else "another host of this class"
    reason = f"It was measured on {'a machine of this class' if is_shipped else place}."
    if stale:
        level, reason = Level.STALE, stale
    if renamed:
        level, reason = Level.STALE, f"Stale: {_RENAMED} {stale}".rstrip()
    if not same_allocation(origin, key):
        level = Level.ALLOCATION
        reason = f"It was measured with {_allocation(origin)}; here: {_allocation(key)}. {stale}".rstrip()
    if layer is Layer.NAMED:
        level, reason = Level.EXPLICIT, f"The user named it. {reason}"
    return Fit(level=level, reason=reason)


def usable(entry: Entry, source: Source, site: Site) -> Entry | str:
    """Return an entry of a profile that fits, as it may be used here; or why it may not be, as a sentence."""
    own = _same_host(source.profile, site) or _is_renamed(source.profile, source.layer, site)
    if not (own or source.layer is Layer.NAMED):
        if entry.evidence.contested:
            return "contested: hosts of this class disagree about it; measured here, it would count."
        if source.layer not in _CONFIRMED_BY_PLACE and not entry.evidence.is_confirmed:
            hosts = entry.evidence.hosts
            count = "one host alone has" if hosts in {None, 1} else f"{hosts} hosts have"
            return f"hosts: {count} measured it; {AGREEING_HOSTS} must agree, or a trusted signer sign it."
    interval = entry.evidence.interval
    # where CPU seconds were the objective the choice was proved to be no more than that slower
    least = 1.0 if entry.evidence.cpu_ratio is None else 1.0 - CPU_SLACK
    if entry.status is Status.TUNED and interval is not None and interval[0] <= least:
        return f"interval: with {entry.choice} it may be {interval[0]:.3g} times as fast as the default."
    return transfer(entry, source.profile.key, site)


def transfer(entry: Entry, origin: Key, site: Site) -> Entry | str:
    """Return an entry as its evidence holds for the allocation here; or why it does not, as a sentence.

    The optimum follows the work per thread, so absolute counts are kept. A choice is used if the clamp to the
    usable CPUs leaves it unchanged, and if it would still beat plain NumPy as that is here, with its BLAS
    threads on the CPUs here. A choice of BLAS threads that the clamp changes is used if the clamped count was
    measured, too, to be no slower. A kept default is kept anywhere.
    """
    usable_cpus = site.key.usable_cpus
    if same_allocation(origin, site.key):
        return entry
    faster = _default_faster(entry, origin, site)
    counts, alternatives = (entry.evidence.safe_threads, entry.alternatives) if faster == 1 else ((), ())
    safe_threads = tuple(count for count in counts if count <= usable_cpus)
    evidence = entry.evidence.replace(safe_threads=safe_threads)
    smaller = tuple(item for item in alternatives if item.choice.cpus <= usable_cpus)
    kept = entry.replace(evidence=evidence, alternatives=smaller)
    if entry.status is not Status.TUNED:
        return kept
    clamped = clamp(entry.choice, usable_cpus)
    if clamped != entry.choice:
        if clamped.only_blas_threads in safe_threads:
            reason = f"{clamped}, no slower than the default where {entry.choice} was fastest."
            return kept.replace(choice=clamped, reason=reason, evidence=_without_speedup(evidence))
        return (
            f"choice: {entry.choice} was measured with {origin.usable_cpus} usable CPUs; the "
            f"{usable_cpus} here leave {clamped}, which was not measured."
        )
    if entry.choice.placement is not None and Limit.AFFINITY in {origin.limit, site.key.limit}:
        return f"choice: {entry.choice} was measured on CPUs that lie otherwise than those here."
    if _lie_worse(origin, site.key):
        return (
            f"choice: {entry.choice} was measured with {_allocation(origin)} that share fewer cores, or lie on fewer "
            f"nodes or other kinds of cores, than those here."
        )
    is_unhindered = site.key.limit in {Limit.NONE, Limit.AFFINITY}
    # plain NumPy starts as many BLAS threads as are usable, unless something else than its affinity limits it
    if faster == 1 or (is_unhindered and clamped == Configuration(blas_threads=usable_cpus)):
        return kept
    if faster is None:
        return (
            f"choice: {entry.choice} was proved with {_allocation(origin)}; how fast the default is with "
            f"{_allocation(site.key)} does not follow from it."
        )
    low, high = evidence.interval or (1.0, 1.0)
    if low / faster <= 1:
        return (
            f"choice: {entry.choice} beat the default of {_allocation(origin)}; with {_allocation(site.key)} "
            f"the default may be {faster:.3g} times as fast, and the gain is not."
        )
    return kept.replace(evidence=_without_speedup(evidence, interval=(low / faster, high)))


def _without_speedup(evidence: Evidence, interval: tuple[float, float] | None = None) -> Evidence:
    """Return the evidence without the speed-up, which was measured elsewhere; an interval may hold here too."""
    return evidence.replace(
        speedup=None, interval=interval, expected_speedup=None, full_capacity_share=None, tuned_seconds=None
    )


def same_allocation(origin: Key, key: Key) -> bool:
    """Do both have equally many usable CPUs, the same kind of limit and, as far as known, the same topology?"""
    lying = ((origin.cores, key.cores), (origin.nodes, key.nodes), (origin.kinds, key.kinds))
    return (origin.usable_cpus, origin.limit) == (key.usable_cpus, key.limit) and all(
        left == right or not (left and right) for left, right in lying
    )


def _lie_worse(origin: Key, key: Key) -> bool:
    """Do the CPUs here share more cores, or span more nodes or other kinds, than those of a measurement?"""
    # usable CPUs that share a physical core, rounded up; 0 if unknown
    before, now = (0 if each.cores is None else ceil(each.usable_cpus / each.cores) for each in (origin, key))
    kinds_before, kinds_now = ({kind.partition(":")[0] for kind in each.kinds} for each in (origin, key))
    other_kinds = bool(kinds_before and kinds_now) and kinds_before != kinds_now
    return now > before > 0 or (key.nodes or 0) > (origin.nodes or 0) > 0 or other_kinds


def blank(entry: Entry, reason: str) -> Entry:
    """Return a refused entry as its neighbours have to see it: a size where no choice is known to be safe."""
    evidence = Evidence(contested=entry.evidence.contested)
    return Entry(operation=entry.operation, status=Status.NOISY, reason=reason, evidence=evidence)


def _same_host(profile: Profile, site: Site) -> bool:
    return is_same_computer(profile.provenance, Provenance(host=site.host, marks=site.marks))


def _is_renamed(profile: Profile, layer: Layer, site: Site) -> bool:
    """Did this system measure a profile in the user's own folder under another host name?"""
    return layer is Layer.USER and is_same_system(profile.provenance, Provenance(marks=site.marks))


def _default_faster(entry: Entry, origin: Key, site: Site) -> float | None:
    """Bound the speed of plain NumPy here relative to the place of measurement; None: unknown.

    Plain NumPy starts a BLAS thread for every CPU of the affinity mask, whatever a quota, a cap or other processes
    leave of these. The same threads on no more CPUs are no faster. With other counts a time changes at most in
    proportion, which interpolation takes for granted too; and threads that have to wait for each other's CPUs do no
    better than as many as there are CPUs. What a default was slowed by that was measured so is unknown.
    """
    if not _uses_blas(entry):
        return 1.0
    threads, cpus = _default(origin, entry.evidence.default_threads)
    threads_here, cpus_here = _default(site.key, site.schedulable_cpus)
    if threads is None or cpus is None or cpus_here is None:
        return None
    if threads == threads_here and cpus_here <= cpus:
        return 1.0
    if cpus < threads:
        return None
    return max(threads, cpus_here) / min(threads, cpus_here)


def _default(key: Key, threads: int | None) -> tuple[int | None, int | None]:
    """Return the BLAS threads of plain NumPy with an allocation, and the CPUs that they have; None for what is unknown.

    `threads` is what is known of the former. A library that does not go by the affinity mask (MKL counts
    cores) is one whose default elsewhere is unknown.
    """
    match key.limit:
        case Limit.NONE | Limit.AFFINITY:
            count = key.usable_cpus if threads in {None, key.usable_cpus} else None
            return count, count
        case Limit.CAP:
            return threads, threads
    return threads, key.usable_cpus


def _uses_blas(entry: Entry) -> bool:
    row = CATALOGUE.get(entry.operation.name)
    stack = row is not None and row.family is Family.STACK
    return stack or entry.choice.blas_threads is not None or entry.evidence.default_threads is not None


def _differences(origin: Key, key: Key) -> Iterator[tuple[str, object, object]]:
    for part in ("hardware", "software"):
        recorded, present = getattr(origin, part), getattr(key, part)
        for name in recorded.FIELDS:
            pair = (getattr(recorded, name), getattr(present, name))
            if pair[0] != pair[1]:
                yield f"key.{part}.{name}", *pair


def _changed_software(origin: Key, key: Key) -> str | None:
    """Name the NumPy, else the BLAS, of a profile for the same CPUs; None if neither has changed."""
    old, new = origin.software, key.software
    if origin.hardware != key.hardware:
        return None
    if old.numpy != new.numpy:
        return f"NumPy {old.numpy}"
    changed = old.blas != new.blas or not _same_series(old.blas_version, new.blas_version)
    return f"{old.blas} {old.blas_version}" if changed else None


def _same_series(recorded: object, present: object) -> bool:
    """Do two BLAS versions differ in the patch only? 0.3.30 and 0.3.31 do; 2024.0 and 2024.2 do not."""
    return None not in {recorded, present} and series(str(recorded)) == series(str(present))


def _difference(field: str, recorded: object, present: object) -> str:
    written, actual = ("unknown" if value is None else value for value in (recorded, present))
    owner = "this Python" if field.startswith("key.software.") else "this machine"
    return f"{field}: the profile has {written}, {owner} has {actual}."


def _allocation(key: Key) -> str:
    cpus = count_of(key.usable_cpus, "usable CPU")
    return cpus if key.limit == "none" else f"{cpus} (limited by {LIMITED_BY[key.limit]})"
