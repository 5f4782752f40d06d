"""Acquisition function of the search: the point of a finite space to visit next, and the choice among those visited.

The first points fill the space and visit every category. After them the point with the largest expected improvement
of the best is visited. Four things keep the search from settling where its model is wrong: a heavy tail on what far
points may be, turns for categories that were neglected, turns of bisection, and second looks at suspicious timings.
Pure: values in, values out.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import median_high, median_low

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from autotune.search.search_grid import Grid
from autotune.search.surrogate import Model, Points, Prediction

CONSIDERED = 600
"""Points among which the next is sought in a larger space: a random part, and all around the leaders."""
AROUND = 50
"""Points around a leader that are always among them."""
FIRST, MOST_FIRST = 4, 8
"""Points spread over the space before the model is asked; with more categories one for each value, up to eight."""
AVOIDED = 3.0
"""Penalty on an initial point, in parts of the range, times its probability of failing."""
TURN = 4
"""One visit in four goes to what the model may not see: the edge of a step, a tooth, or a category
that was neglected. Of 2, 3, 4 and none no number was best on every family."""
SURPRISE, FALL = 0.3, 0.4
"""Probability that a point far from all others differs from what the model expects, and mean of the log-ratio by which
it does. On flat curves with one fast region, without it the search compared noise: 0.57 regret after 40 visits
instead of 0.03."""
NEARBY = 0.1
"""Part of that probability which a point next to another keeps: needles."""
DOUBT, INCREDIBLE = 0.15, 0.7
"""Log-ratios between which a timing must stand out to be looked at again: no disturbance is larger."""
COMPARABLE = 0.5
"""Log-ratio to the best within which points are compared for the choice."""
DISTURBED = 0.2
"""Log-ratio beyond which the deviation of a repeat counts as a disturbance and not as more noise."""
KNEE, SOFTNESS = 0.4, 0.3
"""Log-ratio to the best above which values are compressed, and over which."""
SLIP = 0.04
"""Probability that a trial fails, or does not, against the rule that failures follow."""
LIMITS = 32
"""Limits of a resource that are told apart."""
REACH = 0.15
"""Part of a parameter's range within which points tend to fail for the same reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GridVisit:
    """One visit of one point."""

    point: int
    value: float | None
    """Logarithm of the time, or of its ratio to the default's; None if the trial failed."""


def propose(
    grid: Grid, visits: Sequence[GridVisit], *, first: Sequence[int] = (), pending: Sequence[int] = (), seed: int = 0
) -> int:
    """Return the point to visit next.

    `first` are points to begin with, in order: the default, corners, choices of other machines. `pending` are points
    that were proposed and not visited yet; they count as visited with the value that is expected of them. A point
    that failed is never proposed again while another is left. One that was visited is, when another look at it is
    worth more than a look at anything new.
    """
    seen = {visit.point for visit in visits} | set(pending)
    opening = next((point for point in first if point not in seen), None)
    if opening is not None:
        return opening
    data, model = _learn(grid, tuple(visits))
    spread = len(seen - set(first))
    if model is None or spread < min(_initial_points(grid), len(grid.points) - len(set(first))):
        return _next_spread(grid, data, [*(visit.point for visit in visits), *pending], spread, seed)
    if doubted := _doubted_points(data, model) - set(pending):
        return min(doubted)
    if new := [point for point in dict.fromkeys(pending) if point not in set(data.visited.tolist())]:
        model = model.with_expected(np.asarray(new, dtype=np.intp))
    random = np.random.default_rng([seed, len(visits), len(pending)])
    candidates = _candidates(grid, data, seen, random)
    prediction = model.predict(candidates)
    turn = np.intersect1d(_turn(grid, data, model, visits), np.setdiff1d(candidates, sorted(seen)))
    eligible = np.isin(candidates, turn) if len(turn) else np.ones(len(candidates), dtype=bool)
    rivals = _rivals(grid, model.visited, turn)
    # of each hypothesis the best expectation among the visited points
    best = prediction.mean[:, np.isin(candidates, rivals)].min(axis=1, keepdims=True)
    worth = _expected_improvement(prediction, best)
    worth[np.isin(candidates, model.visited[model.repeats >= max(1, len(data.visited) // 4)])] *= 1e-3
    worth += _surprise(grid, prediction, best, candidates, sorted(seen))
    worth *= _survival(grid, data, candidates)
    return int(candidates[int(np.argmax(np.where(eligible, worth, -1.0)))])


def choose(grid: Grid, visits: Sequence[GridVisit]) -> int | None:
    """Return the point that is expected to be the fastest among those visited; None if every visit failed."""
    data, model = _learn(grid, tuple(visits))
    return None if model is None else data.leader(grid, model)


def promise(grid: Grid, visits: Sequence[GridVisit], gain: float) -> float:
    """Return the largest probability that a point is better than the best expectation by `gain`, in log-time.

    Of a space with few visits it is near 1/2 whatever their values; 1 if every visit failed.
    """
    data, model = _learn(grid, tuple(visits))
    if model is None:
        return 1.0
    candidates = _candidates(grid, data, set(), np.random.default_rng(len(visits)))
    prediction = model.predict(candidates)
    best = prediction.mean[:, np.isin(candidates, model.visited)].min(axis=1, keepdims=True)
    # probability of improvement (Kushner, A new method of locating the maximum point, 1964)
    chance = prediction.weights @ ndtr((best - gain - prediction.mean) / prediction.deviation)
    return float((chance * _survival(grid, data, candidates)).max())


@lru_cache(maxsize=4)
def _learn(grid: Grid, visits: tuple[GridVisit, ...]) -> "tuple[_Data, Model | None]":
    """Summarise the visits and fit the model, which is None if all failed. A batch is proposed from one fit."""
    data = _Data.of(visits)
    if not len(data.visited):
        return data, None
    return data, Model.fit(grid, data.visited, _compress(data.values), data.repeats, data.scatter)


@dataclass(frozen=True, kw_only=True)
class _Data:
    """Values of the visited points: the centre of each one's visits."""

    visited: npt.NDArray[np.intp]
    values: npt.NDArray[np.float64]
    repeats: npt.NDArray[np.float64]
    failed: frozenset[int]
    scatter: tuple[int, float]
    """Degrees of freedom and sum of squares of the repeats around their points' centres."""

    @classmethod
    def of(cls, visits: Sequence[GridVisit]) -> "_Data":
        by_point: dict[int, list[float]] = {}
        for visit in visits:
            if visit.value is not None:
                by_point.setdefault(visit.point, []).append(visit.value)
        return cls(
            visited=np.asarray(list(by_point), dtype=np.intp),
            values=np.asarray([_centre(values) for values in by_point.values()]),
            repeats=np.asarray([float(len(values)) for values in by_point.values()]),
            failed=frozenset(visit.point for visit in visits if visit.value is None) - set(by_point),
            scatter=_scatter(by_point.values()),
        )

    def leader(self, grid: Grid, model: Model) -> int:
        """Return the visited point with the best expectation.

        It is expected by a model of the points that are comparable with the best. Next to a cliff the `model` of all
        points smooths the cliff and expects the best point, right before it, to be slow.
        """
        noise = float(model.weights @ model.noise)
        inside = np.flatnonzero(self.values <= self.values.min() + COMPARABLE + 3 * noise)
        values, repeats = self.values[inside], self.repeats[inside]
        near = Model.fit(grid, self.visited[inside], values, repeats, self.scatter)
        return int(near.visited[int(np.argmin(near.predict(near.visited).average()))])


def _centre(values: Sequence[float]) -> float:
    """Return the median; of two middle values far apart the lower, because a disturbance only slows down."""
    low, high = median_low(values), median_high(values)
    return low if high - low > DISTURBED else (low + high) / 2


def _scatter(repeated: Iterable[Sequence[float]]) -> tuple[int, float]:
    """Return degrees of freedom and sum of squares of repeats around their centres; disturbances are cut off."""
    deviations = [
        min(abs(value - _centre(values)), DISTURBED) for values in repeated if len(values) > 1 for value in values
    ]
    freedom = sum(len(values) - 1 for values in repeated)
    return freedom, sum(deviation**2 for deviation in deviations)


def _compress(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return log-times above the best, large ones compressed by a logarithm.

    Whether a setting is 8 or 60 times slower does not matter for finding the best, but such a value would make
    the model expect cliffs everywhere. Below a factor of 1.5 nothing changes.
    """
    above = values - values.min()
    beyond = np.maximum(above - KNEE, 0.0)
    # slope 1 at the knee: the curve has no kink there
    return np.asarray(np.where(above > KNEE, KNEE + SOFTNESS * np.log1p(beyond / SOFTNESS), above))


def _doubted_points(data: _Data, model: Model) -> set[int]:
    """Return the point seen once that all others expect among the best and whose own value is far above that.

    A disturbed timing is slower. Without a second look the search would leave the best region for good.
    """
    expected = model.leave_one_out()
    best = min(float(expected.min()), 0.0)
    above = data.values - data.values.min() - expected
    doubted = (data.repeats == 1) & (expected < best + DOUBT) & (above > DOUBT) & (above < INCREDIBLE)
    return {int(data.visited[int(np.argmax(np.where(doubted, above, 0.0)))])} if doubted.any() else set()


def _turn(grid: Grid, data: _Data, model: Model, visits: Sequence[GridVisit]) -> Points:
    """Return the points that this visit is reserved for, whatever the model expects; at most visits none.

    Neglected categories and bisection take turns. A batch has one kind of turn, and what is pending in it bounds no
    bisection. With turns point by point, bounded by what is pending, 12 simulated machines under five noises took
    5 % more samples and were no nearer.
    """
    if len(visits) % TURN != TURN - 1:
        return np.empty(0, dtype=np.intp)
    if grid.categorical.any() and (len(visits) // TURN) % 2:
        return _neglected_category(grid, data, model, visits)
    halfway = _halfway(grid, data.leader(grid, model), set(data.visited.tolist()) | data.failed)
    return np.asarray(sorted(set(halfway)), dtype=np.intp)


def _neglected_category(grid: Grid, data: _Data, model: Model, visits: Sequence[GridVisit]) -> Points:
    """Return the points of the category that was visited least, of those that are not the leader's.

    A category whose curve has another shape is not given up for a few bad points; one that only failed, twice, is.
    """
    leader = data.leader(grid, model)
    counts = []
    for axis in np.flatnonzero(grid.categorical):
        for value in np.unique(grid.coordinates[:, axis]):
            fails = [visit.value is None for visit in visits if grid.coordinates[visit.point, axis] == value]
            if value != grid.coordinates[leader, axis] and not (len(fails) > 1 and all(fails)):
                counts.append((len(fails), axis, value))
    if not counts:
        return np.empty(0, dtype=np.intp)
    _, axis, value = min(counts)
    return np.flatnonzero(grid.coordinates[:, axis] == value)


def _rivals(grid: Grid, visited: Points, turn: Points) -> Points:
    """Return the visited points whose best is to be improved on: all, or in a category's turn those of its values."""
    if not len(turn) or not grid.categorical.any():
        return visited
    common = grid.categories[turn]
    shared = (common == common[0]).all(axis=0)
    inside = (grid.categories[visited][:, shared] == common[0][shared]).all(axis=1)
    return visited[inside] if inside.any() else visited


def _halfway(grid: Grid, leader: int, seen: set[int]) -> Iterator[int]:
    """Yield along every parameter the points halfway from the leader to the next point seen, or to the end.

    This closes in by bisection on the edge of a step and the tooth of a saw. Of categories, all other values.
    """
    centre = grid.points[leader]
    for axis, values in enumerate(grid.parameters.values()):
        line = [(*centre[:axis], value, *centre[axis + 1 :]) for value in values]
        legal = [grid.index[point] for point in line if point in grid.index]
        if grid.categorical[axis]:
            yield from legal
            continue
        place = legal.index(leader)
        for side in (legal[place + 1 :], legal[:place][::-1]):
            length = next((steps for steps, point in enumerate(side) if point in seen), len(side))
            if length:
                yield side[length // 2]


def _expected_improvement(prediction: Prediction, best: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return how much one more visit is expected to improve the best expectation, averaged over hypotheses.

    Knowledge gradient with independent points: a visit moves an expectation by variance / sqrt(variance + noise^2)
    in standard deviation. So a point with a small variance, or with a good but noisy value, is worth little, and a
    leader seen once is worth another look. Source: Frazier, Powell and Dayanik, The knowledge-gradient policy for
    correlated normal beliefs (INFORMS J. Computing 21, 2009).
    """
    # standard deviation of the posterior mean after one more timing of the point
    moved = prediction.deviation**2 / np.sqrt(prediction.deviation**2 + prediction.noise[:, None] ** 2)
    standard = (best - prediction.mean) / moved
    density = np.exp(-0.5 * standard**2) / np.sqrt(2 * np.pi)
    # E max(0, best - X) of a normal X = s (z Phi(z) + phi(z)) (Jones, Schonlau and Welch, 1998)
    return np.asarray(prediction.weights @ (moved * (standard * ndtr(standard) + density)))


def _surprise(
    grid: Grid, prediction: Prediction, best: npt.NDArray[np.float64], candidates: Points, seen: Sequence[int]
) -> npt.NDArray[np.float64]:
    """Return the improvement that points not seen yet may bring if the model is wrong about them.

    With a probability that grows with the distance to the nearest point seen, a value differs from its expectation by
    a Laplace distribution of scale `FALL`, whose expected improvement over a gap is FALL / 2 * exp(-gap / FALL). Where
    the model promises little more than noise, this fills the space instead.
    """
    places = np.asarray(seen, dtype=np.intp)
    apart = np.abs(grid.coordinates[candidates][:, None, :] - grid.coordinates[places][None, :, :])
    apart = np.where(grid.categorical, 0.5 * (apart > 0), apart)
    # distance to the nearest point seen; another category counts as half a range
    nearest = np.sqrt((apart**2).sum(axis=2)).min(axis=1)
    novelty = NEARBY + (1 - NEARBY) * nearest / (nearest.max() or 1.0)
    gap = np.maximum(prediction.average() - prediction.weights @ best[:, 0], 0.0)
    return np.asarray(~np.isin(candidates, places) * SURPRISE * novelty * FALL / 2 * np.exp(-gap / FALL))


def _survival(grid: Grid, data: _Data, candidates: Points) -> npt.NDArray[np.float64]:
    """Return the probability that a trial does not fail, averaged over the rules that failures may follow.

    Each rule counts by its posterior probability, given which trials failed. Failures that no likely rule explains
    count for the points around them.
    """
    if not data.failed:
        return np.ones(len(candidates))
    failures = np.asarray(sorted(data.failed), dtype=np.intp)
    ruled_out = _ruled_out(grid, data.visited, failures)
    failed = _closeness(grid, candidates, failures) @ (1.0 - ruled_out[failures])
    fared = _closeness(grid, candidates, data.visited).sum(axis=1)
    # a trial contradicts its rule with probability SLIP
    lasting = SLIP + (1.0 - 2.0 * SLIP) * (1.0 - ruled_out[candidates])
    # kernel-weighted frequency; 0.1 of a success as the prior, so that a far failure means little
    return np.asarray(lasting * (0.1 + fared) / (0.1 + fared + failed))


def _ruled_out(grid: Grid, visited: Points, failures: Points) -> npt.NDArray[np.float64]:
    """Return for every point of the grid the probability that a rule says that it fails, given the trials.

    By one rule no point fails, by the others all from a limit of some resource upwards: everywhere, which is as likely
    as no failure, or in one category, which is half as likely for all categories together.
    """
    tried = np.concatenate([visited, failures])
    has_failed = np.arange(len(tried)) >= len(visited)
    odds = SLIP / (1.0 - SLIP)
    axes = np.flatnonzero(grid.categorical)
    inside = [grid.coordinates[:, axis] == value for axis in axes for value in np.unique(grid.coordinates[:, axis])]
    places = [(np.ones(len(grid.points), dtype=bool), 1.0), *((each, 0.5 / len(inside)) for each in inside)]
    rules = []
    for resource in grid.resources.T:
        steps = np.unique(resource)
        limits = steps[np.linspace(0, len(steps) - 1, min(LIMITS, len(steps))).astype(np.intp)]
        reached = np.searchsorted(limits, resource, side="right")
        for place, prior in places:
            contradicted = ((resource[tried] >= limits[:, None]) & place[tried]) != has_failed
            rules.append((place, reached, prior / len(limits) / grid.resources.shape[1], contradicted.sum(axis=1)))
    # only ratios of weights count: without the fewest contradictions of any rule no power underflows for all
    fewest = min([len(failures), *(contradictions.min() for *_, contradictions in rules)])
    total, chance = odds ** (len(failures) - fewest), np.zeros(len(grid.points))
    for place, reached, prior, contradictions in rules:
        # Bayes' rule: the prior times a likelihood of `odds` for each trial that contradicts the rule
        weights = prior * odds ** (contradictions - fewest)
        total += weights.sum()
        chance += place * np.concatenate([[0.0], np.cumsum(weights)])[reached]
    return np.asarray(chance / total)


def _closeness(grid: Grid, left: Points, right: Points) -> npt.NDArray[np.float64]:
    """Return (left, right) how close points are, from 0 to 1: a Gaussian of their distance."""
    apart = np.abs(grid.coordinates[left][:, None, :] - grid.coordinates[right][None, :, :])
    apart = np.where(grid.categorical, (apart > 0) * REACH, apart)
    # squared-exponential kernel
    return np.asarray(np.exp(-(apart**2).sum(axis=2) / (2 * REACH**2)))


def _candidates(grid: Grid, data: _Data, seen: set[int], random: np.random.Generator) -> npt.NDArray[np.intp]:
    """Return the points to compare: all, or in a large space some and all around the leaders; none that failed."""
    everything = np.arange(len(grid.points))
    if len(everything) > CONSIDERED:
        leaders = data.visited[np.argsort(data.values, kind="stable")[:5]]
        around = [near for leader in leaders for near in (*grid.neighbours(int(leader)), *_near(grid, int(leader)))]
        drawn = random.choice(everything, CONSIDERED, replace=False)
        everything = np.unique(np.concatenate([drawn, np.asarray(around, dtype=np.intp), data.visited]))
        everything = np.union1d(everything, np.asarray(sorted(seen - data.failed), dtype=np.intp))
    return np.asarray([point for point in everything if int(point) not in data.failed], dtype=np.intp)


def _near(grid: Grid, point: int) -> npt.NDArray[np.intp]:
    """Return the points nearest to one, along the ridges too that products of parameters make."""
    apart = np.abs(grid.inputs - grid.inputs[point]).sum(axis=1)
    apart += (grid.categories != grid.categories[point]).sum(axis=1)
    return np.argpartition(apart, AROUND)[:AROUND]


def _initial_points(grid: Grid) -> int:
    """Return how many points are spread over the space before the model is asked."""
    categories = [
        len(values) for values, is_text in zip(grid.parameters.values(), grid.categorical, strict=True) if is_text
    ]
    return min(max([FIRST, *categories]), MOST_FIRST)


def _next_spread(grid: Grid, data: "_Data", visited: Sequence[int], number: int, seed: int) -> int:
    """Return the unseen point nearest to the next of a sequence that fills the space evenly.

    Categories take turns: the point is of a combination whose values were visited least. Numbers follow Roberts'
    generalisation of the golden ratio ("The unreasonable effectiveness of quasirandom sequences", 2018), shifted at
    random (Cranley and Patterson, Randomization of number theoretic methods, 1976).
    """
    random = np.random.default_rng([seed, 1])
    numbers = grid.coordinates[:, ~grid.categorical]
    parameters = numbers.shape[1]
    ratio = 2.0
    for _ in range(30):  # the positive root of x^(d+1) = x + 1, by fixed-point iteration
        ratio = (1 + ratio) ** (1 / (parameters + 1))
    # Roberts' R_d sequence: coordinate j advances by ratio^-j, modulo 1
    target = (random.random(parameters) + number * ratio ** -np.arange(1.0, parameters + 1)) % 1
    top = np.maximum(numbers.max(axis=0, initial=0.0), 1e-12)
    distance = np.sqrt(((numbers / top - target) ** 2).sum(axis=1))
    distance += AVOIDED * (1.0 - _survival(grid, data, np.arange(len(grid.points))))
    places = np.asarray(visited, dtype=np.intp)
    same = grid.categories[:, None, :] == grid.categories[places][None, :, :]
    # 10 exceeds every distance between numbers: balance of the categories goes first
    distance += 10.0 * (same.sum(axis=(1, 2)) + 0.5 * (same.all(axis=2) & grid.categorical.any()).sum(axis=1))
    distance[places] += 1e6
    distance += 1e-6 * random.random(len(distance))  # ties between categories are broken at random
    return int(np.argmin(distance))
