"""The canary's decision, jumps of the clocks, and when a host pulls: pure."""

from hypothesis import given
from hypothesis import strategies as st

from autotune.daemon.procedures import CheckedEntry, canary_decision, canary_verdict
from autotune.daemon.sensors import Moment, clock_jump
from autotune.daemon.state import CanaryVerdict
from autotune.daemon.store_sync import MAX_PULL_RETRY_SECONDS, PULL_RETRY_SECONDS, next_pull

FINE, SLOWER, OPEN = CanaryVerdict.FINE, CanaryVerdict.SLOWER, CanaryVerdict.OPEN


def test_a_fine_run_is_enough():
    assert canary_decision([FINE]) is True


def test_two_slower_runs_of_three_refuse_a_profile():
    assert canary_decision([SLOWER]) is None
    assert canary_decision([SLOWER, SLOWER]) is False
    assert canary_decision([SLOWER, FINE]) is None
    assert canary_decision([SLOWER, FINE, SLOWER]) is False
    assert canary_decision([SLOWER, FINE, FINE]) is True


def test_open_runs_decide_nothing():
    assert canary_decision([OPEN, OPEN, OPEN]) is None


def test_one_slower_entry_makes_a_run_slower():
    def verdict(*standings):
        sizes = {"m": 5, "n": 5}
        return canary_verdict(
            [
                CheckedEntry(operation="svd", dtype="float64", sizes=sizes, standing=each, reason="")
                for each in standings
            ]
        )

    assert verdict("holds", "slower", "open") is SLOWER
    assert verdict("holds", "open") is OPEN
    assert verdict("holds", "refused") is FINE


def test_a_suspended_machine_is_noticed():
    assert clock_jump(Moment(0, 0, 0), Moment(10, 3610, 3610)) == "The machine was suspended for 3600 seconds."


def test_a_clock_that_jumps_by_a_day_is_noticed_both_ways():
    assert clock_jump(Moment(0, 0, 0), Moment(10, 10, 86410)) == "The clock was set forward by 86400 seconds."
    assert clock_jump(Moment(0, 0, 86400), Moment(10, 10, 10)) == "The clock was set back by 86400 seconds."


def test_time_that_merely_passes_is_no_jump():
    assert clock_jump(Moment(0, 5, 9), Moment(1e6, 1e6 + 5, 1e6 + 12)) is None


def test_ten_thousand_hosts_pull_evenly_over_the_hour():
    minutes = [0] * 60
    for number in range(10_000):
        minutes[int((next_pull(f"host-{number}", 0.0) % 3600) // 60)] += 1
    assert max(minutes) < 2.2 * 10_000 / 60


def test_a_host_pulls_once_an_interval_whenever_it_is_asked():
    first = next_pull("a", 1e6)
    assert 1e6 < first <= 1e6 + 3600
    assert next_pull("a", first) == first + 3600
    assert next_pull("a", first - 1) == first


@given(st.integers(1, 100), st.text(max_size=8))
def test_failures_back_off_within_bounds_and_never_all_at_once(failures, host):
    waited = next_pull(host, 1000.0, failures=failures) - 1000.0
    most = min(PULL_RETRY_SECONDS * 2.0**failures, MAX_PULL_RETRY_SECONDS)
    assert most / 2 <= waited <= most
