"""Exploration: the configuration that seems best at each size of one operation. Seems: confirmation comes after.

All sizes advance together, one fresh process a step, so that what one size finds is tried at its neighbours in
the next. A small space is measured whole. In a large one the study proposes, batch by batch, and then the
surroundings of the leader are measured. Then the leaders race, until one is left; plain losers are not
measured again.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from math import inf, log1p, log2

import numpy as np
from optuna.trial import Trial

from autotune.bench import ladder
from autotune.model.catalogue import Family, Kind
from autotune.model.configuration import DEFAULT, Configuration, Knob
from autotune.model.measurement import Case, Measurement, Session
from autotune.model.operation import Operation
from autotune.model.policy import TIE
from autotune.model.profile import Profile
from autotune.search.crossings import crossings
from autotune.search.environment import Environment
from autotune.search.evidence import SURE, TrialEvidence, sane
from autotune.search.machine_states import Capacity
from autotune.search.plan import Item
from autotune.search.search_grid import Grid
from autotune.search.sequential_test import MARGIN
from autotune.search.space import nearest, position, setting, space, widened
from autotune.search.study import Study
from autotune.search.warm_starts import proved, suggestions

WHOLE = 24
"""Points up to which a space is measured whole."""
FIRST_OF_SMALL = 3
"""Configurations of such a space in its first step, unless it has more ways of working: the others seldom gain much."""
BATCH = 8
"""Configurations in one step of a large space, without the default."""
CALLS_OF_DEFAULT, CALLS_OF_CANDIDATE = 4, 5
"""Calls of a first process, at least: first calls, warm-up, one pair and what is discarded. For planning only."""
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
RIVALS = 4
"""Configurations that a leader in doubt is measured with."""
FEW_PAIRS, MANY_PAIRS, PAIRS_OF_FIRST_STEP = 2, 4, 16
"""Pairs of each configuration in a step of the search: as many as make so many in all."""
CROSSING_PAIRS = 4
RACES = ((16, 4), (12, 4), (8, 6), (6, 8), (4, 10), (3, 12), (3, 16))
"""(configurations, pairs of each) of each race, from many and few to few and many; each in a fresh process."""
FEW, FEW_ERRORS = 4, 2.0
"""Below so many pairs of one of many configurations its doubt counts so many times: one slow pair moves them all."""
PLAYOFFS = ((4, 16),) * 4
"""The same for those that the races could not tell apart, before the test's own data begins."""
SPOILED = 12
"""Below so many pairs a configuration may be as good as its best pair: a slow one in a few hides it."""
KNOB_PAIRS = 8
"""Sizes at which a knob's effect is tested."""
QUIET_CANDIDATES, QUIET_PAIRS = 6, 6
"""Of each size, that are measured once more while the neighbours rest."""
LOST_CAPACITY_STEPS = 3
"""Further steps for candidates that were only seen while CPUs were missing."""

UNSEEN = 0.05
"""Improvement that may be found, in log-ratio, while the search of a large space goes on."""

USUAL_PAIRS = 8
"""Pairs of a process for which the numbers above are meant, where an item asks for its own."""

Seen = Callable[[Measurement, float | None], None]
"""Told of every configuration that was measured, with its log-ratio to the default."""
Batches = dict[Operation, list[Configuration]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One fresh process of exploration."""

    cases: tuple[Case, ...]
    pairs: int
    quiet: bool = False


class Exploration:
    """Exploration of one item: proposes a step, takes in its session, and so on until nothing is open."""

    def __init__(
        self,
        item: Item,
        operations: Sequence[Operation],
        *,
        environment: Environment,
        capacity: Capacity | None,
        seed: int,
        warm_starts: Sequence[Profile] = (),
        seen: Seen,
        seconds: float = inf,
    ) -> None:
        """Begin with the sizes that there is time for, and what is known from elsewhere.

        The first process of all sizes together should take `seconds` at most: of slow calls it tries fewer candidates.
        """
        self.item = item
        self._environment = environment
        self._seen = seen
        self._sizes = {
            operation: _SizeSearch(
                item,
                operation,
                environment=environment,
                capacity=capacity,
                seed=seed,
                warm_starts=warm_starts,
                first_batch=candidates_within(item.kind, operation, seconds / len(operations)),
            )
            for operation in operations
        }
        self._steps = self._plan_steps()
        self._next: Step | None = next(self._steps, None)
        self.steps_taken = 0
        self._pair_seconds = 0.0

    @property
    def evidence(self) -> dict[Operation, TrialEvidence]:
        """Evidence on every size."""
        return {operation: size.evidence for operation, size in self._sizes.items()}

    @property
    def next_step(self) -> Step | None:
        """The next process; None when nothing is open."""
        return self._next

    @property
    def next_seconds(self) -> float:
        """Seconds that the next process takes at least, by the pace of the last: a pair of each configuration.

        No process ends before, whatever time it is given. Before the first process 0.
        """
        cases = () if self._next is None else self._next.cases
        return self._pair_seconds * sum(len(case.configurations) for case in cases)

    @property
    def promise(self) -> float:
        """Gain that may still be found, as a sum of log-ratios over the sizes, times the weight."""
        return self.item.weight * sum(size.promise for size in self._sizes.values())

    def take(self, session: Session, elapsed: float) -> None:
        """Take in the session of the step."""
        assert self._next is not None
        measured = by_operation(session)
        for operation, size in self._sizes.items():
            if operation in measured:
                size.tell(measured[operation], elapsed, self._seen, quiet=self._next.quiet)
        self.steps_taken += 1
        pairs = sum(len(measurement.pairs) for measurement in session.measurements)
        self._pair_seconds = max(0.0, session.wall_seconds) / pairs if pairs else 0.0
        self._next = next(self._steps, None)

    def leader(self, operation: Operation) -> Configuration:
        """Return the configuration to put to the test at a size; the default where nothing seems better."""
        return self._sizes[operation].leader()

    def runner_up(self, operation: Operation, tried: Iterable[Configuration]) -> Configuration:
        """Return the best of a size that was not put to the test yet; the default where nothing is much better."""
        evidence, tested = self._sizes[operation].evidence, set(tried)
        rest = [choice for choice in evidence.candidates if choice not in tested]
        best = min(rest, key=evidence.estimate, default=DEFAULT)
        return best if best != DEFAULT and evidence.estimate(best) < -2 * log1p(MARGIN) else DEFAULT

    def rival(self, operation: Operation, tried: Iterable[Configuration]) -> Configuration:
        """Return the one of a size that surely seems best of those that were not put to the test; else the default."""
        evidence, tested = self._sizes[operation].evidence, set(tried)
        rest = [choice for choice in evidence.candidates if choice not in tested]
        return min(rest, key=lambda each: evidence.estimate(each) + evidence.doubt(each), default=DEFAULT)

    def _step(self, batches: Mapping[Operation, Sequence[Configuration]], pairs: int) -> Step:
        cases = (Case(operation=size, configurations=tuple(batch)) for size, batch in batches.items())
        if self.item.pairs is not None:  # where a pair costs two processes, a step takes fewer of them
            pairs = max(1, pairs * self.item.pairs // USUAL_PAIRS)
        return Step(cases=tuple(cases), pairs=pairs)

    def _plan_steps(self) -> Iterator[Step]:
        """Yield every step; between two of them the session of the first has been taken in."""
        sizes = list(self._sizes.values())
        alone: Batches = {size.operation: [] for size in sizes if size.has_no_choice}
        if alone:  # the default is measured all the same
            yield self._step(alone, 1)
        while batches := _filled({size.operation: size.ask(_around(sizes, size)) for size in sizes}):
            largest = max(map(len, batches.values()))
            yield self._step(batches, max(FEW_PAIRS, min(MANY_PAIRS, PAIRS_OF_FIRST_STEP // largest)))
        for _ in range(LOST_CAPACITY_STEPS):
            if batches := _filled({size.operation: size.seen_without_capacity() for size in sizes}):
                yield self._step(batches, MANY_PAIRS)
        wanted = crossings(self.evidence)
        if batches := _filled({size.operation: size.cross(wanted.get(size.operation, ())) for size in sizes}):
            yield self._step(batches, CROSSING_PAIRS)
        for count, pairs in (*RACES, *PLAYOFFS):
            if batches := _filled({size.operation: size.racers(count) for size in sizes}):
                yield self._step(batches, pairs)
        if batches := _filled({size.operation: size.without_knobs() for size in sizes}):
            yield self._step(batches, KNOB_PAIRS)
        if self._environment.neighbours:
            batches = _filled({size.operation: size.leaders(QUIET_CANDIDATES) for size in sizes})
            if batches:
                yield replace(self._step(batches, QUIET_PAIRS), quiet=True)


def candidates_within(kind: Kind, operation: Operation, seconds: float) -> float:
    """Number of candidates that a first process can time in so many seconds, as the ladder estimates; at least one.

    Without a limit for a user's function, whose time only a call would tell.
    """
    if kind.family is Family.USER:
        return inf
    calls = seconds / ladder.seconds_of(kind, operation)
    return max(1.0, (calls - CALLS_OF_DEFAULT) / CALLS_OF_CANDIDATE)


def least_seconds(kind: Kind, operation: Operation, usable_cpus: int) -> float:
    """Return the seconds that the default and one candidate take at least in a first process; 0 for a user's function.

    The ladder's estimate is that of two CPUs. More of them are taken to be faster by their number, so that no size is
    thought too slow that is not.
    """
    if kind.family is Family.USER:
        return 0.0
    calls = CALLS_OF_DEFAULT + CALLS_OF_CANDIDATE
    return calls * ladder.seconds_of(kind, operation) * 2 / max(2, usable_cpus)


def by_operation(session: Session) -> dict[Operation, list[Measurement]]:
    """Return a session's measurements, operation by operation; the default first in each."""
    grouped: dict[Operation, list[Measurement]] = {}
    for measurement in session.measurements:
        grouped.setdefault(measurement.operation, []).append(measurement)
    return grouped


def _filled(batches: Batches) -> Batches:
    return {operation: batch for operation, batch in batches.items() if batch}


def _around(sizes: Sequence["_SizeSearch"], size: "_SizeSearch") -> list[Configuration]:
    """Return the best so far of the next smaller and the next larger size."""
    place = sizes.index(size)
    neighbouring = [*sizes[max(0, place - 1) : place], *sizes[place + 1 : place + 2]]
    leaders = (neighbour.evidence.leader(0.0) for neighbour in neighbouring)
    return [leader for leader in leaders if not leader.is_default]


def has_small_space(item: Item, environment: Environment) -> bool:
    """Are the spaces of all sizes measured whole, and the operation not a user's own, of which nothing is known?"""
    if item.kind.family is Family.USER:
        return False
    grids = (_grid_of(item, operation, environment) for operation in item.operations)
    return all(grid is None or _small(grid) for grid in grids)


def _grid_of(item: Item, operation: Operation, environment: Environment) -> Grid | None:
    return item.grid or space(
        item.kind, operation, environment.usable_cpus, environment.default_threads, environment.placements
    )


class _SizeSearch:
    """One size of the operation under search."""

    def __init__(
        self,
        item: Item,
        operation: Operation,
        *,
        environment: Environment,
        capacity: Capacity | None,
        seed: int,
        warm_starts: Sequence[Profile],
        first_batch: float,
    ) -> None:
        usable_cpus = environment.usable_cpus
        grid = _grid_of(item, operation, environment)
        self.operation = operation
        self._family = item.kind.family
        self.evidence = TrialEvidence(
            operation=operation,
            usable_cpus=usable_cpus,
            default_cpus=environment.default_cpus(item.kind),
            capacity=capacity,
        )
        self._quiet = TrialEvidence(operation=operation, usable_cpus=usable_cpus)
        self._neighbours = environment.neighbours > 0
        self._study: Study | None = None
        self._proved: set[Configuration] = set()
        self._homing = self._settled = self._raced = False
        if grid is not None:
            suggested = suggestions(warm_starts, operation, usable_cpus)
            grid = widened(grid, suggested)
            near = (nearest(grid, hint) for hint in suggested)

            def order(point: int) -> tuple[bool, int, int]:
                return _order(setting(grid, point), usable_cpus)

            corners = sorted(grid.corners(), key=order)
            # of each way of working the point with a middle chunk
            ways = _ways(grid).values() if _small(grid) else ()
            middles = sorted((points[len(points) // 2] for points in ways), key=order)
            if middles and self._family is not Family.USER:
                first_batch = min(first_batch, max(FIRST_OF_SMALL, len(middles) + 1))
            first = dict.fromkeys([*(point for point in near if point is not None), *middles, *corners])
            self._untried = list(dict.fromkeys([*first, *range(len(grid.points))])) if middles else []
            self._study = Study(grid, seed=seed, first=list(first)[:BATCH], name=str(operation))
            elsewhere = proved(warm_starts, operation, usable_cpus)
            self._proved = {setting(grid, p) for each in elsewhere if (p := nearest(grid, each)) is not None}
        self._first_batch = first_batch
        self._open: dict[Configuration, list[Trial]] = {}
        self._best = 0.0
        self._steps = self._idle = 0
        doublings = 0 if grid is None else max(0, len(grid.points).bit_length() - 7)
        self._most, self._patience = STEPS + 2 * doublings, PATIENCE + doublings
        self._proposing = self.searching = True

    @property
    def has_no_choice(self) -> bool:
        """Is there nothing to choose from on this allocation?"""
        return self._study is None

    @property
    def promise(self) -> float:
        """Improvement on the leader that may still be found, in log-ratio; a whole one before the first step."""
        evidence = self.evidence
        if self._study is None or DEFAULT in evidence.failures:
            return 0.0
        if not evidence.candidates:
            return 1.0
        leader = min(evidence.candidates, key=evidence.estimate)
        best = min(0.0, evidence.estimate(leader))
        second = min((self._lower(choice) for choice in evidence.candidates if choice != leader), default=0.0)
        unseen = UNSEEN if self.searching or self._is_unverified(leader) else 0.0
        return max(0.0, min(best - second, -second), unseen)

    def ask(self, hints: Sequence[Configuration]) -> list[Configuration]:
        """Return the next points: all of a small space; of a large one the hints, and the study's proposals.

        The first time no more than the time allows.
        """
        if self._study is None or not self.searching:
            return []
        grid = self._study.grid
        if _small(grid):
            most = BATCH if self._steps else int(min(WHOLE, self._first_batch))
            points, self._untried = self._untried[:most], self._untried[most:]
            return self._try(self._study, sorted(points))
        if not self._proposing and not self.evidence.candidates:
            return []
        if self._homing or not self._proposing:
            return self._try(self._study, self._surroundings(grid))
        near = dict.fromkeys(nearest(grid, hint) for hint in hints)
        batch = BATCH if self._steps else int(min(BATCH, self._first_batch))
        new = [point for point in near if point is not None and self._unknown(setting(grid, point))]
        new = new[: batch // 2]
        return self._try(self._study, [*new, *[None] * (batch - len(new))])

    def seen_without_capacity(self) -> list[Configuration]:
        """Candidates that may gain, and of which nothing is known at full capacity."""
        evidence = self.evidence
        poor = [
            choice
            for choice in evidence.candidates
            if self._may_gain_at_full_capacity(choice)
            or (evidence.is_optimistic(choice) and evidence.lower(choice) < -log1p(MARGIN))
        ]
        sure = [choice for choice in evidence.candidates if choice not in poor]
        if min(map(evidence.estimate, sure), default=0.0) < -4 * log1p(MARGIN):
            return []
        return self._again(sorted(poor, key=evidence.estimate)[:BATCH])

    def cross(self, ways: Iterable[Configuration]) -> list[Configuration]:
        """Return a configuration of each way: the best that is known, else the one with nearly the leader's chunk.

        None of a small space, all of which was measured.
        """
        if self._study is None or _small(self._study.grid) or DEFAULT in self.evidence.failures:
            return []
        grid = self._study.grid
        leader = self.evidence.leader(0.0)

        def rank(choice: Configuration) -> tuple[bool, float]:
            if choice in self.evidence.visits:
                return False, self.evidence.estimate(choice)
            return True, abs(log2((choice.chunk or 1) / (leader.chunk or choice.chunk or 1)))

        by_way = {
            way: [
                choice for choice in (setting(grid, point) for point in points) if choice not in self.evidence.failures
            ]
            for way, points in _ways(grid).items()
        }
        chosen = (min(by_way[way], key=rank) for way in ways if by_way.get(way))
        return self._try(self._study, [position(grid, choice) for choice in chosen])

    def racers(self, wanted: int) -> list[Configuration]:
        """Return so many of the leaders; none once no other can be better than the first by more than a tie.

        A first that is in doubt itself, or was measured in one process only, is measured again though nothing comes
        near it: of many timings one is far off, and it is that one which leads. Those next to it may be others.
        """
        evidence = self.evidence
        if self._study is None or not evidence.candidates:
            return []
        if self._settled and (wanted > BATCH or self._raced):
            return []
        self._raced = wanted <= BATCH
        leaders = sorted(evidence.candidates, key=evidence.estimate)
        first = leaders[0]
        if min(map(evidence.lower, leaders)) > -log1p(MARGIN):
            return []
        within = evidence.estimate(first) + SURE * evidence.doubt(first) - TIE
        rivals = [choice for choice in leaders[1:] if self._lower(choice) < within]
        if self._is_unverified(first):
            return self._again(self._contenders(leaders, wanted))
        if not rivals and (len(leaders) == 1 or evidence.doubt(first) < max(TIE, -evidence.estimate(first) / 4)):
            return []
        return self._again(self._contenders([first, *(rivals or leaders[1:RIVALS])], wanted))

    def _contenders(self, leaders: Sequence[Configuration], wanted: int) -> list[Configuration]:
        """Return so many of the leaders: half by their estimates, half by their bounds, where slow pairs hide some."""
        seeming = list(leaders[: wanted - wanted // 2])
        rest = [choice for choice in leaders if choice not in seeming]
        return [*seeming, *sorted(rest, key=self._lower)[: wanted // 2]]

    def _lower(self, choice: Configuration) -> float:
        """Return the log-ratio that a configuration hardly falls below."""
        evidence = self.evidence
        assert self._study is not None
        large = not _small(self._study.grid)
        few = evidence.pairs(choice) < FEW and large
        lower = evidence.estimate(choice) - (FEW_ERRORS if few else 1.0) * SURE * evidence.doubt(choice)
        return min(lower, evidence.best_pair(choice)) if large and evidence.pairs(choice) < SPOILED else lower

    def _is_unverified(self, leader: Configuration) -> bool:
        """Did one of many configurations become the leader by a single process, which may have been its luck?"""
        return (
            self._study is not None
            and not _small(self._study.grid)
            and len(self.evidence.visits[leader]) < 2
            and not self._settled
        )

    def without_knobs(self) -> list[Configuration]:
        """Return the leader, and it without each of its knobs in turn. Only the user's work may ignore a knob."""
        leader = self.evidence.leader(TIE)
        knobs = leader.as_dict()
        if self._family is not Family.USER or len(knobs) < 2:
            return []
        return self._again([leader, *(replace(leader, **{name: None}) for name in knobs)])

    def leaders(self, wanted: int) -> list[Configuration]:
        """Return the best so far."""
        return self._again(sorted(self.evidence.candidates, key=self.evidence.estimate)[:wanted])

    def leader(self) -> Configuration:
        """Return the configuration to put to the test; the default where nothing seems better by the margin."""
        evidence = self.evidence
        if self._neighbours:
            return self._quiet_leader()
        leader = _simplest(evidence, evidence.leader(TIE))
        if not leader.is_default and evidence.estimate(leader) < -log1p(MARGIN):
            return leader
        poor = filter(self._may_gain_at_full_capacity, evidence.candidates)
        return min(poor, key=evidence.estimate, default=DEFAULT)

    def _may_gain_at_full_capacity(self, candidate: Configuration) -> bool:
        """Was it seen only while CPUs were missing, and may it gain by the margin if they had all been its own?"""
        return self.evidence.is_pessimistic(candidate) and self.evidence.at_best(candidate) < -log1p(MARGIN)

    def tell(self, measurements: Sequence[Measurement], elapsed: float, seen: Seen, *, quiet: bool = False) -> None:
        """Take in what a step measured, and settle whether another is worth its time."""
        if quiet:
            self._quiet.add(measurements, elapsed)
            return
        default, *candidates = measurements
        self.evidence.add(measurements, elapsed)
        self._steps += 1
        for measurement in candidates:
            is_visited = measurement.configuration in self.evidence.visits
            sound = sane(measurement) and sane(default) and is_visited
            value = self.evidence.estimate(measurement.configuration) if sound else None
            for trial in self._open.pop(measurement.configuration, []):
                assert self._study is not None
                self._study.tell(trial, value)
            seen(measurement, value)
        self.searching = DEFAULT not in self.evidence.failures and self._worthwhile()

    def _quiet_leader(self) -> Configuration:
        """Return the candidates that are best next to neighbours, of those no slower than the default without them."""
        loaded, quiet = self.evidence, self._quiet
        kept = [each for each in loaded.candidates if each in quiet.candidates and quiet.estimate(each) <= TIE]
        best = min(kept, key=loaded.estimate, default=DEFAULT)
        if best == DEFAULT or loaded.estimate(best) >= -log1p(MARGIN):
            return DEFAULT
        equal = [choice for choice in kept if loaded.estimate(choice) <= loaded.estimate(best) + TIE]
        return min(equal, key=lambda choice: (choice.cpus, loaded.estimate(choice)))

    def _worthwhile(self) -> bool:
        """Is another step worth its time? First the study proposes, then the leader's surroundings are seen."""
        if self._study is None:
            return False
        if _small(self._study.grid):
            return bool(self._untried)
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
        visited = len(self.evidence.visits) + len(self.evidence.failures)
        return self._idle < self._patience and visited < FRACTION * len(self._study.grid.points)

    def _holds(self) -> bool:
        """Is what was proved elsewhere faster than the default here too, and as good as anything that was tried?"""
        tried = self.evidence.candidates
        best = min(map(self.evidence.estimate, tried), default=0.0)
        return best < -TIE and any(
            choice in tried and self.evidence.estimate(choice) <= best + HOLDS for choice in self._proved
        )

    def _surroundings(self, grid: Grid) -> list[int]:
        """Return the points nearest to the leader that were not measured yet."""
        leader = position(grid, min(self.evidence.candidates, key=self.evidence.estimate))
        apart = np.abs(grid.coordinates - grid.coordinates[leader]).sum(axis=1)
        unknown = (int(point) for point in np.argsort(apart, kind="stable"))
        return list(islice((p for p in unknown if self._unknown(setting(grid, p))), SHELL))

    def _again(self, configurations: Iterable[Configuration]) -> list[Configuration]:
        """Measure these; the study is told of those that are points of its grid."""
        if self._study is None:
            return []
        grid = self._study.grid
        wanted = dict.fromkeys(choice for choice in configurations if not choice.is_default)
        values = {each: tuple(each.as_dict().get(name, "") for name in grid.parameters) for each in wanted}
        inside = [each for each in wanted if values[each] in grid.index or Knob.PLACEMENT in grid.parameters]
        self._try(self._study, [position(grid, each) for each in inside])
        return list(wanted)

    def _try(self, study: Study, points: Iterable[int | None]) -> list[Configuration]:
        """Begin trials of these points, or of the study's proposal for None; each configuration once."""
        trials: dict[Configuration, None] = {}
        for wanted in points:
            trial, point = study.ask(wanted)
            configuration = setting(study.grid, point)
            self._open.setdefault(configuration, []).append(trial)
            trials[configuration] = None
        return list(trials)

    def _unknown(self, configuration: Configuration) -> bool:
        return configuration not in self.evidence.visits and configuration not in self.evidence.failures


def _simplest(evidence: TrialEvidence, leader: Configuration) -> Configuration:
    """Return the leader without a knob that was not shown to matter."""
    for name in leader.as_dict():
        simpler = replace(leader, **{name: None})
        if not simpler.is_default and simpler in evidence.candidates:
            apart = evidence.estimate(simpler) - evidence.estimate(leader)
            if apart - (evidence.doubt(simpler) + evidence.doubt(leader)) / 2 <= TIE:
                return _simplest(evidence, simpler)
    return leader


def _order(choice: Configuration, usable_cpus: int) -> tuple[bool, int, int]:
    """Order in which corners are tried: all workers with one BLAS thread each first, more than the CPUs last."""
    return choice.cpus > usable_cpus, -(choice.workers or 1), choice.blas_threads or 1


def _ways(grid: Grid) -> dict[Configuration, list[int]]:
    """Return the points of each combination of the knobs other than the chunk."""
    ways: dict[Configuration, list[int]] = {}
    for point in range(len(grid.points)):
        ways.setdefault(setting(grid, point).without_chunk, []).append(point)
    return ways


def _small(grid: Grid) -> bool:
    return len(grid.points) <= WHOLE
