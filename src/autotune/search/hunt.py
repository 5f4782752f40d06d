"""Finds for each size of one operation the configuration that seems best. Seems: confirmation comes after.

All sizes advance together, one fresh process a step, so that what one size finds is tried at its neighbours in
the next. A small space is measured whole; a large one is searched with its study, batch by batch. Then the
leaders and their neighbours race, until one is left or the time is over.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from optuna.trial import Trial

from autotune.bench.protocol import Bench
from autotune.bench.statistics import hodges_lehmann, log_ratios
from autotune.model.catalogue import Kind
from autotune.model.configuration import DEFAULT, Configuration
from autotune.model.measurement import Case, Measurement, Session
from autotune.model.operation import Operation
from autotune.search.clock import Clock
from autotune.search.disturbance import Disturbance
from autotune.search.evidence import Evidence, sane
from autotune.search.grid import Grid
from autotune.search.site import Site
from autotune.search.space import nearest, position, setting, space
from autotune.search.study import Study

WHOLE = 24
"""Points up to which a space is measured whole."""
BATCH = 8
"""Configurations in one step of a large space, beside the default."""
STEPS = 6
"""Batches at most; one that improves the best by less than TIE is the last."""
SEARCH_ROUNDS = 4
RACE_ROUNDS = (4, 8)
RACERS = 6
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
) -> tuple[dict[Operation, Evidence], Disturbance]:
    """The evidence on every size, and how much others disturbed.

    `grid` takes the place of the space that the kind suggests. Ends when nothing is open or the clock's part
    is over; every size is measured at least once.
    """
    sizes = [
        _Size(
            operation,
            grid or space(kind, operation, site.usable_cpus, site.default_threads),
            site,
            clock.seed,
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
    for rounds in RACE_ROUNDS:
        racers = {size.operation: found for size in sizes if (found := size.racers())}
        if clock.left <= 0 or not racers:
            break
        step(racers, rounds)
    return {size.operation: size.evidence for size in sizes}, Disturbance.of(sessions)


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

    def __init__(self, operation: Operation, grid: Grid | None, site: Site, seed: int) -> None:
        self.operation = operation
        self.evidence = Evidence(operation=operation, usable_cpus=site.usable_cpus)
        self.searching = True
        self._study: Study | None = None
        if grid is not None:
            self._study = Study(grid, seed=seed, first=grid.corners()[:BATCH], name=str(operation))
        self._open: dict[Configuration, list[Trial]] = {}
        self._best = 0.0
        self._steps = 0

    def ask(self, hints: Sequence[Configuration]) -> list[Configuration]:
        """What to try next: all of a small space; of a large one the hints, and what the study proposes."""
        if self._study is None:
            return []
        grid = self._study.grid
        if _small(grid):
            return self._try(self._study, range(len(grid.points)))
        near = dict.fromkeys(nearest(grid, hint) for hint in hints)
        new = [point for point in near if point is not None and self._unknown(setting(grid, point))][
            : BATCH // 2
        ]
        return self._try(self._study, [*new, *[None] * (BATCH - len(new))])

    def racers(self) -> list[Configuration]:
        """The leaders that are not told apart yet, and in a large space the neighbours of the first."""
        leaders = sorted(self.evidence.contenders(TIE), key=self.evidence.estimate)[:RACERS]
        if self._study is None or not leaders:
            return []
        grid = self._study.grid
        points = [position(grid, leader) for leader in leaders]
        if not _small(grid):
            around = [point for point in grid.neighbours(points[0]) if self._unknown(setting(grid, point))]
            points += around[:BATCH]
        return self._try(self._study, points)

    def tell(self, measurements: Sequence[Measurement], seen: Seen) -> None:
        """Take in what a step measured, and settle whether another is worth its time."""
        default, *others = measurements
        self.evidence.add(measurements)
        self._steps += 1
        for measurement in others:
            sound = sane(measurement) and sane(default)
            value = hodges_lehmann(log_ratios(measurement.seconds, default.seconds)) if sound else None
            for trial in self._open.pop(measurement.configuration, []):
                assert self._study is not None
                self._study.tell(trial, value)
            seen(measurement, value)
        best = min(map(self.evidence.estimate, self.evidence.candidates), default=0.0)
        improved = best < self._best - TIE
        self._best = min(best, self._best)
        self.searching = (
            self._study is not None
            and not _small(self._study.grid)
            and self._steps < STEPS
            and (improved or self._steps < 2)
            and DEFAULT not in self.evidence.failures
        )

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
