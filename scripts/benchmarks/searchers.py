"""Searches that can be scored on a space whose times are known: autotune's and its rivals."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from typing import Protocol

import numpy as np
import numpy.typing as npt
import optuna

from autotune.search.search_grid import Grid, Value
from autotune.search.study import Study

ATTEMPTS = 50
"""Illegal combinations that a rival may suggest in a row before a legal one is drawn for it."""


class Space(Protocol):
    """A space whose times are known."""

    @property
    def grid(self) -> Grid:
        """The legal points."""

    @property
    def default(self) -> int | None:
        """The point to begin with."""

    @property
    def seconds(self) -> npt.NDArray[np.float64]:
        """(points,) true times; infinite where every trial fails."""

    def visit(self, point: int, random: np.random.Generator) -> float | None:
        """Draw the logarithm of one timing; None for a failed trial."""


Searcher = Callable[[Space, int, int], Iterator[int | None]]
"""(space, evaluations, seed) -> after each evaluation the point that would be chosen then."""


def search_autotune(space: Space, evaluations: int, seed: int) -> Iterator[int | None]:
    """Search with the sampler that calibrate uses."""
    random = np.random.default_rng([1, seed])
    study = Study(space.grid, seed=seed, first=[] if space.default is None else [space.default])
    for _ in range(evaluations):
        point = study.ask()
        study.tell(point, space.visit(point, random))
        yield study.choose()


def search_random(space: Space, evaluations: int, seed: int) -> Iterator[int | None]:
    """Visit points in random order, none twice until all were visited."""
    random = np.random.default_rng([2, seed])
    size = len(space.grid.points)
    order = (point for _ in range(evaluations // size + 1) for point in random.permutation(size))
    seen: dict[int, float] = {}
    for _, point in zip(range(evaluations), order, strict=False):
        value = space.visit(int(point), random)
        if value is not None:
            seen[int(point)] = min(value, seen.get(int(point), np.inf))
        yield min(seen, key=seen.__getitem__, default=None)


def search_tpe(space: Space, evaluations: int, seed: int) -> Iterator[int | None]:
    """Search with Optuna's default sampler."""
    return _search_optuna(space, evaluations, optuna.samplers.TPESampler(seed=seed), seed)


def search_gp(space: Space, evaluations: int, seed: int) -> Iterator[int | None]:
    """Search with Optuna's Gaussian process, which needs PyTorch."""
    return _search_optuna(space, evaluations, optuna.samplers.GPSampler(seed=seed), seed)


def _search_optuna(
    space: Space, evaluations: int, sampler: optuna.samplers.BaseSampler, seed: int
) -> Iterator[int | None]:
    """Search with one of Optuna's samplers over the parameters; the best value wins, as in Optuna's best_trial."""
    random = np.random.default_rng([3, seed])
    study = optuna.create_study(sampler=sampler)
    distributions = {name: _distribution(values) for name, values in space.grid.parameters.items()}
    seen: dict[int, list[float]] = defaultdict(list)
    for _ in range(evaluations):
        for _ in range(ATTEMPTS):
            trial = study.ask(distributions)
            point = space.grid.index.get(tuple(_decode(space.grid, name, trial.params[name]) for name in distributions))
            if point is not None:
                break
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            point = int(random.integers(len(space.grid.points)))
            values = zip(space.grid.parameters, space.grid.points[point], strict=True)
            study.enqueue_trial({name: _encode(space.grid, name, value) for name, value in values})
            trial = study.ask(distributions)
        value = space.visit(point, random)
        if value is None:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(trial, value)
            seen[point].append(value)
        yield min(seen, key=lambda point: min(seen[point]), default=None)


def search_smac(space: Space, evaluations: int, seed: int) -> Iterator[int | None]:
    """Search with SMAC's facade for algorithm configuration; the best value wins."""
    from ConfigSpace import Categorical, ConfigurationSpace, Integer
    from smac import HyperparameterOptimizationFacade, Scenario
    from smac.runhistory.dataclasses import TrialValue
    from smac.runhistory.enumerations import StatusType

    random = np.random.default_rng([4, seed])
    configurations = ConfigurationSpace(seed=seed)
    for name, values in space.grid.parameters.items():
        numeric = not isinstance(values[0], str)
        if len(values) > 1:
            configurations.add(Integer(name, (0, len(values) - 1)) if numeric else Categorical(name, list(values)))
    scenario = Scenario(
        configurations, n_trials=100 * ATTEMPTS * evaluations, seed=seed, output_directory=None, deterministic=True
    )
    facade = HyperparameterOptimizationFacade(scenario, _unused, overwrite=True, logging_level=False, dask_client=None)
    seen: dict[int, list[float]] = defaultdict(list)
    for _ in range(evaluations):
        for _ in range(ATTEMPTS):
            trial = facade.ask()
            drawn = dict(trial.config)
            point = space.grid.index.get(
                tuple(
                    _decode(space.grid, name, drawn.get(name, 0 if not isinstance(values[0], str) else values[0]))
                    for name, values in space.grid.parameters.items()
                )
            )
            if point is not None:
                break
            facade.tell(trial, TrialValue(cost=np.inf, status=StatusType.CRASHED))
        else:
            point = int(random.integers(len(space.grid.points)))
        value = space.visit(point, random)
        if value is None:
            facade.tell(trial, TrialValue(cost=np.inf, status=StatusType.CRASHED))
        else:
            facade.tell(trial, TrialValue(cost=value))
            seen[point].append(value)
        yield min(seen, key=lambda point: min(seen[point]), default=None)


def _unused(config: object, seed: int = 0) -> float:
    """Stand in for SMAC's target function, which ask and tell never call."""
    raise NotImplementedError


def _distribution(values: tuple[Value, ...]) -> optuna.distributions.BaseDistribution:
    """Numbers as positions in their order, everything else as categories."""
    if isinstance(values[0], str):
        return optuna.distributions.CategoricalDistribution(values)
    return optuna.distributions.IntDistribution(0, len(values) - 1)


def _decode(grid: Grid, name: str, drawn: int | str) -> Value:
    """Return the value that a drawn position stands for."""
    values = grid.parameters[name]
    return drawn if isinstance(values[0], str) else values[int(drawn)]


def _encode(grid: Grid, name: str, value: Value) -> Value:
    """Return the position that stands for a value."""
    values = grid.parameters[name]
    return value if isinstance(values[0], str) else values.index(value)


SEARCHERS: Mapping[str, Searcher] = {
    "autotune": search_autotune,
    "random": search_random,
    "tpe": search_tpe,
    "gp": search_gp,
    "smac": search_smac,
}

NEEDS: Mapping[str, str] = {"gp": "torch", "smac": "smac"}
"""Modules that a searcher needs in addition to those of the project."""


def is_available(searcher: str) -> bool:
    """Is everything that the searcher needs installed?"""
    return searcher not in NEEDS or find_spec(NEEDS[searcher]) is not None
