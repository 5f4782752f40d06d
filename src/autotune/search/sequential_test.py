"""Is what search found really faster than the default? Asked of fresh processes, with the error stated. Pure.

A search that tries many configurations finds the lucky ones among them (the optimiser's curse: Smith and
Winkler, Management Science 52, 2006), so its own timings prove nothing. What is put to the test is an
operation's rule: the choices for all its sizes together, with a guard for each size.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, log1p

import numpy as np

from autotune.bench.statistics import hodges_lehmann, log_ratios, mean_interval, upper_bound
from autotune.model.measurement import Pair
from autotune.model.operation import Operation

MARGIN = 0.01
"""A gain smaller than this is not worth a switch; the machine's resolution, where larger, takes its place."""

ERROR = 0.025
"""One-sided probability of accepting a rule that is not faster, over all looks together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A planned look at the data: so many processes, and the part of the error that it may spend."""

    processes: int
    error: float


LOOKS = (Look(processes=3, error=0.005), Look(processes=5, error=0.008), Look(processes=8, error=0.012))
"""Gains of half and more show in three processes, those of a few per cent need all eight."""

ROUNDS = 8
"""Pairs in each process."""

LEAN_LOOKS = (
    Look(processes=2, error=0.008),
    Look(processes=3, error=0.005),
    Look(processes=5, error=0.006),
    Look(processes=8, error=0.006),
)
"""Where a second host proves the same: each of both proofs has the whole error, 2.5 %, and looks a process earlier. By
Student's t two processes that differ by 2 % show a gain of half; smaller ones take more processes, as ever."""
LEAN_ROUNDS = 4
"""Pairs in each process of such a proof."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What one fresh process said about one size: seconds of the choice and of the default, pair by pair."""

    choice: tuple[float, ...]
    default: tuple[float, ...]

    @classmethod
    def of(cls, pairs: Sequence[Pair]) -> "Trial":
        """The trial that measured these pairs."""
        return cls(
            choice=tuple(pair.candidate_seconds for pair in pairs),
            default=tuple(pair.default_seconds for pair in pairs),
        )

    @property
    def estimate(self) -> float:
        """Log-ratio of this process."""
        return hodges_lehmann(log_ratios(self.choice, self.default))


Trials = Mapping[Operation, Sequence[Trial]]
"""For each size, one Trial for each process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a look says."""

    accepted: frozenset[Operation]
    """Sizes whose choice stands."""
    dropped: Mapping[Operation, str]
    """Sizes whose choice falls, each with its reason."""


def judge(trials: Trials, *, error: float, margin: float, last: bool) -> Verdict:
    """The verdict on a rule at one look.

    Accepted are the sizes whose own interval excludes any loss, if their mean gain together exceeds the
    margin, each at the one-sided `error`. At the last look all others are dropped; before it only those
    without hope, and what is neither accepted nor dropped stays for the next look.
    """
    faults = {size: fault(processes, error=error, margin=margin) for size, processes in trials.items()}
    sound = [size for size, found in faults.items() if found is None]
    gain = _gain([trials[size] for size in sound], error) if sound else 0.0
    accepted = frozenset(sound) if gain < -log1p(margin) else frozenset[Operation]()
    fallen = {size for size in trials if size not in accepted and (last or _hopeless(trials[size], margin))}
    weak = f"Together with the other sizes the gain is not proved to exceed {margin:.1%}."
    return Verdict(
        accepted=accepted,
        dropped={size: found or weak for size, found in faults.items() if size in fallen},
    )


def interval(trials: Sequence[Trial]) -> tuple[float, float, float]:
    """(ratio, low, high): time of the choice over the default's with its 95 % interval over processes."""
    mean, low, high = mean_interval([trial.estimate for trial in trials])
    return exp(mean), exp(low), exp(high)


def _gain(sizes: Sequence[Sequence[Trial]], error: float) -> float:
    """Upper end of the mean log-ratio over sizes; every process gives one value."""
    processes = zip(*sizes, strict=True)
    return upper_bound([float(np.mean([trial.estimate for trial in trials])) for trials in processes], error)


def in_words(trials: Sequence[Trial]) -> str:
    """That interval, as the end of a sentence."""
    ratio, low, high = interval(trials)
    return f"{ratio:.3f} times the default's time, 95 % interval {low:.3f} to {high:.3f}."


def fault(trials: Sequence[Trial], *, error: float, margin: float) -> str | None:
    """What speaks against the choice at one size, as a sentence; None if it is proved faster.

    The mean and the 90th percentile are looked at beside the interval of the paired medians: with spinning
    BLAS threads and a busy neighbour the median said 0.98, the mean 1.36 and the 90th percentile 1.70.
    """
    estimates = [trial.estimate for trial in trials]
    if upper_bound(estimates, error) >= 0.0:
        return f"Not proved faster: {in_words(trials)}"
    choice = np.concatenate([trial.choice for trial in trials])
    default = np.concatenate([trial.default for trial in trials])
    means = float(choice.mean() / default.mean())
    if means > 1.0:
        return f"Faster in most pairs, but slower on average: its mean is {means:.3f} of the default's."
    tails = float(np.quantile(choice, 0.9) / np.quantile(default, 0.9))
    if tails > 1.0 + margin:
        return (
            f"Faster in most pairs, but with slow ones: its 90th percentile is {tails:.3f} of the default's."
        )
    return None


def _hopeless(trials: Sequence[Trial], margin: float) -> bool:
    """Is even the mean of the estimates on the wrong side?"""
    return float(np.mean([trial.estimate for trial in trials])) > -log1p(margin) / 2
