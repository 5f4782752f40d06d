"""Which choice holds between measured sizes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_profiles import tuning

from autotune.model.configuration import DEFAULT, Configuration, Method
from autotune.model.operation import Operation
from autotune.model.tuning import Status
from autotune.store.rule import choose

ONE = {"blas_threads": 1}
TWO = {"blas_threads": 2}
SIXTEEN = {"blas_threads": 16}


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


def test_between_choices_of_different_knobs_it_is_one_that_is_safe_at_both():
    entries = [
        tuning(choice=ONE, safe=(1,), n=100),
        tuning(choice={"blas_threads": 1, "workers": 2}, safe=(1,), n=1000),
    ]
    assert chosen(entries, n=300) == Configuration(blas_threads=1)


def test_counts_between_two_sizes_lie_between_theirs_by_logarithm():
    entries = [tuning(choice={"blas_threads": 4}, ratio=0.1, n=128), tuning(choice=SIXTEEN, ratio=0.2, n=512)]
    assert chosen(entries, n=256) == Configuration(blas_threads=8)
    assert chosen(entries, n=130) == Configuration(blas_threads=4)
    assert chosen(entries, n=510) == Configuration(blas_threads=16)


def test_a_count_between_is_used_only_where_the_gains_exceed_what_it_could_cost():
    """Half the threads take at most twice the time: a gain of less than that on either side is not enough."""
    entries = [tuning(choice={"blas_threads": 4}, ratio=0.3, n=128), tuning(choice=SIXTEEN, ratio=0.6, n=512)]
    assert chosen(entries, n=256) == DEFAULT


def test_a_way_of_sharing_that_copies_is_no_relative_of_one_that_does_not():
    inherit, pipe = ({"workers": 2, "method": Method(name)} for name in ("inherit", "pipe"))
    entries = [tuning(choice=inherit, ratio=0.1, n=100), tuning(choice=pipe, ratio=0.1, n=200)]
    assert chosen(entries, n=150) == DEFAULT


def test_a_size_without_evidence_lets_no_choice_pass():
    entries = [tuning(choice=ONE, n=100), tuning(status=Status.NOISY, n=200), tuning(choice=ONE, n=400)]
    assert chosen(entries, n=150) == DEFAULT
    assert chosen(entries, n=300) == DEFAULT


def test_choices_that_differ_in_the_chunk_alone_are_as_good_as_equal():
    entries = [
        tuning(choice={"workers": 2, "chunk": 8}, n=100),
        tuning(choice={"workers": 2, "chunk": 16}, n=200),
    ]
    assert chosen(entries, n=110) == Configuration(workers=2, chunk=8)
    assert chosen(entries, n=190) == Configuration(workers=2, chunk=16)


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
def test_a_choice_between_has_no_counts_outside_those_of_the_bracketing_sizes(measured, asked):
    entries = [tuning(choice=choice, safe=safe, m=m, n=n) for (m, n), (choice, safe) in measured.items()]
    m, n = asked
    found = chosen(entries, m=m, n=n)
    below = any(a <= m and b <= n for a, b in measured)
    above = any(a >= m and b >= n for a, b in measured)
    assert (found is None) == (not (below and above))
    if found not in {None, DEFAULT}:
        counts = [entry.choice.cpus for entry in entries if not entry.choice.is_default]
        assert min(counts) <= found.cpus <= max(counts)
