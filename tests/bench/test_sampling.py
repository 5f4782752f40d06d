"""Orders and sample lengths: pure."""

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from autotune.bench import sampling


@given(candidates=st.integers(1, 20), count=st.integers(0, 15), seed=st.text(max_size=5))
def test_in_every_round_each_candidate_has_one_pair(candidates, count, seed):
    turns = sampling.pair_order(candidates, count, seed)

    by_round = [[turn.candidate for turn in turns if turn.round == number] for number in range(count)]
    assert len(turns) == candidates * count
    assert all(sorted(order) == list(range(candidates)) for order in by_round)


@given(candidates=st.integers(1, 20), pairs=st.integers(1, 10), seed=st.text(max_size=5))
def test_each_candidate_follows_the_default_as_often_as_it_precedes_it(candidates, pairs, seed):
    turns = sampling.pair_order(candidates, 2 * pairs, seed)

    first = Counter(turn.candidate for turn in turns if turn.default_first)
    assert first == dict.fromkeys(range(candidates), pairs)


@given(candidates=st.integers(1, 20), pairs=st.integers(1, 10), seed=st.text(max_size=5))
def test_a_drift_that_is_the_same_in_both_rounds_favours_no_one(candidates, pairs, seed):
    turns = sampling.pair_order(candidates, 2 * pairs, seed)
    places = [place for turn in turns for place in ((0, 1) if turn.default_first else (1, 0))]

    for begin in range(0, len(places), 4 * candidates):
        block = places[begin : begin + 4 * candidates]
        assert block == block[::-1]


def test_half_of_the_neighbouring_pairs_meet_with_the_same_side():
    turns = sampling.pair_order(1, 100, "seed")
    meetings = [first.default_first != second.default_first for first, second in pairwise(turns)]
    assert sum(meetings) >= 50


def test_rounds_of_no_candidates_are_empty():
    assert sampling.pair_order(0, 8, "") == []


def test_the_order_of_an_operation_does_not_depend_on_the_rest_of_the_plan():
    assert sampling.order_seed(7, "svd float64 m=5 n=5") == "7 svd float64 m=5 n=5"


@given(reference=st.floats(1e-6, 1e4), factor=st.floats(0.001, 1.0))
def test_the_fastest_arms_sample_is_long_enough_unless_the_reference_would_take_too_long(reference, factor):
    fastest = reference * factor

    loops = sampling.loops(reference, fastest)

    assert loops >= 1
    assert loops == 1 or loops * reference <= sampling.LONGEST_SAMPLE_SECONDS
    long_enough = loops * fastest >= 0.999 * sampling.SAMPLE_SECONDS
    assert long_enough or 2 * loops * reference > sampling.LONGEST_SAMPLE_SECONDS


def test_a_call_of_a_millisecond_is_repeated_ten_times():
    assert sampling.loops(0.001, 0.001) == 10


def test_a_call_of_a_second_is_a_sample_by_itself():
    assert sampling.loops(1.0, 1.0) == 1


def test_the_time_left_is_shared_evenly_among_the_tasks_left():
    assert sampling.share(now=10.0, end=16.0, tasks=3) == 12.0


def test_once_the_time_is_over_no_task_has_any_left():
    assert sampling.share(now=10.0, end=9.0, tasks=3) == 10.0


def _agenda(wanted, *disturbed):
    """The rounds of a single candidate in their turn, given how each was; all others are undisturbed."""
    agenda, turns, states = sampling.Agenda(sampling.pair_order(1, wanted, "")), [], iter(disturbed)
    for turn in agenda:
        turns.append(turn.round)
        agenda.note(turn, disturbed=next(states, False))
    return turns


def test_undisturbed_pairs_come_once_each():
    assert _agenda(4) == [0, 1, 2, 3]


def test_disturbed_pairs_come_again_after_all_others():
    assert _agenda(4, True, False, True) == [0, 1, 2, 3, 0, 2]


def test_a_machine_that_is_never_quiet_is_not_waited_for():
    assert _agenda(4, *[True] * 99) == [0, 1, 2, 3]


def test_a_candidate_that_is_dropped_has_no_further_pair():
    agenda = sampling.Agenda(sampling.pair_order(2, 3, ""))
    seen = []
    for turn in agenda:
        seen.append(turn.candidate)
        if turn.candidate == 1:
            agenda.drop(1)
        else:
            agenda.note(turn, disturbed=False)
    assert sorted(seen) == [0, 0, 0, 1]


@given(st.integers(0, 12), st.lists(st.booleans(), max_size=60))
def test_there_are_at_most_as_many_repetitions_as_undisturbed_pairs(wanted, disturbed):
    turns = _agenda(wanted, *disturbed)

    quiet = sum(not state for state in [*disturbed, *[False] * len(turns)][: len(turns)])
    assert turns[:wanted] == list(range(wanted))
    assert len(turns) <= wanted + quiet
    assert quiet <= wanted
