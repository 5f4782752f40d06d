"""Interference of other processes: pure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.bench import noise
from autotune.host.pressure import Load
from autotune.model.measurement import Pair


def _load(busy=0.0, stolen=0.0, own=0.0, waiting=0.0, preemptions=0):
    return Load(
        busy_seconds=busy, stolen_seconds=stolen, own_seconds=own, waiting_seconds=waiting, own_preemptions=preemptions
    )


def _disturbed(*readings, **more):
    return noise.interference(*readings, **more) > noise.LARGEST_INTERFERENCE


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (_load(), False),
        (_load(busy=2.0, own=2.0), False),
        (_load(busy=2.04, own=2.0), False),
        (_load(busy=2.06, own=2.0), True),
        (_load(stolen=0.02), False),
        (_load(stolen=0.03), True),
    ],
)
def test_a_second_is_disturbed_beyond_five_percent_foreign_or_what_can_be_told_to_be_stolen(after, expected):
    assert _disturbed(_load(), after, wall=1.0, cpus=2) is expected


def test_a_long_pair_is_disturbed_beyond_one_percent_stolen():
    assert not _disturbed(_load(), _load(stolen=0.09), wall=10.0, cpus=2)
    assert _disturbed(_load(), _load(stolen=0.11), wall=10.0, cpus=2)


def test_the_more_cpus_the_less_a_short_pair_can_tell():
    assert _disturbed(_load(), _load(busy=0.05), wall=0.02, cpus=2)
    assert not _disturbed(_load(), _load(busy=0.05), wall=0.02, cpus=64)


@pytest.mark.parametrize(
    ("waiting", "preemptions", "expected"), [(0.004, 3, True), (0.004, 1, False), (0.0009, 30, False), (0.02, 0, False)]
)
def test_a_pair_of_20_ms_is_disturbed_if_its_threads_were_preempted_and_waited(waiting, preemptions, expected):
    after = _load(waiting=waiting, preemptions=preemptions)

    assert _disturbed(_load(), after, wall=0.02, cpus=2) is expected


def test_a_long_pair_is_disturbed_beyond_five_percent_waiting_and_twenty_preemptions_a_second():
    assert _disturbed(_load(), _load(waiting=0.6, preemptions=210), wall=10.0, cpus=2)
    assert not _disturbed(_load(), _load(waiting=0.6, preemptions=190), wall=10.0, cpus=2)
    assert not _disturbed(_load(), _load(waiting=0.4, preemptions=2000), wall=10.0, cpus=2)


def test_threads_that_crowd_each_other_are_no_evidence_of_others():
    after = _load(waiting=1.0, preemptions=1000)

    assert noise.interference(_load(), after, wall=1.0, cpus=2, crowded=True) == 0.0
    assert _disturbed(_load(), _load(busy=0.2), wall=1.0, cpus=2, crowded=True)


def test_interference_is_the_share_of_the_cpus_that_others_took_or_that_was_waited_for():
    waiting = noise.interference(_load(), _load(waiting=0.01, preemptions=3), wall=0.02, cpus=2)
    foreign = noise.interference(_load(), _load(busy=10.0), wall=10.0, cpus=2)

    assert waiting == pytest.approx(0.25)
    assert foreign == pytest.approx(0.5, abs=0.01)


def test_what_cannot_be_told_is_unknown():
    assert noise.interference(Load(), Load(), wall=1.0, cpus=2) is None
    assert noise.interference(_load(), _load(), wall=0.0, cpus=2) is None


@pytest.mark.parametrize(("interference", "expected"), [(None, True), (0.0, True), (0.02, True), (0.021, False)])
def test_a_pair_is_accepted_unless_others_are_known_to_have_taken_too_much(interference, expected):
    pair = Pair(default_seconds=1.0, candidate_seconds=1.0, interference=interference)
    assert noise.is_undisturbed(pair) is expected


@given(
    st.floats(0, 100), st.floats(0, 100), st.floats(0, 10), st.integers(0, 10**6), st.floats(1e-6, 100), st.booleans()
)
def test_interference_is_a_share(busy, own, waiting, preemptions, wall, crowded):
    after = _load(busy=busy, own=own, waiting=waiting, preemptions=preemptions)
    assert 0.0 <= noise.interference(_load(), after, wall=wall, cpus=2, crowded=crowded) <= 1.0


def test_taken_is_what_others_and_the_hypervisor_used_as_far_as_it_is_known():
    assert noise.seconds_taken(_load(), _load(busy=3.0, own=2.0, stolen=0.5)) == 1.5
    assert noise.seconds_taken(Load(stolen_seconds=1.0), Load(stolen_seconds=1.25)) == 0.25
    assert noise.seconds_taken(Load(), Load()) == 0.0
