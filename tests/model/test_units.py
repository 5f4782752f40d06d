"""Numbers for people."""

from datetime import datetime

import pytest

from autotune.model import units


def test_a_moment_is_the_time_that_the_clock_here_shows():
    assert units.moment(datetime(2026, 11, 22, 9, 30).timestamp()) == "2026-11-22 09:30"  # noqa: DTZ001 - local


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


def test_a_speed_up_is_shown_with_two_digits_after_the_point_and_so_is_its_interval():
    assert (units.speedup(852.52), units.speedup(15.38), units.speedup(0.096)) == ("853x", "15.4x", "0.10x")
    assert (units.speedup(2.0), units.interval((1.25, 2.5))) == ("2.00x", "1.25 to 2.50")


def test_a_speed_up_that_is_unknown_is_a_dash():
    assert (units.speedup(None), units.interval(None)) == ("-", "")


@pytest.mark.parametrize(
    ("count", "text"), [(None, "-"), (0, "0 B"), (1536, "1.50 KiB"), (16 * 2**30, "16.0 GiB"), (2**50, "1024 TiB")]
)
def test_memory_has_a_binary_unit(count, text):
    assert units.memory(count) == text


@pytest.mark.parametrize(("number", "text"), [(0, "0 entries"), (1, "1 entry"), (2, "2 entries")])
def test_a_number_agrees_with_its_noun(number, text):
    assert units.count_of(number, "entry", "entries") == text


@pytest.mark.parametrize(("value", "text"), [(0.034, "0.03"), (1.364, "1.36"), (4.24, "4.2"), (852.52, "over 10")])
def test_a_speedup_that_nothing_proved_is_never_a_large_number(value, text):
    assert units.seeming(value) == text
