"""A bench that answers instantly: search, CLI and daemon are tested on it exactly."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random

from autotune.bench import sampling
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
    """Cost of the start of a process."""
    interference: float | None = None
    """Of every pair."""
    capacity: float | None = None
    """At every pair."""
    plans: list[TrialPlan] = field(default_factory=list)
    """Every plan that was run."""
    clock: float = 0.0
    """Seconds that all plans took."""
    cpu_seconds: Callable[[Configuration], float | None] = lambda _: None
    """CPU time of a run, where it is measured."""
    waited: int | None = None
    """Spin time of idle BLAS threads that was asked for."""

    def wait(self, exponent: int | None) -> None:
        self.waited = exponent

    def run(self, plan: TrialPlan) -> Session:
        began = self.clock
        self.plans.append(plan)
        luck = Random(f"{self.seed} {len(self.plans)} {plan.seed}")
        self.clock += self.start_seconds
        end = None if plan.seconds is None else began + plan.seconds
        measurements: list[Measurement] = []
        for place, case in enumerate(plan.cases):
            until = None if end is None else sampling.share(self.clock, end, len(plan.cases) - place)
            measurements += self._measure(case, plan, until, luck)
        return Session(
            measurements=tuple(measurements),
            wall_seconds=self.clock - began,
            sampled_seconds=sum(
                max(value, sampling.SAMPLE_SECONDS) for trial in measurements for value in trial.seconds
            ),
            best_capacity=self.capacity,
        )

    def _measure(self, case: Case, plan: TrialPlan, until: float | None, luck: Random) -> list[Measurement]:
        arms = (DEFAULT, *(chosen for chosen in case.configurations if not chosen.is_default))
        alone: list[float] = []
        timings: dict[int, list[tuple[float, float]]] = {}
        failures: dict[int, Failure] = {}

        def call(arm: int) -> float | None:
            if failures.keys() & {0, arm}:
                return None
            outcome = self.answer(case.operation, arms[arm], luck)
            if isinstance(outcome, Failure):
                failures[arm] = outcome
                return None
            self.clock += max(outcome, sampling.SAMPLE_SECONDS)
            return outcome

        def is_over() -> bool:
            return until is not None and self.clock >= until

        for arm in range(len(arms)):  # the call whose result is checked
            call(arm)
        seed = sampling.order_seed(plan.seed, case.operation)
        for number, turn in enumerate(sampling.pair_order(len(arms) - 1, plan.rounds, seed)):
            if number >= len(arms) - 1 and is_over():
                break
            arm = turn.candidate + 1
            seconds = {each: call(each) for each in ((0, arm) if turn.default_first else (arm, 0))}
            default_seconds, candidate_seconds = seconds[0], seconds[arm]
            if default_seconds is not None and candidate_seconds is not None:
                timings.setdefault(arm, []).append((default_seconds, candidate_seconds))
        for number in range(0 if timings else plan.rounds):
            outcome = None if number and is_over() else call(0)
            alone += [] if outcome is None else [outcome]
        if 0 in failures:
            reason = f"The default failed: {failures[0].reason}"
            orphan = Failure(kind=FailureKind.NOT_REACHED, reason=reason)
            failures = {arm: failures.get(arm, orphan) for arm in range(len(arms))}
        return [
            Measurement(
                operation=case.operation,
                configuration=configuration,
                pairs=self._pairs(timings.get(arm, ())) if arm not in failures else (),
                seconds=() if arm in failures else _seconds(arm, alone, timings),
                cpu_seconds=self.cpu_seconds(configuration),
                failure=failures.get(arm),
            )
            for arm, configuration in enumerate(arms)
        ]

    def _pairs(self, timings: Iterable[tuple[float, float]]) -> tuple[Pair, ...]:
        rows = tuple(timings)
        return pairs([row[0] for row in rows], [row[1] for row in rows], self.interference, self.capacity)


def _seconds(arm: int, alone: list[float], timings: dict[int, list[tuple[float, float]]]) -> tuple[float, ...]:
    if arm:
        return tuple(candidate for _, candidate in timings.get(arm, ()))
    return (*alone, *(default for rows in timings.values() for default, _ in rows))
