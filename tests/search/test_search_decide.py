"""From evidence and proof to an entry."""

import pytest
from support.confirmation_runs import CRASH, ONE, SMALL, trial
from support.fake_bench import pairs

from autotune.model.catalogue import kind
from autotune.model.configuration import DEFAULT, Configuration
from autotune.model.entry import Status
from autotune.model.measurement import Failure, FailureKind, Measurement, Session
from autotune.model.profile import Key, Profile
from autotune.profiles import profile_files
from autotune.search.confirmation import Proof
from autotune.search.decide import decide
from autotune.search.environment import Site
from autotune.search.evidence import Evidence
from autotune.search.interference import Disturbance

BUSY = Disturbance(rounds=0.9, taken=0.05)
OVERRUN = Disturbance(rounds=0.9, taken=0.5)
TWO = Configuration(blas_threads=2)


def _evidence(ratios=(0.8,), *, failure=None, default=None):
    evidence = Evidence(operation=SMALL, usable_cpus=2)
    rounds = 4
    seconds = () if failure else tuple(0.01 * ratios[turn % len(ratios)] for turn in range(rounds))
    one = Measurement(
        operation=SMALL,
        configuration=ONE,
        pairs=pairs([0.01] * len(seconds), seconds),
        seconds=seconds,
        failure=failure,
    )
    plain = Measurement(
        operation=SMALL, configuration=DEFAULT, seconds=() if default else (0.01,) * rounds, failure=default
    )
    evidence.add([plain, one])
    return evidence


def _decide(evidence, *, choice=ONE, proof=None, disturbed=None, site=None):
    return decide(
        SMALL,
        kind("svd"),
        site=site or Site(usable_cpus=2, default_threads=2),
        evidence=evidence,
        choice=choice,
        proof=proof or Proof(),
        disturbed=disturbed or Disturbance(),
    )


def _proof(*ratios, disturbed=None, **more):
    interference = disturbed.taken if disturbed else 0.0
    measurement = Measurement(operation=SMALL, configuration=ONE, pairs=pairs([1.0], [1.0], interference))
    session = Session(measurements=(measurement,), wall_seconds=1.0)
    return Proof(settled={SMALL: [trial(ratio) for ratio in ratios]}, sessions=[session], **more)


def test_a_proved_choice_is_tuned_with_its_evidence():
    entry = _decide(_evidence(), proof=_proof(0.79, 0.8, 0.81))

    assert (entry.status, entry.choice, entry.processes, entry.pairs) == (Status.TUNED, ONE, 3, 24)
    assert entry.ratio == pytest.approx(0.8, rel=1e-3)
    assert entry.tuned_seconds == pytest.approx(0.008, rel=1e-3)
    assert entry.safe_threads == (1, 2)


def test_a_choice_that_fell_keeps_the_default_and_says_why():
    entry = _decide(_evidence(), proof=_proof(0.9, 1.1, 1.0, dropped={SMALL: "Not proved faster."}))

    assert (entry.status, entry.choice) == (Status.DEFAULT_KEPT, DEFAULT)
    assert entry.reason == "blas_threads=1 was tested. Not proved faster."
    assert 1 not in entry.safe_threads


def test_a_default_that_fails_is_failed_whatever_else_was_measured():
    entry = _decide(_evidence(default=CRASH))

    assert (entry.status, entry.reason) == (Status.FAILED, f"The default failed: {CRASH.reason}")


def test_a_default_that_was_not_reached_is_no_failure_of_its_own():
    late = Failure(kind=FailureKind.NOT_REACHED, reason="The time ended.")

    entry = _decide(_evidence(default=late))

    assert (entry.status, entry.reason[:7]) == (Status.DEFAULT_KEPT, "budget:")


def test_a_choice_that_fails_under_test_keeps_the_default():
    entry = _decide(_evidence(), proof=_proof(failures={SMALL: CRASH}, disturbed=BUSY))

    assert (entry.status, entry.choice) == (Status.DEFAULT_KEPT, DEFAULT)
    assert "failed under test: It crashed" in entry.reason


def test_all_candidates_failing_is_said_with_the_first_reason():
    entry = _decide(_evidence(failure=CRASH), choice=None)

    assert entry.reason == f"blas_threads=1 failed: {CRASH.reason}"


def test_time_that_ended_before_the_proof_claims_nothing():
    entry = _decide(_evidence(), proof=Proof(trials={SMALL: [trial(0.5)]}))

    assert (entry.status, entry.ratio) == (Status.DEFAULT_KEPT, None)
    assert entry.reason.startswith("budget: blas_threads=1 seemed to take 0.800")


def test_light_load_leaves_the_word_to_the_interval_and_the_reason_says_so():
    entry = _decide(_evidence(), proof=_proof(0.79, 0.8, 0.81, disturbed=BUSY))

    assert entry.status is Status.TUNED
    assert entry.reason.endswith("and took 5% of the CPU time.")


@pytest.mark.parametrize(
    ("ratios", "status"),
    [((0.7, 1.0, 1.3), Status.NOISY), ((0.999, 1.0, 1.001), Status.DEFAULT_KEPT)],
)
def test_what_cannot_be_told_under_light_load_is_noisy_and_a_gain_that_is_excluded_is_not(ratios, status):
    proof = _proof(*ratios, dropped={SMALL: "Not proved faster."}, disturbed=BUSY)

    assert _decide(_evidence(), proof=proof).status is status


def test_under_heavy_load_nothing_is_tuned_however_tight_the_interval():
    entry = _decide(_evidence(), proof=_proof(0.79, 0.8, 0.81, disturbed=OVERRUN))

    assert (entry.status, entry.choice, entry.tuned_seconds) == (Status.NOISY, DEFAULT, None)
    assert "took 50% of the CPU time" in entry.reason


@pytest.mark.parametrize(
    ("ratios", "disturbed", "status"),
    [
        ((0.7, 1.4), BUSY, Status.NOISY),
        ((1.2, 1.21), BUSY, Status.DEFAULT_KEPT),
        ((1.2, 1.21), OVERRUN, Status.NOISY),
        ((0.7, 1.4), Disturbance(), Status.DEFAULT_KEPT),
    ],
)
def test_where_nothing_was_found_noise_is_to_blame_only_for_what_it_hides(ratios, disturbed, status):
    assert _decide(_evidence(ratios), choice=None, disturbed=disturbed).status is status


@pytest.mark.parametrize(
    ("site", "words"),
    [
        (Site(usable_cpus=1, copies=4), "Measured in 4 copies at once."),
        (Site(usable_cpus=2, neighbours=1), "Measured beside 1 busy process."),
        (
            Site(usable_cpus=2, neighbours=2, copies=3),
            "Measured in 3 copies at once beside 2 busy processes.",
        ),
    ],
)
def test_the_company_of_the_trials_is_part_of_the_reason(site, words):
    assert _decide(_evidence(), proof=_proof(0.79, 0.8, 0.81), site=site).reason.endswith(f" {words}")


@pytest.mark.parametrize("disturbed", [Disturbance(), BUSY, OVERRUN])
def test_every_entry_can_be_written_and_read_again(tmp_path, disturbed):
    entry = _decide(_evidence(), proof=_proof(0.79, 0.8, 0.81, disturbed=disturbed))
    profile = Profile(key=Key(), entries=(entry,))

    profile_files.write(profile, tmp_path / "profile.yaml")

    again = profile_files.read(tmp_path / "profile.yaml").entries[0]
    assert (again.status, again.choice, again.reason) == (entry.status, entry.choice, entry.reason)


def test_what_a_choice_costs_in_memory_is_told_with_it_and_only_with_it():
    evidence = _evidence()
    evidence.retained_bytes[ONE] = 1000

    assert _decide(evidence, proof=_proof(0.79, 0.8, 0.81)).retained_bytes == 1000
    assert _decide(evidence, proof=_proof(0.79, 0.8, 0.81, disturbed=OVERRUN)).retained_bytes is None
    assert _decide(evidence, proof=_proof(1.0, 1.0, 1.0, dropped={SMALL: "No."})).retained_bytes is None
