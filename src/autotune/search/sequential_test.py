"""Sequential test of one candidate against the default, with the error stated. Pure.

The test is a betting game against the hypothesis "the candidate is not faster" (Waudby-Smith and Ramdas, Journal
of the Royal Statistical Society B 86, 2024; for symmetric noise: Howard, Ramdas, McAuliffe and Sekhon, Annals of
Statistics 49, 2021). Each fresh process yields one log-ratio x, relative to the hypothesis. A player with stake s
multiplies the capital by

    2 / (1 + exp(2 x / s))

which is more than 1 where the candidate was faster and less than 1 where it was slower. If x is as likely to be +x
as -x whatever happened before, or larger, the factor is 1 on average or less, so the capital is a supermartingale, and
the probability that it ever reaches C is at most 1 / C (Ville's inequality). This needs no normal distribution, no
independence of the sizes of the errors, and no planned number of processes: the test may stop, pause and go on at any
time. Identical configurations whose samples run in random order are symmetric whatever the machine does.

Several players bet with stakes from 1 % to 64 %. Their mean capital is a capital, too.

A large gain needs fewer processes. Pairs of one process share its conditions (memory layout, placement), so that they
are no independent bets against "not faster"; but they are fair bets against "not faster, and each process shifts its
pairs by at most `LARGEST_SHIFT`". The mean of both capitals is a capital again.
"""

from collections.abc import Callable, Sequence
from functools import partial
from math import exp, inf, log

import numpy as np

from autotune.bench.statistics import hodges_lehmann

MARGIN = 0.01
"""A gain smaller than this is not worth a switch: what is tested is whether the gain exceeds it."""
ERROR = 0.025
"""Probability of accepting an entry's choice although its gain does not exceed the margin, over all candidates."""
SHARES = (0.8, 0.16, 0.04)
"""Parts of the error for the first, second and third candidate of an entry."""
STAKES = tuple(0.01 * 2.0**power for power in range(7))
"""In log-ratio: each is the best one for gains about as large."""
LEAST_PROCESSES = 6
"""Fresh processes before anything is accepted or an interval is stated. A capital at most doubles with each, so that
fewer could not exceed 1 / (0.8 ERROR) = 50 in any case."""
LARGEST_SHIFT = 0.12
"""Log-ratio by which the conditions of one process may shift all of its pairs. Layouts of arrays shifted processes by
up to 10 % here."""
LEAST_PROCESSES_OF_LARGE_GAIN = 4
"""Fresh processes before a gain is accepted by its pairs. Where the shift of one process is larger than `LARGEST_SHIFT`
and favours either side in one process of four each, four of a kind have a probability of 0.4 %."""

_PRECISION = 1e-5
"""Of the ends of an interval, in log-ratio."""


def candidate_error(place: int) -> float:
    """Return the part of the error for an entry's candidate number `place`, from 0."""
    return ERROR * SHARES[min(place, len(SHARES) - 1)]


def capital(values: Sequence[float], bound: float = 0.0) -> float:
    """Return the capital won against the hypothesis of log-ratios at `bound` or above; 1 without values.

    Parameters
    ----------
    values
        One log-ratio, candidate over default, for each fresh process.
    bound
        Log-ratio of the hypothesis.

    Returns
    -------
    float
        Mean capital of all players. The probability of ever reaching C is at most 1 / C under the hypothesis.

    """
    stakes = np.asarray(STAKES)[:, None]
    # ln(2 / (1 + exp(2 x / s))) of each process and player; logaddexp does not overflow
    gains = log(2.0) - np.logaddexp(0.0, 2.0 * (np.asarray(values, dtype=float) - bound) / stakes)
    # products of factors are sums of logarithms; exp(710) exceeds a double
    return float(np.exp(np.minimum(gains.sum(axis=1), 700.0)).mean())


def is_proved(values: Sequence[float], *, bound: float, error: float) -> bool:
    """Do these processes prove that the log-ratio is below `bound`?"""
    # Ville's inequality: P(capital ever >= 1 / error) <= error under the hypothesis
    return len(values) >= LEAST_PROCESSES and capital(values, bound) >= 1.0 / error


def pair_capital(pair_values: Sequence[float], bound: float = 0.0) -> float:
    """Return the capital won by pairs against the hypothesis of `bound` or above, processes shifted or not."""
    # worst case of the hypothesis: every process shifts its pairs in the candidate's favour
    return capital(pair_values, bound - LARGEST_SHIFT)


def upper_end(capital_at: Callable[[float], float], near: float) -> float:
    """Return the smallest bound against which the capital reaches 1 / ERROR; infinite if it never does.

    The ends found at all times together hold with probability 1 - ERROR: a confidence sequence.
    """
    # The test is inverted: its capital grows with the bound, so the end is where it crosses 1 / ERROR.
    low, step = near, STAKES[0]
    # bracket it by growing steps, then bisect
    while capital_at(low + step) < 1.0 / ERROR:
        low, step = low + step, 2.0 * step
        if step > 1e3:
            return inf
    high = low + step
    while capital_at(low) >= 1.0 / ERROR:
        low, step = low - step, 2.0 * step
    while high - low > _PRECISION:
        middle = (low + high) / 2.0
        low, high = (low, middle) if capital_at(middle) >= 1.0 / ERROR else (middle, high)
    return high


def interval(
    values: Sequence[float], pair_values: Sequence[float], capital_at: Callable[[float], float]
) -> tuple[float, float, float] | None:
    """Return (ratio, low, high) of the time over the default's, with its 95 % interval; None where there are too few.

    The upper end is that of the test, whose capital `capital_at` tells: what was accepted lies below its bound. Only
    this end has the error stated: the lower one rests on processes that are chosen anew when full capacity turns out to
    be higher. Below six processes the lower end is that of the pairs, less `LARGEST_SHIFT`.
    """
    few = len(values) < LEAST_PROCESSES
    if not values or (few and len(pair_values) < LEAST_PROCESSES):
        return None
    near = hodges_lehmann(values)  # robust: one odd process in four moves it little
    # the lower end is the upper end of the reversed log-ratio, default over candidate
    back = [-value for value in (pair_values if few else values)]
    low = -upper_end(partial(pair_capital if few else capital, back), -near)
    high = max(near, upper_end(capital_at, near))
    return None if inf in {-low, high} else (exp(near), exp(min(low, near)), exp(high))
