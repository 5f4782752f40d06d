"""Budget, clocks, canary, timing in a cluster: pure decisions."""

from hypothesis import given
from hypothesis import strategies as st

from autotune.daemon.budget import Spent, left, spend
from autotune.daemon.canary import Step, Verdict, step, verdict
from autotune.daemon.clocks import Moment, jump
from autotune.daemon.stagger import (
    FIRST_RETRY_SECONDS,
    LONGEST_RETRY_SECONDS,
    next_pull,
    turn,
)

FINE, SLOWER, OPEN = Verdict.FINE, Verdict.SLOWER, Verdict.OPEN


def test_a_new_day_has_a_new_budget():
    assert left(Spent("2026-01-01", 900.0), "2026-01-02", 1000.0) == 1000.0


def test_what_was_spent_today_is_not_left():
    assert left(spend(Spent("2026-01-01", 900.0), "2026-01-01", 60.0), "2026-01-01", 1000.0) == 40.0


def test_a_clock_set_back_by_a_day_gives_nothing_back():
    spent = Spent("2026-01-02", 900.0)
    assert left(spent, "2026-01-01", 1000.0) == 100.0
    assert spend(spent, "2026-01-01", 50.0) == Spent("2026-01-02", 950.0)


def test_a_day_far_ahead_was_a_wrong_clock_and_is_not_waited_for():
    spent = Spent("2036-01-01", 1e9)
    assert left(spent, "2026-01-01", 1000.0) == 1000.0
    assert spend(spent, "2026-01-01", 50.0) == Spent("2026-01-01", 50.0)


def test_a_clock_that_gives_no_date_gives_nothing_back():
    assert left(Spent("garbage", 900.0), "2026-01-01", 1000.0) == 100.0


def test_without_a_limit_there_is_no_end():
    assert left(Spent("2026-01-01", 1e9), "2026-01-01", None) is None


def test_a_suspended_machine_is_noticed():
    assert jump(Moment(0, 0, 0), Moment(10, 3610, 3610)) == "The machine was suspended for 3600 seconds."


def test_a_clock_that_jumps_by_a_day_is_noticed_both_ways():
    assert jump(Moment(0, 0, 0), Moment(10, 10, 86410)) == "The clock was set forward by 86400 seconds."
    assert jump(Moment(0, 0, 86400), Moment(10, 10, 10)) == "The clock was set back by 86400 seconds."


def test_time_that_merely_passes_is_no_jump():
    assert jump(Moment(0, 5, 9), Moment(1e6, 1e6 + 5, 1e6 + 12)) is None


def test_a_fine_run_is_enough():
    assert step([FINE]) is Step.ADOPT


def test_two_slower_runs_of_three_are_a_quarantine():
    assert step([SLOWER]) is Step.TIME
    assert step([SLOWER, SLOWER]) is Step.QUARANTINE
    assert step([SLOWER, FINE]) is Step.TIME
    assert step([SLOWER, FINE, SLOWER]) is Step.QUARANTINE
    assert step([SLOWER, FINE, FINE]) is Step.ADOPT


def test_three_runs_that_cannot_tell_leave_it_out():
    assert step([OPEN, OPEN]) is Step.TIME
    assert step([OPEN, OPEN, OPEN]) is Step.LEAVE


@given(st.lists(st.sampled_from(Verdict), min_size=3, max_size=3))
def test_three_runs_always_decide(runs):
    assert step(runs) is not Step.TIME


def test_one_slower_entry_makes_a_run_slower():
    entries = [{"standing": "holds"}, {"standing": "slower"}, {"standing": "open"}]
    assert verdict({"entries": entries}) is SLOWER
    assert verdict({"entries": [entries[0], entries[2]]}) is OPEN
    assert verdict({"entries": [entries[0], {"standing": "refused"}]}) is FINE


def test_ten_thousand_nodes_pull_evenly_over_the_hour():
    minutes = [0] * 60
    for number in range(10_000):
        minutes[int((next_pull(f"host-{number}", 0.0) % 3600) // 60)] += 1
    assert max(minutes) < 2.2 * 10_000 / 60


def test_a_node_pulls_once_an_interval_whenever_it_is_asked():
    first = next_pull("a", 1e6)
    assert 1e6 < first <= 1e6 + 3600
    assert next_pull("a", first) == first + 3600
    assert next_pull("a", first - 1) == first


@given(st.integers(1, 100), st.text(max_size=8))
def test_failures_back_off_within_bounds_and_never_all_at_once(failures, host):
    waited = next_pull(host, 1000.0, failures=failures) - 1000.0
    most = min(FIRST_RETRY_SECONDS * 2.0**failures, LONGEST_RETRY_SECONDS)
    assert most / 2 <= waited <= most


def test_equal_nodes_take_turns():
    turns = sorted(turn(f"host-{number}", "svd", 0.0, spread=7200.0) for number in range(50))
    assert turns[0] < 7200.0 / 10
    assert turns[1] - turns[0] > 0
    assert turns[-1] < 7200.0
