"""What the points visited so far say about the others: a Gaussian process over a Grid.

The prior is what thread curves look like: smooth over ratios of counts, with teeth on top (a count that does
not divide the work, a library that falls back to one thread), and every timing noisy. Its length scales are not
fitted to the few timings there are but averaged over: each of a fixed set of hypotheses speaks with the weight
of its marginal likelihood. Source: Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), 2, 5.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

HYPOTHESES = 96
"""Settings of the prior that are tried; the evidence of twice as many chose no better."""
KEPT = 8
"""The most likely of them that predict."""


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


def predict(
    coordinates: Array,
    categorical: npt.NDArray[np.bool_],
    visited: npt.NDArray[np.intp],
    values: Array,
    repeats: Array,
    wanted: npt.NDArray[np.intp],
) -> Prediction:
    """What to expect at the points `wanted`.

    `coordinates` (points, parameters) from 0 to 1; `visited` distinct points with their mean log-times `values`
    over so many `repeats`.
    """
    centre = float(np.median(values))
    scale = float(np.sqrt(np.mean((values - centre) ** 2))) or 1.0
    target = (values - centre) / scale
    prior = _Prior.draw(coordinates.shape[1], scale)
    among = prior.covariance(coordinates[visited], coordinates[visited], categorical)
    diagonal = np.arange(len(visited))
    among[:, diagonal, diagonal] += prior.teeth[:, None] + prior.noise[:, None] / repeats + 1e-9
    factor = np.linalg.cholesky(among)
    half = np.linalg.solve(factor, np.broadcast_to(target[:, None], (HYPOTHESES, len(target), 1)))[..., 0]
    evidence = -0.5 * (half**2).sum(1) - np.log(factor[:, diagonal, diagonal]).sum(1)
    kept = np.argsort(-evidence, kind="stable")[:KEPT]
    weights = np.exp(evidence[kept] - evidence[kept[0]])

    across = prior.only(kept).covariance(coordinates[wanted], coordinates[visited], categorical)
    same = wanted[:, None] == visited[None, :]
    across = across + prior.teeth[kept, None, None] * same
    solved = np.linalg.solve(factor[kept], across.transpose(0, 2, 1))
    mean = np.einsum("hvw,hv->hw", solved, half[kept])
    total = (prior.smooth + prior.rough + prior.teeth)[kept, None]
    variance = np.maximum(total - (solved**2).sum(1), 1e-12)
    return Prediction(
        weights=weights / weights.sum(),
        mean=centre + scale * mean,
        deviation=scale * np.sqrt(variance),
        noise=scale * np.sqrt(prior.noise[kept]),
    )


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
