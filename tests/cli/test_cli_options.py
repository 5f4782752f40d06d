"""Sizes and times as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.cli.options import LONGEST_SECONDS, parse_duration, parse_size, parse_sizes, split_words
from autotune.errors import BadBudget, BadSize
from autotune.model.catalogue import CATALOGUE


def test_several_sizes_form_their_product():
    product = parse_sizes(["m=100,200", "n=5,6"], CATALOGUE["qr"])
    assert [tuple(size.values()) for size in product] == [(100, 5), (100, 6), (200, 5), (200, 6)]


def test_one_text_may_hold_several_sizes():
    assert parse_sizes(["m=100,200 n=5"], CATALOGUE["qr"]) == ({"m": 100, "n": 5}, {"m": 200, "n": 5})


def test_sizes_left_out_are_filled_in():
    assert parse_sizes(["n=7"], CATALOGUE["stack_svd"]) == ({"n": 7, "count": 1000},)


def test_no_words_ask_for_no_sizes():
    assert parse_sizes([], CATALOGUE["qr"]) == ()


@pytest.mark.parametrize(
    ("text", "value"), [("1e6", 10**6), ("2.5e3", 2500), ("1_000", 1000), ("1E+2", 100), ("3.0", 3)]
)
def test_numbers_may_be_written_as_people_write_them(text, value):
    assert parse_sizes([f"n={text}"], CATALOGUE["log"]) == ({"n": value},)


def test_a_value_given_twice_counts_once():
    assert len(parse_sizes(["n=5,5,6"], CATALOGUE["log"])) == 2


@pytest.mark.parametrize(
    "text", ["n", "n=", "=5", "5", "n=0", "n=-3", "n=abc", "n=1.5", "n=1,,2", "n=1e99", "n=٣", "n=1e6.5", "n=5=6"]
)
def test_a_malformed_size_is_refused_with_the_word(text):
    with pytest.raises(BadSize) as caught:
        parse_sizes([text], CATALOGUE["log"])
    assert repr(text) in str(caught.value)


def test_a_size_given_twice_is_refused():
    with pytest.raises(BadSize, match="given twice"):
        parse_sizes(["n=1", "n=2"], CATALOGUE["log"])


def test_a_size_that_the_operation_does_not_have_is_refused():
    with pytest.raises(BadSize, match="log has no size m"):
        parse_sizes(["m=5 n=5"], CATALOGUE["log"])


def test_too_many_combinations_are_refused():
    values = ",".join(str(n) for n in range(1, 40))
    with pytest.raises(BadSize, match="combinations"):
        parse_sizes([f"m={values} n={values}"], CATALOGUE["qr"])


@given(st.text(max_size=40))
def test_any_text_is_either_sizes_or_refused(text):
    try:
        product = parse_sizes([text], CATALOGUE["qr"])
    except BadSize:
        return
    assert all(value >= 1 for size in product for value in size.values())


@given(st.integers(1, 2**48))
def test_any_whole_number_is_read_exactly(value):
    assert parse_sizes([f"n={value}"], CATALOGUE["log"]) == ({"n": value},)


def test_one_value_is_one_value():
    assert parse_size(["rows=1_000 n=2", "m=3"]) == {"rows": 1000, "n": 2, "m": 3}


def test_several_values_are_not_one():
    with pytest.raises(BadSize, match="rows has several"):
        parse_size(["rows=1,2"])


def test_words_with_an_equals_sign_are_sizes():
    assert split_words(["svd", "n=5", "qr"]) == (["svd", "qr"], ["n=5"])


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("5m", 300), ("5min", 300), ("1h30m", 5400), ("300", 300), (" 1H 	".strip(), 3600), ("1.5m", 90)],
)
def test_a_budget_is_read_in_the_ways_that_people_write_it(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "m", "5 apples", "-5m", "0", "0s", "1d", "5m1h", "inf", "nan", "1e3", "٣m", "31" * 9]
)
def test_a_budget_that_is_no_time_is_refused(text):
    with pytest.raises(BadBudget):
        parse_duration(text)


@given(st.text(max_size=12))
def test_any_text_is_a_budget_or_is_refused(text):
    try:
        seconds = parse_duration(text)
    except BadBudget:
        return
    assert 0 < seconds <= LONGEST_SECONDS


@given(st.integers(0, 47), st.integers(0, 59), st.integers(1, 59))
def test_a_budget_counts_hours_minutes_and_seconds(hours, minutes, seconds):
    assert parse_duration(f"{hours}h{minutes}m{seconds}s") == hours * 3600 + minutes * 60 + seconds
