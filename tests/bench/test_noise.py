"""The noise gate: pure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.bench import noise
from autotune.host.pressure import Load


def _load(busy=0.0, stolen=0.0, own=0.0, waiting=0.0, preemptions=0):
    return Load(
        busy_seconds=busy,
        stolen_seconds=stolen,
        own_seconds=own,
        waiting_seconds=waiting,
        own_preemptions=preemptions,
    )


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
def test_a_second_is_busy_beyond_five_percent_foreign_or_what_can_be_told_to_be_stolen(after, expected):
    assert noise.busy(_load(), after, wall=1.0, cpus=2) is expected


def test_a_long_round_is_busy_beyond_one_percent_stolen():
    assert not noise.busy(_load(), _load(stolen=0.09), wall=10.0, cpus=2)
    assert noise.busy(_load(), _load(stolen=0.11), wall=10.0, cpus=2)


def test_the_more_cpus_the_less_a_short_round_can_tell():
    assert noise.busy(_load(), _load(busy=0.05), wall=0.02, cpus=2)
    assert not noise.busy(_load(), _load(busy=0.05), wall=0.02, cpus=64)


@pytest.mark.parametrize(
    ("waiting", "preemptions", "expected"),
    [
        (0.004, 3, True),
        (0.004, 1, False),
        (0.0009, 30, False),
        (0.02, 0, False),
    ],
)
def test_a_round_of_20_ms_is_busy_if_its_threads_were_preempted_while_somebody_waited(
    waiting, preemptions, expected
):
    after = _load(waiting=waiting, preemptions=preemptions)

    assert noise.busy(_load(), after, wall=0.02, cpus=2) is expected


def test_a_long_round_is_busy_beyond_five_percent_waiting_and_twenty_preemptions_a_second():
    assert noise.busy(_load(), _load(waiting=0.6, preemptions=210), wall=10.0, cpus=2)
    assert not noise.busy(_load(), _load(waiting=0.6, preemptions=190), wall=10.0, cpus=2)
    assert not noise.busy(_load(), _load(waiting=0.4, preemptions=2000), wall=10.0, cpus=2)


def test_threads_that_crowd_each_other_are_no_evidence_of_others():
    after = _load(waiting=1.0, preemptions=1000)

    assert not noise.busy(_load(), after, wall=1.0, cpus=2, crowded=True)
    assert noise.busy(_load(), _load(busy=0.2), wall=1.0, cpus=2, crowded=True)


def test_taken_is_what_others_and_the_hypervisor_used_as_far_as_it_is_known():
    assert noise.taken(_load(), _load(busy=3.0, own=2.0, stolen=0.5)) == 1.5
    assert noise.taken(Load(stolen_seconds=1.0), Load(stolen_seconds=1.25)) == 0.25
    assert noise.taken(Load(), Load()) == 0.0


def test_what_the_system_does_not_say_is_not_held_against_it():
    assert not noise.busy(Load(), _load(busy=9.0, stolen=9.0), wall=1.0, cpus=2)


def test_quiet_rounds_are_kept_and_the_first_busy_ones_fill_up():
    assert noise.kept([True, False, True, False, True], wanted=3) == (0, 1, 3)


@given(st.lists(st.booleans(), max_size=30), st.integers(0, 20))
def test_no_busy_round_is_kept_while_a_quiet_one_is_left_out(busy, wanted):
    kept = noise.kept(busy, wanted)

    assert len(kept) == min(wanted, len(busy))
    assert list(kept) == sorted(set(kept))
    left_out = set(range(len(busy))) - set(kept)
    assert not (any(busy[place] for place in kept) and any(not busy[place] for place in left_out))
