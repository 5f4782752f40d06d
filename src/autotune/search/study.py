"""The only room that knows Optuna: one study for each space, asked and told.

Optuna keeps the trials, their states and their order; what to try next is decided by `engine`, which speaks
to Optuna as one of its samplers. Source of the interface: Optuna's guide "User-defined sampler".
"""

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, Trial, TrialState

from autotune.search.acquisition import Visit, choose, promise, propose
from autotune.search.search_grid import Grid

optuna.logging.set_verbosity(optuna.logging.WARNING)


class Study:
    """One search over one Grid.

    Ownership: a trial that was asked belongs to the caller until it is told. The study stays in memory; what
    must survive a crash is the journal of sessions, from which the same study grows again.
    """

    def __init__(
        self, grid: Grid, *, seed: int = 0, first: Sequence[int] = (), name: str | None = None
    ) -> None:
        """`first` are the points to try before any other, in order."""
        self.grid = grid
        self.study = optuna.create_study(
            study_name=name, sampler=_EngineSampler(grid, first=first, seed=seed)
        )
        self._distributions: dict[str, BaseDistribution] = {
            parameter: CategoricalDistribution(values) for parameter, values in grid.parameters.items()
        }

    def ask(self, point: int | None = None) -> tuple[Trial, int]:
        """A new trial and the point that it is to visit: the one given, or the one that the engine proposes."""
        if point is not None:
            self.study.enqueue_trial(dict(zip(self.grid.parameters, self.grid.points[point], strict=True)))
        trial = self.study.ask(self._distributions)
        return trial, _point(self.grid, trial.params)

    def tell(self, trial: Trial, value: float | None) -> None:
        """The logarithm of the time that the trial found, or None if it failed."""
        if value is None:
            self.study.tell(trial, state=TrialState.FAIL)
        else:
            self.study.tell(trial, value)

    def promise(self, gain: float) -> float:
        """How probable it is that some point is better than the best by `gain`, in log-time."""
        return promise(self.grid, _visits(self.grid, self.study.get_trials(deepcopy=False)), gain)

    def choose(self) -> int | None:
        """The point expected to be the fastest among those visited; None if all failed."""
        return choose(self.grid, _visits(self.grid, self.study.get_trials(deepcopy=False)))


class _EngineSampler(BaseSampler):
    """Lets the engine draw Optuna's trials."""

    def __init__(self, grid: Grid, *, first: Sequence[int], seed: int) -> None:
        self._grid, self._first, self._seed = grid, tuple(first), seed

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        del study, trial
        return {name: CategoricalDistribution(values) for name, values in self._grid.parameters.items()}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        del search_space
        trials = [other for other in study.get_trials(deepcopy=False) if other.number != trial.number]
        running = [other for other in trials if other.state is TrialState.RUNNING and other.params]
        point = propose(
            self._grid,
            _visits(self._grid, trials),
            first=self._first,
            pending=[_point(self._grid, other.params) for other in running],
            seed=self._seed,
        )
        return dict(zip(self._grid.parameters, self._grid.points[point], strict=True))

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        del study, param_distribution
        raise AssertionError(f"{param_name} of trial {trial.number} is drawn with all others, never alone")


def _point(grid: Grid, values: Mapping[str, Any]) -> int:
    return grid.index[tuple(values[name] for name in grid.parameters)]


def _visits(grid: Grid, trials: Sequence[FrozenTrial]) -> list[Visit]:
    finished = (trial for trial in trials if trial.state in {TrialState.COMPLETE, TrialState.FAIL})
    return [Visit(point=_point(grid, trial.params), value=trial.value) for trial in finished if trial.params]
