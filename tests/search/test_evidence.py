"""Evidence of all sessions of a search."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.calibration_runs import CRASH, ONE, SMALL, visit
from support.fake_bench import pairs

from autotune.model.configuration import DEFAULT, Configuration
from autotune.model.measurement import Failure, FailureKind, Measurement
from autotune.search.evidence import LEAST_PROCESS_SCATTER, TrialEvidence
from autotune.search.machine_states import Capacity

TWO, FOUR = Configuration(blas_threads=2), Configuration(blas_threads=4)


def _measured(configuration, *seconds, default=0.01, failure=None):
    return Measurement(
        operation=SMALL,
        configuration=configuration,
        pairs=() if configuration.is_default else pairs([default] * len(seconds), seconds),
        seconds=seconds,
        failure=failure,
    )


def _evidence(*sessions, usable_cpus=4):
    evidence = TrialEvidence(usable_cpus=usable_cpus)
    for session in sessions:
        evidence.add(session)
    return evidence


def _session(ratios, rounds=4):
    return [
        _measured(DEFAULT, *[0.01] * rounds),
        *(_measured(choice, *[0.01 * ratio] * rounds) for choice, ratio in ratios.items()),
    ]


def test_a_short_process_that_a_burst_hit_does_not_move_the_estimate_of_a_long_one():
    evidence = _evidence(_session({ONE: 0.8}, rounds=8), _session({ONE: 0.4}, rounds=2))

    assert evidence.estimate(ONE) == pytest.approx(math.log(0.8))


FIVE = tuple(Configuration(blas_threads=threads) for threads in range(1, 6))


def _process(default, candidate):
    """Five candidates, four pairs each: seconds of the default and of the candidate, by number of candidate and pair."""
    numbered = [[(choice, pair) for pair in range(4)] for choice in range(5)]
    return [
        _measured(DEFAULT, *[0.01] * 20),
        *(
            Measurement(
                operation=SMALL,
                configuration=choice,
                seconds=tuple(candidate(*place) for place in places),
                pairs=pairs([default(*place) for place in places], [candidate(*place) for place in places]),
            )
            for choice, places in zip(FIVE, numbered, strict=True)
        ),
    ]


def test_bursts_that_hit_the_default_alone_speak_for_no_candidate():
    """Three of the default's four timings next to one candidate took twice as long, and one next to each other."""
    hit = {1: 3}
    evidence = _evidence(
        _process(lambda choice, pair: 0.02 if pair < hit.get(choice, 1) else 0.01, lambda choice, pair: 0.008),
        usable_cpus=5,
    )

    assert [evidence.estimate(choice) for choice in FIVE] == pytest.approx([math.log(0.8)] * 5)


def test_slow_downs_that_adjacent_timings_share_cancel():
    """The machine takes twice as long for three pairs of one candidate, and for one of each other."""
    slow = {1: 3}

    def factor(choice, pair):
        return 2.0 if pair < slow.get(choice, 1) else 1.0

    evidence = _evidence(
        _process(lambda *place: 0.01 * factor(*place), lambda *place: 0.008 * factor(*place)), usable_cpus=5
    )

    assert [evidence.estimate(choice) for choice in FIVE] == pytest.approx([math.log(0.8)] * 5)


def test_without_candidates_the_default_leads():
    assert _evidence().leader(0.01) == DEFAULT


def test_among_equals_the_one_that_uses_least_leads_and_the_default_before_all():
    assert _evidence(_session({FOUR: 0.5, TWO: 0.502})).leader(0.01) == TWO
    assert _evidence(_session({FOUR: 0.995})).leader(0.01) == DEFAULT


def test_with_sixteen_pairs_a_configuration_may_lead_however_often_others_were_measured():
    sessions = [_session({TWO: 0.6}, rounds=100), _session({FOUR: 0.5}, rounds=15)]
    assert _evidence(*sessions).leader(0.01) == TWO
    assert _evidence(*sessions, _session({FOUR: 0.5}, rounds=1)).leader(0.01) == FOUR


def test_the_best_pair_is_that_of_all_processes():
    evidence = _evidence(_session({ONE: 0.9}), [_measured(DEFAULT, 0.01), _measured(ONE, 0.016, 0.005, 0.01)])
    assert evidence.best_pair(ONE) == pytest.approx(math.log(0.5))


def test_what_uses_more_cpus_than_there_are_never_leads():
    assert _evidence(_session({FOUR: 0.5, TWO: 0.8}), usable_cpus=2).leader(0.01) == TWO


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan, math.inf])
def test_a_time_that_is_none_puts_its_configuration_out(seconds):
    evidence = _evidence([_measured(DEFAULT, 0.01), _measured(ONE, seconds), _measured(TWO, 0.005)])

    assert (evidence.candidates, evidence.leader(0.0)) == ([TWO], TWO)
    assert "clock" in evidence.failures[ONE].reason


@pytest.mark.parametrize("seconds", [0.0, math.nan])
def test_a_default_without_times_is_a_failure_and_proves_nothing_about_others(seconds):
    evidence = _evidence([_measured(DEFAULT, seconds), _measured(ONE, 0.005, default=seconds)])

    assert (evidence.candidates, set(evidence.failures)) == ([], {DEFAULT})


def test_what_failed_once_for_good_never_leads_again():
    evidence = _evidence(
        _session({ONE: 0.5}), [_measured(DEFAULT, 0.01), _measured(ONE, failure=CRASH)], _session({ONE: 0.5})
    )

    assert evidence.leader(0.01) == DEFAULT


def test_what_was_not_reached_may_be_tried_again():
    late = Failure(kind=FailureKind.NOT_REACHED, reason="The time ended.")

    evidence = _evidence([_measured(DEFAULT, 0.01), _measured(ONE, failure=late)], _session({ONE: 0.5}))

    assert evidence.leader(0.01) == ONE


def test_safe_threads_are_those_that_no_round_speaks_against():
    evidence = _evidence(_session({ONE: 0.9, TWO: 1.1, Configuration(workers=2): 0.5}))

    assert evidence.safe_threads(0.01) == (1,)


@given(st.lists(st.floats(0.2, 5.0), min_size=1, max_size=6))
def test_the_leader_is_never_slower_than_the_default(ratios):
    choices = {Configuration(blas_threads=count + 1): ratio for count, ratio in enumerate(ratios)}
    evidence = _evidence(_session(choices), usable_cpus=8)

    leader = evidence.leader(0.01)

    assert leader.is_default or evidence.estimate(leader) < 0


def test_what_a_choice_holds_beyond_the_default_is_the_most_that_a_session_saw():
    def session(default, chosen):
        resident = {DEFAULT: default, ONE: chosen}
        return [replace(trial, resident_bytes=resident[trial.configuration]) for trial in _session({ONE: 0.5})]

    assert _evidence(session(100, 150), session(100, 130)).retained_bytes == {ONE: 50}
    assert _evidence(session(100, 90)).retained_bytes == {ONE: 0}
    assert _evidence(session(None, 90)).retained_bytes == {}


def test_a_thriftier_one_that_is_in_doubt_does_not_count_as_equal():
    """Seemingly within the tie, but it may well be slower: the race could not tell."""
    slow = (0.0476, 0.0532, 0.0492, 0.0526)
    first = [_measured(DEFAULT, *[0.1] * 4), _measured(FOUR, *[0.05] * 4, default=0.1)]
    sure = [*first, _measured(TWO, *[0.0502] * 4, default=0.1)]
    doubtful = [*first, _measured(TWO, *slow, default=0.1)]

    assert _evidence(sure).leader(0.01) == TWO
    assert _evidence(doubtful).leader(0.01) == FOUR


def test_what_is_learned_of_full_capacity_later_counts_for_pairs_seen_before():
    capacity = Capacity(usable_cpus=2, probes=[1.2])
    evidence = TrialEvidence(usable_cpus=2, default_cpus=2, capacity=capacity)
    timed = replace(_measured(TWO, 0.012), pairs=pairs([0.01], [0.012], capacity=1.2))
    evidence.add([_measured(DEFAULT, 0.01), timed])
    assert not evidence.is_pessimistic(TWO)

    capacity.probes += [2.0] * 3
    assert evidence.is_pessimistic(TWO)


def test_processes_that_differ_put_an_estimate_in_doubt_where_they_are_looked_at():
    """Sixteen processes of two pairs, each a tenth faster or slower as a whole."""
    evidence, doubts = TrialEvidence(usable_cpus=4), []
    for process in range(16):
        evidence.add(_session({TWO: 0.5 * math.exp(0.1 * (-1) ** process)}, rounds=2))
    for evidence.is_large in (False, True):
        evidence.learn(TWO, ())
        doubts.append(evidence.doubt(TWO))
    assert doubts[0] < LEAST_PROCESS_SCATTER
    assert doubts[1] == pytest.approx(1.4826 * math.sqrt(16 / 15) * 0.1 / math.sqrt(16), rel=0.01)


@pytest.mark.parametrize(
    ("choice", "default_cpus", "likely"), [(FOUR, 1, 0.8 / 2), (TWO, 1, 0.8), (FOUR, 4, 0.8), (TWO, 4, 0.8 * 2)]
)
def test_a_side_is_taken_to_lose_what_was_missing_of_the_cpus_that_it_uses(choice, default_cpus, likely):
    """Two of four CPUs were there."""
    capacity = Capacity(usable_cpus=4, probes=[4.0] * 30)
    evidence = TrialEvidence(usable_cpus=4, default_cpus=default_cpus, capacity=capacity, is_large=True)
    evidence.add(
        [
            _measured(DEFAULT, 0.01, 0.01),
            replace(_measured(choice, 0.008, 0.008), pairs=pairs([0.01] * 2, [0.008] * 2, capacity=2.0)),
        ]
    )
    assert evidence.prediction(choice) == pytest.approx(math.log(likely))
    assert evidence.estimate(choice) == pytest.approx(math.log(0.8))


@pytest.mark.parametrize(
    ("choice", "ratios", "interference", "is_little"),
    [
        (TWO, [1.0, 1.0], 0.3, True),
        (TWO, [1.6, 1.6], 0.3, False),
        (TWO, [1.3], 0.3, True),
        (TWO, [1.8], 0.3, False),
        (TWO, [1.0], 0.0, False),
        (ONE, [1.05], 0.3, True),
        (ONE, [1.05, 1.05], 0.3, False),
        (ONE, [1.3], 0.3, False),
    ],
)
def test_disturbed_pairs_tell_little_if_others_can_have_hidden_a_gain(choice, ratios, interference, is_little):
    """Others that took 30 % of the CPUs' time can have slowed down a choice that uses all of them 1.43 times."""
    evidence = TrialEvidence(usable_cpus=2, default_cpus=2, capacity=Capacity(usable_cpus=2, probes=[2.0] * 30))
    seconds = [0.01 * ratio for ratio in ratios]
    met = pairs([0.01] * len(seconds), seconds, interference, 2.0)
    evidence.add([_measured(DEFAULT, 0.01), replace(_measured(choice, *seconds), pairs=met)])
    assert evidence.rests_on_little(choice) is is_little


def test_a_process_that_was_learned_counts_once():
    """After a candidate is tested again its first processes come a second time."""
    evidence = TrialEvidence(usable_cpus=2)
    visits = [visit(0.8, pairs=2), visit(0.8, pairs=2)]
    evidence.learn(TWO, visits[:1])
    evidence.learn(TWO, visits)
    assert evidence.pairs(TWO) == 4
