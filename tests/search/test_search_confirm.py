"""What a look accepts: pure."""

import pytest
from support.confirmation_runs import LARGE, SMALL, trial

from autotune.search.sequential_test import ERROR, LOOKS, fault, interval, judge

STEADY = [trial(ratio) for ratio in (0.79, 0.8, 0.81)]
EQUAL = [trial(ratio) for ratio in (0.99, 1.0, 1.01)]
WORSE = [trial(ratio) for ratio in (1.19, 1.2, 1.21)]


def _judge(last=True, **trials):
    named = {"small": SMALL, "large": LARGE}
    return judge({named[name]: value for name, value in trials.items()}, error=0.01, margin=0.01, last=last)


def test_the_looks_share_the_error_among_them():
    assert sum(look.error for look in LOOKS) == pytest.approx(ERROR)
    assert [look.processes for look in LOOKS] == sorted({look.processes for look in LOOKS})


def test_a_gain_in_every_process_is_accepted():
    assert _judge(small=STEADY).accepted == {SMALL}


def test_no_gain_is_dropped_with_its_interval():
    verdict = _judge(small=EQUAL)

    assert verdict.accepted == frozenset()
    assert verdict.dropped[SMALL].startswith("Not proved faster: 1.000 times the default's time")


def test_a_size_that_is_slower_falls_and_the_others_stand():
    verdict = _judge(small=STEADY, large=WORSE)

    assert (verdict.accepted, set(verdict.dropped)) == ({SMALL}, {LARGE})


def test_a_gain_below_the_margin_is_dropped_although_it_is_real():
    verdict = _judge(small=[trial(ratio) for ratio in (0.9949, 0.995, 0.9951)])

    assert "not proved to exceed 1.0%" in verdict.dropped[SMALL]


def test_before_the_last_look_what_is_proved_is_settled_and_what_is_hopeless_falls():
    verdict = _judge(last=False, small=STEADY, large=EQUAL)

    assert (verdict.accepted, set(verdict.dropped)) == ({SMALL}, {LARGE})


def test_what_is_neither_proved_nor_hopeless_waits_for_the_next_look():
    verdict = _judge(last=False, small=[trial(ratio) for ratio in (0.9, 0.97, 1.0)])

    assert (verdict.accepted, dict(verdict.dropped)) == (set(), {})


def test_what_is_hopeless_at_every_size_is_dropped_at_once():
    assert set(_judge(last=False, small=WORSE, large=WORSE).dropped) == {SMALL, LARGE}


def test_one_process_proves_nothing_however_fast_it_was():
    assert not _judge(small=[trial(0.1)]).accepted


@pytest.mark.parametrize(
    ("slow", "factor", "words"),
    [(1, 10.0, "slower on average"), (2, 1.5, "90th percentile is")],
)
def test_a_choice_that_is_fast_in_most_pairs_and_slow_in_some_is_not_accepted(slow, factor, words):
    assert words in fault([trial(0.8, slow=slow, factor=factor)] * 3, error=0.01, margin=0.01)


def test_the_interval_is_that_of_the_processes_not_of_the_pairs():
    few_pairs = interval([trial(0.8, rounds=1), trial(0.9, rounds=1), trial(0.85, rounds=1)])

    assert interval([trial(0.8), trial(0.9), trial(0.85)]) == few_pairs
    assert few_pairs[1] < 0.8 < few_pairs[0] < 0.9 < few_pairs[2]
