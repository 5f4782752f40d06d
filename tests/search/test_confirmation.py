"""Decision on a candidate, and the order of visits."""

from itertools import product
from math import exp
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.calibration_runs import CRASH, LARGE, ONE, SMALL, TWO, candidate, probed, visit
from support.fake_bench import FakeBench

from autotune.model.configuration import DEFAULT
from autotune.model.measurement import Measurement, Session
from autotune.search.candidate import Candidate, Verdict, judge
from autotune.search.confirmation import Confirmation
from autotune.search.machine_states import Capacity
from autotune.search.sequential_test import candidate_error, capital
from autotune.search.time_budget import Clock

FULL = probed(*[2.0] * 30)
HALF = probed(*[2.0] * 30, *[1.0] * 30)


def full(ratio, **more):
    return visit(ratio, capacity=2.0, **more)


def reduced(ratio, **more):
    return visit(ratio, capacity=1.0, **more)


def verdict(tested, capacity=FULL):
    return judge_with(capacity, tested)[0]


def judge_with(capacity, tested):
    tested.capacity = capacity
    return judge(tested)


def test_a_large_gain_takes_four_processes_and_a_small_one_eight():
    assert verdict(candidate(*[full(0.6)] * 3)) is Verdict.OPEN
    assert verdict(candidate(*[full(0.6)] * 4)) is Verdict.ACCEPTED
    assert verdict(candidate(*[full(0.88)] * 6)) is Verdict.OPEN
    assert verdict(candidate(*[full(0.88)] * 8)) is Verdict.ACCEPTED


@given(st.lists(st.tuples(st.floats(0.3, 1.1), st.booleans()), min_size=4, max_size=9))
def test_the_interval_of_what_was_accepted_lies_above_the_margin(processes):
    visits = [
        (full if is_full else reduced)(ratio, elapsed=float(place)) for place, (ratio, is_full) in enumerate(processes)
    ]
    tested = candidate(*visits)
    tested.capacity = FULL
    findings = tested.findings
    if findings.capital(tested.bound) >= 1 / tested.error and findings.interval is not None:
        ratio, low, high = findings.interval
        assert low <= ratio <= high <= max(ratio, exp(tested.bound)) * (1 + 1e-4)


def test_pairs_of_few_processes_prove_nothing_where_one_process_s_luck_would_do():
    assert verdict(candidate(*[full(0.89, pairs=100)] * 5)) is Verdict.OPEN


def test_a_candidate_with_fewer_cpus_takes_six_processes_however_large_its_gain():
    assert verdict(candidate(*[full(0.3)] * 5, fewer_cpus=True)) is Verdict.OPEN
    assert verdict(candidate(*[full(0.3)] * 6, fewer_cpus=True)) is Verdict.ACCEPTED


def test_of_a_second_choice_only_what_goes_beyond_the_first_is_a_gain():
    assert candidate(seemed=-0.5, proved=-0.4, weight=2.0).expected_gain == pytest.approx(0.2)
    assert candidate(seemed=-0.3, proved=-0.4).expected_gain == 0.0


def test_processes_of_one_moment_are_not_enough():
    tested = candidate(*[full(0.6)] * 8)
    for each in range(8):
        tested.visits[each] = full(0.6, elapsed=0.1 * each)
    assert verdict(tested) is Verdict.OPEN


def test_a_plain_loser_is_dropped_after_two():
    assert verdict(candidate(full(1.05))) is Verdict.OPEN
    verdict_, reason = judge_with(FULL, candidate(*[full(1.05)] * 2))
    assert verdict_ is Verdict.DROPPED
    assert "Not proved faster: after 2 processes the speed-up is at most 0.9" in reason


@pytest.mark.parametrize("fewer_cpus", [True, False])
def test_a_single_process_at_full_capacity_drops_what_is_slower_by_far(fewer_cpus):
    """One BLAS thread that led while CPUs were missing takes a quarter longer where all are there."""
    led = (reduced(0.7),)
    assert verdict(candidate(full(1.25), explored=led, fewer_cpus=fewer_cpus), HALF) is Verdict.DROPPED
    assert verdict(candidate(full(1.07), explored=led, fewer_cpus=fewer_cpus), HALF) is Verdict.OPEN
    assert verdict(candidate(reduced(1.25), explored=led), HALF) is Verdict.OPEN


def test_the_reason_names_the_process_at_full_capacity_that_a_candidate_fell_in():
    """Exploration had seen it lead, so the speed-up of all processes may seem large."""
    verdict_, reason = judge_with(HALF, candidate(full(1.25), explored=(full(0.6),)))
    assert (verdict_, "the speed-up was 0.80" in reason) == (Verdict.DROPPED, True)


def test_disturbed_processes_do_not_stand_in_the_way_of_undisturbed_ones():
    good, bad = [full(0.7)] * 6, [full(2.0, interference=0.5)] * 2
    assert verdict(candidate(*bad, *good)) is Verdict.ACCEPTED


def test_few_processes_at_full_capacity_prove_a_large_gain_on_a_machine_that_seldom_has_it():
    assert verdict(candidate(*[reduced(1.03), full(0.6)] * 3), HALF) is Verdict.ACCEPTED


def test_a_candidate_with_fewer_cpus_that_gains_nothing_even_without_capacity_or_next_to_others_is_dropped():
    for poor in (reduced(1.0), full(1.0, interference=0.5)):
        assert verdict(candidate(*[poor] * 3, fewer_cpus=True), HALF) is Verdict.DROPPED
        assert verdict(candidate(*[poor] * 3), HALF) is Verdict.OPEN


@pytest.mark.parametrize("met", [{"capacity": 1.0}, {"capacity": 2.0, "interference": 0.5}])
def test_what_missing_cpus_or_others_cannot_explain_is_dropped_without_full_capacity(met):
    """Half of the CPUs' time can hide a factor of two, and no more."""
    assert verdict(candidate(*[visit(2.2, **met)] * 2), HALF) is Verdict.DROPPED
    assert verdict(candidate(*[visit(1.6, **met)] * 2), HALF) is Verdict.OPEN


def test_an_objection_stands_when_the_time_is_over():
    slow = [full(0.8, slow=1, factor=10.0)] * 12
    dropped, tested = _given_up(*slow)
    assert dropped == [tested]
    assert "slower on average" in tested.reason
    assert _given_up(*slow[:8])[0] == []


def test_processes_of_exploration_speak_against_a_candidate_and_never_for_it():
    assert verdict(candidate(full(1.0), explored=(full(1.0),) * 2)) is Verdict.DROPPED
    assert verdict(candidate(*[full(0.6)] * 3, explored=(full(0.6),) * 5)) is Verdict.OPEN
    assert verdict(candidate(full(0.6), explored=(full(1.3),))) is Verdict.OPEN


def _given_up(*visits, **more):
    """Verdict and reason once the time is over."""
    confirmation, _ = _confirmation(_gains)
    tested = candidate(*visits, **more)
    tested.capacity = probed()
    confirmation.add(tested)
    return list(confirmation.close()), tested


def test_what_gains_little_at_best_is_decided_when_the_time_is_over():
    dropped, tested = _given_up(full(0.93), full(0.97))
    assert dropped == [tested]
    assert tested.reason.startswith("Not proved faster in the time allowed; it gains little, if anything")
    assert 1.05 < tested.speedup_limit < 1.1


@pytest.mark.parametrize("ratios", [(), (0.97,), (0.85, 0.87), (0.80, 1.02)])
def test_what_may_gain_much_stays_open_when_the_time_is_over(ratios):
    assert _given_up(*map(full, ratios))[0] == []


def test_a_candidate_with_fewer_cpus_does_not_win_by_the_moments_in_which_cpus_were_missing():
    """A QR of 512 x 512: one thread is slower than two, but faster where the second CPU is away."""
    tested = candidate(*[reduced(0.8)] * 12, fewer_cpus=True)
    assert verdict(tested, HALF) is Verdict.OPEN
    assert verdict(candidate(*[reduced(0.8)] * 12, *[full(1.13)] * 4, fewer_cpus=True), HALF) is Verdict.DROPPED


def test_a_candidate_that_uses_as_many_cpus_and_wins_next_to_others_wins():
    assert verdict(candidate(*[full(0.7, interference=0.3)] * 6)) is Verdict.ACCEPTED
    assert verdict(candidate(*[full(0.7, interference=0.3)] * 6, fewer_cpus=True)) is Verdict.OPEN


def test_a_candidate_that_only_ever_ran_without_capacity_is_not_dropped_early():
    assert verdict(candidate(*[reduced(1.05)] * 5), HALF) is Verdict.OPEN


def test_a_gain_that_the_loss_without_capacity_outweighs_is_refused_with_both_named():
    tested = candidate(*[full(0.95), reduced(1.4)] * 20)
    verdict_, reason = judge_with(HALF, tested)
    assert verdict_ is Verdict.DROPPED
    assert "50% of the time" in reason


def test_a_loss_without_capacity_that_exploration_saw_counts_where_the_test_met_full_capacity_only():
    tested = candidate(*[full(0.95)] * 32, explored=(reduced(1.4),))
    verdict_, reason = judge_with(HALF, tested)
    assert verdict_ is Verdict.DROPPED
    assert "50% of the time" in reason
    assert verdict(candidate(*[full(0.95)] * 32, explored=(full(1.4),)), HALF) is Verdict.ACCEPTED


def test_a_small_loss_without_capacity_is_outweighed():
    assert verdict(candidate(*[full(0.55), reduced(1.05)] * 8), HALF) is Verdict.ACCEPTED


def test_slow_pairs_without_capacity_are_no_objection_to_a_gain_that_outweighs_them():
    tested = candidate(*[full(0.65)] * 3, *[reduced(1.05)] * 2, *[full(0.65)] * 3)
    assert verdict(tested, HALF) is Verdict.ACCEPTED


def test_medians_that_hide_slow_pairs_are_not_believed():
    tested = candidate(*[full(0.8, slow=1, factor=10.0)] * 32)
    verdict_, reason = judge_with(FULL, tested)
    assert verdict_ is Verdict.DROPPED
    assert "slower on average" in reason


def _findings_where_each_loss_raises_full_capacity(signs):
    """An adversary shows more CPUs after each loss, until what was lost before counts as timed without all of them."""
    capacity, cpus = Capacity(usable_cpus=256), 46.0
    tested = candidate(capacity=capacity, fewer_cpus=True)
    for place, sign in enumerate(signs):
        pairs = visit(exp(0.3 * sign), pairs=20, capacity=cpus).pairs
        measured = (
            Measurement(operation=SMALL, configuration=DEFAULT, seconds=(0.01,)),
            Measurement(operation=SMALL, configuration=ONE, seconds=(0.01,), pairs=pairs),
        )
        threshold = tested.full_capacity_threshold
        capacity.add(Session(measurements=measured, wall_seconds=1.0))
        tested.take(measured, float(place), threshold)
        cpus = min(256.0, 1.0 + 1.45 * (cpus - 1.0)) if sign > 0 else cpus
    return tested.findings


def test_full_capacity_that_is_learned_upwards_wins_nothing_over_all_signs_of_symmetric_errors():
    """Bets that are chosen anew, as full capacity is known in the end, would win 3.5."""
    runs = list(map(_findings_where_each_loss_raises_full_capacity, product((-1, 1), repeat=8)))
    assert 0.5 < fmean(findings.capital(0.0) for findings in runs) <= 1.0 + 1e-9
    assert fmean(capital(findings.full, 0.0) for findings in runs) == pytest.approx(3.5, abs=0.05)


def test_waiting_for_undisturbed_pairs_ends_as_noisy():
    tested = candidate(*[full(0.5, interference=0.5)] * 8, fewer_cpus=True, most_processes=2)
    assert verdict(tested) is Verdict.NOISY


def test_a_candidate_near_the_margin_is_dropped_at_the_most_processes():
    ratios = [0.97, 0.99] * 16
    assert verdict(candidate(*map(full, ratios), most_processes=6)) in {Verdict.DROPPED, Verdict.ACCEPTED}


def _confirmation(answer, *, budget=60.0, candidates=(), **more):
    bench = FakeBench(answer, **more)
    states = Capacity(usable_cpus=2)
    confirmation = Confirmation(Clock(bench=bench, capacity=states, budget=budget))
    for operation, seemed in candidates:
        error = candidate_error(0)
        confirmation.add(Candidate(operation=operation, choice=ONE, capacity=states, error=error, seemed=seemed))
    return confirmation, bench


def _gains(operation, configuration, luck):
    return 0.01 if configuration.is_default else 0.005


def test_rounds_visit_every_candidate_and_decided_ones_leave():
    def answer(operation, configuration, luck):
        if configuration.is_default:
            return 0.01
        return 0.0101 if operation == LARGE else 0.005

    confirmation, bench = _confirmation(answer, candidates=[(SMALL, -0.5), (LARGE, -0.5)])
    while confirmation.open:
        list(confirmation.round())
    assert {tested.operation: tested.verdict for tested in confirmation.candidates} == {
        SMALL: Verdict.ACCEPTED,
        LARGE: Verdict.DROPPED,
    }
    cases = [{case.operation for case in plan.cases} for plan in bench.plans]
    assert cases[0] == {SMALL, LARGE}
    assert cases[-1] == {SMALL}


def test_while_exploration_goes_on_what_leads_by_far_no_more_is_visited_four_times():
    def answer(operation, configuration, luck):
        return 0.01 * (1.0 if configuration.is_default else 0.95)

    confirmation, bench = _confirmation(answer, candidates=[(SMALL, -0.5)])
    for _ in range(7):
        list(confirmation.visit(8))
    assert len(bench.plans) == 4
    list(confirmation.round())
    assert len(bench.plans) == 5


def test_where_time_is_short_those_with_the_most_to_gain_come_first():
    confirmation, bench = _confirmation(
        _gains, budget=2.0, candidates=[(SMALL, -0.1), (LARGE, -0.9)], start_seconds=0.4
    )
    list(confirmation.round())
    assert [case.operation for plan in bench.plans for case in plan.cases] == [LARGE]


def test_the_budget_is_kept():
    confirmation, bench = _confirmation(lambda *_: 0.2, budget=4.0, candidates=[(SMALL, -0.5), (LARGE, -0.5)])
    for _ in range(20):
        list(confirmation.round())
    assert bench.clock <= 4.0 + 1.0


def test_a_candidate_that_crashes_in_its_fourth_process_is_out():
    def answer(operation, configuration, luck):
        return (
            CRASH if not configuration.is_default and len(bench.plans) == 4 else _gains(operation, configuration, luck)
        )

    confirmation, bench = _confirmation(answer, candidates=[(SMALL, -0.5)])
    while confirmation.open:
        list(confirmation.round())
    (tested,) = confirmation.candidates
    assert (tested.verdict, tested.failure, len(tested.visits)) == (Verdict.FAILED, CRASH, 3)


@pytest.mark.parametrize("choices", [(ONE, TWO)])
def test_two_candidates_of_one_operation_never_share_a_process(choices):
    confirmation, bench = _confirmation(_gains)
    for choice in choices:
        confirmation.add(Candidate(operation=SMALL, choice=choice, error=0.01, seemed=-0.5))
    list(confirmation.round())
    assert all(len(plan.cases) == 1 for plan in bench.plans)
