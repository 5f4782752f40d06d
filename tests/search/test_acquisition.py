"""Which point is visited next, and which is chosen."""

import math
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotune.search.acquisition import GridVisit, choose, promise, propose
from autotune.search.search_grid import Grid
from autotune.search.surrogate import WEIGHED, Model

CURVE = Grid.full({"threads": tuple(range(1, 65))})


def search(grid, log_time, visits, *, seed=0, first=()):
    """Visit points; `log_time` is a function of a point's values, None for a failure."""
    seen = []
    for _ in range(visits):
        point = propose(grid, seen, first=first, seed=seed)
        seen.append(GridVisit(point=point, value=log_time(grid.points[point])))
    return seen


def regret(grid, log_time, seen):
    """Return the choice's loss against the optimum."""
    best = min(value for point in grid.points if (value := log_time(point)) is not None)
    return math.expm1(log_time(grid.points[choose(grid, seen)]) - best)


def test_what_is_known_from_elsewhere_is_visited_first():
    """The default, corners and a neighbour's choice come before the model, in their order."""
    assert [visit.point for visit in search(CURVE, lambda _: 0.0, 3, first=(63, 0, 7))] == [63, 0, 7]


def test_the_same_visits_and_seed_lead_to_the_same_proposal():
    """A journal of sessions is enough to resume."""
    seen = search(CURVE, lambda point: math.sin(point[0]), 9)
    assert propose(CURVE, seen, seed=3) == propose(CURVE, seen, seed=3)


def test_a_point_that_failed_is_never_proposed_again():
    """A crash is learned from, and not looked for."""
    failing = {position for position in range(64) if CURVE.points[position][0] > 20}
    seen = search(CURVE, lambda point: None if point[0] > 20 else -math.log(point[0]), 40)
    visits = [visit.point for visit in seen if visit.point in failing]
    assert len(visits) == len(set(visits))


def test_a_space_in_which_everything_fails_has_no_choice():
    """No tuned entry comes from failures."""
    assert choose(CURVE, search(CURVE, lambda _: None, 5)) is None


def test_where_more_threads_fail_the_first_points_are_soon_sought_among_fewer():
    """Memory that runs out beyond a tenth of the threads: five failures teach it."""
    seen = search(CURVE, lambda point: None if point[0] > 6 else -math.log(point[0]), 12)
    assert CURVE.points[choose(CURVE, seen)] == (6,)


def failures(grid, log_time, visits):
    """Count the failures among the first visits, over five seeds."""
    return sum(visit.value is None for seed in range(5) for visit in search(grid, log_time, visits, seed=seed))


def test_a_limit_of_a_product_is_learned_from_a_few_failures():
    """Memory for eight copies, however they are split into threads and workers: 20 of 280 combinations."""
    pairs = [(blas, workers) for blas in range(1, 65) for workers in range(1, 65) if blas * workers <= 64]
    grid = Grid.of(("blas_threads", "workers"), pairs)
    assert failures(grid, lambda p: None if p[0] * p[1] > 8 else -math.log(p[0] * p[1]), 20) <= 65


def test_a_limit_in_one_category_is_not_taken_for_one_in_the_others():
    """One library fails with more than 8 threads, the other one scales to 64."""
    grid = Grid.full({"library": ("small", "large"), "threads": tuple(range(1, 65))})

    def log_time(point):
        return None if point[0] == "small" and point[1] > 8 else -math.log(point[1])

    assert failures(grid, log_time, 20) <= 30
    seen = search(grid, log_time, 20)
    assert regret(grid, lambda p: log_time(p) or 0.0, seen) <= 0.05


def test_failures_without_a_rule_do_not_keep_the_search_from_their_surroundings():
    """Every seventh count fails, next to the best one too."""
    seen = search(CURVE, lambda p: None if p[0] % 7 == 0 else abs(math.log(p[0] / 50)), 25)
    assert abs(CURVE.points[choose(CURVE, seen)][0] - 50) <= 1


def test_hundreds_of_failures_without_a_rule_leave_a_point_to_propose():
    """Every second of 600 counts fails: each rule is contradicted by about 300 trials."""
    grid = Grid.full({"threads": tuple(range(1, 602))})
    seen = [GridVisit(point=point, value=None if point % 2 else 0.001 * point) for point in range(600)]
    assert propose(grid, seen) == 600


def test_a_batch_holds_no_point_twice_while_there_are_others():
    """Points under way count as visited."""
    seen = search(CURVE, lambda point: math.log(1 / point[0] + 0.002 * point[0]), 8)
    pending = []
    for _ in range(8):
        pending.append(propose(CURVE, seen, pending=pending))
    assert len(set(pending)) >= 7


def test_a_space_of_one_point_is_proposed_and_chosen():
    """Nothing to choose from is no error."""
    grid = Grid.full({"threads": (4,)})
    seen = search(grid, lambda _: 0.0, 3)
    assert [visit.point for visit in seen] == [0, 0, 0]
    assert choose(grid, seen) == 0


@pytest.mark.parametrize(
    ("name", "log_time"),
    [
        ("smooth", lambda p: math.log(1 / p[0] + 0.002 * p[0])),
        ("saw-toothed", lambda p: math.log(math.ceil(48 / p[0]) / 48 + 0.0005 * p[0])),
        ("flat", lambda _: 0.0),
        ("falling", lambda p: -math.log(p[0])),
        ("rising", lambda p: 0.1 * math.log(p[0])),
    ],
)
def test_curves_of_every_shape_are_followed_to_within_two_per_cent(name, log_time):
    """25 visits of 64 thread counts, without noise."""
    assert regret(CURVE, log_time, search(CURVE, log_time, 25)) <= 0.02, name


def test_the_edge_of_a_step_is_found():
    """A library that falls back to one thread beyond some count: the best is right before the cliff."""

    def log_time(point):
        return -math.log(point[0]) if point[0] <= 37 else 0.0

    assert regret(CURVE, log_time, search(CURVE, log_time, 30)) <= 0.06


def test_in_a_large_space_with_categories_the_best_region_is_found():
    """1,536 configurations, 40 visits."""
    grid = Grid.full(
        {
            "threads": tuple(range(1, 33)),
            "chunk": tuple(2**power for power in range(12, 24)),
            "method": ("static", "dynamic", "guided", "auto"),
        }
    )
    cost = {"static": 0.3, "dynamic": 0.0, "guided": 0.2, "auto": 0.5}

    def log_time(point):
        threads, chunk, method = point
        return math.log(1 / threads + 0.003 * threads) + 0.1 * abs(math.log2(chunk / 65536)) + cost[method]

    assert regret(grid, log_time, search(grid, log_time, 40)) <= 0.1


def test_every_category_is_among_the_first_points_at_different_counts():
    grid = Grid.full({"library": tuple("abcd"), "affinity": ("close", "spread"), "threads": tuple(range(1, 17))})
    for seed in range(5):
        first = [grid.points[visit.point] for visit in search(grid, lambda _: 0.0, 4, seed=seed)]
        assert {point[0] for point in first} == set("abcd")
        assert {point[1] for point in first} == {"close", "spread"}
        assert len({point[2] for point in first}) == 4


def test_a_category_whose_curve_has_another_shape_is_not_given_up():
    """Flat in two libraries; in the third slow with few threads, and the fastest with many."""
    grid = Grid.full({"library": ("flat", "level", "steep"), "threads": (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)})

    def log_time(point):
        return 0.3 if point[0] != "steep" else 3.0 - 0.72 * math.log(point[1])

    assert all(regret(grid, log_time, search(grid, log_time, 20, seed=seed)) < 0.3 for seed in range(5))


def test_a_fast_region_of_a_flat_space_is_found_despite_noise():
    """A box of an eighth of the points is 1.5 times as fast; timings scatter by 3 %."""
    grid = Grid.full({"threads": tuple(range(1, 17)), "chunk": tuple(2**power for power in range(12, 20))})

    def log_time(point):
        return -0.4 * (4 <= point[0] <= 7 and point[1] >= 2**16)

    for seed in range(4):
        luck = Random(seed)
        seen = search(grid, lambda point: log_time(point) + luck.gauss(0, 0.03), 30, seed=seed)  # noqa: B023
        assert log_time(grid.points[choose(grid, seen)]) == -0.4


def test_teeth_that_follow_the_factorisation_of_the_count_are_foreseen():
    """Odd counts are 30 % slower, seen on half of the range: on the other half the model expects it too."""
    visited = np.arange(32)
    values = np.asarray([0.3 * (threads % 2) for threads in range(1, 33)])
    expected = Model.fit(CURVE, visited, values, np.ones(32)).predict(np.arange(34, 46)).average()
    odd = np.arange(35, 47) % 2 == 1
    assert expected[odd].mean() - expected[~odd].mean() > 0.2


def test_a_lucky_timing_does_not_win_against_many_sober_ones():
    """The choice is the one expected to be fast, not the one that once seemed so."""
    sober = [GridVisit(point=point, value=0.1 * abs(point - 30)) for point in range(20, 41)]
    steady = [GridVisit(point=30, value=0.0)] * 3
    assert choose(CURVE, [*sober, *steady, GridVisit(point=39, value=-0.02)]) in {29, 30, 31}


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(2, 40))
def test_any_noise_leads_to_legal_proposals(seed, visits):
    """Whatever the timings are, what is proposed exists."""
    luck = Random(seed)
    seen = search(CURVE, lambda _: None if luck.random() < 0.2 else luck.gauss(0, 3), visits, seed=seed)
    assert all(0 <= visit.point < 64 for visit in seen)


def test_what_was_seldom_visited_promises_much_and_what_was_seen_whole_nothing():
    def log_time(point):
        return abs(math.log(point[0] / 20))

    few, all_of_it = (search(CURVE, log_time, count) for count in (4, 64))
    assert promise(CURVE, few, 0.02) > 0.3
    assert promise(CURVE, all_of_it, 0.02) < 0.05


def test_a_larger_gain_is_never_promised_more_surely():
    seen = search(CURVE, lambda point: math.sin(point[0] / 9), 12)
    chances = [promise(CURVE, seen, gain) for gain in (0.0, 0.02, 0.1, 1.0)]
    assert chances == sorted(chances, reverse=True)


def test_where_every_visit_failed_anything_is_promised():
    assert promise(CURVE, [GridVisit(point=3, value=None)], 0.02) == 1.0


def test_beyond_the_points_that_weigh_hypotheses_every_visit_still_counts():
    """Each is predicted as it was seen, the last one as well as the first."""
    count = WEIGHED + 40
    grid = Grid.full({"threads": tuple(range(1, count + 1))})
    visited, values = np.arange(count), np.log(grid.coordinates[:, 0] + 0.1)
    model = Model.fit(grid, visited, values, np.ones(count))
    assert model.predict(visited).average() == pytest.approx(values, abs=0.05)


def test_the_best_point_right_before_a_cliff_is_chosen():
    """A smooth model of all points would expect it to be as slow as its neighbour beyond the cliff."""
    luck = Random(1)
    values = {t: (-math.log(t / 40) if t <= 40 else 2.5) + luck.gauss(0, 0.01) for t in (1, 8, 20, 30, 34, 38, 40)}
    values |= {t: 2.5 + luck.gauss(0, 0.01) for t in (41, 43, 50, 64)}
    seen = [GridVisit(point=threads - 1, value=value) for threads, value in values.items()]
    assert CURVE.points[choose(CURVE, seen)] == (40,)


def test_repeats_that_agree_make_single_timings_credible():
    """Without noise in the repeats a point's own deviation is believed, and with noise it is not."""
    rough = Random(2)
    others = [GridVisit(point=point, value=rough.gauss(0, 0.08)) for point in range(0, 60, 4)]
    lowest = GridVisit(point=62, value=min(visit.value for visit in others) - 0.02)
    exact = [GridVisit(point=30, value=0.0)] * 8
    noisy = [GridVisit(point=30, value=value) for value in (-0.08, 0.08, 0.05, -0.06, 0.09, -0.09, 0.07, -0.05)]
    models = []
    for repeats in (exact, noisy):
        data = {visit.point: visit.value for visit in others} | {30: 0.0, 62: lowest.value}
        squares = sum(visit.value**2 for visit in repeats)
        counts = np.asarray([8.0 if point == 30 else 1.0 for point in data])
        models.append(Model.fit(CURVE, np.asarray(list(data)), np.asarray(list(data.values())), counts, (7, squares)))
    exact_noise, noisy_noise = (float(model.weights @ model.noise) for model in models)
    assert exact_noise < 0.02
    assert noisy_noise > 0.05
