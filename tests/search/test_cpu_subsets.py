"""Which CPUs stand for a smaller allocation."""

import pytest

from autotune.errors import UsageError
from autotune.model.machine import Cpu
from autotune.search.environment import cpu_subsets, spread

SERVER = [
    # two packages of four cores with two threads each; siblings are eight apart, as Linux numbers them
    Cpu(number=number, package=number % 8 // 4, core=number % 8, node=number % 8 // 4, l3=number % 8 // 4 * 4)
    for number in range(16)
]


def allocations_of(text, *, cpus=SERVER, usable=None):
    numbers = {cpu.number for cpu in cpus}
    return cpu_subsets(text, cpus=cpus, allowed=numbers, usable_cpus=usable or len(numbers))


def test_cores_come_before_their_second_threads_and_a_package_before_the_next():
    assert spread(SERVER, range(16)) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]
    assert spread(SERVER, [15, 7, 12, 4, 0, 8]) == [0, 4, 7, 8, 12, 15]


def test_a_core_of_which_only_the_second_thread_is_allowed_is_a_core():
    assert spread(SERVER, [9, 8, 1]) == [1, 8, 9]


def test_cpus_of_which_the_machine_says_nothing_go_by_their_numbers():
    assert spread([], [5, 3, 4]) == [3, 4, 5]


def test_every_count_has_its_cpus_the_largest_first():
    assert allocations_of("1, 4,2") == [frozenset({0, 1, 2, 3}), frozenset({0, 1}), frozenset({0})]


def test_all_is_the_allocation_as_it_is_and_comes_first():
    assert allocations_of("2,all") == [None, frozenset({0, 1})]


def test_as_many_cpus_as_there_are_and_the_same_twice_are_measured_once():
    assert allocations_of("16,all,1,1") == [None, frozenset({0})]


def test_under_a_quota_as_many_cpus_as_it_allows_are_still_a_mask():
    """The mask is what plain NumPy sees; the quota is not."""
    assert allocations_of("4", usable=4) == [frozenset({0, 1, 2, 3})]


@pytest.mark.parametrize("text", ["", ",", "0", "-2", "two", "1.0", "1;2", "ALL", "٢", "1,,2"])
def test_what_is_no_list_is_refused(text):
    with pytest.raises(UsageError, match="is not a list of numbers of CPUs"):
        allocations_of(text)


def test_more_cpus_than_may_be_used_are_refused():
    with pytest.raises(UsageError, match="only 4 CPUs may be used here"):
        allocations_of("8", usable=4)
