"""The public sampler, in any Optuna study."""

import doctest
import math

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

import autotune.search.grid_sampler as module
from autotune.search import GridSampler

SPACE = {
    "threads": IntDistribution(1, 32),
    "library": CategoricalDistribution(["openblas", "mkl", None]),
    "chunk": IntDistribution(1, 2**20, log=True),
}


def seconds(trial):
    threads = trial.suggest_int("threads", 1, 32)
    library = trial.suggest_categorical("library", ["openblas", "mkl", None])
    chunk = trial.suggest_int("chunk", 1, 2**20, log=True)
    return 1 / threads + 0.002 * threads + 0.3 * (library != "mkl") + 0.01 * abs(math.log2(chunk) - 12)


def a_study(sampler=None, **options):
    return optuna.create_study(sampler=sampler or GridSampler(SPACE, seed=1), **options)


def sampled_points(study, space, count, value=lambda _: 1.0):
    """Ask and tell; return the parameters in order."""
    parameters = []
    for _ in range(count):
        trial = study.ask(space)
        parameters.append(trial.params)
        study.tell(trial, value(trial.params))
    return parameters


def test_the_example_of_the_docstring_runs():
    results = doctest.testmod(module)
    assert results.attempted > 5
    assert results.failed == 0


def test_optimize_finds_a_good_point_of_integers_logarithmic_integers_and_categories():
    study = a_study()
    study.optimize(seconds, n_trials=30)
    best = study.sampler.expected_best(study)
    assert best["library"] == "mkl"
    assert best["threads"] >= 8
    assert study.best_value < 0.25


def test_the_same_seed_leads_to_the_same_trials():
    first, second = (a_study(GridSampler(SPACE, seed=5)) for _ in range(2))
    for study in (first, second):
        study.optimize(seconds, n_trials=12)
    assert [trial.params for trial in first.trials] == [trial.params for trial in second.trials]


def test_another_seed_leads_to_other_trials():
    first, second = (a_study(GridSampler(SPACE, seed=seed)) for seed in (5, 6))
    for study in (first, second):
        study.optimize(seconds, n_trials=6)
    assert [trial.params for trial in first.trials] != [trial.params for trial in second.trials]


def test_running_trials_count_as_visited():
    study = a_study()
    trials = [study.ask(SPACE) for _ in range(12)]
    assert len({tuple(trial.params.values()) for trial in trials}) == 12


def test_trials_in_threads_are_all_of_the_grid():
    study = a_study()
    study.optimize(seconds, n_trials=12, n_jobs=3)
    assert {trial.state for trial in study.trials} == {TrialState.COMPLETE}


def test_a_combination_that_failed_is_not_proposed_again():
    space = {"threads": IntDistribution(1, 12)}
    study = a_study(GridSampler(space, seed=0))
    failed = []
    for _ in range(12):
        trial = study.ask(space)
        if trial.params["threads"] > 6:
            failed.append(trial.params["threads"])
            study.tell(trial, state=TrialState.FAIL)
        else:
            study.tell(trial, 1 / trial.params["threads"])
    assert len(failed) == len(set(failed))


def test_nan_and_infinity_are_failures():
    space = {"threads": IntDistribution(1, 8)}
    study = a_study(GridSampler(space, seed=0))
    values = iter([math.nan, math.inf, 0.5, -math.inf])
    sampled_points(study, space, 4, lambda _: next(values))
    visits = study.sampler.visits(study)
    assert [visit.value is None for visit in visits] == [True, True, False, True]


def test_a_grid_of_one_point_is_proposed_every_time():
    space = {"threads": IntDistribution(4, 4), "method": CategoricalDistribution(["pipe"])}
    parameters = sampled_points(a_study(GridSampler(space, seed=0)), space, 3)
    assert parameters == [{"threads": 4, "method": "pipe"}] * 3


def test_when_every_point_was_visited_points_are_proposed_again():
    space = {"threads": IntDistribution(1, 4)}
    parameters = sampled_points(a_study(GridSampler(space, seed=0)), space, 10, lambda p: 1 / p["threads"])
    assert {point["threads"] for point in parameters} == {1, 2, 3, 4}


def test_when_every_point_failed_some_point_is_proposed():
    space = {"threads": IntDistribution(1, 3)}
    study = a_study(GridSampler(space, seed=0))
    parameters = sampled_points(study, space, 6, lambda _: math.nan)
    assert {point["threads"] for point in parameters} == {1, 2, 3}
    assert study.sampler.expected_best(study) is None


def test_a_study_that_maximizes_is_searched_for_its_largest_value():
    space = {"threads": IntDistribution(1, 64)}
    study = a_study(GridSampler(space, seed=0), direction="maximize")
    sampled_points(study, space, 20, lambda p: -((p["threads"] - 40) ** 2))
    assert abs(study.sampler.expected_best(study)["threads"] - 40) <= 3


def test_what_is_first_comes_first_and_illegal_combinations_never():
    space = {"threads": IntDistribution(1, 8), "workers": IntDistribution(1, 8)}
    sampler = GridSampler(
        space,
        legal=lambda values: values["threads"] * values["workers"] <= 8,
        first=[{"threads": 8, "workers": 1}, {"threads": 1, "workers": 8}],
        seed=0,
    )
    parameters = sampled_points(a_study(sampler), space, 20, lambda p: p["threads"] + p["workers"])
    assert parameters[:2] == [{"threads": 8, "workers": 1}, {"threads": 1, "workers": 8}]
    assert all(point["threads"] * point["workers"] <= 8 for point in parameters)


def test_enqueued_and_added_trials_are_learned_from_and_those_off_the_grid_are_not():
    space = {"threads": CategoricalDistribution([1, 2, 4, 8])}
    study = a_study(GridSampler(space, seed=0))
    study.enqueue_trial({"threads": 4})
    assert sampled_points(study, space, 1) == [{"threads": 4}]
    study.add_trial(create_trial(params={"threads": 8}, distributions=space, value=0.5))
    other = {"threads": IntDistribution(1, 99)}
    study.add_trial(create_trial(params={"threads": 77}, distributions=other, value=0.1))
    points = [study.sampler.grid.points[visit.point] for visit in study.sampler.visits(study)]
    assert points == [(4,), (8,)]


@pytest.mark.parametrize("extra", [True, False])
def test_a_conditional_parameter_is_refused_with_a_sentence(extra):
    space = {"threads": IntDistribution(1, 8), "chunk": IntDistribution(1, 8)}

    def objective(trial):
        trial.suggest_int("threads", 1, 8)
        if extra:
            trial.suggest_int("chunk", 1, 8)
            trial.suggest_int("unseen", 1, 8)
        return 1.0

    with pytest.raises(ValueError, match=r"conditional parameters are not"):
        a_study(GridSampler(space, seed=0)).optimize(objective, n_trials=2)


@pytest.mark.parametrize(
    ("space", "options", "words"),
    [
        ({"rate": FloatDistribution(0.0, 1.0)}, {}, "not finite"),
        ({"threads": IntDistribution(1, 4)}, {"legal": lambda _: False}, "no legal"),
        ({"threads": IntDistribution(1, 4)}, {"first": [{"threads": 5}]}, "no legal point"),
        ({name: IntDistribution(1, 99) for name in "abc"}, {}, "at most"),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused_with_a_sentence(space, options, words):
    with pytest.raises(ValueError, match=words):
        GridSampler(space, **options)


def test_a_study_of_several_objectives_is_refused_with_a_sentence():
    study = a_study(directions=["minimize", "minimize"])
    with pytest.raises(ValueError, match="several"):
        study.ask(SPACE)


def test_floats_with_a_step_are_a_grid():
    space = {"share": FloatDistribution(0.1, 0.5, step=0.1)}
    parameters = sampled_points(a_study(GridSampler(space, seed=0)), space, 5)
    assert sorted({round(point["share"], 9) for point in parameters}) == [0.1, 0.2, 0.3, 0.4, 0.5]
