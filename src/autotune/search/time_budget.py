"""The time that search has: what its sessions took, and nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite

from autotune.model.measurement import Bench, Case, Session, TrialPlan

OVERTIME = 5.0
"""Seconds after the end of the budget at which a process is ended: a call that is slower than expected may end."""
SEEDS_APART = 1_000_003
"""Between the plans of one seed and those of the next."""


@dataclass(kw_only=True)
class Clock:
    """Runs plans and adds up their time. Replayed sessions bring their own time with them."""

    bench: Bench
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

    def run(self, cases: Sequence[Case], *, pairs: int, seconds: float, quiet: bool = False) -> Session:
        """Measure these cases in one fresh process, and add up the time."""
        plan = TrialPlan(
            cases=tuple(cases),
            rounds=pairs,
            seed=self.seed * SEEDS_APART + self.plans,
            seconds=round(seconds, 3) if isfinite(seconds) else None,
            longest=round(self.remaining + OVERTIME, 3) if isfinite(self.budget) else None,
            quiet=quiet,
        )
        session = self.bench.run(plan)
        self.plans += 1
        if plan.longest is not None and session.wall_seconds > plan.longest + OVERTIME:
            # the machine slept, or its clock jumped: no process is let run so long
            session = replace(session, wall_seconds=plan.seconds or 0.0)
        if session.wall_seconds > 0:  # a clock that jumped back, or no number at all, gives no time back
            self.elapsed += session.wall_seconds
            self.sampled_seconds += session.sampled_seconds
        return session
