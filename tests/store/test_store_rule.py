"""Which choice holds between measured sizes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_profiles import tuning

from autotune.model.configuration import DEFAULT, Configuration
from autotune.model.operation import Operation
from autotune.model.tuning import Status
from autotune.store.rule import choose

ONE = {"blas_threads": 1}
TWO = {"blas_threads": 2}


def chosen(tunings, **sizes):
    found = choose(tunings, Operation(name="qr", sizes=tuple(sizes.items())))
    return None if found is None else found.choice


def test_a_measured_size_has_its_own_entry():
    entries = [tuning(choice=ONE, n=100), tuning(choice=TWO, n=200)]
    assert choose(entries, entries[1].operation) is entries[1]


@pytest.mark.parametrize("n", [99, 201])
def test_outside_the_measured_range_nothing_is_claimed(n):
    assert chosen([tuning(choice=ONE, n=100), tuning(choice=ONE, n=200)], n=n) is None


def test_nothing_measured_claims_nothing():
    assert chosen([], n=1) is None


def test_sizes_of_other_names_are_not_compared():
    assert chosen([tuning(choice=ONE, n=100)], m=100, n=100) is None


def test_between_equal_choices_it_is_that_choice():
    assert chosen([tuning(choice=ONE, n=100), tuning(choice=ONE, n=200)], n=150) == Configuration(
        blas_threads=1
    )


def test_a_choice_holds_between_if_the_other_neighbour_is_safe_with_it():
    assert chosen([tuning(choice=ONE, n=100), tuning(n=200, safe=(1,))], n=150) == Configuration(
        blas_threads=1
    )


def test_a_choice_that_the_other_neighbour_is_not_safe_with_gives_way_to_the_default():
    found = choose([tuning(choice=ONE, n=100), tuning(n=200)], Operation(name="qr", sizes=(("n", 150),)))
    assert (found.choice, found.status) == (DEFAULT, Status.DEFAULT_KEPT)
    assert "no choice is known to be safe" in found.reason


def test_of_two_safe_choices_the_nearest_by_logarithm_wins():
    entries = [tuning(choice=ONE, safe=(1, 2), n=100), tuning(choice=TWO, safe=(1, 2), n=1000)]
    assert chosen(entries, n=300) == Configuration(blas_threads=1)
    assert chosen(entries, n=330) == Configuration(blas_threads=2)


def test_a_size_without_evidence_lets_no_choice_pass():
    entries = [tuning(choice=ONE, n=100), tuning(status=Status.NOISY, n=200), tuning(choice=ONE, n=400)]
    assert chosen(entries, n=150) == DEFAULT
    assert chosen(entries, n=300) == DEFAULT


def test_choices_that_differ_in_the_chunk_alone_are_as_good_as_equal():
    entries = [
        tuning(choice={"workers": 2, "chunk": 10}, n=100),
        tuning(choice={"workers": 2, "chunk": 20}, n=200),
    ]
    assert chosen(entries, n=110) == Configuration(workers=2, chunk=10)


def test_workers_are_not_safe_because_threads_are():
    entries = [tuning(choice={"workers": 2, "blas_threads": 1}, n=100), tuning(n=200, safe=(1,))]
    assert chosen(entries, n=110) == DEFAULT


SQUARES = [tuning(choice=ONE, m=100, n=100), tuning(choice=ONE, m=400, n=400), tuning(m=1600, n=1600)]


@pytest.mark.parametrize(
    ("m", "n", "expected"),
    [
        (200, 300, Configuration(blas_threads=1)),
        (100, 400, Configuration(blas_threads=1)),
        (100, 1600, DEFAULT),
        (500, 500, DEFAULT),
        (50, 400, None),
        (400, 3200, None),
    ],
)
def test_every_size_must_lie_between_measured_neighbours(m, n, expected):
    """A long and thin matrix between small and large squares has only far neighbours, which seldom agree."""
    assert chosen(SQUARES, m=m, n=n) == expected


SIZES = st.tuples(st.integers(1, 50), st.integers(1, 50))
CHOICES = st.sampled_from([None, ONE, TWO, {"workers": 2}])


@given(st.dictionaries(SIZES, st.tuples(CHOICES, st.sets(st.integers(1, 2))), max_size=8), SIZES)
def test_a_choice_between_is_always_one_that_a_bracketing_size_was_tuned_with(measured, asked):
    entries = [tuning(choice=choice, safe=safe, m=m, n=n) for (m, n), (choice, safe) in measured.items()]
    m, n = asked
    found = chosen(entries, m=m, n=n)
    below = any(a <= m and b <= n for a, b in measured)
    above = any(a >= m and b >= n for a, b in measured)
    assert (found is None) == (not (below and above))
    if found not in {None, DEFAULT}:
        assert found in [entry.choice for entry in entries]
