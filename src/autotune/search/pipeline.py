"""From a request to entries: for each operation hunt, prove, decide."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import exp, log1p
from statistics import fmean

from autotune import native
from autotune.bench import ladder
from autotune.bench.protocol import Bench
from autotune.errors import BadBudget, BadSize
from autotune.model.catalogue import CATALOGUE, Family, Kind, Sizes
from autotune.model.configuration import Configuration
from autotune.model.entry import Entry
from autotune.model.measurement import Measurement
from autotune.model.operation import Operation
from autotune.model.profile import Profile
from autotune.search import background_load
from autotune.search.confirmation import Proof, prove
from autotune.search.crossings import alternatives
from autotune.search.decide import BUDGET, decide, kept
from autotune.search.environment import Site
from autotune.search.events import Confirming, Decided, Listener, Started, Tried
from autotune.search.evidence import Evidence
from autotune.search.explore import TIE, hunt
from autotune.search.interference import Disturbance
from autotune.search.request import Request
from autotune.search.search_grid import Grid
from autotune.search.sequential_test import LEAN_LOOKS, LEAN_ROUNDS, LOOKS, ROUNDS, Look
from autotune.search.time_budget import Clock

LEAST_SECONDS = 3.0
"""For one operation: two processes and a few timings of the default."""
SIZE_SECONDS = 0.8
"""What one size takes at least: its inputs, checks, warm-up, and a few rounds in two processes."""
HUNT_SHARE = 0.4
"""Of an operation's time; the rest is for the proof."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One operation and dtype with all its sizes: what is searched and proved together."""

    kind: Kind
    dtype: str
    operations: tuple[Operation, ...]
    grid: Grid | None = None
    """What to choose from; None for what the kind suggests at each size."""
    looks: tuple[Look, ...] = LOOKS
    rounds: int = ROUNDS
    """In each process of the proof."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What search found of one operation, and how far the proof of it has come."""

    item: Item
    evidence: Mapping[Operation, Evidence]
    disturbed: Disturbance
    """What others did during the search."""
    choices: Mapping[Operation, Configuration]
    """What is put to the test; nothing for a size where the default seems best."""
    proof: Proof
    search_seconds: float
    """What a process of the search took on average."""

    @property
    def process_seconds(self) -> float:
        """What the next process of the proof will take, as far as is known."""
        return self.proof.sessions[-1].wall_seconds if self.proof.sessions else self.search_seconds

    @property
    def promise(self) -> float:
        """Gain of all sizes still under test, as a sum of log-ratios: of the proof so far, else as search saw it."""
        return -sum(
            fmean(trial.estimate for trial in trials)
            if trials
            else self.evidence[one].estimate(self.choices[one])
            for one, trials in self.proof.trials.items()
        )


def calibrate(
    request: Request,
    *,
    site: Site,
    bench: Bench,
    report: Listener,
    spent: float = 0.0,
    known: Sequence[Profile] = (),
) -> Iterator[Entry]:
    """The entries, operation by operation as they are decided. `spent` seconds of the budget are gone.

    `known` is what was measured elsewhere; what it suggests for a size is the first to be tried there.

    What the time does not reach is `default-kept`, reason budget. Raises BadBudget, BadSize.
    """
    items = plan(request, site)
    clock = Clock(budget=request.seconds, seed=request.seed, elapsed=spent)
    for entry in decided(items, site=site, bench=bench, clock=clock, report=report, known=known):
        report(Decided(entry=entry, **_progress(clock)))
        yield entry


def plan(request: Request, site: Site) -> list[Item]:
    """What is to be measured, in the catalogue's order, sizes from small to large.

    Raises BadSize if a size that was asked for does not fit the memory, BadBudget if the time is too short for
    a single operation.
    """
    if request.seconds < LEAST_SECONDS:
        raise BadBudget(
            f"{request.seconds:.3g} s are too short to measure a single operation; "
            f"allow at least {LEAST_SECONDS:.0f} s."
        )
    kinds = (
        [request.workload]
        if request.workload is not None
        else [CATALOGUE[name] for name in request.operations or default_operations()]
    )
    items = [_item(kind, dtype, request, site) for kind in kinds for dtype in request.all_dtypes]
    return [item for item in items if item.operations]


def default_operations() -> list[str]:
    """Return the names that are measured if none is given: all of the catalogue that this installation can run."""
    return [name for name, row in CATALOGUE.items() if row.family is not Family.LOOP or native.is_installed()]


def as_planned(entries: Sequence[Entry], items: Sequence[Item]) -> tuple[Entry, ...]:
    """The entries in the order of the plan: proofs that were cut off and gone on with are decided last."""
    operations = (one for item in items for one in item.operations)
    place = {one: number for number, one in enumerate(operations)}
    return tuple(sorted(entries, key=lambda one: place[one.operation]))


def _item(kind: Kind, dtype: str, request: Request, site: Site) -> Item:
    if request.sizes or kind.family is Family.USER:
        sizes: tuple[Sizes, ...] = tuple(kind.filled(size) for size in request.sizes or ({},))
    else:
        sizes = ladder.sizes(
            kind,
            machine_l2=site.l2_bytes,
            machine_l3=site.l3_bytes,
            memory_bytes=site.memory_bytes,
            effort=request.effort,
            dtype=dtype,
        )
    operations = [Operation(name=kind.name, dtype=dtype, sizes=tuple(size.items())) for size in sizes]
    for operation in operations:
        _refuse_too_large(kind, operation, site)
    if kind.family is not Family.USER:
        operations.sort(key=kind.work_of)
    once = tuple(dict.fromkeys(operations))
    if request.seconded:
        return Item(kind=kind, dtype=dtype, operations=once, looks=LEAN_LOOKS, rounds=LEAN_ROUNDS)
    return Item(kind=kind, dtype=dtype, operations=once)


def _refuse_too_large(kind: Kind, operation: Operation, site: Site) -> None:
    if kind.family is Family.USER or site.memory_bytes is None:
        return
    needed, allowed = kind.bytes_of(operation), site.memory_bytes * ladder.MEMORY_SHARE
    if needed > allowed:
        raise BadSize(
            f"{operation} needs {needed / 2**30:.3g} GiB, and no workload may take more than "
            f"{allowed / 2**30:.3g} GiB, a quarter of the memory; choose a smaller size."
        )


def decided(
    items: Sequence[Item],
    *,
    site: Site,
    bench: Bench,
    clock: Clock,
    report: Listener,
    known: Sequence[Profile] = (),
) -> Iterator[Entry]:
    """Hunt, prove, decide each operation; then go on with the proofs that were cut off.

    Each operation gets an equal part of the time that is left, and what one does not use is there for the
    next. What is left after the last goes to the proofs that had too little, the most promising first.
    """
    cut_off: list[Finding] = []

    def started(item: Item) -> None:
        name, place = item.kind.name, items.index(item) + 1
        report(Started(name=name, dtype=item.dtype, index=place, total=len(items), **_progress(clock)))

    for index, item in enumerate(items):
        clock.allow(clock.remaining / (len(items) - index))
        started(item)
        within = _within(item.operations, clock.left)
        yield from (kept(one, item.kind, site, reason=BUDGET) for one in item.operations if one not in within)
        if not within:
            continue
        end = clock.elapsed + clock.left
        finding = _hunted(item, within, end, site=site, bench=bench, clock=clock, report=report, known=known)
        yield from _proved(finding, end, site=site, bench=bench, clock=clock, report=report)
        if finding.proof.unfinished:
            cut_off.append(finding)
    for finding in sorted(cut_off, key=lambda one: one.promise, reverse=True):
        enough = clock.remaining > finding.process_seconds
        end = clock.elapsed + (clock.remaining if enough else 0.0)
        _allow_proof(site, clock, end)
        if enough:
            started(finding.item)
        yield from _proved(finding, end, site=site, bench=bench, clock=clock, report=report, last=True)


def _allow_proof(site: Site, clock: Clock, end: float) -> None:
    """Give the time up to `end` to a proof; beside neighbours a part of it, since another follows."""
    clock.allow((background_load.PROOF_SHARE if site.neighbours else 1.0) * (end - clock.elapsed))


def _hunted(
    item: Item,
    operations: Sequence[Operation],
    end: float,
    *,
    site: Site,
    bench: Bench,
    clock: Clock,
    report: Listener,
    known: Sequence[Profile],
) -> Finding:
    """What search finds of these sizes of an operation, and what it puts to the test. Leaves the clock to the proof."""

    def seen(measurement: Measurement, value: float | None) -> None:
        report(
            Tried(
                operation=measurement.operation,
                configuration=measurement.configuration,
                ratio=None if value is None else exp(value),
                failure=measurement.failure,
                **_progress(clock),
            )
        )

    began, plans = clock.elapsed, clock.plans
    clock.allow(HUNT_SHARE * clock.left)
    found, disturbed = hunt(
        item.kind,
        operations,
        site=site,
        bench=bench,
        clock=clock,
        seen=seen,
        grid=item.grid,
        known=known,
    )
    search_seconds = (clock.elapsed - began) / (clock.plans - plans)
    _allow_proof(site, clock, end)
    leaders = (
        background_load.steady(found, bench=bench, clock=clock)
        if site.neighbours
        else {operation: evidence.leader(TIE) for operation, evidence in found.items()}
    )
    choices = {
        operation: leader
        for operation, leader in leaders.items()
        if not leader.is_default and found[operation].estimate(leader) < -log1p(site.margin)
    }
    return Finding(
        item=item,
        evidence=found,
        disturbed=disturbed,
        choices=choices,
        proof=Proof(trials={operation: [] for operation in choices}),
        search_seconds=search_seconds,
    )


def _proved(
    finding: Finding,
    end: float,
    *,
    site: Site,
    bench: Bench,
    clock: Clock,
    report: Listener,
    last: bool = False,
) -> list[Entry]:
    """Begin the proof of a finding, or go on with it for the `last` time. The entries that this decides."""
    item, proof = finding.item, finding.proof
    sizes = tuple(proof.trials if last else finding.evidence)
    for operation in proof.trials if clock.left > 0 else ():
        choice = finding.choices[operation]
        ratio = exp(finding.evidence[operation].estimate(choice))
        report(Confirming(operation=operation, configuration=choice, ratio=ratio, **_progress(clock)))
    prove(
        finding.choices,
        margin=site.margin,
        bench=bench,
        clock=clock,
        looks=item.looks,
        rounds=item.rounds,
        proof=proof,
    )
    others = alternatives(finding.evidence)
    entries = [
        decide(
            operation,
            item.kind,
            site=site,
            evidence=finding.evidence[operation],
            alternatives=others[operation],
            choice=finding.choices.get(operation),
            proof=proof,
            disturbed=finding.disturbed,
        )
        for operation in sizes
        if last or operation not in proof.trials
    ]
    if not site.neighbours:
        return entries
    clock.allow(end - clock.elapsed)
    return background_load.held(
        entries, margin=site.margin, bench=bench, clock=clock, looks=item.looks, rounds=item.rounds
    )


def _within(operations: Sequence[Operation], seconds: float) -> tuple[Operation, ...]:
    """As many sizes as the time allows, spread over all of them."""
    if seconds <= 0:
        return ()
    count = min(len(operations), max(1, int(seconds / SIZE_SECONDS)))
    places = {round((place + 0.5) * len(operations) / count - 0.5) for place in range(count)}
    return tuple(operation for place, operation in enumerate(operations) if place in places)


def _progress(clock: Clock) -> dict[str, float]:
    return {"elapsed": clock.elapsed, "remaining": clock.remaining}
