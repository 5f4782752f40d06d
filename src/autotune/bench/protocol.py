"""The seam between search and measurement."""

from typing import Protocol

from autotune.model.measurement import Session, TrialPlan


class Bench(Protocol):
    """Measures plans. ProcessBench does it in fresh processes, tests use one that answers instantly.

    Time
        A Session's wall_seconds is the only clock that search has.
    Failures
        A configuration that crashes, hangs, runs out of memory, raises or gives a wrong result yields a
        Measurement with a Failure; it never raises and never costs the other configurations their turn.
    Order
        The Session lists, for every case of the plan, the default and then the case's configurations in the
        plan's order (a default named in the plan is not repeated).
    Rounds
        In each round every configuration of a case runs once, in an order drawn from the plan's seed. The
        i-th timings of all configurations without a Failure come from the same round.
    """

    def run(self, plan: TrialPlan) -> Session:
        """Measure a plan in one fresh process (or in several, where one ended early)."""
        ...
