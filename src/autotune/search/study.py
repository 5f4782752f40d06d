"""One Optuna study for each space that calibration explores, asked and told.

Optuna keeps the trials, their states and their order. `acquisition` decides which point comes next and speaks to
Optuna through `LogTimeSampler`. Source of the interface: Optuna's guide "User-defined sampler".
"""

import warnings
from collections.abc import Sequence

from autotune.search.acquisition import choose, promise
from autotune.search.search_grid import Grid

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "IProgress not found")  # Optuna's progress bar, in a notebook without widgets
    import optuna
    from optuna.distributions import CategoricalDistribution
    from optuna.trial import Trial, TrialState

    from autotune.search.grid_sampler import GridSampler

optuna.logging.set_verbosity(optuna.logging.WARNING)


class LogTimeSampler(GridSampler):
    """Sampler over a Grid, for a study whose values are logarithms of times.

    Every parameter is a categorical distribution of the grid's values.
    """

    def __init__(self, grid: Grid, *, first: Sequence[int] = (), seed: int = 0) -> None:
        """Take the grid as it is; `first` are points of it to begin with."""
        space = {name: CategoricalDistribution(values) for name, values in grid.parameters.items()}
        choices = {name: {value: value for value in values} for name, values in grid.parameters.items()}
        self._begin(grid, space, choices, logarithms=True, seed=seed)
        self._first.extend(first)


class Study:
    """Search over one Grid, for the logarithm of a time.

    The study stays in memory. The journal of sessions survives a crash, and the same study grows from it again.
    """

    def __init__(self, grid: Grid, *, seed: int = 0, first: Sequence[int] = (), name: str | None = None) -> None:
        """Create an empty study; `first` are the points to try before any other, in order."""
        self.grid = grid
        self._sampler = LogTimeSampler(grid, first=first, seed=seed)
        self.study = optuna.create_study(study_name=name, sampler=self._sampler)
        self._open: dict[int, list[Trial]] = {}
        """Trials of each point that wait for their value."""

    def ask(self, point: int | None = None) -> int:
        """Create a trial of the point given, or else of the point that the sampler proposes; return the point."""
        if point is not None:
            self.study.enqueue_trial(dict(zip(self.grid.parameters, self.grid.points[point], strict=True)))
        trial = self.study.ask(self._sampler.search_space)
        point = self.grid.index[tuple(trial.params[name] for name in self.grid.parameters)]
        self._open.setdefault(point, []).append(trial)
        return point

    def tell(self, point: int, value: float | None) -> None:
        """Record the logarithm of the time of a point's open trials, or None if they failed."""
        for trial in self._open.pop(point, []):
            if value is None:
                self.study.tell(trial, state=TrialState.FAIL)
            else:
                self.study.tell(trial, value)

    def promise(self, gain: float) -> float:
        """Return the probability that some point is better than the best by `gain`, in log-time."""
        return promise(self.grid, self._sampler.visits(self.study), gain)

    def choose(self) -> int | None:
        """Return the point expected to be the fastest among those visited; None if all failed."""
        return choose(self.grid, self._sampler.visits(self.study))
