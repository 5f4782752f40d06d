"""Which choice holds between measured sizes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.profile_builders import make_entry, with_evidence

from autotune.model.configuration import DEFAULT, Configuration, Method
from autotune.model.entry import Status
from autotune.model.interpolation import choose, even_chunk
from autotune.model.operation import Operation

ONE = {"blas_threads": 1}
TWO = {"blas_threads": 2}
EIGHT = {"blas_threads": 8}
SIXTEEN = {"blas_threads": 16}


def chosen(entries, **sizes):
    entry = choose(entries, Operation(name="qr", sizes=tuple(sizes.items())))
    return None if entry is None else entry.choice


def test_a_measured_size_has_its_own_entry():
    entries = [make_entry(choice=ONE, n=100), make_entry(choice=TWO, n=200)]
    assert choose(entries, entries[1].operation) is entries[1]


@pytest.mark.parametrize("n", [99, 201])
def test_outside_the_measured_range_nothing_is_claimed(n):
    assert chosen([make_entry(choice=ONE, n=100), make_entry(choice=ONE, n=200)], n=n) is None


def test_nothing_measured_claims_nothing():
    assert chosen([], n=1) is None


def test_sizes_of_other_names_are_not_compared():
    assert chosen([make_entry(choice=ONE, n=100)], m=100, n=100) is None


def test_between_equal_choices_it_is_that_choice():
    assert chosen([make_entry(choice=ONE, n=100), make_entry(choice=ONE, n=200)], n=150) == Configuration(
        blas_threads=1
    )


def test_a_choice_holds_between_if_the_other_neighbour_is_safe_with_it():
    assert chosen([make_entry(choice=ONE, n=100), make_entry(n=200, safe=(1,))], n=150) == Configuration(blas_threads=1)


def test_a_choice_that_the_other_neighbour_is_not_safe_with_gives_way_to_the_default():
    entry = choose([make_entry(choice=ONE, n=100), make_entry(n=200)], Operation(name="qr", sizes=(("n", 150),)))
    assert (entry.choice, entry.status) == (DEFAULT, Status.DEFAULT_KEPT)
    assert "no choice is known to be safe" in entry.reason


def test_between_choices_of_different_knobs_it_is_one_that_is_safe_at_both():
    entries = [
        make_entry(choice=ONE, safe=(1,), n=100),
        make_entry(choice={"blas_threads": 1, "workers": 2}, safe=(1,), n=1000),
    ]
    assert chosen(entries, n=300) == Configuration(blas_threads=1)


def test_the_best_between_may_be_the_best_at_neither_neighbour():
    small = make_entry(choice=TWO, speedup=5.0, others=[(EIGHT, 1 / 0.25), (SIXTEEN, 1 / 0.5)], n=128)
    large = make_entry(choice=SIXTEEN, speedup=5.0, others=[(EIGHT, 1 / 0.25), (TWO, 1 / 0.5)], n=512)
    assert chosen([small, large], n=256) == Configuration(**EIGHT)
    assert chosen([small, large], n=130) == Configuration(**TWO)
    assert chosen([small, large], n=510) == Configuration(**SIXTEEN)


def test_of_two_that_are_equally_good_between_the_one_that_was_proved_is_taken():
    entries = [
        make_entry(choice=TWO, speedup=5.0, others=[(ONE, 1 / 0.2)], n=100),
        make_entry(choice=TWO, speedup=5.0, others=[(ONE, 1 / 0.199)], n=200),
    ]
    assert chosen(entries, n=150) == Configuration(**TWO)


def test_what_was_measured_at_one_neighbour_alone_is_not_used():
    entries = [make_entry(choice=TWO, others=[(EIGHT, 1 / 0.1)], n=100), make_entry(choice=TWO, n=200)]
    assert chosen(entries, n=150) == Configuration(**TWO)


def test_the_reason_says_how_many_neighbours_proved_it_and_what_to_expect():
    entries = [make_entry(choice=ONE, speedup=1 / 0.25, n=100), make_entry(n=400, safe=(1,))]
    entry = choose(entries, Operation(name="qr", sizes=(("n", 200),)))
    assert entry.reason == (
        "Between measured sizes: at 1 of its 2 neighbours proved, at the others measured to be no slower; "
        "about 2.00 times as fast as the default."
    )
    assert entry.evidence.speedup is None


def test_where_every_neighbour_proved_it_the_reason_speaks_of_no_others():
    entries = [make_entry(choice=ONE, speedup=1 / 0.25, n=100), make_entry(choice=ONE, speedup=1 / 0.25, n=400)]
    entry = choose(entries, Operation(name="qr", sizes=(("n", 200),)))
    assert entry.reason == (
        "Between measured sizes: at 2 of its 2 neighbours proved; about 4.00 times as fast as the default."
    )


def test_ways_of_sharing_are_different_ways():
    inherit, pipe = ({"workers": 2, "method": Method(name)} for name in ("inherit", "pipe"))
    entries = [make_entry(choice=inherit, speedup=1 / 0.1, n=100), make_entry(choice=pipe, speedup=1 / 0.1, n=200)]
    assert chosen(entries, n=150) == DEFAULT


def test_a_size_whose_default_failed_lets_no_choice_pass():
    entries = [make_entry(choice=ONE, n=100), make_entry(status=Status.FAILED, n=200), make_entry(choice=ONE, n=400)]
    assert chosen(entries, n=150) == DEFAULT
    assert chosen(entries, n=300) == DEFAULT


@pytest.mark.parametrize("status", [Status.NOISY, Status.UNDECIDED])
def test_a_size_without_a_result_takes_nothing_away_from_those_around_it(status):
    entries = [make_entry(choice=ONE, n=100), make_entry(status=status, n=200), make_entry(choice=ONE, n=400)]
    assert chosen(entries, n=150) == Configuration(blas_threads=1)
    assert chosen(entries, n=200) == Configuration(blas_threads=1)
    assert chosen(entries, n=300) == Configuration(blas_threads=1)


def test_a_default_that_was_kept_for_want_of_time_takes_nothing_away_either():
    tentative = with_evidence(make_entry(n=200), speedup_limit=1.06)
    entries = [make_entry(choice=ONE, n=100), tentative, make_entry(choice=ONE, n=400)]
    assert chosen(entries, n=150) == chosen(entries, n=300) == Configuration(blas_threads=1)


def test_a_size_without_a_result_is_its_own_entry_outside_the_decided_range():
    entries = [make_entry(choice=ONE, n=100), make_entry(status=Status.UNDECIDED, n=200)]
    entry = choose(entries, Operation(name="qr", sizes=(("n", 200),)))
    assert entry is not None
    assert entry.status is Status.UNDECIDED


def test_choices_that_differ_in_the_chunk_alone_are_one_whose_chunk_lies_between():
    entries = [
        make_entry(choice={"workers": 2, "chunk": 1000}, n=10_000),
        make_entry(choice={"workers": 2, "chunk": 4000}, n=160_000),
    ]
    assert chosen(entries, n=40_000) == Configuration(workers=2, chunk=2000)


@pytest.mark.parametrize(
    ("chunk", "workers", "whole", "expected"),
    [(65536, 4, 316_227, 79057), (1000, 3, 1000, 1000), (900, 3, 1000, 334), (8, 1, 100, 9), (0.6, 2, 2, 1)],
)
def test_every_worker_gets_as_many_slices(chunk, workers, whole, expected):
    assert even_chunk(chunk, workers, whole) == expected


@given(st.integers(1, 10**6), st.integers(1, 64), st.integers(1, 10**9))
def test_evened_chunks_are_between_half_and_double_unless_there_are_too_few_for_the_workers(chunk, workers, whole):
    result = even_chunk(chunk, workers, whole)
    assert 1 <= result <= max(whole, chunk)
    if chunk < whole:
        assert result <= 2 * chunk
        if workers * chunk <= whole:
            assert result >= chunk / 2


def test_workers_are_not_safe_because_threads_are():
    entries = [make_entry(choice={"workers": 2, "blas_threads": 1}, n=100), make_entry(n=200, safe=(1,))]
    assert chosen(entries, n=110) == DEFAULT


SQUARES = [make_entry(choice=ONE, m=100, n=100), make_entry(choice=ONE, m=400, n=400), make_entry(m=1600, n=1600)]


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
def test_a_choice_between_has_no_counts_outside_those_of_the_bracketing_sizes(measured, size):
    entries = [make_entry(choice=choice, safe=safe, m=m, n=n) for (m, n), (choice, safe) in measured.items()]
    m, n = size
    choice = chosen(entries, m=m, n=n)
    below = any(a <= m and b <= n for a, b in measured)
    above = any(a >= m and b >= n for a, b in measured)
    assert (choice is None) == (not (below and above))
    if choice not in {None, DEFAULT}:
        counts = [entry.choice.cpus for entry in entries if not entry.choice.is_default]
        assert min(counts) <= choice.cpus <= max(counts)


def long_array(n=20_000_000, *, times=(1.0, 1.0), choices=(8, 8), name="log"):
    """The entry for n elements, where a million and ten million were measured."""
    entries = [
        with_evidence(
            make_entry(name, choice=workers and {"workers": workers, "chunk": 65536}, n=size),
            default_seconds=time * 1e-9 * size,
        )
        for size, time, workers in zip((1_000_000, 10_000_000), times, choices, strict=True)
    ]
    return choose(entries, Operation(name=name, sizes=(("n", n),)))


def test_work_that_is_constant_per_element_has_no_upper_end():
    entry = long_array()
    assert (entry.status, entry.choice) == (Status.TUNED, Configuration(workers=8, chunk=65536))
    assert "n=10000000" in entry.reason


@pytest.mark.parametrize("times", [(1.0, 1.4), (1.4, 1.0)])
def test_work_that_still_changes_per_element_ends_at_the_largest_size(times):
    assert long_array(times=times) is None


@pytest.mark.parametrize("choices", [(8, 4), (8, None), (None, 8)])
def test_two_largest_sizes_that_disagree_claim_nothing_above(choices):
    assert long_array(choices=choices) is None


def test_below_the_smallest_size_nothing_is_claimed():
    assert long_array(n=999_999) is None


def test_only_work_on_arrays_is_open_upwards():
    assert long_array(name="share") is None
