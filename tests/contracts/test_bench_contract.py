"""Contract of every Bench, asked of the fake one and of the real one."""

import os

import pytest
from support.behaving_work import behaving, case_of
from support.fake_bench import FakeBench

from autotune.bench.process_bench import ProcessBench
from autotune.model.configuration import DEFAULT, Configuration
from autotune.model.measurement import Bench, Failure, FailureKind, TrialPlan

TWO, THREE = Configuration(workers=2), Configuration(workers=3)


def _fake(folder):
    def answer(operation, configuration, luck):
        with (folder / "log").open("a") as file:
            file.write(f"{configuration.workers or 1}\n")
        if configuration == TWO and operation.name == "crashing":
            return Failure(kind=FailureKind.CRASH, reason="It crashed with SIGSEGV.")
        if operation.name == "failing_at_once":
            return Failure(kind=FailureKind.OUT_OF_MEMORY, reason="No room.")
        return 0.002

    return FakeBench(answer)


def _real(folder):
    workloads = behaving("steady", "crashing", "failing_at_once", "logging")
    environ = {**os.environ, "AUTOTUNE_TEST_LOG": str(folder / "log")}
    return ProcessBench(workloads=workloads, environ=environ)


@pytest.fixture(params=[_fake, pytest.param(_real, marks=pytest.mark.real)], ids=["fake", "real"])
def bench(request, tmp_path) -> Bench:
    return request.param(tmp_path)


def test_the_default_is_measured_first_and_once_however_the_case_names_it(bench):
    plan = TrialPlan(cases=(case_of("steady", TWO, DEFAULT, THREE), case_of("crashing")), rounds=1)

    session = bench.run(plan)

    order = [(trial.operation.name, trial.configuration) for trial in session.measurements]
    assert order == [("steady", DEFAULT), ("steady", TWO), ("steady", THREE), ("crashing", DEFAULT)]


def test_every_candidate_has_at_least_one_positive_pair_for_every_round(bench):
    session = bench.run(TrialPlan(cases=(case_of("steady", TWO),), rounds=3))

    assert all(len(trial.seconds) >= 3 for trial in session.measurements)
    assert all(seconds > 0 for trial in session.measurements for seconds in trial.seconds)
    assert [trial.failure for trial in session.measurements] == [None, None]


def test_a_crash_is_a_failure_with_a_reason_and_costs_the_others_nothing(bench):
    plan = TrialPlan(cases=(case_of("crashing", TWO, THREE), case_of("steady", TWO)), rounds=2)

    session = bench.run(plan)

    default, crashed, other, *rest = session.measurements
    assert crashed.failure.kind is FailureKind.CRASH
    assert "SIGSEGV" in crashed.failure.reason
    assert crashed.seconds == ()
    assert all(len(trial.seconds) >= 2 for trial in (default, other, *rest))


def test_without_a_default_its_case_has_no_timings_and_other_cases_have(bench):
    session = bench.run(TrialPlan(cases=(case_of("failing_at_once", TWO), case_of("steady")), rounds=1))

    default, other, steady = session.measurements
    assert default.failure.kind is FailureKind.OUT_OF_MEMORY
    assert other.failure.kind is FailureKind.NOT_REACHED
    assert not other.failure.final
    assert len(steady.seconds) == 1


def test_each_case_gets_one_pair_although_the_time_is_over(bench):
    session = bench.run(TrialPlan(cases=(case_of("steady", TWO), case_of("crashing")), rounds=50, seconds=0.0))

    assert [len(trial.seconds) for trial in session.measurements] == [1, 1, 1]


def test_a_session_tells_how_long_all_of_it_took(bench):
    session = bench.run(TrialPlan(cases=(case_of("steady"),), rounds=4))

    assert session.wall_seconds >= 4 * session.measurements[0].seconds[0]


def test_the_same_seed_runs_the_pairs_in_the_same_order_and_another_seed_in_another(bench, tmp_path):
    def order(seed):
        (tmp_path / "log").unlink(missing_ok=True)
        bench.run(TrialPlan(cases=(case_of("logging", TWO, THREE),), rounds=1, seed=seed, seconds=0.0))
        return (tmp_path / "log").read_text().split()[-4:]  # what came before were checks and warm-up

    orders = {seed: order(seed) for seed in (0, 1)}

    assert orders == {seed: order(seed) for seed in (0, 1)}
    assert all(sorted(calls) == ["1", "1", "2", "3"] for calls in orders.values())
    assert len({tuple(calls) for calls in orders.values()}) > 1


def test_each_candidate_has_pairs_whose_timings_are_its_seconds_and_the_defaults(bench):
    session = bench.run(TrialPlan(cases=(case_of("steady", TWO, THREE),), rounds=3))

    default, *candidates = session.measurements
    assert default.pairs == ()
    for candidate in candidates:
        assert [pair.candidate_seconds for pair in candidate.pairs] == list(candidate.seconds)
    paired = [pair.default_seconds for candidate in candidates for pair in candidate.pairs]
    assert sorted(paired) == sorted(default.seconds)


def test_the_timed_samples_are_a_part_of_the_wall_time(bench):
    session = bench.run(TrialPlan(cases=(case_of("steady", TWO),), rounds=3))

    assert 6 * 0.009 < session.sampled_seconds < session.wall_seconds
