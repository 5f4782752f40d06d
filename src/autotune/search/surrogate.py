"""What the points visited so far say about the others: a Gaussian process over a Grid.

The prior is what thread curves look like: smooth over ratios of counts, with teeth on top (a count that does
not divide the work, a library that falls back to one thread), and every timing noisy. Its length scales are not
fitted to the few timings there are but averaged over: each of a fixed set of hypotheses speaks with the weight
of its marginal likelihood. Source: Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), 2, 5.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]

HYPOTHESES = 96
"""Settings of the prior that are tried; the evidence of twice as many chose no better."""
KEPT = 8
"""The most likely of them that predict."""
WEIGHED = 200
"""Points at most, spread over all visits, by which the hypotheses are weighed. With all of 400 points a proposal took
2.8 s, and an array of every hypothesis 120 MB; with these it takes 1.1 s."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What the model expects of points; each row one hypothesis."""

    weights: Array
    """(hypotheses,), summing to 1."""
    mean: Array
    """(hypotheses, points)"""
    deviation: Array
    """(hypotheses, points), of the true value, without the noise of a timing."""
    noise: Array
    """(hypotheses,), standard deviation of one timing."""

    def average(self) -> Array:
        """(points,) expected value."""
        return np.asarray(self.weights @ self.mean)

    def spread(self) -> Array:
        """(points,) standard deviation, over hypotheses too."""
        second = self.weights @ (self.deviation**2 + self.mean**2)
        return np.sqrt(np.maximum(second - self.average() ** 2, 1e-18))


@dataclass(frozen=True, kw_only=True)
class Model:
    """A Gaussian process that has seen some points, under its most likely hypotheses."""

    features: Array
    """(points, features), each from 0 to 1."""
    categorical: npt.NDArray[np.bool_]
    """(features,): which only say whether two points differ."""
    visited: npt.NDArray[np.intp]
    """Distinct points that were seen."""
    centre: float
    scale: float
    prior: "_Prior"
    weights: Array
    target: Array
    repeats: Array
    factor: Array
    half: Array

    @classmethod
    def fit(
        cls,
        features: Array,
        categorical: npt.NDArray[np.bool_],
        visited: npt.NDArray[np.intp],
        values: Array,
        repeats: Array,
    ) -> "Model":
        """Learn from the `visited` points' log-times `values`, each over so many `repeats`."""
        centre = float(np.median(values))
        scale = float(np.sqrt(np.mean((values - centre) ** 2))) or 1.0
        target = (values - centre) / scale
        prior = _Prior.draw(features.shape[1], scale)
        some = np.linspace(0, len(visited) - 1, min(WEIGHED, len(visited))).astype(np.intp)
        factor, half = _solved(prior, features[visited[some]], categorical, target[some], repeats[some])
        evidence = -0.5 * (half**2).sum(1) - np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(1)
        kept = np.argsort(-evidence, kind="stable")[:KEPT]
        weights = np.exp(evidence[kept] - evidence[kept[0]])
        prior, factor, half = prior.only(kept), factor[kept], half[kept]
        if len(some) < len(visited):
            factor, half = _solved(prior, features[visited], categorical, target, repeats)
        return cls(
            features=features,
            categorical=categorical,
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

    def expecting(self, new: npt.NDArray[np.intp]) -> "Model":
        """As if these points had been visited once more each, and were what is expected of them."""
        visited = np.concatenate([self.visited, new])
        expected = (self.predict(new).average() - self.centre) / self.scale
        target = np.concatenate([self.target, expected])
        repeats = np.concatenate([self.repeats, np.ones(len(new))])
        factor, half = _solved(self.prior, self.features[visited], self.categorical, target, repeats)
        return replace(self, visited=visited, target=target, repeats=repeats, factor=factor, half=half)

    def predict(self, wanted: npt.NDArray[np.intp]) -> Prediction:
        """What to expect at these points."""
        prior = self.prior
        across = prior.covariance(self.features[wanted], self.features[self.visited], self.categorical)
        across = across + prior.teeth[:, None, None] * (wanted[:, None] == self.visited[None, :])
        solved = np.linalg.solve(self.factor, across.transpose(0, 2, 1))
        mean = np.einsum("hvw,hv->hw", solved, self.half)
        total = (prior.smooth + prior.rough + prior.teeth)[:, None]
        variance = np.maximum(total - (solved**2).sum(1), 1e-12)
        return Prediction(
            weights=self.weights,
            mean=self.centre + self.scale * mean,
            deviation=self.scale * np.sqrt(variance),
            noise=self.scale * np.sqrt(prior.noise),
        )

    def expected_elsewise(self) -> Array:
        """(visited,) what all other points say of each: where its own value is far above, it may be bad luck.

        Source: Rasmussen and Williams (2006), equation 5.12.
        """
        eye = np.broadcast_to(np.eye(len(self.visited)), self.factor.shape)
        inverse = np.linalg.solve(self.factor, eye)
        precision = (inverse**2).sum(1)
        solved = np.einsum("hvw,hv->hw", inverse, self.half)
        target = np.einsum("hvw,hw->hv", self.factor, self.half)
        return self.centre + self.scale * np.asarray(self.weights @ (target - solved / precision))


def _solved(
    prior: "_Prior", features: Array, categorical: npt.NDArray[np.bool_], target: Array, repeats: Array
) -> tuple[Array, Array]:
    """Each hypothesis' Cholesky factor of the covariance among visited points, and the target divided by it."""
    among = prior.covariance(features, features, categorical)
    diagonal = np.arange(len(target))
    among[:, diagonal, diagonal] += prior.teeth[:, None] + prior.noise[:, None] / repeats + 1e-9
    factor = np.linalg.cholesky(among)
    half = np.linalg.solve(factor, np.broadcast_to(target[:, None], (len(factor), len(target), 1)))[..., 0]
    return factor, half


@dataclass(frozen=True, kw_only=True)
class _Prior:
    """Hypotheses: variances (hypotheses,) and inverse length scales (hypotheses, parameters)."""

    smooth: Array
    rough: Array
    teeth: Array
    noise: Array
    reach: Array
    jag: Array

    @classmethod
    def draw(cls, parameters: int, scale: float) -> "_Prior":
        """The same hypotheses for every call, but for the noise, which is known in absolute terms: 0.3 to 10 %."""
        random = np.random.default_rng(20_060_101)
        return cls(
            smooth=np.exp(random.uniform(np.log(0.3), np.log(6.0), HYPOTHESES)),
            rough=np.exp(random.uniform(np.log(0.003), np.log(0.5), HYPOTHESES)),
            teeth=np.exp(random.uniform(np.log(0.0005), np.log(0.2), HYPOTHESES)),
            noise=np.exp(random.uniform(np.log(0.003), np.log(0.1), HYPOTHESES)) ** 2 / scale**2,
            reach=np.exp(random.uniform(np.log(0.15), np.log(4.0), (HYPOTHESES, parameters))),
            jag=np.exp(random.uniform(np.log(0.1), np.log(1.0), HYPOTHESES)),
        )

    def only(self, chosen: npt.NDArray[np.intp]) -> "_Prior":
        return _Prior(
            smooth=self.smooth[chosen],
            rough=self.rough[chosen],
            teeth=self.teeth[chosen],
            noise=self.noise[chosen],
            reach=self.reach[chosen],
            jag=self.jag[chosen],
        )

    def covariance(self, left: Array, right: Array, categorical: npt.NDArray[np.bool_]) -> Array:
        """(hypotheses, left, right): a smooth Matern-5/2 part and a rough Matern-1/2 part of a fifth its reach."""
        apart = np.abs(left[:, None, :] - right[None, :, :])
        apart = np.where(categorical, (apart > 0) * 0.5, apart)
        squared = np.einsum("lrp,hp->hlr", apart**2, self.reach**-2.0)
        distance = np.sqrt(5.0 * squared)
        smooth = (1.0 + distance + 5.0 / 3.0 * squared) * np.exp(-distance)
        rough = np.exp(-np.sqrt(squared) / self.jag[:, None, None])
        return np.asarray(self.smooth[:, None, None] * smooth + self.rough[:, None, None] * rough)
