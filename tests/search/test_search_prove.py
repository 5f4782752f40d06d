"""The test of choices on fresh processes."""

import math

import pytest
from fakes import FakeBench
from proving import CRASH, LARGE, ONE, SMALL, bench

from autotune.search.clock import Clock
from autotune.search.prove import prove

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
    proof = _prove(bench(0.5, rejected=1.0, taken=0.05))

    assert proof.accepted == {SMALL, LARGE}
    assert str(proof.disturbed) == "Others disturbed 100% of the rounds and took 5% of the CPU time."
