"""Numbers for people."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.cli import units
from autotune.errors import BadBudget


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("5m", 300),
        ("5min", 300),
        ("1h30m", 5400),
        ("300", 300),
        (" 1H 	".strip(), 3600),
        ("1.5m", 90),
    ],
)
def test_a_budget_is_read_in_the_ways_that_people_write_it(text, seconds):
    assert units.budget(text) == seconds


def test_a_moment_is_the_time_that_the_clock_here_shows():
    assert units.moment(datetime(2026, 11, 22, 9, 30).timestamp()) == "2026-11-22 09:30"  # noqa: DTZ001 - local


@pytest.mark.parametrize(
    "text", ["", "m", "5 apples", "-5m", "0", "0s", "1d", "5m1h", "inf", "nan", "1e3", "٣m", "31" * 9]
)
def test_a_budget_that_is_no_time_is_refused(text):
    with pytest.raises(BadBudget):
        units.budget(text)


@given(st.text(max_size=12))
def test_any_text_is_a_budget_or_is_refused(text):
    try:
        seconds = units.budget(text)
    except BadBudget:
        return
    assert 0 < seconds <= units.LONGEST_BUDGET


@given(st.integers(0, 47), st.integers(0, 59), st.integers(1, 59))
def test_a_budget_counts_hours_minutes_and_seconds(hours, minutes, seconds):
    assert units.budget(f"{hours}h{minutes}m{seconds}s") == hours * 3600 + minutes * 60 + seconds


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.0, "0.00 ns"),
        (1.234e-6, "1.23 us"),
        (0.0123, "12.3 ms"),
        (0.9996, "1.00 s"),
        (0.000_999_6, "1.00 ms"),
        (123.4, "123 s"),
    ],
)
def test_a_short_time_has_three_digits_and_a_fitting_unit(value, text):
    assert units.seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0:00"), (45.4, "0:45"), (725, "12:05"), (3725, "1:02:05"), (-3, "0:00")]
)
def test_a_long_time_reads_as_on_a_clock(value, text):
    assert units.clock(value) == text


def test_a_ratio_of_times_is_shown_as_a_speed_up_and_its_interval_turns_round():
    assert (units.speedup(0.5), units.speedup_interval(0.4, 0.8)) == ("2.00x", "1.25 to 2.50")


def test_a_speed_up_that_is_unknown_is_a_dash():
    assert (units.speedup(None), units.speedup_interval(None, 0.8)) == ("-", "")


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, "-"), (0, "0 B"), (1536, "1.50 KiB"), (16 * 2**30, "16.0 GiB"), (2**50, "1024 TiB")],
)
def test_memory_has_a_binary_unit(count, text):
    assert units.memory(count) == text
