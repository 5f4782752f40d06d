"""Finds for each size of one operation the configuration that seems best. Seems: confirmation comes after.

All sizes advance together, one fresh process a step, so that what one size finds is tried at its neighbours in
the next. A small space is measured whole. In a large one the study proposes, batch by batch, and then the
surroundings of the leader are seen. Then the leaders race, until one is left or the time is over.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from math import log1p, log2

import numpy as np
from optuna.trial import Trial

from autotune.bench.protocol import Bench
from autotune.model.catalogue import Kind
from autotune.model.configuration import DEFAULT, Configuration
from autotune.model.measurement import Case, Measurement, Session
from autotune.model.operation import Operation
from autotune.model.profile import Profile
from autotune.search.crossings import crossings
from autotune.search.environment import Site
from autotune.search.evidence import Evidence, sane
from autotune.search.interference import Disturbance
from autotune.search.search_grid import Grid
from autotune.search.space import nearest, position, setting, space, widened
from autotune.search.study import Study
from autotune.search.time_budget import Clock
from autotune.search.warm_starts import proved, suggestions

WHOLE = 24
"""Points up to which a space is measured whole."""
BATCH = 8
"""Configurations in one step of a large space, beside the default."""
STEPS, PATIENCE = 12, 3
"""Batches that the study proposes at most; steps without a gain after which proposals, and then the surroundings,
are left. In a space of up to 127 points: two more batches, and one more step, each time that there are twice as
many."""
HOLDS = 0.03
"""Log-ratio to the best within which a choice that was proved elsewhere for this very size holds here. The space was
searched there: around the leader alone it is searched again, and the leaders race once. To let it hold within the doubt
of both saved a tenth of the time more, and cost 2 % of speed on machines with other CPUs (simulated)."""
GAIN, FAIR = 0.02, 0.35
"""Log-ratio and probability: where the model promises no such gain with more probability, a choice that holds is
enough. A search that nothing was known for must not stop so: it would lose 3 % on simulated machines."""
SHELL = 8
"""Configurations of one step into the surroundings of the leader."""
FRACTION = 0.5
"""Part of a large space that is measured at most."""
SURE = 2.0
"""Standard errors by which a configuration may be better or worse than it seems."""
COMPANY = 4
"""Configurations that a leader in doubt is measured with."""
SEARCH_ROUNDS = 3
CROSSING_ROUNDS = 6
RACES = ((24, 4), (12, 4), (8, 8), (4, 8), (4, 12), (3, 12))
"""(configurations, rounds) of each race, from many and few to few and many; each runs in a fresh process."""
TIE = 0.01
"""Log-ratio below which two configurations count as equal."""

Seen = Callable[[Measurement, float | None], None]
"""Told of every configuration that was measured, with its log-ratio to the default."""


def hunt(
    kind: Kind,
    operations: Sequence[Operation],
    *,
    site: Site,
    bench: Bench,
    clock: Clock,
    seen: Seen,
    grid: Grid | None = None,
    known: Sequence[Profile] = (),
) -> tuple[dict[Operation, Evidence], Disturbance]:
    """The evidence on every size, and how much others disturbed.

    `grid` takes the place of the space that the kind suggests; what is `known` from elsewhere is tried first.
    Ends when nothing is open or the clock's part is over; every size is measured at least once.
    """
    sizes = [
        _Size(
            operation,
            grid or space(kind, operation, site.usable_cpus, site.default_threads, site.placements),
            site,
            clock.seed,
            suggestions(known, operation, site.usable_cpus),
            proved(known, operation, site.usable_cpus),
        )
        for operation in operations
    ]
    sessions: list[Session] = []

    def step(batches: Mapping[Operation, list[Configuration]], rounds: int) -> None:
        cases = [Case(operation=one, configurations=tuple(batch)) for one, batch in batches.items()]
        session = clock.run(bench, cases, rounds, clock.left)
        sessions.append(session)
        measured = by_operation(session)
        for size in sizes:
            if size.operation in measured:
                size.tell(measured[size.operation], seen)

    while batches := {size.operation: size.ask(_around(sizes, size)) for size in sizes if size.searching}:
        step(batches, SEARCH_ROUNDS)
        if clock.left <= 0:
            break
    if clock.left > 0 and (crossing := _crossing(sizes)):
        step(crossing, CROSSING_ROUNDS)
    for racers_wanted, rounds in RACES:
        racers = {size.operation: found for size in sizes if (found := size.racers(racers_wanted))}
        if clock.left <= 0:
            break
        if racers:
            step(racers, rounds)
    return {size.operation: size.evidence for size in sizes}, Disturbance.of(sessions)


def _crossing(sizes: Sequence["_Size"]) -> dict[Operation, list[Configuration]]:
    """What every size measures for the sake of those between it and the next."""
    wanted = crossings({size.operation: size.evidence for size in sizes})
    batches = {size.operation: size.cross(wanted.get(size.operation, ())) for size in sizes}
    return {operation: batch for operation, batch in batches.items() if batch}


def by_operation(session: Session) -> dict[Operation, list[Measurement]]:
    """A session's measurements, operation by operation; the default first in each."""
    found: dict[Operation, list[Measurement]] = {}
    for measurement in session.measurements:
        found.setdefault(measurement.operation, []).append(measurement)
    return found


def _around(sizes: Sequence["_Size"], size: "_Size") -> list[Configuration]:
    """What the next smaller and the next larger size found best so far."""
    place = sizes.index(size)
    beside = [*sizes[max(0, place - 1) : place], *sizes[place + 1 : place + 2]]
    return [one for other in beside if not (one := other.evidence.leader(0.0)).is_default]


class _Size:
    """One size of the operation under search."""

    def __init__(
        self,
        operation: Operation,
        grid: Grid | None,
        site: Site,
        seed: int,
        suggested: Sequence[Configuration] = (),
        proved: Sequence[Configuration] = (),
    ) -> None:
        self.operation = operation
        self.evidence = Evidence(operation=operation, usable_cpus=site.usable_cpus)
        self.searching = True
        self._study: Study | None = None
        self._proved: set[Configuration] = set()
        self._homing = self._settled = self._raced = False
        if grid is not None:
            grid = widened(grid, suggested)
            near = (nearest(grid, one) for one in suggested)
            first = dict.fromkeys([*(point for point in near if point is not None), *grid.corners()])
            self._study = Study(grid, seed=seed, first=list(first)[:BATCH], name=str(operation))
            self._proved = {setting(grid, p) for one in proved if (p := nearest(grid, one)) is not None}
        self._open: dict[Configuration, list[Trial]] = {}
        self._best = 0.0
        self._steps = self._idle = 0
        doublings = 0 if grid is None else max(0, len(grid.points).bit_length() - 7)
        self._most, self._patience = STEPS + 2 * doublings, PATIENCE + doublings
        self._proposing = True
        self._margin = log1p(site.margin)

    def ask(self, hints: Sequence[Configuration]) -> list[Configuration]:
        """What to try next: all of a small space; of a large one the hints, and what the study proposes."""
        if self._study is None:
            return []
        grid = self._study.grid
        if _small(grid):
            return self._try(self._study, range(len(grid.points)))
        if self._homing or not self._proposing:
            return self._try(self._study, self._surroundings(grid))
        near = dict.fromkeys(nearest(grid, hint) for hint in hints)
        new = [point for point in near if point is not None and self._unknown(setting(grid, point))][
            : BATCH // 2
        ]
        return self._try(self._study, [*new, *[None] * (BATCH - len(new))])

    def cross(self, ways: Iterable[Configuration]) -> list[Configuration]:
        """Configurations of these ways: the best that is known, else the one with the leader's chunk or nearly.

        None of a small space, all of which was measured.
        """
        if self._study is None or _small(self._study.grid) or DEFAULT in self.evidence.failures:
            return []
        grid = self._study.grid
        leader = self.evidence.leader(0.0)

        def rank(one: Configuration) -> tuple[bool, float]:
            if one in self.evidence.sessions:
                return False, self.evidence.estimate(one)
            return True, abs(log2((one.chunk or 1) / (leader.chunk or one.chunk or 1)))

        by_way: dict[Configuration, list[Configuration]] = {}
        for one in (setting(grid, point) for point in range(len(grid.points))):
            if one not in self.evidence.failures:
                by_way.setdefault(one.without_chunk, []).append(one)
        chosen = (min(by_way[one], key=rank) for one in ways if one in by_way)
        return self._try(self._study, [position(grid, one) for one in chosen])

    def racers(self, wanted: int) -> list[Configuration]:
        """So many of the leaders; none once no other can be better than the first by more than a tie.

        A first that is in doubt itself is measured again though nothing comes near it: of many timings one is
        far off, and it is that one which leads.
        """
        if self._study is None or not self.evidence.candidates:
            return []
        if self._settled and (wanted > BATCH or self._raced):
            return []
        self._raced = wanted <= BATCH
        evidence = self.evidence
        leaders = sorted(evidence.candidates, key=evidence.estimate)
        first = leaders[0]
        if min(map(evidence.lower, leaders)) > -self._margin:
            return []
        within = evidence.estimate(first) + SURE * evidence.doubt(first) - TIE
        rivals = [one for one in leaders[1:] if evidence.estimate(one) - SURE * evidence.doubt(one) < within]
        if not rivals and evidence.doubt(first) < TIE / SURE / 2:
            return []
        chosen = [first, *(rivals or leaders[1:COMPANY])][:wanted]
        return self._try(self._study, [position(self._study.grid, one) for one in chosen])

    def tell(self, measurements: Sequence[Measurement], seen: Seen) -> None:
        """Take in what a step measured, and settle whether another is worth its time."""
        default, *others = measurements
        self.evidence.add(measurements)
        self._steps += 1
        for measurement in others:
            sound = sane(measurement) and sane(default)
            value = self.evidence.estimate(measurement.configuration) if sound else None
            for trial in self._open.pop(measurement.configuration, []):
                assert self._study is not None
                self._study.tell(trial, value)
            seen(measurement, value)
        self.searching = DEFAULT not in self.evidence.failures and self._worthwhile()

    def _worthwhile(self) -> bool:
        """Is another step worth its time? First the study proposes, then the leader's surroundings are seen."""
        if self._study is None or _small(self._study.grid):
            return False
        best = min(map(self.evidence.estimate, self.evidence.candidates), default=0.0)
        self._idle = 0 if best < self._best - TIE else self._idle + 1
        self._best = min(best, self._best)
        if self._proposing and (self._idle >= self._patience or self._steps >= self._most):
            self._proposing, self._idle = False, 0
        holds = self._holds()
        self._homing = holds and self._steps == 1
        self._settled = holds and self._steps > 1 and self._study.promise(GAIN) <= FAIR
        if self._settled:
            return False
        points = len(self._study.grid.points)
        known = len(self.evidence.sessions) + len(self.evidence.failures)
        return self._idle < self._patience and known < FRACTION * points

    def _holds(self) -> bool:
        """Is what was proved elsewhere faster than the default here too, and as good as anything that was tried?"""
        tried = self.evidence.candidates
        best = min(map(self.evidence.estimate, tried), default=0.0)
        return best < -TIE and any(
            one in tried and self.evidence.estimate(one) <= best + HOLDS for one in self._proved
        )

    def _surroundings(self, grid: Grid) -> list[int]:
        """The points nearest to the leader that nobody looked at yet."""
        leader = position(grid, min(self.evidence.candidates, key=self.evidence.estimate))
        apart = np.abs(grid.coordinates - grid.coordinates[leader]).sum(axis=1)
        unknown = (int(point) for point in np.argsort(apart, kind="stable"))
        return list(islice((p for p in unknown if self._unknown(setting(grid, p))), SHELL))

    def _try(self, study: Study, points: Iterable[int | None]) -> list[Configuration]:
        """Trials of these points, or of what the study proposes for None; each configuration once."""
        asked: dict[Configuration, None] = {}
        for wanted in points:
            trial, point = study.ask(wanted)
            configuration = setting(study.grid, point)
            self._open.setdefault(configuration, []).append(trial)
            asked[configuration] = None
        return list(asked)

    def _unknown(self, configuration: Configuration) -> bool:
        return configuration not in self.evidence.sessions and configuration not in self.evidence.failures


def _small(grid: Grid) -> bool:
    return len(grid.points) <= WHOLE
