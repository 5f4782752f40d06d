"""Gains of recorded calls: what the runtime does for each by the profiles here, and the speed-up that follows. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol

from autotune.controls.wait_policy import DEFAULT_EXPONENT, EXPONENTS
from autotune.intercept.array_loops import item_bytes, loop_names
from autotune.model.configuration import Configuration
from autotune.model.entry import Entry, Status
from autotune.model.interpolation import neighbours
from autotune.model.operation import Operation
from autotune.model.policy import SMALL_GAIN
from autotune.profiles.compiled_copy import LoopPlan
from autotune.profiles.lookup import Level, LookupResult
from autotune.profiles.loop_plan import measured_dtype, planned_range
from autotune.recording.recording import ARRAYS, REDUCTIONS, SHORT_LOOP, AfterBlas, Call, Loop


class GainSource(StrEnum):
    """Source of the speed-up of a call."""

    MEASURED = "measured"
    """A choice that `apply()` uses for this call."""
    DEFAULT_KEPT = "default kept"
    """Plain NumPy runs: nothing was proved faster, or little can be gained."""
    SIMILAR = "similar sizes"
    """Plain NumPy runs. Entries of the same operation at other sizes: a range, and no claim."""
    UNDECIDED = "measured, undecided so far"
    """An entry whose time ended first, or that kept the default although another choice may gain much."""
    NOISY = "measured, too noisy so far"
    NOT_MEASURED = "not measured"
    TOO_SHORT = "too short to tune"
    SHORT_LOOPS = "loops too short to share"
    HELD = "held down by your settings"
    """A variable, or the installation, keeps `apply()` from it."""
    NOT_TUNED = "not tuned"
    """No knob of autotune reaches this call while the program stays unchanged."""


class Basis(StrEnum):
    """Sizes whose measurements speak for a call."""

    SIZE = "this size"
    BETWEEN = "between sizes"
    ABOVE = "above the sizes"


_WITHOUT_RESULT = {Status.UNDECIDED: GainSource.UNDECIDED, Status.NOISY: GainSource.NOISY}
_ELSEWHERE = frozenset({Level.CLASS, Level.ALLOCATION})
"""Levels of entries that other hosts, or another allocation, have measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownGain:
    """The speed-up of one call."""

    source: GainSource
    speedup: float | None = None
    low: float | None = None
    high: float | None = None
    """Ends of the 95 % interval; between sizes, of theirs; of similar sizes, the least and the largest speed-up."""
    expected_speedup: float | None = None
    """Speed-up over all states of the machine; None where that is not known."""
    choice: str = ""
    """The configuration, such as "blas_threads=1"."""
    basis: Basis = Basis.SIZE
    operation: str = ""
    """The measured operation that decides about it, such as "loop_add" for an np.multiply."""
    level: str = ""
    """Fit level of the entry: "this-host", "same-class", ...; empty without an entry."""
    profile: str = ""
    """The file of the entry."""
    waiting: float = 0.0
    """Part of the call's time in which it runs as plain NumPy, since idle BLAS threads spin."""

    @property
    def is_inferred(self) -> bool:
        """Whether its figures are those of other sizes, or of other machines."""
        return self.basis is not Basis.SIZE or self.is_from_elsewhere

    @property
    def is_from_elsewhere(self) -> bool:
        """Whether its entry is of another host, allocation or patch version of the BLAS library."""
        return self.level not in {"", Level.HOST, Level.EXPLICIT}


class Profiles(Protocol):
    """Profiles as the runtime looks calls up in them (`profiles.resolve.Resolution`)."""

    @property
    def loops(self) -> Sequence[LoopPlan]: ...
    def find(self, operation: Operation) -> LookupResult | None: ...
    def measured_sizes(self, name: str, dtype: str) -> Sequence[Operation]: ...
    def measured_entry(self, operation: Operation) -> LookupResult | None: ...
    def clamp(self, choice: Configuration) -> Configuration: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Settings that keep `apply()` from what profiles say."""

    calls: str | None = None
    """Reason for which calls of linear algebra run plain; None: they need not."""
    loops: str | None = None
    """Reason for which loops run plain; None: they need not."""
    blas_threads: int | None = None
    """Threads that the user's variables allow BLAS; None: as many as there are CPUs."""
    spin_exponent: int = DEFAULT_EXPONENT
    """Idle BLAS threads spin for 2**spin_exponent cycles, when most loops are not cut."""
    loops_after_blas: Mapping[str, int] = field(default_factory=dict)
    """Kinds of loops that are cut while they spin, with the elements of 8 bytes from which on."""

    def sentences(self) -> tuple[str, ...]:
        """Say what runs as plain NumPy whatever profiles say."""
        if self.calls == self.loops:
            return () if self.calls is None else (f"Calls and loops run as plain NumPy here: {self.calls}",)
        calls = () if self.calls is None else (f"Calls of linear algebra run as plain NumPy here: {self.calls}",)
        return calls if self.loops is None else (*calls, f"Loops of ufuncs run as plain NumPy here: {self.loops}")

    def waiting_share(self, after_blas: AfterBlas, loop: Loop) -> float:
        """Return the part of a call's time in which its loops run plain because BLAS threads spin."""
        from_elements = self.loops_after_blas.get(loop.kind)
        if self.blas_threads == 1:
            return 0.0
        if from_elements is not None and loop.elements * item_bytes(loop.dtype) >= from_elements * 8:
            return 0.0
        shares = zip(EXPONENTS, after_blas, strict=True)
        return next((share for longest, share in shares if self.spin_exponent <= longest), after_blas[-1])


def known_gain(call: Call, profiles: Profiles, limits: Limits) -> KnownGain:
    """Look a recorded call up as `apply()` does."""
    if call.loop is not None:
        gain = _gain_of_loops(call, call.loop, profiles, limits)
        inner = call.inner and _gain_of_loops(call, call.inner, profiles, limits)
        return (
            inner if inner and inner.source is GainSource.MEASURED and gain.source is not GainSource.MEASURED else gain
        )
    if call.operation is not None:
        return _gain_of_calls(call, call.operation, profiles, limits)
    if call.is_in_short_loops:
        return KnownGain(source=GainSource.SHORT_LOOPS)
    is_small = call.group in {ARRAYS, REDUCTIONS} and (call.elements or SHORT_LOOP) < SHORT_LOOP
    return KnownGain(source=GainSource.TOO_SHORT if is_small else GainSource.NOT_TUNED)


def _gain_of_calls(call: Call, operation: Operation, profiles: Profiles, limits: Limits) -> KnownGain:
    match = profiles.find(operation)
    if match is not None and match.entry.status is Status.TUNED:
        choice = profiles.clamp(match.entry.choice)
        most = limits.blas_threads
        default = match.entry.evidence.default_threads
        if limits.calls is not None or (most is not None and (default is None or most < default)):
            return KnownGain(source=GainSource.HELD)
        return _claim(match, choice, profiles)
    return _gain_of_default(call, [operation], [match], [profiles.measured_entry(operation)], profiles)


def _gain_of_loops(call: Call, loop: Loop, profiles: Profiles, limits: Limits) -> KnownGain:
    names = loop_names(loop.kind, loop.layout)
    dtype = measured_dtype(names, loop.dtype, profiles.measured_sizes)
    wanted = [Operation(name=name, dtype=dtype, sizes=(("n", loop.elements),)) for name in names]
    within = [_within(operation, profiles) for operation in wanted]
    matches = [profiles.find(operation) for operation in within]
    setting = planned_range(profiles.loops, loop.kind, loop.dtype, loop.layout, loop.elements)
    if setting is not None and limits.loops is None and matches[0] is not None:
        choice = Configuration(workers=setting.workers, chunk=setting.chunk)
        waiting = limits.waiting_share(call.after_blas, loop)
        is_longer = matches[0].entry.operation.size["n"] < loop.elements
        gain = _claim(matches[0], choice, profiles, Basis.ABOVE if is_longer else Basis.SIZE)
        return replace(gain, waiting=waiting)
    if limits.loops is not None and all(match and match.entry.status is Status.TUNED for match in matches):
        return KnownGain(source=GainSource.HELD)
    if call.is_in_short_loops:
        return KnownGain(source=GainSource.SHORT_LOOPS)
    results = [profiles.measured_entry(operation) for operation in within]
    return _gain_of_default(call, wanted, matches, results, profiles)


def _claim(match: LookupResult, choice: Configuration, profiles: Profiles, basis: Basis = Basis.SIZE) -> KnownGain:
    """Return the speed-up of a choice that is applied; none where it was measured elsewhere only."""
    entry = match.entry
    evidence = entry.evidence
    gain = KnownGain(
        source=GainSource.MEASURED,
        choice=str(choice),
        operation=entry.operation.name,
        level=match.level,
        profile=match.path,
        basis=basis,
    )
    if evidence.speedup is not None:
        low, high = evidence.interval or (None, None)
        return replace(gain, speedup=evidence.speedup, low=low, high=high, expected_speedup=evidence.expected_speedup)
    if evidence.interval is not None:  # measured with other limits of the CPUs, within which the choice is
        low, high = evidence.interval
        return replace(gain, speedup=low, low=low, high=high)
    around = _measured_around(match, profiles)
    if not around:
        return gain
    ends = [_ends(neighbour) for neighbour in around]
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    speedup = evidence.expected_speedup or min(neighbour.evidence.speedup or 1.0 for neighbour in around)
    own_basis = Basis.BETWEEN if len(around) > 1 else Basis.ABOVE
    return replace(gain, speedup=speedup, low=min(low, speedup), high=max(high, speedup), basis=own_basis)


def _measured_around(match: LookupResult, profiles: Profiles) -> list[Entry]:
    """Return the measured entries from which a choice between sizes, or above them, is derived."""
    operation = match.entry.operation
    measured = (profiles.measured_entry(size) for size in profiles.measured_sizes(operation.name, operation.dtype))
    decided = [
        each.entry for each in measured if each is not None and each.path == match.path and not each.entry.is_silent
    ]
    below = [entry for entry in decided if entry.operation.is_within(operation)]
    return neighbours(decided, operation) or sorted(below, key=lambda entry: entry.operation.sizes)[-1:]


def _ends(entry: Entry) -> tuple[float, float]:
    """Return the interval of an entry's speed-up; 1 for the default."""
    speedup = 1.0 if entry.choice.is_default else entry.evidence.speedup or 1.0
    return (entry.evidence.interval or (speedup, speedup)) if entry.status is Status.TUNED else (1.0, 1.0)


def _gain_of_default(
    call: Call,
    operations: Sequence[Operation],
    matches: Sequence[LookupResult | None],
    results: Sequence[LookupResult | None],
    profiles: Profiles,
) -> KnownGain:
    """Return what is known of a call that runs as plain NumPy. Loops do where one of several operations does.

    `results` are the entries of exactly these sizes, or of the largest for longer loops. Where one of them is open, the
    gain is: what keeps the default next to it may have lacked time, too.
    """
    sources = [None if own is None else _source_without_result(own.entry) for own in results]
    if not call.is_too_short:
        for reason in filter(None, sources):
            return KnownGain(source=reason)
    for operation, match, own, source in zip(operations, matches, results, sources, strict=True):
        is_open = source is not None or (own is not None and not own.entry.is_decided)
        if is_open or match is None or match.entry.status is not Status.DEFAULT_KEPT:
            continue
        if own is None and match.level in _ELSEWHERE:
            continue  # what follows from other sizes elsewhere is no measurement of this one
        return KnownGain(
            source=GainSource.DEFAULT_KEPT,
            speedup=1.0,
            low=1.0,
            high=max(1.0, _untested_speedup(match.entry)),
            basis=_basis(own, operation),
            operation=match.entry.operation.name,
            level=match.level,
            profile=match.path,
        )
    if call.is_too_short:
        return KnownGain(source=GainSource.TOO_SHORT)
    speedups = [
        1.0 if match.entry.choice.is_default else match.entry.evidence.speedup
        for size in profiles.measured_sizes(operations[0].name, operations[0].dtype)
        if (match := profiles.find(size)) is not None and match.entry.is_firm
    ]
    proved = [speedup for speedup in speedups if speedup is not None]
    if proved:
        return KnownGain(source=GainSource.SIMILAR, low=min(proved), high=max(proved))
    return KnownGain(source=GainSource.NOT_MEASURED)


def _source_without_result(entry: Entry) -> GainSource | None:
    """Return why the gain of an entry is not known; None where it is, or is little."""
    if _untested_speedup(entry) >= 1.0 + SMALL_GAIN:
        return GainSource.UNDECIDED
    return _WITHOUT_RESULT.get(entry.status)


def _untested_speedup(entry: Entry) -> float:
    """Return the bound of the speed-up of a choice whose test had no end; 1 where there is none."""
    return (entry.evidence.speedup_limit if entry.is_tentative else None) or 1.0


def _basis(own: LookupResult | None, operation: Operation) -> Basis:
    """Say of which sizes the result of an operation is: of its own, of those around it, or of the largest."""
    if own is None:
        return Basis.BETWEEN
    return Basis.SIZE if own.entry.operation == operation else Basis.ABOVE


def _within(operation: Operation, profiles: Profiles) -> Operation:
    """Limit a loop to the largest measured size, as which longer ones are computed (`profiles/loop_plan.py`)."""
    sizes = profiles.measured_sizes(operation.name, operation.dtype)
    largest = max((size.size["n"] for size in sizes), default=operation.size["n"])
    return replace(operation, sizes=(("n", min(operation.size["n"], largest)),))
