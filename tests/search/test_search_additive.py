"""What arms take once what their rounds and sessions met is taken off."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotune.model.configuration import Configuration
from autotune.search.session_effects import Additive, across, within

ONE, TWO, THREE = (Configuration(blas_threads=count) for count in (1, 2, 3))


def _ratio(model, arm, other):
    return math.exp(model.effect(arm) - model.effect(other))


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=8), st.floats(0.1, 10))
def test_what_slows_all_arms_of_a_round_alike_says_nothing_about_them(levels, ratio):
    model = Additive()
    model.add({ONE: [1.0 * level for level in levels], TWO: [ratio * level for level in levels]})
    assert _ratio(model, TWO, ONE) == pytest.approx(ratio)


def test_a_neighbour_that_comes_in_the_middle_of_some_rounds_counts_for_nothing():
    """Two rounds of six are doubled for all arms but the first two, the default among them."""
    values = np.log(np.array([[1.0], [2.0], [3.0], [4.0], [5.0]])) * np.ones(6)
    jitter = np.random.default_rng(1).normal(0, 0.01, values.shape)
    values = values + jitter
    values[2:, 1] += math.log(2)
    values[2:, 4] += math.log(2)

    effects, _ = within(values)

    assert np.diff(effects) == pytest.approx(np.diff(np.log([1, 2, 3, 4, 5])), abs=0.02)


def test_sessions_are_compared_through_all_arms_that_they_share():
    """The first arm was unlucky throughout the second session; two others say where that session lies."""
    effects = np.log(np.array([[1.0, 1.2], [2.0, 2.0], [3.0, 3.0], [4.0, 0.0001], [0.0001, 5.0]]))
    weights = np.array([[4, 4], [4, 4], [4, 4], [4, 0], [0, 4]])

    joint = np.exp(across(effects, weights))

    assert joint[4] / joint[3] == pytest.approx(5 / 4 / 1.2 ** (1 / 3))


def test_an_arm_that_varies_more_is_known_less_well():
    random = np.random.default_rng(2)
    model = Additive()
    model.add({arm: np.exp(random.normal(0, sd, 12)) for arm, sd in ((ONE, 0.01), (TWO, 0.01), (THREE, 0.2))})
    assert model.error(THREE) > 3 * model.error(ONE)


def test_more_rounds_make_the_error_smaller():
    random = np.random.default_rng(3)
    model = Additive()
    session = {arm: np.exp(random.normal(0, 0.02, 6)) for arm in (ONE, TWO)}
    model.add(session)
    before = model.error(ONE)
    model.add(session)
    assert model.error(ONE) == pytest.approx(before / math.sqrt(2))


@settings(max_examples=50)
@given(st.lists(st.lists(st.floats(1e-9, 1e6), min_size=3, max_size=3), min_size=1, max_size=6))
def test_any_timings_have_finite_effects_and_errors(rounds):
    model = Additive()
    model.add(dict(zip((ONE, TWO, THREE), zip(*rounds, strict=True), strict=True)))
    assert all(map(math.isfinite, [model.effect(TWO), model.error(TWO)]))


def test_a_session_that_slowed_one_arm_only_counts_for_less_than_those_that_agree():
    """A neighbour was there for all of the fourth session, and the second arm uses more of the CPUs."""
    effects = np.log(np.array([[1.0, 1.0, 1.0, 1.0], [2.0, 2.01, 1.99, 3.0], [3.0, 3.0, 3.01, 2.99]]))
    joint = np.exp(across(effects, np.full((3, 4), 4.0)))
    assert joint[1] / joint[0] == pytest.approx(2, rel=0.06)
