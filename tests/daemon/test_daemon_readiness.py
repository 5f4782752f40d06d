"""When the machine is idle enough."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from autotune.daemon.daemon_settings import IdleThresholds, quiet_cpus
from autotune.daemon.readiness import STABLE_SECONDS, IdleWindow, next_window
from autotune.daemon.sensors import LoadSample

LIMITS = IdleThresholds(quiet_seconds=60.0, busy_seconds=0.5, start_below=0.08, stop_above=0.4)
OPEN = IdleWindow(is_open=True)


def over(window, loads, period):
    """The window after each of these loads."""
    seen = []
    for number, load in enumerate(loads):
        began = 1000 + number * period
        window = next_window(window, LoadSample(began=began, ended=began + period, foreign_cpus=load), LIMITS)
        seen.append(window)
    return seen


def test_it_opens_after_a_minute_of_quiet_and_no_sooner():
    assert [window.is_open for window in over(IdleWindow(), [0.0] * 6, 10.0)] == [False] * 5 + [True]


def test_one_busy_stretch_starts_the_minute_anew():
    assert not any(window.is_open for window in over(IdleWindow(), [0.0] * 5 + [0.5] + [0.0] * 5, 10.0))


def test_a_second_of_work_every_ten_seconds_never_lets_it_open():
    assert not any(window.is_open for window in over(IdleWindow(), [0.1] * 30, 10.0))


def test_a_load_of_a_second_every_ten_causes_one_stop_and_no_start():
    quarter = [1.0] * 4 + [0.0] * 36
    seen = over(OPEN, quarter * 3, 0.25)
    assert [window.is_open for window in seen].index(False) == 1
    later = over(seen[-1], [0.1] * 27, 10.0)
    assert not any(window.is_open for window in [*seen[1:], *later])


def test_a_blip_shorter_than_the_dwell_time_does_not_close_it():
    assert all(window.is_open for window in over(OPEN, [0.0, 0.9, 0.0, 0.9, 0.0], 0.25))


def test_it_closes_once_half_a_second_of_load_has_been_seen():
    assert [window.is_open for window in over(OPEN, [0.9, 0.9], 0.25)] == [True, False]


def test_a_load_between_both_thresholds_changes_nothing():
    assert over(OPEN, [0.2] * 100, 0.25)[-1].is_open
    assert not over(IdleWindow(), [0.2] * 100, 10.0)[-1].is_open


def test_tasks_that_wait_for_a_cpu_keep_it_closed():
    sample = LoadSample(began=0, ended=100, foreign_cpus=0.0, waiting=0.2)
    assert next_window(IdleWindow(), sample, LIMITS).why == "Tasks wait for a CPU 20% of the time."


def test_without_any_pressure_information_the_cpu_time_of_others_decides():
    assert next_window(IdleWindow(since=0.0), LoadSample(began=50, ended=60, foreign_cpus=0.0), LIMITS).is_open


def test_with_pressure_information_alone_that_decides():
    assert next_window(IdleWindow(since=0.0), LoadSample(began=50, ended=60, waiting=0.0), LIMITS).is_open


def test_a_system_that_says_nothing_is_never_idle():
    window = next_window(IdleWindow(since=0.0), LoadSample(began=50, ended=600), LIMITS)
    assert not window.is_open
    assert window.why == "This system does not report its load, so nothing is measured."


def test_an_obstacle_closes_it_at_once():
    sample = LoadSample(began=0, ended=0.1, foreign_cpus=0.0, obstacle="The machine runs on battery.")
    assert next_window(OPEN, sample, LIMITS) == IdleWindow(why="The machine runs on battery.")


@given(st.lists(st.floats(0.0, 4.0), max_size=200))
def test_it_never_opens_and_closes_more_often_than_the_dwell_times_allow(loads):
    states = [window.is_open for window in over(IdleWindow(), loads, 10.0)]
    opened = [place for place, (a, b) in enumerate(pairwise(states)) if b and not a]
    assert all(after - before >= 6 for before, after in pairwise(opened))


def test_each_time_that_load_closes_it_soon_the_quiet_has_to_last_twice_as_long():
    once = over(IdleWindow(is_open=True, opened=900.0), [0.9, 0.9], 0.25)[-1]
    assert [window.is_open for window in over(once, [0.0] * 12, 10.0)] == [False] * 11 + [True]
    long_open = over(OPEN, [0.0, 0.9], STABLE_SECONDS)[-1]
    assert [window.is_open for window in over(long_open, [0.0] * 6, 10.0)] == [False] * 5 + [True]


def test_a_workstation_counts_as_quiet_with_the_load_of_its_desktop_and_two_cpus_do_not():
    assert [quiet_cpus(cpus) for cpus in (1, 2, 4, 8, 64)] == [0.08, 0.08, 0.12, 0.24, 0.25]
