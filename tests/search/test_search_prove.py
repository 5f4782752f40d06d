"""The test of choices on fresh processes."""

import math
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.confirmation_runs import CRASH, LARGE, ONE, SMALL, bench
from support.fake_bench import FakeBench

from autotune.search.confirmation import prove
from autotune.search.time_budget import Clock

CHOICES = {SMALL: ONE, LARGE: ONE}


def _prove(machine, *, seconds=100.0, choices=CHOICES):
    return prove(choices, margin=0.01, bench=machine, clock=Clock(budget=seconds))


def test_a_clear_gain_takes_three_processes_and_stands_at_every_size():
    machine = bench(0.5)

    proof = _prove(machine)

    assert (proof.accepted, len(machine.plans)) == ({SMALL, LARGE}, 3)


def test_every_process_measures_all_sizes_with_a_seed_of_its_own():
    machine = bench(0.5)

    _prove(machine)

    assert [len(plan.cases) for plan in machine.plans] == [2, 2, 2]
    assert len({plan.seed for plan in machine.plans}) == 3


def test_a_gain_of_which_processes_disagree_takes_all_eight_of_them():
    processes = iter([0.7, 1.1] * 4)

    def answer(operation, configuration, luck):
        if configuration.is_default:
            return 0.01
        if not hasattr(luck, "factor"):
            luck.factor = next(processes)
        return 0.01 * luck.factor

    machine = FakeBench(answer)
    proof = _prove(machine, choices={SMALL: ONE})

    assert len(machine.plans) == 8
    assert "Not proved faster" in proof.dropped[SMALL]


def test_a_size_whose_choice_fails_leaves_the_test_and_the_others_go_on():
    def answer(operation, configuration, luck):
        if operation == LARGE and not configuration.is_default:
            return CRASH
        return 0.01 if configuration.is_default else 0.005

    proof = _prove(FakeBench(answer))

    assert (proof.accepted, proof.failures) == ({SMALL}, {LARGE: CRASH})


def test_if_every_choice_fails_the_test_is_over_after_one_process():
    machine = FakeBench(lambda operation, configuration, luck: 0.01 if configuration.is_default else CRASH)

    proof = _prove(machine)

    assert (proof.accepted, proof.unfinished, len(machine.plans)) == (frozenset(), False, 1)


@pytest.mark.parametrize("seconds", [0.0, -0.001, math.nan, math.inf])
def test_times_that_are_none_prove_nothing(seconds):
    machine = FakeBench(lambda operation, configuration, luck: 0.01 if configuration.is_default else seconds)
    machine_times = _prove(machine, choices={SMALL: ONE})

    assert machine_times.accepted == frozenset()
    assert "clock did not move" in machine_times.failures[SMALL].reason


def test_the_budget_is_kept_and_the_proof_unfinished():
    machine = bench(0.5)

    proof = _prove(machine, seconds=0.5)

    assert proof.unfinished
    assert proof.accepted == frozenset()
    assert machine.clock <= 0.75


def test_without_time_nothing_is_run():
    machine = bench(0.5)

    assert _prove(machine, seconds=0.0).unfinished
    assert machine.plans == []


def test_a_tight_interval_is_accepted_although_every_round_was_disturbed_and_the_proof_says_so():
    proof = _prove(bench(0.5, interference=0.05))

    assert proof.accepted == {SMALL, LARGE}
    assert str(proof.disturbed) == "Others disturbed 100% of the rounds and took 5% of the CPU time."


@dataclass
class Suspended:
    """A bench whose machine is suspended for an hour after some of its plans."""

    bench: FakeBench
    after: set[int]

    def run(self, plan):
        session = self.bench.run(plan)
        asleep = 3600.0 if len(self.bench.plans) in self.after else 0.0
        return replace(session, wall_seconds=session.wall_seconds + asleep)


def _by_process(ratios):
    """A machine whose processes have these ratios, one after the other."""
    waiting = iter(ratios)

    def answer(operation, configuration, luck):
        if not hasattr(luck, "ratio"):
            luck.ratio = next(waiting)
        return 0.01 if configuration.is_default else 0.01 * luck.ratio

    return FakeBench(answer)


@given(
    ratios=st.lists(st.floats(0.7, 1.1), min_size=8, max_size=8),
    pauses=st.sets(st.integers(1, 7)),
)
@settings(deadline=None, max_examples=50)
def test_a_proof_that_goes_on_after_pauses_says_what_it_would_have_said_without_them(ratios, pauses):
    """No look is added, none is taken twice, and no process is lost: the error stays what was planned."""
    whole_bench, bench = _by_process(ratios), _by_process(ratios)
    whole = _prove(whole_bench)

    clock = Clock(budget=100.0)
    proof = None
    for _ in range(1 + len(pauses)):
        clock.budget = clock.elapsed + 3000.0
        proof = prove(CHOICES, margin=0.01, bench=Suspended(bench, pauses), clock=clock, proof=proof)

    assert (proof.accepted, proof.dropped, proof.settled) == (whole.accepted, whole.dropped, whole.settled)
    assert [plan.seed for plan in bench.plans] == [plan.seed for plan in whole_bench.plans]


def test_a_proof_that_is_over_is_not_begun_again():
    machine = bench(0.5)
    proof = _prove(machine)

    again = prove(CHOICES, margin=0.01, bench=machine, clock=Clock(budget=100.0), proof=proof)

    assert (again, len(machine.plans)) == (proof, 3)
