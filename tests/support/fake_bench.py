"""A bench that answers instantly: search, CLI and daemon are tested on it exactly."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random

from autotune.bench import rounds
from autotune.model.configuration import DEFAULT, Configuration
from autotune.model.measurement import Case, Failure, FailureKind, Measurement, Pair, Session, TrialPlan
from autotune.model.operation import Operation

Answer = Callable[[Operation, Configuration, Random], float | Failure]
"""Seconds of one unit of work, or why there are none; the Random is one process's luck."""


def pairs(
    default: Iterable[float],
    candidate: Iterable[float],
    interference: float | None = None,
    capacity: float | None = None,
) -> tuple[Pair, ...]:
    """Pairs of these timings, all measured under the same conditions."""
    return tuple(
        Pair(default_seconds=plain, candidate_seconds=tuned, interference=interference, capacity=capacity)
        for plain, tuned in zip(default, candidate, strict=False)
    )


@dataclass
class FakeBench:
    """A Bench on a machine that is a function, with a clock that only its own work moves."""

    answer: Answer
    seed: int = 0
    start_seconds: float = 0.2
    """What starting a process costs."""
    interference: float | None = None
    """Of every pair."""
    capacity: float | None = None
    """At every pair."""
    plans: list[TrialPlan] = field(default_factory=list)
    """Every plan that was run."""
    clock: float = 0.0
    """Seconds that all plans took."""

    def run(self, plan: TrialPlan) -> Session:
        began = self.clock
        self.plans.append(plan)
        luck = Random(f"{self.seed} {len(self.plans)} {plan.seed}")
        self.clock += self.start_seconds
        end = None if plan.seconds is None else began + plan.seconds
        measurements: list[Measurement] = []
        for place, case in enumerate(plan.cases):
            until = None if end is None else rounds.share(self.clock, end, len(plan.cases) - place)
            measurements += self._measure(case, plan, until, luck)
        return Session(
            measurements=tuple(measurements),
            wall_seconds=self.clock - began,
            sampled_seconds=sum(
                max(value, rounds.SAMPLE_SECONDS) for one in measurements for value in one.seconds
            ),
            best_capacity=self.capacity,
        )

    def _measure(self, case: Case, plan: TrialPlan, until: float | None, luck: Random) -> list[Measurement]:
        arms = (DEFAULT, *(one for one in case.configurations if not one.is_default))
        seconds: list[list[float]] = [[] for _ in arms]
        failures: dict[int, Failure] = {}

        def call(arm: int) -> float | None:
            outcome = self.answer(case.operation, arms[arm], luck)
            if isinstance(outcome, Failure):
                failures[arm] = outcome
                return None
            self.clock += max(outcome, rounds.SAMPLE_SECONDS)
            return outcome

        for arm in range(len(arms)):  # the call whose result is checked
            if 0 not in failures:
                call(arm)
        orders = rounds.orders(len(arms), plan.rounds, rounds.order_seed(plan.seed, case.operation))
        for number, order in enumerate(orders):
            if (number and until is not None and self.clock >= until) or 0 in failures:
                break
            for arm in order:
                if not failures.keys() & {0, arm} and (outcome := call(arm)) is not None:
                    seconds[arm].append(outcome)
        if 0 in failures:
            reason = f"The default failed: {failures[0].reason}"
            orphan = Failure(kind=FailureKind.NOT_REACHED, reason=reason)
            failures = {arm: failures.get(arm, orphan) for arm in range(len(arms))}
        return [
            Measurement(
                operation=case.operation,
                configuration=configuration,
                pairs=pairs(seconds[0], seconds[arm], self.interference, self.capacity)
                if arm and arm not in failures
                else (),
                seconds=() if arm in failures else tuple(seconds[arm]),
                failure=failures.get(arm),
            )
            for arm, configuration in enumerate(arms)
        ]
