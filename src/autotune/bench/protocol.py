"""Interface between search and measurement."""

from typing import Protocol

from autotune.model.measurement import Session, TrialPlan


class Bench(Protocol):
    """Measures plans. ProcessBench does it in fresh processes, tests use one that answers instantly.

    Time
        A Session's wall_seconds is the only clock of search.
    Failures
        A configuration that crashes, hangs, runs out of memory, raises or gives a wrong result yields a
        Measurement with a Failure; it never raises and never costs the other configurations their turn.
    Order
        The Session lists, for every case of the plan, the default and then the case's configurations in the
        plan's order (a default named in the plan is not repeated).
    Pairs
        In each round every candidate of a case is timed once, next to a timing of the default of its own, in an
        order drawn from the plan's seed. Disturbed pairs are kept, and repeated while time allows.
    """

    def run(self, plan: TrialPlan) -> Session:
        """Measure a plan in one fresh process (or in several, where one ended early)."""
        ...
