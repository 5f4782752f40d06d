"""Optuna's side of a search."""

import math

from optuna.trial import TrialState

from autotune.search.search_grid import Grid
from autotune.search.study import Study

GRID = Grid.full({"threads": (1, 2, 4, 8), "method": ("pipe", "memfd")})


def test_every_trial_is_a_trial_of_the_optuna_study():
    """Those of a space measured whole, too: the study is the record of what was tried."""
    study = Study(GRID)
    for point in range(len(GRID.points)):
        assert study.ask(point) == point
        study.tell(point, float(point))
    states = [trial.state for trial in study.study.get_trials()]
    assert states == [TrialState.COMPLETE] * len(GRID.points)


def test_a_failed_trial_is_a_state_and_not_a_huge_time():
    """Optuna's FAIL says it."""
    study = Study(GRID)
    study.tell(study.ask(), None)
    assert study.study.get_trials()[0].state is TrialState.FAIL
    assert study.choose() is None


def test_a_batch_asked_at_once_holds_different_points():
    """Running points count as visited."""
    study = Study(GRID, seed=1)
    points = [study.ask() for _ in range(6)]
    assert len(set(points)) == 6


def test_the_choice_is_the_fastest_of_those_visited():
    """Told the logarithm of times, it gives the point."""
    study = Study(GRID, first=range(len(GRID.points)))
    for _ in GRID.points:
        point = study.ask()
        threads, method = GRID.points[point]
        study.tell(point, math.log(10 / threads + (5 if method == "pipe" else 0)))
    assert GRID.points[study.choose()] == (8, "memfd")
