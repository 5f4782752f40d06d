"""Gaussian process over the points of a Grid, averaged over a fixed set of hypotheses about the curves.

The prior covers thread curves: smooth over ratios of counts; with a curve of its own for every category and a
common one; with teeth that follow the factorisation of the count; with roughness; and with noise in every timing.
Hyperparameters are not fitted to the few timings there are. Each of a fixed set of hypotheses predicts with the
weight of its marginal likelihood. Source: Rasmussen and Williams, Gaussian Processes for Machine Learning (2006),
chapters 2, 4 and 5.
"""

from dataclasses import dataclass, fields, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from autotune.search.search_grid import Grid

Array = npt.NDArray[np.floating]
Points = npt.NDArray[np.intp]

HYPOTHESES = 96
"""Settings of the prior that are weighed."""
KEPT = 8
"""The most likely of them, which predict."""
WEIGHED = 200
"""Points at most, spread over all visits, by which the hypotheses are weighed. With all of 400 points a proposal took
2.8 s, and an array of every hypothesis 120 MB; with these it takes 1.1 s."""
JITTER = 3e-6
"""Added to the diagonal before a Cholesky factorisation."""
FACTORISATION = 4
"""Features of a count's factorisation: see `Grid.arithmetic`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """Expected values of points; each row is the answer of one hypothesis."""

    weights: Array
    """(hypotheses,), summing to 1."""
    mean: Array
    """(hypotheses, points)"""
    deviation: Array
    """(hypotheses, points), of the true value, without the noise of a timing."""
    noise: Array
    """(hypotheses,), standard deviation of one timing."""

    def average(self) -> Array:
        """Return the expected value of every point."""
        return np.asarray(self.weights @ self.mean)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Posterior of the Gaussian process under its most likely hypotheses."""

    grid: Grid
    visited: Points
    """Distinct points with a timing."""
    centre: float
    scale: float
    """Values are standardised with these before the prior is applied."""
    prior: "_Prior"
    weights: Array
    target: Array
    """Standardised values of the visited points."""
    repeats: Array
    factor: Array
    """(hypotheses, visited, visited): lower Cholesky factor L of the covariance of the timings."""
    half: Array
    """(hypotheses, visited): L^-1 target."""

    @classmethod
    def fit(
        cls, grid: Grid, visited: Points, values: Array, repeats: Array, scatter: tuple[int, float] = (0, 0.0)
    ) -> "Model":
        """Weigh the hypotheses by the log-times `values` of the `visited` points, each the median of its `repeats`.

        `scatter` are the degrees of freedom and the sum of squares of the repeats around their points' centres. They
        tell noise from points' own deviations, which single visits do not. The log marginal likelihood is Rasmussen
        and Williams 5.8, times that of the repeats within points.
        """
        centre = float(np.median(values))
        scale = float(np.sqrt(np.mean((values - centre) ** 2))) or 1.0
        target = (values - centre) / scale
        numbers = grid.inputs.shape[1]
        prior = _Prior.draw(numbers, int(grid.categorical.sum()), grid.arithmetic is not None)
        prior = replace(prior, noise=prior.noise / scale**2)  # drawn in log-time
        sample = np.linspace(0, len(visited) - 1, min(WEIGHED, len(visited))).astype(np.intp)
        factor, half = _solve(prior, grid, visited[sample], target[sample], repeats[sample])
        # y' K^-1 y = |L^-1 y|^2 and ln|K| = 2 sum ln L_ii; the constant n/2 ln(2 pi) is the same for all
        evidence = -0.5 * (half**2).sum(1) - np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(1)
        freedom, squares = scatter
        # normal log-likelihood of the repeats, given their sum of squares
        evidence -= 0.5 * (freedom * np.log(prior.noise) + squares / scale**2 / prior.noise)
        kept = np.argsort(-evidence, kind="stable")[:KEPT]
        # Bayes' rule with equal priors, relative to the largest so that nothing underflows
        weights = np.exp(evidence[kept] - evidence[kept[0]])
        prior, factor, half = prior.select(kept), factor[kept], half[kept]
        if len(sample) < len(visited):
            factor, half = _solve(prior, grid, visited, target, repeats)
        return cls(
            grid=grid,
            visited=visited,
            centre=centre,
            scale=scale,
            prior=prior,
            weights=weights / weights.sum(),
            target=target,
            repeats=repeats,
            factor=factor,
            half=half,
        )

    @property
    def noise(self) -> Array:
        """(hypotheses,), standard deviation of one timing."""
        return self.scale * np.sqrt(self.prior.noise)

    def with_expected(self, new: Points) -> "Model":
        """Condition on one more visit of each point, as if it returned its expected value ("kriging believer").

        Source: Ginsbourger, Le Riche and Carraro, Kriging is well-suited to parallelize optimization (2010).
        """
        visited = np.concatenate([self.visited, new])
        expected = (self.predict(new).average() - self.centre) / self.scale
        target = np.concatenate([self.target, expected])
        repeats = np.concatenate([self.repeats, np.ones(len(new))])
        factor, half = _solve(self.prior, self.grid, visited, target, repeats)
        return replace(self, visited=visited, target=target, repeats=repeats, factor=factor, half=half)

    def predict(self, wanted: Points) -> Prediction:
        """Predict mean and deviation of the true values at these points (Rasmussen and Williams 2.25 and 2.26)."""
        rows, columns = np.indices((len(self.visited), len(wanted))).reshape(2, -1)
        across = self.prior.covariance(self.grid, self.visited[rows], wanted[columns])
        across = across.reshape(len(self.weights), len(self.visited), len(wanted))
        # a white kernel on points, not on timings: a point's own deviation is the same at each visit
        across += self.prior.teeth[:, None, None] * (self.visited[:, None] == wanted[None, :])
        solved = np.linalg.solve(self.factor, across)
        # k*' K^-1 y = (L^-1 k*)' (L^-1 y)
        mean = np.einsum("hvw,hv->hw", solved, self.half)
        # k** - |L^-1 k*|^2; rounding may leave it below zero
        variance = np.maximum(self.prior.total()[:, None] - (solved**2).sum(1), 1e-12)
        return Prediction(
            weights=self.weights,
            mean=self.centre + self.scale * mean,
            deviation=self.scale * np.sqrt(variance),
            noise=self.noise,
        )

    def leave_one_out(self) -> Array:
        """Predict every visited point from all the others (Rasmussen and Williams 5.12)."""
        eye = np.broadcast_to(np.eye(len(self.visited)), self.factor.shape)
        inverse = np.linalg.solve(self.factor, eye)
        # diagonal of K^-1 = L^-T L^-1, then K^-1 y, then y_i - [K^-1 y]_i / [K^-1]_ii
        precision = (inverse**2).sum(1)
        solved = np.einsum("hvw,hv->hw", inverse, self.half)
        return self.centre + self.scale * np.asarray(self.weights @ (self.target - solved / precision))


def _solve(prior: "_Prior", grid: Grid, visited: Points, target: Array, repeats: Array) -> tuple[Array, Array]:
    """Factorise each hypothesis' covariance of the timings (Rasmussen and Williams, algorithm 2.1)."""
    rows, columns = np.tril_indices(len(target))
    among = np.zeros((len(prior.noise), len(target), len(target)))
    among[:, rows, columns] = prior.covariance(grid, visited[rows], visited[columns])
    diagonal = np.arange(len(target))
    # the variance of a centre of r timings is taken as that of their mean, noise / r
    among[:, diagonal, diagonal] += prior.teeth[:, None] + prior.noise[:, None] / repeats + JITTER
    factor = np.linalg.cholesky(among)
    half = np.linalg.solve(factor, np.broadcast_to(target[:, None], (len(factor), len(target), 1)))[..., 0]
    return factor, half


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prior:
    """Hypotheses. Variances are (hypotheses,), in units of the standardised values' variance."""

    offset: Array
    """Variance of a category's constant."""
    smooth: Array
    """Variance of the smooth curves."""
    rough: Array
    """Variance of the rough curves."""
    arithmetic: Array
    """Variance of what follows the factorisation of the counts."""
    teeth: Array
    """Variance of every point's own deviation."""
    noise: Array
    """Variance of one timing."""
    shared: Array
    """(hypotheses, categories): correlation of the curves of two values of a category."""
    reach: Array
    """(hypotheses, numbers): length scales."""
    jag: Array
    """Length scale of the rough curves over that of the smooth ones."""
    kinds: Array
    """(hypotheses, factorisation features): length scales."""
    drift: Array
    """Length scale over which what follows the factorisation changes, over that of the smooth curves."""

    @classmethod
    @lru_cache(maxsize=8)
    def draw(cls, numbers: int, categories: int, arithmetic: bool) -> "_Prior":
        """Draw the hypotheses, the same ones for every space of a kind. The noise, 0.3 to 25 %, is in log-time."""
        random = np.random.default_rng(20_060_101)

        def between(low: float, high: float, *shape: int) -> Array:
            # log-uniform: scales are equally likely in every decade
            return np.exp(random.uniform(np.log(low), np.log(high), (HYPOTHESES, *shape)))

        shared = random.uniform(0.0, 1.0, (HYPOTHESES, categories))
        apart = random.random((HYPOTHESES, categories)) < 0.25
        follows = random.random(HYPOTHESES) < 0.6
        return cls(
            offset=between(0.05, 2.0) * bool(categories),
            smooth=between(0.3, 6.0),
            rough=between(0.003, 0.5),
            arithmetic=between(0.01, 1.0) * follows * arithmetic,
            teeth=between(0.0005, 0.3),
            noise=between(0.003, 0.25) ** 2,
            shared=np.where(apart, 0.0, shared),
            reach=between(0.15, 4.0, numbers),
            jag=between(0.1, 1.0),
            kinds=between(0.2, 4.0, FACTORISATION),
            drift=between(0.5, 4.0),
        )

    def select(self, chosen: Points) -> "_Prior":
        """Keep these hypotheses only."""
        return _Prior(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})

    def total(self) -> Array:
        """Return the prior variance of a point."""
        return self.offset + self.smooth + self.rough + self.arithmetic + self.teeth

    def covariance(self, grid: Grid, left: Points, right: Points) -> Array:
        """Return (hypotheses, pairs) covariances of the true values of pairs, but for each point's own deviation.

        The smooth part is a Matern-5/2 kernel, the rough one a Matern-1/2 kernel (Rasmussen and Williams 4.17 and
        4.9). A category correlates two curves by `shared`: the intrinsic coregionalisation model of a common curve
        and one of its own for each value (Alvarez, Rosasco and Lawrence, Kernels for vector-valued functions, 2012).
        """
        single = np.float32  # its exponential takes a quarter of the time, and JITTER covers its rounding
        apart = (grid.inputs[left] - grid.inputs[right]).T.astype(single)
        # r^2 with a length scale for each number (automatic relevance determination)
        squared = (self.reach**-2.0).astype(single) @ apart**2
        distance = np.sqrt(squared)
        scaled = np.sqrt(single(5.0)) * distance
        # Matern 5/2: (1 + sqrt(5) r + 5 r^2 / 3) exp(-sqrt(5) r)
        result = (1.0 + scaled + single(5.0 / 3.0) * squared) * np.exp(-scaled) * _column(self.smooth)
        # Matern 1/2: exp(-r)
        result += _column(self.rough) * np.exp(distance * _column(-1 / self.jag))
        if grid.arithmetic is not None:
            kinds = np.abs(grid.arithmetic[left] - grid.arithmetic[right]).T.astype(single)
            exponent = (-1 / self.kinds).astype(single) @ kinds + distance * _column(-1 / self.drift)
            result += _column(self.arithmetic) * np.exp(exponent)
        if grid.categorical.any():
            same = grid.categories[left] == grid.categories[right]
            # coregionalisation matrix of a category: 1 on the diagonal, `shared` off it
            for axis in range(same.shape[1]):
                result *= np.where(same[:, axis], single(1.0), _column(self.shared[:, axis]))
            result += _column(self.offset) * same.mean(axis=1, dtype=single)
        return np.asarray(result, dtype=np.float64)


def _column(values: Array) -> npt.NDArray[np.float32]:
    """Return a value for each hypothesis, in single precision, to be combined with (hypotheses, pairs)."""
    return values[:, None].astype(np.float32)
