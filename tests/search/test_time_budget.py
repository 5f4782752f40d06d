"""The time that search has."""

import math

import pytest
from support.calibration_runs import ONE, SMALL, probed

from autotune.model.measurement import Case, Session, TrialPlan
from autotune.search.time_budget import Clock

PLAN = TrialPlan(cases=(Case(operation=SMALL, configurations=(ONE,)),), rounds=4)


class _Sessions:
    """A bench of which only the time is asked."""

    def __init__(self, *seconds):
        self.seconds = iter(seconds)
        self.plans = []

    def run(self, plan):
        self.plans.append(plan)
        return Session(measurements=(), wall_seconds=next(self.seconds))


def test_sessions_are_all_the_time_there_is():
    clock = Clock(bench=_Sessions(3.0, 4.0), capacity=probed(), budget=10.0)

    clock.run(PLAN, seconds=1.0)
    clock.run(PLAN, seconds=1.0)

    assert (clock.elapsed, clock.remaining) == (7.0, 3.0)


@pytest.mark.parametrize("seconds", [-5.0, math.nan])
def test_a_clock_that_jumps_back_gives_no_time_back(seconds):
    clock = Clock(bench=_Sessions(seconds), capacity=probed(), budget=10.0, elapsed=2.0)

    clock.run(PLAN, seconds=1.0)

    assert clock.elapsed == 2.0


@pytest.mark.parametrize("seconds", [6000.0, math.inf])
def test_a_machine_that_slept_loses_what_was_planned_only(seconds):
    clock = Clock(bench=_Sessions(seconds), capacity=probed(), budget=10.0)

    session = clock.run(PLAN, seconds=1.0)

    assert (session.wall_seconds, clock.remaining) == (1.0, 9.0)


def test_plans_of_one_seed_differ_from_each_other_and_from_those_of_the_next():
    bench = _Sessions(*[1.0] * 4)
    for seed in (0, 1):
        clock = Clock(bench=bench, capacity=probed(), budget=10.0, seed=seed)
        clock.run(PLAN, seconds=1.0)
        clock.run(PLAN, seconds=1.0)

    assert len({plan.seed for plan in bench.plans}) == 4
