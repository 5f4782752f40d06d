"""Search of one size for the configuration that seems best. Seems: confirmation comes after.

A small space is measured whole. In a large one the study proposes, batch by batch, and then the surroundings of the
leader are measured. Then the leaders race, until one is left; plain losers are not measured again.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice
from math import log1p, log2

import numpy as np

from autotune.model.catalogue import Family
from autotune.model.configuration import DEFAULT, Configuration
from autotune.model.measurement import Measurement
from autotune.model.operation import Operation
from autotune.model.policy import TIE
from autotune.model.profile import Profile
from autotune.search.environment import Environment
from autotune.search.evidence import SURE, TrialEvidence, has_timings
from autotune.search.machine_states import Capacity
from autotune.search.plan import Item
from autotune.search.search_grid import Grid
from autotune.search.sequential_test import MARGIN
from autotune.search.space import nearest, position, setting, space, with_chunks
from autotune.search.study import Study
from autotune.search.warm_starts import choices_proved, suggestions

WHOLE = 24
"""Points up to which a space is measured whole."""
FIRST_OF_SMALL = 3
"""Configurations of such a space in its first step, unless it has more ways of working. The others seldom gain much."""
BATCH = 8
"""Configurations in one step of a large space, without the default."""
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
FEW, FEW_ERRORS = 4, 2.0
"""With fewer than 4 pairs the error of one of many configurations counts twice: one slow pair moves all of it."""
SPOILED = 12
"""With fewer than 12 pairs a configuration may be as good as its best pair: a slow one in a few hides it."""
UNSEEN = 0.05
"""Improvement that may be found, in log-ratio, while the search of a large space goes on."""


def grid_of(item: Item, operation: Operation, environment: Environment) -> Grid | None:
    """Return the configurations to choose from at a size; None if there is nothing to choose."""
    return item.grid or space(
        item.kind, operation, environment.usable_cpus, environment.default_threads, environment.placements
    )


def has_small_space(item: Item, environment: Environment) -> bool:
    """Are the spaces of all sizes measured whole, and the operation not a user's own, of which nothing is known?"""
    if item.kind.family is Family.USER:
        return False
    grids = (grid_of(item, operation, environment) for operation in item.operations)
    return all(grid is None or len(grid.points) <= WHOLE for grid in grids)


class SizeSearch:
    """Search of one size: the configurations that are worth measuring next, and the one that seems best."""

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
        """Begin with what is known from elsewhere; the first batch holds `first_batch` configurations at most."""
        cpus = environment.usable_cpus
        self.operation = operation
        self.evidence = TrialEvidence(
            usable_cpus=cpus, default_cpus=environment.default_cpus(item.kind), capacity=capacity
        )
        self._quiet = TrialEvidence(usable_cpus=cpus)
        self._has_neighbours = environment.neighbours > 0
        self._is_users = item.kind.family is Family.USER
        self._study: Study | None = None
        self._untried: list[int] = []
        """Points of a small space."""
        self._proved: set[Configuration] = set()
        """Choices proved elsewhere for this very size."""
        self._best = 0.0
        self._steps = self._idle = 0
        self._most, self._patience = STEPS, PATIENCE
        self._proposing = self.searching = True
        self._settled = self._raced = False
        grid = grid_of(item, operation, environment)
        self.has_choice = grid is not None
        if grid is not None:
            suggested = suggestions(warm_starts, operation, cpus)
            grid = with_chunks(grid, suggested)
            self.evidence.is_large = len(grid.points) > WHOLE
            ways = {} if self.is_large else _ways(grid)
            first = _first_points(grid, suggested, ways.values(), cpus)
            if not self.is_large:
                self._untried = list(dict.fromkeys([*first, *range(len(grid.points))]))
                if not self._is_users:
                    first_batch = min(first_batch, max(FIRST_OF_SMALL, len(ways) + 1))
            self._study = Study(grid, seed=seed, first=first[:BATCH], name=str(operation))
            elsewhere = choices_proved(warm_starts, operation, cpus)
            self._proved = {setting(grid, p) for each in elsewhere if (p := nearest(grid, each)) is not None}
            doublings = max(0, len(grid.points).bit_length() - 7)
            self._most, self._patience = STEPS + 2 * doublings, PATIENCE + doublings
        self._first_batch = first_batch

    @property
    def is_large(self) -> bool:
        """Is its space too large to be measured whole?"""
        return self.evidence.is_large

    @property
    def promise(self) -> float:
        """Improvement on the leader that may still be found, in log-ratio; a whole one before the first step."""
        evidence = self.evidence
        if self._study is None or DEFAULT in evidence.failures:
            return 0.0
        if not evidence.candidates:
            return 1.0
        leader = min(evidence.candidates, key=evidence.prediction)
        best = min(0.0, evidence.prediction(leader))
        second = min((self._lower(choice) for choice in evidence.candidates if choice != leader), default=0.0)
        decisive = [leader] if best < -log1p(MARGIN) else evidence.candidates
        is_open = self.searching or self._is_unverified(leader) or any(map(evidence.rests_on_little, decisive))
        unseen = UNSEEN if is_open else 0.0
        return max(0.0, min(best - second, -second), unseen)

    def next_batch(self, hints: Sequence[Configuration]) -> list[Configuration]:
        """Return the next points: all of a small space; of a large one the hints, and the study's proposals.

        The first time no more than the time allows.
        """
        if self._study is None or not self.searching:
            return []
        most = BATCH if self._steps else int(min(BATCH if self.is_large else WHOLE, self._first_batch))
        if not self.is_large:
            points, self._untried = self._untried[:most], self._untried[most:]
            return self._try(sorted(points))
        grid = self._study.grid
        if not self._proposing or (self._steps == 1 and self._holds()):
            return self._try(self._surroundings(grid)) if self.evidence.candidates else []
        near = dict.fromkeys(nearest(grid, hint) for hint in hints)
        new = [point for point in near if point is not None and self._is_new(setting(grid, point))][: most // 2]
        return self._try([*new, *[None] * (most - len(new))])

    # --- races ---

    def seen_without_capacity(self) -> list[Configuration]:
        """Candidates that may gain, and of which nothing is known at full capacity."""
        evidence = self.evidence
        poor = [
            choice
            for choice in evidence.candidates
            if self._may_gain_at_full_capacity(choice)
            or (evidence.is_optimistic(choice) and evidence.lower(choice) < -log1p(MARGIN))
            or evidence.rests_on_little(choice)
        ]
        sure = [choice for choice in evidence.candidates if choice not in poor]
        best = min(map(evidence.estimate, sure), default=0.0)
        if self.is_large:
            poor = [choice for choice in poor if evidence.prediction(choice) < best + TIE]
        elif best < -4 * log1p(MARGIN):
            return []
        return self._again(sorted(poor, key=evidence.prediction)[:BATCH])

    def cross(self, ways: Iterable[Configuration]) -> list[Configuration]:
        """Return a configuration of each way: the best that is known, else the one with nearly the leader's chunk.

        None of a small space, all of which was measured.
        """
        if self._study is None or not self.is_large or DEFAULT in self.evidence.failures:
            return []
        grid = self._study.grid
        leader = self.evidence.leader(0.0)

        def rank(point: int) -> tuple[bool, float]:
            choice = setting(grid, point)
            if choice in self.evidence.visits:
                return False, self.evidence.estimate(choice)
            return True, abs(log2((choice.chunk or 1) / (leader.chunk or choice.chunk or 1)))

        by_way = {
            way: [point for point in points if setting(grid, point) not in self.evidence.failures]
            for way, points in _ways(grid).items()
        }
        return self._try(min(by_way[way], key=rank) for way in ways if by_way.get(way))

    def racers(self, wanted: int) -> list[Configuration]:
        """Return `wanted` of the leaders; none once no other can be better than the first by more than a tie.

        A first that is in doubt itself, or was measured in one process only, is measured again though nothing comes
        near it: of many timings one is far off, and it is that one which leads. Those next to it may be others.
        """
        evidence = self.evidence
        if not evidence.candidates or (self._settled and (wanted > BATCH or self._raced)):
            return []
        self._raced = wanted <= BATCH
        leaders = sorted(evidence.candidates, key=evidence.prediction)
        first = leaders[0]
        if min(evidence.prediction(each) - SURE * evidence.doubt(each) for each in leaders) > -log1p(MARGIN):
            return []
        within = evidence.prediction(first) + SURE * evidence.doubt(first) - TIE
        rivals = [choice for choice in leaders[1:] if self._lower(choice) < within]
        if self._is_unverified(first):
            return self._again(self._contenders(leaders, wanted))
        if not rivals and (len(leaders) == 1 or evidence.doubt(first) < max(TIE, -evidence.prediction(first) / 4)):
            return []
        return self._again(self._contenders([first, *(rivals or leaders[1:RIVALS])], wanted))

    def _contenders(self, leaders: Sequence[Configuration], wanted: int) -> list[Configuration]:
        """Return `wanted` of the leaders: half by their estimates, half by their bounds, where slow pairs hide some."""
        seeming = list(leaders[: wanted - wanted // 2])
        rest = [choice for choice in leaders if choice not in seeming]
        return [*seeming, *sorted(rest, key=self._lower)[: wanted // 2]]

    def _lower(self, choice: Configuration) -> float:
        """Return a lower bound of a configuration's log-ratio."""
        evidence = self.evidence
        seeming, pairs = evidence.prediction(choice), evidence.pairs(choice)
        few = pairs < FEW and self.is_large
        lower = seeming - (FEW_ERRORS if few else 1.0) * SURE * evidence.doubt(choice)
        if not self.is_large or pairs >= SPOILED:
            return lower
        return min(lower, evidence.best_pair(choice) + seeming - evidence.estimate(choice))

    def _is_unverified(self, leader: Configuration) -> bool:
        """Did one of many configurations become the leader by one process or a few pairs, possibly by chance?"""
        return self.is_large and not self.evidence.is_known(leader, FEW) and not self._settled

    def deciders(self, wanted: int) -> list[Configuration]:
        """Return `wanted` of the leaders of a large space, as long as others may be better."""
        return self.racers(wanted) if self.is_large else []

    def without_knobs(self) -> list[Configuration]:
        """Return the leader, and it without each of its knobs in turn. Only the user's work may ignore a knob."""
        leader = self.evidence.leader(TIE)
        knobs = leader.as_dict()
        if not self._is_users or len(knobs) < 2:
            return []
        return self._again([leader, *(replace(leader, **{name: None}) for name in knobs)])

    def leaders(self, wanted: int) -> list[Configuration]:
        """Return the best so far."""
        return self._again(sorted(self.evidence.candidates, key=self.evidence.estimate)[:wanted])

    # --- the choice ---

    def leader(self) -> Configuration:
        """Return the configuration to put to the test; the default where nothing seems better by the margin."""
        evidence = self.evidence
        if self._has_neighbours:
            return self._quiet_leader()
        leader = _simplest(evidence, evidence.leader(TIE))
        if not leader.is_default and evidence.estimate(leader) < -log1p(MARGIN):
            return leader
        poor = filter(self._may_gain_at_full_capacity, evidence.candidates)
        return min(poor, key=evidence.estimate, default=DEFAULT)

    def _may_gain_at_full_capacity(self, candidate: Configuration) -> bool:
        """Was it seen only while CPUs were missing, and may it gain by the margin if they had all been its own?"""
        return self.evidence.is_pessimistic(candidate) and self.evidence.at_best(candidate) < -log1p(MARGIN)

    def _quiet_leader(self) -> Configuration:
        """Return the candidates that are best next to neighbours, of those no slower than the default without them."""
        loaded, quiet = self.evidence, self._quiet
        kept = [each for each in loaded.candidates if each in quiet.candidates and quiet.estimate(each) <= TIE]
        best = min(kept, key=loaded.estimate, default=DEFAULT)
        if best == DEFAULT or loaded.estimate(best) >= -log1p(MARGIN):
            return DEFAULT
        equal = [choice for choice in kept if loaded.estimate(choice) <= loaded.estimate(best) + TIE]
        return min(equal, key=lambda choice: (choice.cpus, loaded.estimate(choice)))

    # --- evidence ---

    def take(
        self, measurements: Sequence[Measurement], elapsed: float, *, quiet: bool
    ) -> list[tuple[Measurement, float | None]]:
        """Take in what a step measured, and settle whether another is worth its time.

        Returns each configuration's measurement with its log-ratio to the default.
        """
        if quiet:
            self._quiet.add(measurements, elapsed)
            return []
        default, *candidates = measurements
        self.evidence.add(measurements, elapsed)
        self._steps += 1
        tried = []
        for measurement in candidates:
            choice = measurement.configuration
            is_sound = has_timings(measurement) and has_timings(default) and choice in self.evidence.visits
            value = self.evidence.estimate(choice) if is_sound else None
            if self._study is not None and (point := position(self._study.grid, choice)) is not None:
                self._study.tell(point, self.evidence.prediction(choice) if is_sound else None)
            tried.append((measurement, value))
        self.searching = DEFAULT not in self.evidence.failures and self._is_worthwhile()
        return tried

    def _is_worthwhile(self) -> bool:
        """Is another step worth its time? First the study proposes, then the leader's surroundings are seen."""
        if self._study is None or not self.is_large:
            return bool(self._untried)
        best = min(map(self.evidence.prediction, self.evidence.candidates), default=0.0)
        self._idle = 0 if best < self._best - TIE else self._idle + 1
        self._best = min(best, self._best)
        if self._proposing and (self._idle >= self._patience or self._steps >= self._most):
            self._proposing, self._idle = False, 0
        self._settled = self._steps > 1 and self._holds() and self._study.promise(GAIN) <= FAIR
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
        leader = position(grid, min(self.evidence.candidates, key=self.evidence.prediction))
        assert leader is not None
        apart = np.abs(grid.coordinates - grid.coordinates[leader]).sum(axis=1)
        unknown = (int(point) for point in np.argsort(apart, kind="stable"))
        return list(islice((point for point in unknown if self._is_new(setting(grid, point))), SHELL))

    def _again(self, configurations: Iterable[Configuration]) -> list[Configuration]:
        """Measure these; the study is told of those that are points of its grid."""
        if self._study is None:
            return []
        wanted = dict.fromkeys(choice for choice in configurations if not choice.is_default)
        points = (position(self._study.grid, choice) for choice in wanted)
        self._try(point for point in points if point is not None)
        return list(wanted)

    def _try(self, points: Iterable[int | None]) -> list[Configuration]:
        """Begin trials of these points, or of the study's proposal for None; each configuration once."""
        assert self._study is not None
        trials = map(self._study.ask, points)
        return list(dict.fromkeys(setting(self._study.grid, point) for point in trials))

    def _is_new(self, configuration: Configuration) -> bool:
        return configuration not in self.evidence.visits and configuration not in self.evidence.failures


def _first_points(
    grid: Grid, suggested: Iterable[Configuration], ways: Iterable[Sequence[int]], usable_cpus: int
) -> list[int]:
    """Return the points to begin with: the nearest to what is suggested, of each way one with a middle chunk, corners.

    All workers with one BLAS thread each come first, more than the CPUs last.
    """

    def order(point: int) -> tuple[bool, int, int]:
        choice = setting(grid, point)
        return choice.cpus > usable_cpus, -(choice.workers or 1), choice.blas_threads or 1

    near = (point for hint in suggested if (point := nearest(grid, hint)) is not None)
    middles = sorted((points[len(points) // 2] for points in ways), key=order)
    return list(dict.fromkeys([*near, *middles, *sorted(grid.corners(), key=order)]))


def _simplest(evidence: TrialEvidence, leader: Configuration) -> Configuration:
    """Return the leader without a knob that was not shown to matter."""
    for name in leader.as_dict():
        simpler = replace(leader, **{name: None})
        if not simpler.is_default and simpler in evidence.candidates:
            apart = evidence.estimate(simpler) - evidence.estimate(leader)
            if apart - (evidence.doubt(simpler) + evidence.doubt(leader)) / 2 <= TIE:
                return _simplest(evidence, simpler)
    return leader


def _ways(grid: Grid) -> dict[Configuration, list[int]]:
    """Return the points of each combination of the knobs other than the chunk."""
    ways: dict[Configuration, list[int]] = {}
    for point in range(len(grid.points)):
        ways.setdefault(setting(grid, point).without_chunk, []).append(point)
    return ways
