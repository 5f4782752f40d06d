"""From evidence and findings to an entry."""

import pytest
from support.calibration_runs import CRASH, ONE, SMALL, TWO, candidate, environment_of, probed, visit
from support.fake_bench import pairs

from autotune.model.catalogue import kind
from autotune.model.configuration import DEFAULT, Configuration
from autotune.model.entry import Status
from autotune.model.measurement import Failure, FailureKind, Measurement
from autotune.model.profile import Key, Profile
from autotune.profiles import profile_files
from autotune.search.candidate import Verdict, judge
from autotune.search.decide import decide
from autotune.search.environment import Environment
from autotune.search.evidence import TrialEvidence

FULL = probed(*[2.0] * 30)
HALF = probed(*[2.0] * 30, *[1.0] * 30)


def _evidence(ratio=0.6, *, failure=None, default=None):
    evidence = TrialEvidence(usable_cpus=2)
    seconds = () if failure else (0.01 * ratio,) * 4
    candidate = Measurement(
        operation=SMALL,
        configuration=ONE,
        pairs=pairs([0.01] * len(seconds), seconds),
        seconds=seconds,
        failure=failure,
    )
    plain = Measurement(operation=SMALL, configuration=DEFAULT, seconds=() if default else (0.01,) * 4, failure=default)
    evidence.add([plain, candidate])
    return evidence


def _decide(evidence=None, tested=None, *, capacity=FULL, environment=None, quiet=None):
    if tested is not None:
        tested.capacity = capacity
    if tested is not None and tested.verdict is Verdict.OPEN:
        tested.verdict, tested.reason = judge(tested)
    return decide(
        SMALL,
        kind("svd"),
        environment=environment or environment_of(2),
        evidence=evidence or _evidence(),
        candidate=tested,
        quiet=quiet,
    )


def _proved(ratio=0.6, count=6, **more):
    return candidate(*[visit(ratio, capacity=2.0)] * count, **more)


def test_a_proved_choice_is_tuned_with_its_evidence():
    entry = _decide(tested=_proved())
    evidence = entry.evidence
    assert (entry.status, entry.choice, evidence.processes, evidence.pairs) == (Status.TUNED, ONE, 6, 48)
    assert evidence.speedup == pytest.approx(1 / 0.6, rel=1e-3)
    assert 1.0 < evidence.interval[0] < evidence.speedup < evidence.interval[1]
    assert evidence.tuned_seconds == pytest.approx(0.006, rel=1e-3)
    assert evidence.safe_threads == (1, 2)


def test_an_entry_records_both_states_of_the_machine():
    tested = candidate(*[visit(0.5, capacity=2.0), visit(1.0, capacity=1.0)] * 8)
    entry = _decide(tested=tested, capacity=HALF)
    evidence = entry.evidence
    assert evidence.speedup == pytest.approx(2.0)
    assert evidence.expected_speedup == pytest.approx(2**0.5)
    assert evidence.full_capacity_share == 0.5
    assert (evidence.leading_speedup, evidence.leading_interval) == (evidence.expected_speedup, None)
    assert "At full capacity (50% of the time) it is 2.00x (" in evidence.capacity_note


def test_of_a_choice_that_was_timed_at_full_capacity_only_no_speed_up_over_both_states_is_stated():
    evidence = _decide(tested=_proved(), capacity=HALF).evidence
    assert evidence.expected_speedup is None
    assert evidence.capacity_note == (
        "The machine was at full capacity 50% of the time; without it the choice was never timed."
    )


def test_a_choice_that_fell_keeps_the_default_and_says_why():
    entry = _decide(tested=_proved(1.05))
    assert (entry.status, entry.choice) == (Status.DEFAULT_KEPT, DEFAULT)
    assert "Not proved faster" in entry.reason
    assert 1 not in entry.evidence.safe_threads


@pytest.mark.parametrize(
    ("met", "is_firm"),
    [({"capacity": 1.0}, False), ({"capacity": 2.0, "interference": 0.5}, False), ({"capacity": 2.0}, True)],
)
def test_what_gained_nothing_without_full_capacity_refutes_no_proof_from_moments_with_it(met, is_firm):
    """Two workers on a busy machine: with the second CPU to themselves, as in no process, they may gain much."""
    entry = _decide(tested=candidate(*[visit(1.04, **met)] * 6), capacity=HALF)
    assert (entry.status, entry.is_firm) == (Status.DEFAULT_KEPT, is_firm)
    assert (entry.evidence.speedup_limit is None) is is_firm
    assert ("met full capacity, where the speed-up may be up to 1.95" in entry.reason) is not is_firm


def test_of_two_limits_an_entry_states_the_larger_and_not_the_smaller():
    """Half of the CPUs hide a factor of two: at the end of the time 1.28 standard errors are allowed, and else two."""
    tested = candidate(*[visit(2.0, capacity=1.0)] * 2, capacity=HALF)
    tested.give_up()
    at_end = tested.speedup_limit
    entry = _decide(tested=tested, capacity=HALF)
    assert entry.evidence.speedup_limit > at_end > 1.0
    assert "below" not in entry.reason


def test_below_the_least_number_of_processes_it_is_undecided_and_states_no_speed_up():
    entry = _decide(tested=_proved(0.5, count=3))
    assert (entry.status, entry.choice, entry.evidence.processes) == (Status.UNDECIDED, DEFAULT, 3)
    assert (entry.evidence.speedup, entry.evidence.interval) == (None, None)
    assert "time allowed ended after 3 processes" in entry.reason


def test_a_candidate_with_fewer_cpus_that_was_never_undisturbed_is_noisy():
    tested = candidate(*[visit(0.5, capacity=2.0, interference=0.5)] * 6, fewer_cpus=True)
    entry = _decide(tested=tested)
    assert (entry.status, entry.choice) == (Status.NOISY, DEFAULT)
    assert "fewer CPUs" in entry.reason


def test_a_default_that_fails_is_failed_whatever_else_was_measured():
    entry = _decide(_evidence(default=CRASH))
    assert (entry.status, entry.reason) == (Status.FAILED, f"The default failed: {CRASH.reason}")


def test_a_default_that_was_not_reached_is_undecided():
    late = Failure(kind=FailureKind.NOT_REACHED, reason="The time ended.")
    assert _decide(_evidence(default=late)).status is Status.UNDECIDED


def test_a_choice_that_fails_under_test_keeps_the_default():
    tested = _proved()
    tested.verdict, tested.failure = Verdict.FAILED, CRASH
    entry = _decide(tested=tested)
    assert (entry.status, entry.choice) == (Status.DEFAULT_KEPT, DEFAULT)
    assert "failed under test: It crashed" in entry.reason


def test_all_candidates_failing_is_said_with_the_first_reason():
    assert _decide(_evidence(failure=CRASH)).reason == f"blas_threads=1 failed: {CRASH.reason}"


@pytest.mark.parametrize("tested", [None, _proved(), _proved(1.05)])
def test_a_configuration_that_crashed_is_named_next_to_those_that_were_timed(tested):
    evidence = _evidence(1.2)
    evidence.failures[Configuration(blas_threads=2)] = CRASH
    assert f"blas_threads=2 failed: {CRASH.reason}" in _decide(evidence, tested).reason


def test_what_was_only_timed_next_to_others_leaves_an_entry_undecided_though_another_seems_better():
    evidence = TrialEvidence(usable_cpus=2, default_cpus=2, capacity=FULL, default_seconds=[0.01])
    evidence.visits[ONE] = [visit(1.02, capacity=2.0)]
    evidence.visits[TWO] = [visit(1.05, pairs=2, capacity=2.0, interference=0.5)]
    entry = _decide(evidence)
    assert entry.status is Status.UNDECIDED
    assert f"{TWO} was only timed next to other load" in entry.reason


@pytest.mark.parametrize("ratio", [0.995, 1.2])
def test_where_nothing_was_better_the_default_is_kept_with_the_best_other(ratio):
    entry = _decide(_evidence(ratio))
    assert entry.status is Status.DEFAULT_KEPT
    assert "blas_threads=1" in entry.reason


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        (Environment(usable_cpus=1, copies=4), "Measured in 4 copies at once."),
        (Environment(usable_cpus=2, neighbours=1), "Measured next to 1 busy process."),
        (Environment(usable_cpus=2, neighbours=2, copies=3), "Measured in 3 copies at once next to 2 busy processes."),
    ],
)
def test_the_company_of_the_trials_is_part_of_the_reason(environment, words):
    assert _decide(tested=_proved(), environment=environment).reason.endswith(f" {words}")


@pytest.mark.parametrize("count", [3, 6])
def test_every_entry_can_be_written_and_read_again(tmp_path, count):
    entry = _decide(tested=_proved(count=count))
    profile_files.write(Profile(key=Key(), entries=(entry,)), tmp_path / "profile.yaml")
    again = profile_files.read(tmp_path / "profile.yaml").entries[0]
    assert (again.status, again.choice, again.reason) == (entry.status, entry.choice, entry.reason)


def test_what_a_choice_costs_in_memory_is_told_with_it_and_only_with_it():
    evidence = _evidence()
    evidence.retained_bytes[ONE] = 1000
    assert _decide(evidence, tested=_proved()).evidence.retained_bytes == 1000
    assert _decide(evidence, tested=_proved(1.05)).evidence.retained_bytes is None


def test_what_looked_faster_next_to_neighbours_and_was_never_tested_is_noisy():
    entry = _decide(_evidence(0.6), environment=Environment(usable_cpus=2, neighbours=2))
    assert entry.status is Status.NOISY
    assert "not tested" in entry.reason


def test_what_is_slower_without_the_neighbours_is_not_tuned():
    quiet = _proved(1.1)
    quiet.verdict, quiet.reason = Verdict.DROPPED, "It is slower."
    entry = _decide(tested=_proved(), quiet=quiet)
    assert (entry.status, entry.choice) == (Status.DEFAULT_KEPT, DEFAULT)
    assert "without them" in entry.reason
