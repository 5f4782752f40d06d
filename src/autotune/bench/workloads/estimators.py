"""Fits and queries of scikit-learn's estimators. Plain and tuned are the same call: only OpenMP's threads differ.

scikit-learn is imported by the trial that needs it, and not by the process that forks trials: its OpenMP runtime would
be a parent's in all of them.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.random import Generator

from autotune.bench.workloads.inputs import Array, uniform
from autotune.bench.workloads.workload import Recipe, Work
from autotune.errors import UnsupportedPlatform
from autotune.model.operation import Operation

CLUSTERS, ITERATIONS, QUERIES, NEIGHBOURS = 8, 10, 200, 5
MISSING = "scikit-learn is not installed for this Python."

Prepared = tuple[Callable[[], Any], Callable[[Any], str | None]]


def _recipe(prepare: Callable[[Array, Generator], Prepared]) -> Recipe:
    def make(operation: Operation, _layout: str, rng: Generator) -> Work:
        size = operation.size
        rows = uniform(rng, size["rows"], size["columns"], dtype=operation.dtype)
        try:
            run, check = prepare(rows, rng)
        except ModuleNotFoundError as problem:
            raise UnsupportedPlatform(MISSING) from problem
        return Work(plain=run, tuned=lambda _: run, check=check)

    return Recipe(make)


def _k_means(rows: Array, _rng: Generator) -> Prepared:
    from sklearn.cluster import KMeans

    first = rows[:CLUSTERS].copy()
    estimator = KMeans(len(first), init=first, n_init=1, max_iter=ITERATIONS, tol=0.0, algorithm="lloyd")

    def check(fitted: Any) -> str | None:
        queries = rows[:QUERIES]
        distances = ((queries[:, None] - fitted.cluster_centers_) ** 2).sum(axis=2)
        chosen = distances[np.arange(len(queries)), fitted.labels_[: len(queries)]]
        nearest = distances.min(axis=1)
        right = chosen <= nearest + 1e-3 * (1 + nearest)
        return None if right.all() else f"Row {np.argmin(right)} is not in its nearest cluster."

    return lambda: estimator.fit(rows), check


def _hist_gradient_boosting(rows: Array, rng: Generator) -> Prepared:
    from sklearn.ensemble import HistGradientBoostingRegressor

    goal = 2 * rows[:, 0] + 0.1 * uniform(rng, len(rows), dtype=str(rows.dtype))
    estimator = HistGradientBoostingRegressor(max_iter=ITERATIONS, early_stopping=False, random_state=0)

    def check(fitted: Any) -> str | None:
        queries = slice(0, QUERIES)
        error = np.mean((fitted.predict(rows[queries]) - goal[queries]) ** 2) / np.mean(goal[queries] ** 2)
        # ten trees at a rate of 0.1 leave 0.9^20 = 0.12 of the variance, and more where leaves hold many rows
        return None if error < 0.5 or len(rows) < 100 else f"The fit leaves {error:.0%} of the variance."

    return lambda: estimator.fit(rows, goal), check


def _nearest_neighbours(rows: Array, _rng: Generator) -> Prepared:
    from sklearn.neighbors import NearestNeighbors

    count = min(NEIGHBOURS, len(rows))
    estimator = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(rows)
    queries = rows[:QUERIES]

    def check(answer: tuple[Array, Array]) -> str | None:
        distances, numbers = answer
        apart = np.linalg.norm(queries[:, None] - rows[numbers], axis=2)
        tolerance = 1e-3 * (1 + apart)
        if not (np.abs(apart - distances) <= tolerance).all():
            return "A distance is not that of the rows that it is told of."
        return None if (distances[:, 0] <= tolerance[:, 0]).all() else "A row is not its own nearest neighbour."

    return lambda: estimator.kneighbors(queries), check


RECIPES: Mapping[str, Recipe] = {
    "k_means": _recipe(_k_means),
    "hist_gradient_boosting": _recipe(_hist_gradient_boosting),
    "nearest_neighbours": _recipe(_nearest_neighbours),
}
