"""The time that search has: what its sessions took, and nothing else; and what fits it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite

from autotune.bench import ladder
from autotune.model.catalogue import Family, Kind
from autotune.model.measurement import Bench, Session, TrialPlan
from autotune.model.operation import Operation
from autotune.search.machine_states import Capacity

OVERTIME = 5.0
"""Seconds after the end of the budget at which a process is ended: a call that is slower than expected may end."""
SEEDS_APART = 1_000_003
"""Between the plans of one seed and those of the next."""
SIZE_SECONDS = 0.4
"""Least seconds of one size: its inputs, checks, warm-up, and a few pairs."""
CALLS_OF_DEFAULT, CALLS_OF_CANDIDATE = 4, 5
"""Calls of a first process, at least: first calls, warm-up, one pair and what is discarded. For planning only."""


@dataclass(kw_only=True)
class Clock:
    """Runs plans, adds up their time, and takes in their probes. Replayed sessions bring their own time with them."""

    bench: Bench
    capacity: Capacity
    """Of this machine, as far as plans probed it."""
    budget: float
    """Seconds; infinite for a calibration that goes on until all is decided."""
    seed: int = 0
    elapsed: float = 0.0
    plans: int = 0
    sampled_seconds: float = 0.0
    """Of all timed samples."""

    @property
    def remaining(self) -> float:
        """Seconds left of the budget."""
        return max(0.0, self.budget - self.elapsed)

    def run(self, plan: TrialPlan, *, seconds: float) -> Session:
        """Measure a plan in one fresh process of about `seconds`, and add up the time."""
        plan = replace(
            plan,
            seed=self.seed * SEEDS_APART + self.plans,
            seconds=round(seconds, 3) if isfinite(seconds) else None,
            longest=round(self.remaining + OVERTIME, 3) if isfinite(self.budget) else None,
        )
        session = self.bench.run(plan)
        self.plans += 1
        if plan.longest is not None and session.wall_seconds > plan.longest + OVERTIME:
            # the machine slept, or its clock jumped: no process is let run so long
            session = replace(session, wall_seconds=plan.seconds or 0.0)
        if session.wall_seconds > 0:  # a clock that jumped back, or no number at all, gives no time back
            self.elapsed += session.wall_seconds
            self.sampled_seconds += session.sampled_seconds
        self.capacity.add(session)
        return session


def sizes_within(operations: Sequence[Operation], seconds: float) -> list[Operation]:
    """Select as many sizes as the time allows, spread over all of them."""
    if seconds <= 0:
        return []
    count = int(min(len(operations), max(1.0, seconds / SIZE_SECONDS)))
    places = {round((place + 0.5) * len(operations) / count - 0.5) for place in range(count)}
    return [operation for place, operation in enumerate(operations) if place in places]


def candidates_within(kind: Kind, operation: Operation, seconds: float) -> float:
    """Return the number of candidates, at least one, that a first process can time by the ladder's estimate.

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
