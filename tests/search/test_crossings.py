"""Candidates for sizes between measured ones."""

import pytest
from support.fake_bench import pairs

from autotune.model.configuration import DEFAULT, Configuration
from autotune.model.interpolation import adjacent_sizes
from autotune.model.measurement import Measurement
from autotune.model.operation import Operation
from autotune.search.crossings import alternatives, crossings
from autotune.search.evidence import TrialEvidence

SMALL, MIDDLE, LARGE = (Operation(name="cholesky", sizes=(("n", n),)) for n in (100, 400, 1600))


def threads(count):
    return Configuration(blas_threads=count)


def evidence(operation, ratios, rounds=4):
    """Of a machine without noise: each configuration with its time over the default's."""
    result = TrialEvidence(usable_cpus=64)
    times = {DEFAULT: 1.0, **ratios}
    result.add(
        [
            Measurement(
                operation=operation,
                configuration=choice,
                pairs=() if choice.is_default else pairs([0.01] * rounds, [0.01 * ratio] * rounds),
                seconds=(0.01 * ratio,) * rounds,
            )
            for choice, ratio in times.items()
        ]
    )
    return result


def listed(*sizes):
    by_size = dict(zip((SMALL, LARGE), sizes, strict=False))
    return {
        operation: {row.choice: 1 / row.speedup for row in rows} for operation, rows in alternatives(by_size).items()
    }


def test_the_ways_on_the_lower_envelope_are_listed_at_both_sizes_with_their_ratios():
    ratios = {threads(1): 0.2, threads(4): 0.3, threads(16): 0.9, threads(9): 0.8}
    mirrored = {threads(1): 0.9, threads(4): 0.3, threads(16): 0.2, threads(9): 0.8}
    rows = listed(evidence(SMALL, ratios), evidence(LARGE, mirrored))
    assert rows[SMALL] == {way: pytest.approx(ratios[way]) for way in map(threads, (1, 4, 16))}
    assert rows[LARGE] == {way: pytest.approx(mirrored[way]) for way in map(threads, (1, 4, 16))}


def test_a_way_that_is_slower_than_the_default_at_either_size_is_not_listed():
    rows = listed(
        evidence(SMALL, {threads(1): 1.1, threads(2): 0.9}), evidence(LARGE, {threads(1): 0.1, threads(2): 0.9})
    )
    assert set(rows[LARGE]) == {threads(2)}


def test_one_size_alone_has_nothing_in_between():
    assert listed(evidence(SMALL, {threads(1): 0.1})) == {SMALL: {}}


def test_of_a_way_the_best_chunk_of_each_size_is_listed():
    small = {Configuration(workers=2, chunk=chunk): ratio for chunk, ratio in ((8, 0.5), (16, 0.6))}
    large = {Configuration(workers=2, chunk=chunk): ratio for chunk, ratio in ((8, 0.6), (64, 0.5))}
    rows = listed(evidence(SMALL, small), evidence(LARGE, large))
    assert [choice.chunk for choice in rows[SMALL]] == [8]
    assert [choice.chunk for choice in rows[LARGE]] == [64]


def test_what_one_timing_alone_speaks_for_is_not_listed():
    assert listed(evidence(SMALL, {threads(1): 0.1}, rounds=1), evidence(LARGE, {threads(1): 0.1}))[LARGE] == {}


def test_leaders_of_either_size_and_counts_between_them_are_to_be_measured_at_both():
    by_size = {SMALL: evidence(SMALL, {threads(2): 0.5}), LARGE: evidence(LARGE, {threads(32): 0.1})}
    wanted = {threads(count) for count in (2, 4, 8, 16, 32)}
    assert {operation: set(ways) for operation, ways in crossings(by_size).items()} == {SMALL: wanted, LARGE: wanted}


def test_counts_of_other_pools_between_two_leaders_are_to_be_measured_too():
    few, many = (Configuration(openmp_threads=count) for count in (1, 16))
    by_size = {SMALL: evidence(SMALL, {few: 0.5}), LARGE: evidence(LARGE, {many: 0.1})}
    assert {way.openmp_threads for way in crossings(by_size)[SMALL]} == {1, 2, 4, 8, 16}


def test_a_size_where_everything_failed_is_left_alone():
    empty = TrialEvidence(usable_cpus=4)
    assert crossings({SMALL: empty, LARGE: evidence(LARGE, {threads(2): 0.1})}) == {}


def test_only_sizes_without_another_between_them_are_neighbours():
    assert set(adjacent_sizes([LARGE, SMALL, MIDDLE])) == {(SMALL, MIDDLE), (MIDDLE, LARGE)}


def test_shapes_of_which_neither_is_the_larger_are_no_neighbours():
    tall, wide = (Operation(name="qr", sizes=(("m", m), ("n", n))) for m, n in ((4000, 64), (64, 4000)))
    square = Operation(name="qr", sizes=(("m", 4000), ("n", 4000)))
    assert set(adjacent_sizes([tall, wide, square])) == {(tall, square), (wide, square)}
