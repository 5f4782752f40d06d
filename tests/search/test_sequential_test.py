"""A betting test whose error holds at whatever time it is looked at."""

from functools import partial
from itertools import accumulate, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.search.sequential_test import ERROR, LEAST_PROCESSES, SHARES, capital, interval, is_proved, upper_end


@given(st.lists(st.floats(0.001, 1.0), min_size=1, max_size=6))
def test_over_all_signs_of_symmetric_errors_the_mean_capital_is_one(sizes):
    signs = product((-1, 1), repeat=len(sizes))
    mean = np.mean([capital([sign * size for sign, size in zip(each, sizes, strict=True)]) for each in signs])
    assert mean == pytest.approx(1.0, rel=1e-9)


@given(st.lists(st.floats(-1.0, 1.0), min_size=1, max_size=8), st.floats(0.0, 1.0))
def test_a_slower_candidate_never_wins_more(values, slower):
    assert capital([value + slower for value in values]) <= capital(values) * (1 + 1e-12)


@given(st.lists(st.floats(-1.0, 1.0), max_size=LEAST_PROCESSES - 1))
def test_below_the_least_number_of_processes_nothing_is_proved_and_no_interval_is_stated(values):
    assert not is_proved(values, bound=0.0, error=ERROR)
    assert interval(values, (), partial(capital, values)) is None


def test_six_processes_prove_a_large_gain():
    assert is_proved([-0.5, -0.6, -0.55, -0.5, -0.6, -0.52], bound=-0.01, error=ERROR * SHARES[0])


def test_one_process_of_six_that_disagrees_leaves_it_open():
    assert not is_proved([-0.5, -0.6, -0.55, 0.5, -0.6, -0.52], bound=-0.01, error=ERROR * SHARES[0])


@given(st.lists(st.floats(-0.5, 0.5), min_size=LEAST_PROCESSES, max_size=12))
def test_the_interval_holds_the_estimate_and_agrees_with_the_test(values):
    ratio, low, high = interval(values, (), partial(capital, values))
    assert low <= ratio * (1 + 1e-6)
    assert ratio <= high * (1 + 1e-6)
    end = upper_end(partial(capital, values), 0.0)
    assert is_proved(values, bound=end + 1e-4, error=ERROR)
    assert not is_proved(values, bound=end - 1e-4, error=ERROR)


@pytest.mark.parametrize("scatter", [0.01, 0.05, 0.2])
def test_of_identical_configurations_looked_at_after_every_process_few_are_accepted(scatter):
    random = np.random.default_rng(3)
    runs = random.normal(0.0, scatter, (400, 60)).tolist()
    accepted = sum(
        any(
            is_proved(seen, bound=-0.01, error=ERROR)
            for seen in accumulate(([value] for value in run), lambda a, b: a + b)
        )
        for run in runs[:120]
    )
    assert accepted <= 0.025 * 120


def test_a_gain_of_five_percent_in_noise_of_three_is_proved_within_twenty_processes():
    random = np.random.default_rng(5)
    runs = random.normal(np.log(0.95), 0.03, (100, 20)).tolist()
    assert sum(is_proved(run, bound=-0.01, error=ERROR * SHARES[0]) for run in runs) >= 95


def test_all_candidates_of_an_entry_share_the_error():
    assert sum(SHARES) == pytest.approx(1.0)
