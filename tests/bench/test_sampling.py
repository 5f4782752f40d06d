"""Orders and sample lengths: pure."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from autotune.bench import rounds


@given(arms=st.integers(1, 40), count=st.integers(0, 30), seed=st.text(max_size=5))
def test_in_every_round_each_arm_runs_once(arms, count, seed):
    orders = rounds.orders(arms, count, seed)

    assert len(orders) == count
    assert all(sorted(order) == list(range(arms)) for order in orders)


@given(pairs=st.integers(1, 20), seed=st.text(max_size=5))
def test_of_two_arms_each_is_first_in_half_of_the_rounds(pairs, seed):
    first = Counter(order[0] for order in rounds.orders(2, 2 * pairs, seed))

    assert first == {0: pairs, 1: pairs}


def test_the_order_of_an_operation_does_not_depend_on_the_rest_of_the_plan():
    assert rounds.order_seed(7, "svd float64 m=5 n=5") == "7 svd float64 m=5 n=5"


@given(reference=st.floats(1e-6, 1e4), factor=st.floats(0.001, 1.0))
def test_the_fastest_arms_sample_is_long_enough_unless_the_reference_would_take_too_long(reference, factor):
    fastest = reference * factor

    loops = rounds.loops(reference, fastest)

    assert loops >= 1
    assert loops == 1 or loops * reference <= rounds.LONGEST_SAMPLE_SECONDS
    long_enough = loops * fastest >= 0.999 * rounds.SAMPLE_SECONDS
    assert long_enough or 2 * loops * reference > rounds.LONGEST_SAMPLE_SECONDS


def test_a_call_of_a_millisecond_is_repeated_sixteen_times():
    assert rounds.loops(0.001, 0.001) == 16


def test_a_call_of_a_second_is_a_sample_by_itself():
    assert rounds.loops(1.0, 1.0) == 1


def test_the_time_left_is_shared_evenly_among_the_tasks_left():
    assert rounds.share(now=10.0, end=16.0, tasks=3) == 12.0


def test_once_the_time_is_over_no_task_has_any_left():
    assert rounds.share(now=10.0, end=9.0, tasks=3) == 10.0


def _agenda(wanted, *busy):
    """The rounds in their turn, given how each was; all others are quiet."""
    agenda, turns, states = rounds.Agenda(wanted), [], iter(busy)
    while (number := agenda.next()) is not None:
        turns.append(number)
        agenda.note(number, busy=next(states, False))
    return turns


def test_quiet_rounds_come_once_each():
    assert _agenda(4) == [0, 1, 2, 3]


def test_disturbed_rounds_come_again_after_all_others_under_their_own_number():
    assert _agenda(4, True, False, True) == [0, 1, 2, 3, 0, 2]


def test_a_machine_that_is_never_quiet_is_not_waited_for():
    assert _agenda(4, *[True] * 99) == [0, 1, 2, 3]


@given(st.integers(0, 12), st.lists(st.booleans(), max_size=60))
def test_there_are_at_most_as_many_repetitions_as_quiet_rounds(wanted, busy):
    turns = _agenda(wanted, *busy)

    quiet = sum(not state for state in [*busy, *[False] * len(turns)][: len(turns)])
    assert turns[:wanted] == list(range(wanted))
    assert len(turns) <= wanted + quiet
    assert quiet <= wanted
