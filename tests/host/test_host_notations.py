"""Notations of the kernel: lists of CPUs, and numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.host.kernel_files import LARGEST_CPU, cpulist, number, read, whole

sets = st.frozensets(st.integers(0, 300))


def listed(numbers):
    return ",".join(str(each) for each in sorted(numbers))


@given(sets)
def test_a_list_holds_the_numbers_it_was_written_from(numbers):
    assert cpulist(listed(numbers)) == numbers


@given(st.integers(0, 400), st.integers(0, 400))
def test_a_range_holds_both_ends_or_is_none_if_reversed(first, last):
    assert cpulist(f"{first}-{last}") == (frozenset(range(first, last + 1)) if first <= last else None)


@given(st.text())
def test_any_text_is_a_set_of_small_numbers_or_none(text):
    numbers = cpulist(text)
    assert numbers is None or all(0 <= each < LARGEST_CPU for each in numbers)


@given(st.text())
def test_any_text_is_a_whole_number_or_none(text):
    number = whole(text)
    assert number is None or number == int(text.strip())  # int() itself strips fewer characters


@pytest.mark.parametrize("text", ["0-99999999999", "70000", "1,,2", "-1", "a", "1-2-3", "0x1", "1:2"])
def test_a_list_that_cannot_be_one_is_none(text):
    assert cpulist(text) is None


def test_a_file_ends_at_its_first_nul_byte(tmp_path):
    (tmp_path / "padded").write_bytes(b"0-3\n\0\0\0junk")
    assert read(f"{tmp_path}/padded") == "0-3"


def test_what_cannot_be_read_is_none(tmp_path):
    assert read(f"{tmp_path}/none") is None
    assert read(f"{tmp_path}") is None
    assert read("a\0b") is None
    assert number(f"{tmp_path}/none") is None
