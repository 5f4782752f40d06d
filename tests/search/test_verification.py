"""Does a profile still hold?"""

from dataclasses import replace
from math import exp

import pytest
from support.calibration_runs import CRASH, environment_of
from support.fake_bench import FakeBench
from support.profile_builders import KEY, make_entry, profile

from autotune.model.entry import Status
from autotune.profiles.fit import Site
from autotune.search.machine_states import Capacity
from autotune.search.time_budget import Clock
from autotune.search.verification import Standing, confirm, select_verifiable, verify

HERE = Site(key=KEY, host="here")
QR = make_entry("qr", choice={"blas_threads": 2}, m=100, n=100)
LARGE = make_entry("qr", choice={"blas_threads": 4}, m=900, n=900)
LOG = make_entry("log", choice={"workers": 4, "chunk": 8192}, n=10**6)
KEPT = make_entry("svd", m=100, n=100)


def _verify(*entries, ratios, seconds=100.0, cpus=4, scatter=0.0, known_best=None, **more):
    """The standing of each entry, with these ratios of the choices in their order."""
    choices = {entry.operation: ratio for entry, ratio in zip(entries, ratios, strict=True)}

    def answer(operation, configuration, luck):
        ratio = 1.0 if configuration.is_default else choices[operation]
        ratio = ratio(luck) if callable(ratio) else ratio
        return ratio if not isinstance(ratio, float) else 0.01 * ratio * exp(luck.gauss(0.0, scatter))

    bench = FakeBench(answer, **more)
    clock = Clock(bench=bench, capacity=Capacity(usable_cpus=cpus, known_best=known_best), budget=seconds)
    checks = list(verify(entries, environment=environment_of(cpus), clock=clock))
    return {check.entry.operation: check for check in checks}, bench


def test_each_entry_gets_its_own_verdict_with_speed_up_and_interval():
    checks, _ = _verify(QR, LARGE, LOG, ratios=(0.5, 1.2, 1.0))

    assert [checks[size.operation].standing for size in (QR, LARGE, LOG)] == [
        Standing.HOLDS,
        Standing.SLOWER,
        Standing.GONE,
    ]
    slower = checks[LARGE.operation]
    assert slower.speedup == pytest.approx(1 / 1.2)
    assert slower.interval[0] <= slower.speedup <= slower.interval[1]
    assert slower.reason.startswith("Slower: speed-up 0.833")


def test_entries_share_their_processes_and_leave_when_told():
    _, bench = _verify(QR, LOG, ratios=(0.5, 1.0))

    counts = [len(plan.cases) for plan in bench.plans]
    assert counts[0] == 2
    assert counts[-1] == 1


def test_a_choice_that_fails_is_named_with_its_failure():
    checks, _ = _verify(QR, ratios=(CRASH,))

    check = checks[QR.operation]
    assert (check.standing, check.reason) == (Standing.FAILED, f"The measurement failed: {CRASH.reason}")


def test_what_the_time_does_not_reach_is_open():
    checks, bench = _verify(QR, LOG, ratios=(0.5, 0.5), seconds=0.0)

    assert {check.standing for check in checks.values()} == {Standing.OPEN}
    assert bench.plans == []


def test_a_budget_too_short_for_all_tells_of_some_and_is_kept():
    names = ("add", "copy", "exp", "fill", "log", "power", "sin", "sqrt")
    entries = [make_entry(name, choice={"workers": 4, "chunk": 8192}, n=10**6) for name in names]
    checks, bench = _verify(*entries, ratios=[0.5] * len(entries), seconds=14.0, start_seconds=1.0)

    holding = [check for check in checks.values() if check.standing is Standing.HOLDS]
    assert 1 <= len(holding) < len(entries)
    assert bench.clock <= 15.5


def test_a_loss_next_to_others_is_no_verdict_on_a_choice_that_uses_all_cpus():
    checks, _ = _verify(LOG, ratios=(1.5,), interference=0.6)

    assert checks[LOG.operation].standing is Standing.OPEN


def test_no_gain_while_cpus_are_missing_is_no_verdict_on_a_choice_that_uses_all():
    checks, _ = _verify(LOG, ratios=(1.0,), scatter=0.01, capacity=1.0, known_best=4.0)
    assert checks[LOG.operation].standing is Standing.OPEN
    checks, _ = _verify(LOG, ratios=(1.0,), scatter=0.01, capacity=4.0, known_best=4.0)
    assert checks[LOG.operation].standing is Standing.GONE


def test_a_loss_is_not_proved_by_forgetting_gains_when_more_cpus_turn_up():
    """Each of four processes in which a choice gains 5 % shows more CPUs; later ones, in which it loses, do not."""

    def answer(operation, configuration, luck):
        process = len(bench.plans)
        bench.capacity = 1.0 + 45.0 * 1.45 ** min(process - 1, 4)
        return 0.01 * (1.0 if configuration.is_default else exp(-0.05 if process <= 4 else 0.05))

    bench = FakeBench(answer)
    clock = Clock(bench=bench, capacity=Capacity(usable_cpus=256), budget=100.0)
    (check,) = verify([LOG], environment=environment_of(256), clock=clock)
    assert check.standing is Standing.GONE


def test_a_choice_confirmed_before_the_machine_showed_all_its_cpus_is_tested_again():
    """One of four CPUs is missing while two threads win; the test of another operation goes on for longer."""

    def answer(operation, configuration, luck):
        is_late = len(bench.plans) > 7
        bench.capacity = 4.0 if is_late else 3.0
        ratio = 0.975 if operation == LOG.operation else 1.2 if is_late else 0.5
        return 0.01 * (1.0 if configuration.is_default else ratio)

    bench = FakeBench(answer, start_seconds=0.75)
    clock = Clock(bench=bench, capacity=Capacity(usable_cpus=4), budget=100.0)
    entries = confirm([QR, LOG], None, environment=environment_of(4), clock=clock)
    assert [entry.status for entry in entries] == [Status.DEFAULT_KEPT, Status.TUNED]


def test_a_gain_that_scatters_too_much_to_be_proved_is_open_and_not_gone():
    checks, bench = _verify(QR, ratios=(0.97,), scatter=0.3, seconds=1000.0)

    assert checks[QR.operation].standing is Standing.OPEN
    assert len(bench.plans) < 100


def test_a_small_gain_that_is_surely_one_holds():
    checks, _ = _verify(QR, ratios=(0.98,), scatter=0.005)

    check = checks[QR.operation]
    assert check.standing is Standing.HOLDS
    assert check.interval[0] > 1.0


def test_a_small_gain_with_slow_timings_does_not_hold():
    checks, _ = _verify(QR, ratios=(lambda luck: 0.98 if luck.random() < 0.85 else 1.3,))

    assert checks[QR.operation].standing is Standing.GONE


def test_a_loss_next_to_others_is_believed_of_a_choice_that_uses_fewer():
    checks, _ = _verify(QR, ratios=(1.5,), interference=0.6)

    assert checks[QR.operation].standing is Standing.SLOWER


def test_a_gain_next_to_others_is_not_believed_of_a_choice_that_uses_fewer():
    checks, _ = _verify(QR, ratios=(0.1,), interference=0.6, seconds=20.0)

    assert checks[QR.operation].standing is Standing.OPEN


def test_a_machine_that_others_use_is_named_with_the_verdict():
    checks, _ = _verify(LOG, ratios=(0.5,), interference=0.6)

    assert checks[LOG.operation].standing is Standing.HOLDS
    assert "100% of the pairs" in checks[LOG.operation].reason


def test_only_choices_are_verified():
    assert select_verifiable(profile(QR, KEPT), HERE) == ((QR,), ())


def test_a_profile_of_other_hardware_is_refused_entry_by_entry_with_the_field():
    other = replace(KEY, hardware=replace(KEY.hardware, model=1))

    entries, refused = select_verifiable(profile(QR, LOG, key=other), HERE)

    assert entries == ()
    assert [check.standing for check in refused] == [Standing.REFUSED] * 2
    assert "key.hardware.model" in refused[0].reason


def test_a_profile_of_another_host_of_this_class_is_verified():
    assert select_verifiable(profile(QR, host="another"), HERE)[0] == (QR,)


def test_a_choice_that_other_cpus_would_cut_is_refused_and_the_others_are_verified():
    here = Site(key=replace(KEY, usable_cpus=2), host="here")

    entries, refused = select_verifiable(profile(QR, LARGE), here)

    assert (entries, refused[0].entry) == ((QR,), LARGE)
    assert "2 here leave" in refused[0].reason


def test_a_users_function_is_verified_only_where_it_is_at_hand():
    own = make_entry("simulate", choice={"blas_threads": 1}, n=10)

    assert "--workload" in select_verifiable(profile(own), HERE)[1][0].reason
    assert select_verifiable(profile(own), HERE, own=["simulate"])[0] == (own,)
