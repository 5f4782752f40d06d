"""Machines that behave badly: each calibration ends with an honest entry."""

from math import exp

import pytest
from support.calibration_runs import CRASH, environment_of, run_calibration
from support.fake_bench import FakeBench
from support.simulated_machines import WEATHERS, Planted, SimulatedBench

from autotune.model.configuration import DEFAULT
from autotune.model.entry import Status
from autotune.model.measurement import Failure, FailureKind
from autotune.search.environment import Environment
from autotune.search.request import Request
from autotune.search.time_budget import OVERTIME

SQRT = Request(operations=("sqrt",), sizes=({"n": 10**6},), budget_seconds=20.0)
QR = Request(operations=("qr",), sizes=({"n": 128},), budget_seconds=20.0)


def _entry(bench, request, environment=None):
    environment = environment or environment_of(2)
    entries, clock, _ = run_calibration(bench, request, environment)
    return entries[-1], clock


def _planted(ratio, weather, seed=0):
    return SimulatedBench(Planted(ratio=ratio), None, WEATHERS[weather], seed=seed)


def _half(operation, configuration, luck):
    return 0.01 if configuration.is_default else 0.005


def test_a_machine_whose_capacity_is_never_full_leaves_what_uses_fewer_cpus_open():
    bench = FakeBench(_half, capacity=1.0)
    entry, _ = _entry(bench, QR, environment_of(2, full_capacity=2.0))
    assert entry.status in {Status.NOISY, Status.UNDECIDED}
    assert entry.choice == DEFAULT


def test_one_thread_that_won_before_the_machine_showed_all_its_cpus_is_tested_again():
    """Of four CPUs one is missing for twelve seconds; another operation, near the margin, goes on for longer."""

    def answer(operation, configuration, luck):
        is_late = bench.clock > 12.0
        bench.capacity = 4.0 if is_late else 3.0
        if operation.name == "cholesky":
            return (0.01 if configuration.is_default else 0.00985) * exp(luck.gauss(0, 0.1))
        return {None: 0.01 if is_late else 0.02, 1: 0.012}.get(configuration.blas_threads, 0.03)

    bench = FakeBench(answer)
    request = Request(operations=("qr", "cholesky"), sizes=({"n": 128},), budget_seconds=40.0)
    entries, _, _ = run_calibration(bench, request, environment_of(4))
    tested = [(entry.status, entry.choice.blas_threads) for entry in entries if entry.operation.name == "qr"]
    assert (tested[0], tested[-1]) == ((Status.TUNED, 1), (Status.DEFAULT_KEPT, None))


def test_a_single_pair_that_others_disturbed_decides_nothing():
    """Calls so slow that the time is over after one of each: one BLAS thread looks 9 % slower."""
    bench = FakeBench(lambda _, choice, __: 0.9 if choice.is_default else 1.0, interference=0.6, capacity=1.0)
    request = Request(operations=("qr",), sizes=({"n": 300},), budget_seconds=4.0)
    entry, _ = _entry(bench, request, environment_of(2, full_capacity=2.0))
    assert (entry.status, entry.choice) == (Status.UNDECIDED, DEFAULT)
    assert "only timed next to other load" in entry.reason


def test_where_the_time_allows_it_such_a_pair_is_measured_again():
    bench = FakeBench(lambda _, choice, __: 0.9 if choice.is_default else 1.0, interference=0.6, capacity=1.0)
    request = Request(operations=("qr",), sizes=({"n": 300},), budget_seconds=12.0)
    entry, _ = _entry(bench, request, environment_of(2, full_capacity=2.0))
    assert (entry.status, entry.choice) == (Status.DEFAULT_KEPT, DEFAULT)
    assert len(bench.plans) > 1


@pytest.mark.parametrize("seed", range(8))
def test_a_machine_that_sleeps_in_the_middle_finds_its_gain_all_the_same(seed):
    entry, clock = _entry(_planted(0.6, "sleep", seed), SQRT)
    assert entry.status is Status.TUNED
    assert clock.elapsed <= SQRT.seconds + OVERTIME


@pytest.mark.parametrize("seed", range(3))
def test_a_clock_that_jumps_claims_nothing_that_is_not_there(seed):
    entry, _ = _entry(_planted(1.0, "clock", seed), SQRT)
    assert entry.choice == DEFAULT


@pytest.mark.parametrize("seed", range(3))
def test_a_burst_in_step_with_the_pairs_claims_nothing_that_is_not_there(seed):
    entry, _ = _entry(_planted(1.0, "in-step", seed), SQRT)
    assert entry.choice == DEFAULT


def test_a_candidate_that_crashes_in_its_fourth_process_is_out():

    def answer(operation, configuration, luck):
        return (
            CRASH if not configuration.is_default and len(bench.plans) == 4 else _half(operation, configuration, luck)
        )

    bench = FakeBench(answer)
    entry, _ = _entry(bench, QR)
    assert (entry.status, entry.choice) == (Status.DEFAULT_KEPT, DEFAULT)
    assert CRASH.reason in entry.reason


def test_with_one_cpu_there_is_nothing_to_choose_and_the_default_is_kept():
    entry, _ = _entry(FakeBench(_half), QR, Environment(usable_cpus=1, default_threads=1))
    assert entry.status is Status.DEFAULT_KEPT
    assert "nothing to choose" in entry.reason


def test_a_quota_of_half_a_cpu_whose_times_are_all_pauses_keeps_the_default():
    """Every sample is either whole or paused for a tenth of a second, for both sides."""

    def answer(operation, configuration, luck):
        return 0.01 + (0.1 if luck.random() < 0.5 else 0.0)

    entry, _ = _entry(FakeBench(answer), SQRT, Environment(usable_cpus=2, default_threads=1))
    assert (entry.status in {Status.DEFAULT_KEPT, Status.UNDECIDED}, entry.choice) == (True, DEFAULT)


def test_where_all_candidates_are_equal_the_default_is_kept():
    entry, _ = _entry(_planted(1.0, "processes"), SQRT)
    assert (entry.status, entry.choice) == (Status.DEFAULT_KEPT, DEFAULT)


def test_a_call_that_does_not_end_within_the_budget_leaves_its_entry_open_and_says_so():
    unreached = Failure(kind=FailureKind.NOT_REACHED, reason="The time allowed ended in the middle of a call.")
    bench = FakeBench(lambda *_: unreached)
    entry, _ = _entry(bench, QR)
    assert (entry.status, entry.choice) == (Status.UNDECIDED, DEFAULT)
    assert entry.reason == unreached.reason
    assert all(0 < plan.longest <= QR.seconds + OVERTIME for plan in bench.plans)


def test_a_default_that_fails_is_failed():
    entry, _ = _entry(FakeBench(lambda _, configuration, __: CRASH if configuration.is_default else 0.01), QR)
    assert (entry.status, entry.choice) == (Status.FAILED, DEFAULT)


def test_a_default_that_begins_to_fail_under_test_claims_nothing():
    def answer(operation, configuration, luck):
        return CRASH if configuration.is_default and len(bench.plans) > 3 else _half(operation, configuration, luck)

    bench = FakeBench(answer)
    entry, _ = _entry(bench, QR)
    assert entry.choice == DEFAULT
    assert CRASH.reason in entry.reason
