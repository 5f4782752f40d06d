"""Which point of a finite space to visit next, and which to choose. Pure: values in, values out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from autotune.search.grid import Grid
from autotune.search.surrogate import Model, Prediction

CONSIDERED = 1500
"""Points among which the next is sought in a larger space: a random part, and all around the leaders."""
FIRST = 4
"""Points spread over the space before the model is asked."""
LOCAL = 3
"""Every so many visits the space around the leader is halved: the edge of a step and a needle, which a model of
smooth curves does not see. Of 2, 3 and 4 none was best on curves of every shape."""
DOUBT = 0.15
"""Log-ratio by which a timing must stand out to be looked at again."""
REACH = 0.15
"""Part of a parameter's range within which points tend to fail for the same reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One visit of one point."""

    point: int
    value: float | None
    """Logarithm of the time, or of its ratio to the default's; None if the trial failed."""


def propose(
    grid: Grid,
    visits: Sequence[Visit],
    *,
    first: Sequence[int] = (),
    pending: Sequence[int] = (),
    seed: int = 0,
) -> int:
    """The point to visit next.

    `first` are points to begin with, in order: the default, corners, what is known from elsewhere. `pending`
    are points that were proposed and not visited yet; they count as visited with the value that is expected
    of them. A point that failed is never proposed again; one that was visited is, when another look at it is
    worth more than a look at anything new.
    """
    seen = {visit.point for visit in visits} | set(pending)
    opening = next((point for point in first if point not in seen), None)
    if opening is not None:
        return opening
    random = np.random.default_rng([seed, len(visits), len(pending)])
    known = _Known.of(visits)
    if len(known.visited) + len(pending) < min(FIRST, len(grid.points)) or not len(known.visited):
        return _spread(grid, seen, len(visits) + len(pending))
    candidates = _candidates(grid, known, seen, random)
    model = known.model(grid)
    if doubted := _doubted(known, model) - set(pending):
        return min(doubted)
    favoured = _favoured(grid, known, model, len(visits)) - seen
    if pending:
        known = known.expecting(model, pending)
        model = known.model(grid)
    worth = _worth(known, candidates, model.predict(candidates)) * _survival(grid, known, candidates)
    return int(candidates[int(np.argmax(_within(favoured, candidates, worth)))])


def choose(grid: Grid, visits: Sequence[Visit]) -> int | None:
    """The point that is expected to be the fastest among those visited; None if every visit failed."""
    known = _Known.of(visits)
    if not len(known.visited):
        return None
    return known.leader(known.model(grid))


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What the visits said, one value for each point that was visited."""

    visited: npt.NDArray[np.intp]
    values: npt.NDArray[np.float64]
    repeats: npt.NDArray[np.float64]
    failed: frozenset[int]

    @classmethod
    def of(cls, visits: Sequence[Visit]) -> "_Known":
        by_point: dict[int, list[float]] = {}
        for visit in visits:
            if visit.value is not None:
                by_point.setdefault(visit.point, []).append(visit.value)
        failed = frozenset(visit.point for visit in visits if visit.value is None) - set(by_point)
        return cls(
            visited=np.asarray(list(by_point), dtype=np.intp),
            values=np.asarray([float(np.median(values)) for values in by_point.values()]),
            repeats=np.asarray([float(len(values)) for values in by_point.values()]),
            failed=failed,
        )

    def model(self, grid: Grid) -> Model:
        """What the visits say about all points."""
        return Model.fit(
            grid.features, grid.categorical_features, self.visited, _compressed(self.values), self.repeats
        )

    def leader(self, model: Model) -> int:
        """The point seen of which most is expected."""
        return int(self.visited[int(np.argmin(model.predict(self.visited).average()))])

    def expecting(self, model: Model, pending: Sequence[int]) -> "_Known":
        """As if the pending points had been visited and were what the model expects of them."""
        new = np.asarray(
            [point for point in dict.fromkeys(pending) if point not in set(self.visited)], dtype=np.intp
        )
        if not len(new):
            return self
        return replace(
            self,
            visited=np.concatenate([self.visited, new]),
            values=np.concatenate([self.values, model.predict(new).average() + self.values.min()]),
            repeats=np.concatenate([self.repeats, np.ones(len(new))]),
        )


def _compressed(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Log-times above the best, the bad ones brought closer.

    Whether a setting is 8 or 60 times slower does not matter for finding the best, but such a value would make
    the model expect cliffs everywhere. Below a factor of about 2 nothing changes.
    """
    above = values - values.min()
    return np.asarray(np.minimum(above, 0.7 + 0.7 * np.log1p(np.maximum(above - 0.7, 0.0) / 0.7)))


def _doubted(known: _Known, model: Model) -> set[int]:
    """The point seen once that all others expect among the best and whose own value is far above that.

    One timing in twenty or so is hit by something else, and it is always slower for it: without a second look
    the search would leave the best region for good.
    """
    expected, values = model.expected_elsewise(), _compressed(known.values)
    best = min(float(expected.min()), 0.0)
    above = np.where((known.repeats == 1) & (expected < best + DOUBT), values - expected, 0.0)
    worst = int(np.argmax(above))
    return {int(known.visited[worst])} if above[worst] > DOUBT else set()


def _favoured(grid: Grid, known: _Known, model: Model, visits: int) -> set[int]:
    """Points whose turn it is whatever the model says: a corner once, halfway points now and then."""
    if visits == FIRST:
        return set(grid.corners())
    if visits % LOCAL != LOCAL - 1:
        return set()
    return set(_halfway(grid, known.leader(model), set(known.visited.tolist()) | known.failed))


def _halfway(grid: Grid, leader: int, seen: set[int]) -> Iterator[int]:
    """Along every parameter the points halfway from the leader to the next point seen, or to the end.

    So the edge of a step, and the tooth of a saw, are closed in on by bisection. Of categories, all others.
    """
    here = grid.points[leader]
    for axis, values in enumerate(grid.parameters.values()):
        line = [(*here[:axis], value, *here[axis + 1 :]) for value in values]
        legal = [grid.index[point] for point in line if point in grid.index]
        if grid.categorical[axis]:
            yield from legal
            continue
        place = legal.index(leader)
        for side in (legal[place + 1 :], legal[:place][::-1]):
            length = next((steps for steps, point in enumerate(side) if point in seen), len(side))
            if length:
                yield side[length // 2]


def _within(
    favoured: set[int], candidates: npt.NDArray[np.intp], worth: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """The worth of the favoured candidates alone, if there are any."""
    inside = np.asarray([int(point) in favoured for point in candidates])
    return np.where(inside, worth, -1.0) if inside.any() else worth


def _worth(
    known: _Known, candidates: npt.NDArray[np.intp], prediction: Prediction
) -> npt.NDArray[np.float64]:
    """How much one more visit is expected to improve the best expectation, averaged over hypotheses.

    A visit moves an expectation by variance / sqrt(variance + noise^2) on average; so a point that is known
    well, or that only noise made look good, is worth little, and a leader seen once is worth another look. Not
    more looks than a quarter of the points known, though: a model that takes noise for teeth would look forever.
    Source: Frazier, Powell and Dayanik, The knowledge-gradient policy (INFORMS J. Computing 21, 2009).
    """
    position = {int(point): index for index, point in enumerate(candidates)}
    here = np.asarray([position[int(point)] for point in known.visited])
    best = prediction.mean[:, here].min(axis=1, keepdims=True)
    moved = prediction.deviation**2 / np.sqrt(prediction.deviation**2 + prediction.noise[:, None] ** 2)
    standard = (best - prediction.mean) / moved
    density = np.exp(-0.5 * standard**2) / np.sqrt(2 * np.pi)
    worth = np.asarray(prediction.weights @ (moved * (standard * ndtr(standard) + density)))
    worth[here[known.repeats >= max(1, len(known.visited) // 4)]] *= 1e-3
    return worth


def _survival(grid: Grid, known: _Known, candidates: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """Chance that a trial does not fail, from how the points around it fared."""
    if not known.failed:
        return np.ones(len(candidates))
    failed = _closeness(grid, candidates, np.asarray(sorted(known.failed), dtype=np.intp))
    fared = _closeness(grid, candidates, known.visited)
    return (0.1 + fared) / (0.1 + fared + failed)


def _closeness(
    grid: Grid, left: npt.NDArray[np.intp], right: npt.NDArray[np.intp]
) -> npt.NDArray[np.float64]:
    """(left,) how many of the points `right` are close, fading out over a tenth of a parameter's range."""
    apart = np.abs(grid.coordinates[left][:, None, :] - grid.coordinates[right][None, :, :])
    apart = np.where(grid.categorical, (apart > 0) * REACH, apart)
    return np.asarray(np.exp(-(apart**2).sum(axis=2) / (2 * REACH**2)).sum(axis=1))


def _candidates(
    grid: Grid, known: _Known, seen: set[int], random: np.random.Generator
) -> npt.NDArray[np.intp]:
    """Points to compare: all, or in a large space some and all around the leaders. Never one that failed."""
    everything = np.arange(len(grid.points))
    if len(everything) > CONSIDERED:
        leaders = known.visited[np.argsort(known.values, kind="stable")[:5]]
        around = [near for leader in leaders for near in grid.neighbours(int(leader))]
        drawn = random.choice(everything, CONSIDERED, replace=False)
        everything = np.unique(np.concatenate([drawn, np.asarray(around, dtype=np.intp), known.visited]))
        everything = np.union1d(everything, np.asarray(sorted(seen - known.failed), dtype=np.intp))
    return np.asarray([point for point in everything if int(point) not in known.failed], dtype=np.intp)


def _spread(grid: Grid, seen: set[int], number: int) -> int:
    """The unseen point nearest to the next of a sequence that fills the space evenly, from the middle on.

    The sequence is Roberts' generalisation of the golden ratio, "The unreasonable effectiveness of quasirandom
    sequences" (2018). Far corners would be more different from each other, but are mostly bad.
    """
    parameters = grid.coordinates.shape[1]
    ratio = 2.0
    for _ in range(30):
        ratio = (1 + ratio) ** (1 / (parameters + 1))
    target = (0.5 + number * ratio ** -np.arange(1.0, parameters + 1)) % 1
    top = np.maximum(grid.coordinates.max(axis=0), 1e-12)
    distance = ((grid.coordinates / top - target) ** 2).sum(axis=1)
    distance[sorted(seen)] += 10.0
    return int(np.argmin(distance))
