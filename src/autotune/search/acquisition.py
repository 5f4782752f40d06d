"""Which point of a finite space to visit next, and which to choose. Pure: values in, values out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from autotune.search.search_grid import Grid
from autotune.search.surrogate import Model

CONSIDERED = 600
"""Points among which the next is sought in a larger space: a random part, and all around the leaders."""
AROUND = 50
"""Points around a leader that are always among them."""
FIRST = 4
"""Points spread over the space before the model is asked."""
MOST_OPENINGS = 8
AVOIDED = 1.0
"""Parts of the range farther that a first point may lie rather than where trials surely fail."""
LOCAL = 3
"""Every so many visits the space around the leader is halved: the edge of a step and a needle, which a model of
smooth curves does not see. Of 2, 3 and 4 none was best on curves of every shape."""
DOUBT = 0.15
"""Log-ratio by which a timing must stand out to be looked at again."""
BEYOND = 0.3
"""What a failure counts for all that ask for more of everything, however far, unless one of them did not fail;
next to it, it counts 1."""
REACH = 0.15
"""Part of a parameter's range within which points tend to fail for the same reason."""


SHIFT = 1.0
ALTERNATE = 2
LEAP = 1.0
SURPRISE = 0.1
FALL = 0.4
FLAT = 0.1
TURNS = "bisect"
TEMPER = 1.0
DOUBTING = True
import os, json
globals().update(json.loads(os.environ.get("X", "{}")))

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
    known, model = _learned(grid, tuple(visits))
    begun = len((known.failed | set(known.visited.tolist()) | set(pending)) - set(first))
    if model is None or begun < min(_openings(grid), len(grid.points) - len(first)):
        return _spread(grid, known, seen, begun, [*(visit.point for visit in visits), *pending], seed)
    candidates = _candidates(grid, known, seen, random)
    if DOUBTING and (doubted := _doubted(known, model) - set(pending)):
        return min(doubted)
    turn = len(visits) % LOCAL == LOCAL - 1
    favoured = _favoured(grid, known, model, len(visits)) - seen if TURNS == "bisect" else set()
    if turn and TURNS == "random":
        unseen = [p for p in range(len(grid.points)) if p not in seen]
        if unseen: return int(random.choice(unseen))
    if turn and TURNS == "thompson":
        pr = model.predict(candidates); h = random.choice(len(pr.weights), p=pr.weights)
        draw = pr.mean[h] + pr.deviation[h] * random.standard_normal(len(candidates))
        draw[np.isin(candidates, sorted(seen))] += 100
        return int(candidates[int(np.argmin(draw))])
    neglected = np.empty(0, dtype=np.intp)
    if turn and not favoured and TURNS == "bisect":
        neglected = _neglected(grid, known, model, visits)
        neglected = np.setdiff1d(np.intersect1d(neglected, candidates), np.asarray(sorted(seen), dtype=np.intp))
    if new := [point for point in dict.fromkeys(pending) if point not in set(known.visited.tolist())]:
        model = model.with_expected(np.asarray(new, dtype=np.intp))
    if len(neglected):
        candidates = neglected
    worth = _worth(grid, known, model, candidates, sorted(seen)) * _survival(grid, known, candidates)
    return int(candidates[int(np.argmax(_within(favoured, candidates, worth)))])


def choose(grid: Grid, visits: Sequence[Visit]) -> int | None:
    """The point that is expected to be the fastest among those visited; None if every visit failed."""
    known, model = _learned(grid, tuple(visits))
    return None if model is None else known.leader(model)


def promise(grid: Grid, visits: Sequence[Visit], gain: float) -> float:
    """The largest probability that any one point is better than the best expectation by `gain`, in log-time.

    Of a space that was hardly looked at it is near 1/2 whatever was found; 1 if every visit failed.
    """
    known, model = _learned(grid, tuple(visits))
    if model is None:
        return 1.0
    candidates = _candidates(grid, known, set(), np.random.default_rng(len(visits)))
    prediction = model.predict(candidates)
    best = prediction.mean[:, np.isin(candidates, model.visited)].min(axis=1, keepdims=True)
    chance = prediction.weights @ ndtr((best - gain - prediction.mean) / prediction.deviation)
    return float((chance * _survival(grid, known, candidates)).max())


@lru_cache(maxsize=4)
def _learned(grid: Grid, visits: tuple[Visit, ...]) -> "tuple[_Known, Model | None]":
    """What the visits say, and the model of it: None if all failed. A batch is proposed from one."""
    known = _Known.of(visits)
    return known, known.model(grid) if len(known.visited) else None


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
        return cls(
            visited=np.asarray(list(by_point), dtype=np.intp),
            values=np.asarray([float(np.median(values)) for values in by_point.values()]),
            repeats=np.asarray([float(len(values)) for values in by_point.values()]),
            failed=frozenset(visit.point for visit in visits if visit.value is None) - set(by_point),
        )

    def model(self, grid: Grid) -> Model:
        """What the visits say about all points."""
        return Model.fit(grid, self.visited, _compressed(self.values), self.repeats)

    def leader(self, model: Model) -> int:
        """The point seen of which most is expected."""
        return int(self.visited[int(np.argmin(model.predict(self.visited).average()))])


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
    expected, values = model.leave_one_out(), _compressed(known.values)
    best = min(float(expected.min()), 0.0)
    above = np.where((known.repeats == 1) & (expected < best + DOUBT) & (values-expected < LEAP), values - expected, 0.0)
    worst = int(np.argmax(above))
    return {int(known.visited[worst])} if above[worst] > DOUBT else set()


def _favoured(grid: Grid, known: _Known, model: Model, visits: int) -> set[int]:
    """Points whose turn it is whatever the model says: a corner once, halfway points now and then.

    A batch has one kind of turn, and what is pending in it bounds no bisection. With turns point by point, bounded by
    what is pending, 12 simulated machines under five noises took 5 % more samples and were no nearer.
    """
    if visits == FIRST:
        return set(grid.corners())
    if visits % LOCAL != LOCAL - 1:
        return set()
    if grid.categorical.any() and (visits // LOCAL) % ALTERNATE:
        return set()
    return set(_halfway(grid, known.leader(model), set(known.visited.tolist()) | known.failed))


def _neglected(grid: Grid, known: _Known, model: Model, visits: Sequence[Visit]) -> npt.NDArray[np.intp]:
    """Points of the category that was visited least, of those that the leader is not of; empty if there is none.

    A category whose curve has another shape is not given up for a few bad points.
    """
    leader = known.leader(model)
    counted = [
        (len(here), axis, value)
        for axis in np.flatnonzero(grid.categorical)
        for value in np.unique(grid.coordinates[:, axis])
        if value != grid.coordinates[leader, axis]
        for here in [[visit for visit in visits if grid.coordinates[visit.point, axis] == value]]
        if len(here) < 2 or any(visit.value is not None for visit in here)
    ]
    if not counted:
        return np.empty(0, dtype=np.intp)
    _, axis, value = min(counted)
    return np.flatnonzero(grid.coordinates[:, axis] == value)


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


def _novelty(grid: Grid, candidates: npt.NDArray[np.intp], seen: Sequence[int]) -> npt.NDArray[np.float64]:
    """Distance of every candidate to the nearest point seen, as a share of the largest of these distances."""
    places = np.asarray(seen, dtype=np.intp)
    apart = np.abs(grid.coordinates[candidates][:, None, :] - grid.coordinates[places][None, :, :])
    apart = np.where(grid.categorical, 0.5 * (apart > 0), apart)
    nearest = np.sqrt((apart**2).sum(axis=2)).min(axis=1)
    return np.asarray(nearest / (nearest.max() or 1.0))


def _worth(grid: Grid, known: _Known, model: Model, candidates: npt.NDArray[np.intp], seen: Sequence[int]) -> npt.NDArray[np.float64]:
    """How much one more visit is expected to improve the best expectation, averaged over hypotheses.

    A visit moves an expectation by variance / sqrt(variance + noise^2) on average; so a point that is known
    well, or that only noise made look good, is worth little, and a leader seen once is worth another look. Not
    more looks than a quarter of the points known, though: a model that takes noise for teeth would look forever.
    Source: Frazier, Powell and Dayanik, The knowledge-gradient policy (INFORMS J. Computing 21, 2009).
    """
    prediction = model.predict(candidates)
    here = np.flatnonzero(np.isin(candidates, model.visited))
    if len(here):
        best = prediction.mean[:, here].min(axis=1, keepdims=True)
    else:
        inside = (grid.coordinates[model.visited] == grid.coordinates[candidates[0]])[:, grid.categorical]
        inside = inside[:, (grid.coordinates[candidates] == grid.coordinates[candidates[0]])[:, grid.categorical].all(axis=0)].all(axis=1)
        rivals = model.visited[inside] if inside.any() else model.visited
        best = model.predict(rivals).mean.min(axis=1, keepdims=True)
    moved = prediction.deviation**2 / np.sqrt(prediction.deviation**2 + prediction.noise[:, None] ** 2)
    standard = (best - prediction.mean) / moved
    density = np.exp(-0.5 * standard**2) / np.sqrt(2 * np.pi)
    worth = np.asarray(prediction.weights @ (moved * (standard * ndtr(standard) + density)))
    gap = np.maximum(prediction.average() - (prediction.weights @ best[:, 0]), 0.0)
    novelty = _novelty(grid, candidates, seen)
    unseen = ~np.isin(candidates, seen)
    worth += SURPRISE * unseen * (FLAT + (1-FLAT) * novelty) * FALL / 2 * np.exp(-gap / FALL)
    often = model.visited[model.repeats >= max(1, len(known.visited) // 4)]
    worth[np.isin(candidates, often)] *= 1e-3
    return worth


def _survival(grid: Grid, known: _Known, candidates: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """Chance that a trial does not fail, from how the points around it fared."""
    if not known.failed:
        return np.ones(len(candidates))
    failures = np.asarray(sorted(known.failed), dtype=np.intp)
    limits = failures[~_reaches(grid, known.visited, failures).any(axis=0)]
    failed = _closeness(grid, candidates, failures) + BEYOND * _reaches(grid, candidates, limits).sum(axis=1)
    fared = _closeness(grid, candidates, known.visited)
    fared += BEYOND * _reaches(grid, known.visited, candidates).sum(axis=0)
    return np.asarray((0.1 + fared) / (0.1 + fared + failed))


def _reaches(grid: Grid, left: npt.NDArray[np.intp], right: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
    """(left, right): does one ask for as much as the other of everything? Memory and threads run out upwards."""
    one, other = grid.coordinates[left][:, None, :], grid.coordinates[right][None, :, :]
    return np.asarray(np.where(grid.categorical, one == other, one >= other).all(axis=2))


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
        around = [
            near for leader in leaders for near in (*grid.neighbours(int(leader)), *_near(grid, int(leader)))
        ]
        drawn = random.choice(everything, CONSIDERED, replace=False)
        everything = np.unique(np.concatenate([drawn, np.asarray(around, dtype=np.intp), known.visited]))
        everything = np.union1d(everything, np.asarray(sorted(seen - known.failed), dtype=np.intp))
    return np.asarray([point for point in everything if int(point) not in known.failed], dtype=np.intp)


def _near(grid: Grid, point: int) -> npt.NDArray[np.intp]:
    """The points nearest to one, along the ridges too that products of parameters make."""
    apart = np.abs(grid.inputs - grid.inputs[point]).sum(axis=1) + (grid.coordinates != grid.coordinates[point])[:, grid.categorical].sum(axis=1)
    return np.argpartition(apart, AROUND)[:AROUND]


def _openings(grid: Grid) -> int:
    """Points spread over the space before the model is asked: one for each combination of categories, if few."""
    return min(max(FIRST, len(np.unique(_categories(grid), axis=0))), MOST_OPENINGS)


def _categories(grid: Grid) -> npt.NDArray[np.float64]:
    return grid.coordinates[:, grid.categorical]


def _spread(grid: Grid, known: "_Known", seen: set[int], number: int, visited: Sequence[int], seed: int) -> int:
    """The unseen point nearest to the next of a sequence that fills the space evenly.

    Categories take turns: the point is of a combination whose values were visited least. Numbers follow Roberts'
    generalisation of the golden ratio, "The unreasonable effectiveness of quasirandom sequences" (2018), shifted at
    random (Cranley and Patterson, Randomization of number theoretic methods, 1976).
    """
    random = np.random.default_rng([seed, 1])
    numbers = grid.coordinates[:, ~grid.categorical]
    parameters = numbers.shape[1]
    ratio = 2.0
    for _ in range(30):
        ratio = (1 + ratio) ** (1 / (parameters + 1))
    shift = 0.5 + SHIFT * (random.uniform(0.0, 1.0, parameters)-0.5)
    target = (shift + number * ratio ** -np.arange(1.0, parameters + 1)) % 1
    top = np.maximum(numbers.max(axis=0, initial=0.0), 1e-12)
    distance = ((numbers / top - target) ** 2).sum(axis=1)
    likely = _survival(grid, known, np.arange(len(grid.points)))
    distance = np.sqrt(distance) + AVOIDED * (1.0 - likely)
    distance += 100.0 * np.isin(np.arange(len(distance)), sorted(seen))
    categories = _categories(grid)
    if categories.shape[1]:
        same = categories[:, None, :] == categories[np.asarray(visited, dtype=np.intp)][None, :, :]
        turns = same.sum(axis=(1, 2)) + 0.5 * same.all(axis=2).sum(axis=1)
        distance += 10.0 * turns
    distance += 1e-6 * random.random(len(distance))
    return int(np.argmin(distance))
