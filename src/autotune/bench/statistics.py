"""Estimates and intervals. Pure functions of values.

Timings of one process share its memory layout: a process is one sample, however many pairs it
timed (Kalibera and Jones, ISMM 2013). So every process yields one estimate, and intervals are taken over
processes with Student's t; a bootstrap over six processes is too optimistic.
"""

from collections.abc import Iterable, Sequence
from math import log

import numpy as np

from autotune.model.measurement import Pair


def log_ratios(candidate: Sequence[float], default: Sequence[float]) -> list[float]:
    """Return ln(candidate / default) of timings that were taken side by side."""
    return [float(value) for value in np.log(np.asarray(candidate) / np.asarray(default))]


def pair_log_ratios(pairs: Iterable[Pair]) -> list[float]:
    """Return ln(candidate / default) of each pair."""
    return [log(pair.candidate_seconds / pair.default_seconds) for pair in pairs]


def hodges_lehmann(values: Sequence[float]) -> float:
    """Return the median of the averages of all pairs, each value paired with itself too.

    As robust as the median and nearly as efficient as the mean; under the noise of a shared machine the best
    estimator of a paired log-ratio that was tried. Source: Hodges and Lehmann, Ann. Math. Stat. 34 (1963).
    Raises ValueError without values.
    """
    if not values:
        raise ValueError("An estimate needs at least one value.")
    # without NumPy: for the ten values of a process that is twenty times as fast
    # twice the Walsh averages (x_i + x_j) / 2 for i <= j
    sums = sorted(left + right for place, left in enumerate(values) for right in values[place:])
    middle = len(sums) // 2
    return float(sums[middle] / 2 if len(sums) % 2 else (sums[middle - 1] + sums[middle]) / 4)


def upper_bound(values: Sequence[float], alpha: float) -> float:
    """Return the upper end of the one-sided interval of the mean at error `alpha`; infinite below two values."""
    if len(values) < 2:
        return float("inf")
    from scipy.special import stdtrit  # the report reads this module, and works without SciPy

    array = np.asarray(values, dtype=float)
    # standard error of the mean, s / sqrt(n), with Bessel's n - 1 in s
    error = array.std(ddof=1) / len(array) ** 0.5
    # Student's quantile with n - 1 degrees of freedom
    return float(array.mean() + stdtrit(len(array) - 1, 1 - alpha) * error)


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return (mean, low, high) with the two-sided 95% interval of the mean; infinite ends below two values."""
    mean = float(np.mean(values))
    # half of the error of 5% on either side: Student's distribution is symmetric
    half = upper_bound(values, 0.025) - mean
    return mean, mean - half, mean + half
