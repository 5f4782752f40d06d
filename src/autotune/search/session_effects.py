"""What every arm takes once what it met is taken off: rounds within a session, sessions among each other.

The default alone is a poor reference for many arms. A neighbour that comes or goes in the middle of a round
shifts all that ran after it, and who is compared through one timing shares that timing's luck. So every round
has a level of its own, told by all its arms, and a timing far from what its round and its arm say counts for
nothing: Tukey's additive fit and biweight (Exploratory Data Analysis, 1977), by reweighted least squares as in
Holland and Welsch, Communications in Statistics A6 (1977). Sessions are joined by all arms that they share.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from autotune.model.configuration import Configuration

Array = npt.NDArray[np.float64]

GENTLE, STRICT = 1.345, 4.685
"""Spreads at which Huber's weights begin to fall and Tukey's end: 95 % as precise as the mean without outliers."""
PASSES = 8
"""Of reweighting with either: with Huber's from a guess that may be far off, then with Tukey's."""
SHARED = 6
"""Timings after which an arm's own spread weighs as much as that of all arms."""
LEAST = 1e-6
"""Spread, in logarithm, of timings that do not vary."""


@dataclass(kw_only=True)
class Additive:
    """Configurations that ran side by side, round by round, in any number of sessions."""

    _sessions: list[dict[Configuration, tuple[float, float]]] = field(default_factory=list)
    """Effect and spread of each arm."""
    _rounds: list[int] = field(default_factory=list)
    _joint: dict[Configuration, tuple[float, float]] | None = None

    def add(self, seconds: Mapping[Configuration, Sequence[float]]) -> None:
        """A session: each arm's times, the i-th of all from the same round."""
        logs = np.log(np.asarray(list(seconds.values())))
        effects, spreads = within(logs)
        found = zip(effects.tolist(), spreads.tolist(), strict=True)
        self._sessions.append(dict(zip(seconds, found, strict=True)))
        self._rounds.append(logs.shape[1])
        self._joint = None

    def effect(self, arm: Configuration) -> float:
        """The arm's logarithm of seconds, up to a constant that all arms share."""
        return self._joined()[arm][0]

    def error(self, arm: Configuration) -> float:
        """Standard error of the effect where it is compared with other arms."""
        return self._joined()[arm][1]

    def _joined(self) -> dict[Configuration, tuple[float, float]]:
        if self._joint is None:
            arms = list(dict.fromkeys(arm for session in self._sessions for arm in session))
            effects, spreads = (
                np.asarray([[one.get(arm, (0.0, 0.0))[which] for one in self._sessions] for arm in arms])
                for which in (0, 1)
            )
            weights = np.asarray([[arm in one for one in self._sessions] for arm in arms]) * np.asarray(
                self._rounds
            )
            joint = across(effects, weights)
            errors = np.sqrt((weights * spreads**2).sum(1)) / weights.sum(1)
            self._joint = dict(zip(arms, zip(joint.tolist(), errors.tolist(), strict=True), strict=True))
        return self._joint


def within(values: Array) -> tuple[Array, Array]:
    """(arms,) effects and (arms,) spreads of one timing, of (arms, rounds) logarithms of one session."""
    levels = np.median(values, axis=0)
    effects = np.median(values - levels, axis=1)
    levels = np.median(values - effects[:, None], axis=0)
    spreads = np.full(len(values), LEAST)
    for strict in (False, True):
        for _ in range(PASSES):
            left = np.abs(values - effects[:, None] - levels)
            spreads = _spreads(left)
            weights = _weights(left / spreads[:, None], strict=strict)
            effects = np.average(values - levels, axis=1, weights=weights)
            levels = np.average(values - effects[:, None], axis=0, weights=weights / spreads[:, None] ** 2)
    return effects, spreads


def across(effects: Array, weights: Array) -> Array:
    """(arms,) effects over all sessions, of (arms, sessions) effects up to each session's level.

    Arms that ran in one session only follow its level, and say nothing about it. Where most sessions agree on
    an arm and one does not, that one counts for less (Huber's weights): what slows all of a short session may
    slow one arm more than another.
    """
    held = weights
    ran, again = weights > 0, ((weights > 0).sum(axis=1) > 2)[:, None] & (weights > 0)
    for _ in range(PASSES if again.any() else 0):
        joint, levels = _least_squares(effects, held)
        left = np.abs(np.where(ran, effects - joint[:, None] - levels, 0.0))
        spread = max(1.4826 * float(np.median(left[again])), LEAST)
        held = weights * _weights(left / spread, strict=False)
    return _least_squares(effects, held)[0]


def _least_squares(effects: Array, weights: Array) -> tuple[Array, Array]:
    """(arms,) effects and (sessions,) levels."""
    total = weights.sum(axis=1)
    shares = weights / total[:, None]
    means = (shares * effects).sum(axis=1)
    joined = np.diag(weights.sum(axis=0)) - weights.T @ shares
    apart = (weights * effects).sum(axis=0) - weights.T @ means
    levels = np.linalg.lstsq(joined, apart, rcond=1e-9)[0]
    return np.asarray(means - shares @ levels), levels


def _weights(apart: Array, *, strict: bool) -> Array:
    if not strict:
        return np.minimum(1.0, GENTLE / np.maximum(apart, GENTLE))
    return np.asarray(np.clip(1.0 - (apart / STRICT) ** 2, 1e-6, 1.0) ** 2)


def _spreads(left: Array) -> Array:
    """(arms,) standard deviations, each drawn to that of all as far as it rests on few timings.

    From mean logarithms, which outliers hardly move: that of a normal deviate is -0.635.
    """
    rounds = left.shape[1]
    common = max(1.4826 * float(np.median(left)), LEAST)
    own = np.log(np.maximum(left, common / 20)).mean(axis=1) + 0.635
    return np.asarray(np.exp((rounds * own + SHARED * np.log(common)) / (rounds + SHARED)))
