"""Exploration: the configuration that seems best at each size of one operation.

All sizes advance together, one fresh process a step, so that what one size finds is tried at its neighbours
in the next.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from math import inf

from autotune.model.configuration import Configuration
from autotune.model.measurement import Case, Measurement, Session, TrialPlan
from autotune.model.operation import Operation
from autotune.model.profile import Profile
from autotune.search.crossings import crossings
from autotune.search.environment import Environment
from autotune.search.evidence import TrialEvidence, by_operation
from autotune.search.machine_states import Capacity
from autotune.search.plan import Item
from autotune.search.size_search import SizeSearch
from autotune.search.time_budget import candidates_within

FEW_PAIRS, MANY_PAIRS, PAIRS_OF_FIRST_STEP = 2, 4, 16
"""Pairs of each configuration in a step of the search: 16 divided by their number, but 2 to 4."""
LOST_CAPACITY_STEPS = 3
"""Further steps for candidates that were only seen while CPUs were missing."""
CROSSING_PAIRS = 4
RACES = ((16, 4), (12, 4), (8, 6), (6, 8), (4, 10), (3, 12), (3, 16))
"""(configurations, pairs of each) of each race, from many and few to few and many; each in a fresh process."""
PLAYOFFS = ((4, 16),) * 4
"""The same for those that the races could not tell apart, before the test's own data begins."""
DECIDERS = (*((8, 4),) * 16, *((4, 4),) * 32)
"""The same in a large space, as long as others may be better: where processes differ, many short ones tell more."""
REPEATED_RACES = 12
"""Races of a large space that are run again, at most, where CPUs were missing in every pair: they told nothing."""
KNOB_PAIRS = 8
"""Of the leader, and of it without each of its knobs, where the user's work may ignore one."""
QUIET_CANDIDATES, QUIET_PAIRS = 6, 6
"""Of each size, that are measured once more while the neighbours rest."""
USUAL_PAIRS = 8
"""Pairs of a process for which the numbers above are meant, where an item asks for its own."""

BatchOf = Callable[[SizeSearch], list[Configuration]]


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
        seconds: float = inf,
    ) -> None:
        """Begin with the sizes that there is time for, and what is known from elsewhere.

        The first process of all sizes together should take `seconds` at most: of slow calls it tries fewer candidates.
        """
        self.item = item
        self.sizes = {
            operation: SizeSearch(
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
        self._has_neighbours = environment.neighbours > 0
        self._capacity = capacity
        self._lost = False
        """Were CPUs missing in every pair of the last step?"""
        self._repeated = self.steps_taken = 0
        self._pair_seconds = 0.0
        self._steps = self._plan_steps()
        self.next_step = next(self._steps, None)
        """The next process; None when nothing is open."""

    @property
    def evidence(self) -> dict[Operation, TrialEvidence]:
        """Evidence on every size."""
        return {operation: size.evidence for operation, size in self.sizes.items()}

    @property
    def next_seconds(self) -> float:
        """Seconds that the next process takes at least, by the pace of the last: a pair of each configuration.

        No process ends before, whatever time it is given. Before the first process 0.
        """
        cases = () if self.next_step is None else self.next_step.cases
        return self._pair_seconds * sum(len(case.configurations) for case in cases)

    @property
    def promise(self) -> float:
        """Gain that may still be found, as a sum of log-ratios over the sizes, times the weight."""
        return self.item.weight * sum(size.promise for size in self.sizes.values())

    def take(self, session: Session, elapsed: float) -> list[tuple[Measurement, float | None]]:
        """Take in the session of the step; returns each measurement with its log-ratio to the default."""
        assert self.next_step is not None
        measured, tried = by_operation(session), []
        for operation, size in self.sizes.items():
            if operation in measured:
                tried += size.take(measured[operation], elapsed, quiet=self.next_step.quiet)
        self.steps_taken += 1
        pairs = [pair for measurement in session.measurements for pair in measurement.pairs]
        self._lost = self._capacity is not None and bool(pairs) and not any(map(self._capacity.is_full, pairs))
        self._pair_seconds = max(0.0, session.wall_seconds) / len(pairs) if pairs else 0.0
        self.next_step = next(self._steps, None)
        return tried

    def _plan_steps(self) -> Iterator[TrialPlan]:
        """Yield every step; between two of them the session of the first has been taken in."""
        alone = [operation for operation, size in self.sizes.items() if not size.has_choice]
        if alone:  # the default is measured even so
            yield TrialPlan(cases=tuple(Case(operation=size, configurations=()) for size in alone), rounds=1)
        while step := self._step(lambda size: size.next_batch(self._leaders_around(size))):
            yield step
        stages: list[tuple[BatchOf, int]] = [
            *[(SizeSearch.seen_without_capacity, MANY_PAIRS)] * LOST_CAPACITY_STEPS,
            (lambda size: size.cross(crossings(self.evidence).get(size.operation, ())), CROSSING_PAIRS),
            *((partial(SizeSearch.racers, wanted=count), pairs) for count, pairs in (*RACES, *PLAYOFFS)),
        ]
        for batch_of, pairs in stages:
            yield from self._repeat(batch_of, pairs)
        for count, pairs in DECIDERS:
            before = self.steps_taken
            yield from self._repeat(partial(SizeSearch.deciders, wanted=count), pairs)
            if self.steps_taken == before:
                break
        if step := self._step(SizeSearch.without_knobs, KNOB_PAIRS):
            yield step
        if self._has_neighbours and (step := self._step(lambda size: size.leaders(QUIET_CANDIDATES), QUIET_PAIRS)):
            yield replace(step, quiet=True)

    def _repeat(self, batch_of: BatchOf, pairs: int) -> Iterator[TrialPlan]:
        """Yield a step, again where it told nothing of a large space since CPUs were missing; none without a batch."""
        while step := self._step(batch_of, pairs):
            yield step
            is_large = any(size.is_large for size in self.sizes.values())
            if not (is_large and self._lost and self._repeated < REPEATED_RACES):
                return
            self._repeated += 1

    def _step(self, batch_of: BatchOf, pairs: int | None = None) -> TrialPlan | None:
        """Return the step that measures a batch of every size; None where all are empty."""
        batches = {operation: batch for operation, size in self.sizes.items() if (batch := batch_of(size))}
        if not batches:
            return None
        if pairs is None:
            largest = max(map(len, batches.values()))
            pairs = max(FEW_PAIRS, min(MANY_PAIRS, PAIRS_OF_FIRST_STEP // largest))
        if self.item.pairs is not None:  # where a pair costs two processes, a step takes fewer of them
            pairs = max(1, pairs * self.item.pairs // USUAL_PAIRS)
        cases = (Case(operation=operation, configurations=tuple(batch)) for operation, batch in batches.items())
        return TrialPlan(cases=tuple(cases), rounds=pairs)

    def _leaders_around(self, size: SizeSearch) -> list[Configuration]:
        """Return the best so far of the next smaller and the next larger size."""
        sizes = list(self.sizes.values())
        place = sizes.index(size)
        neighbouring = [*sizes[max(0, place - 1) : place], *sizes[place + 1 : place + 2]]
        leaders = (neighbour.evidence.leader(0.0) for neighbour in neighbouring)
        return [leader for leader in leaders if not leader.is_default]
