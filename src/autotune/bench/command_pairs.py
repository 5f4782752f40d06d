"""Runs of a command and of a variant of it, in adjacent pairs: their times, exit statuses and outputs."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import exp
from time import monotonic

from autotune.bench.command_bench import run_to_end, start_failure
from autotune.bench.failure_text import last_words
from autotune.bench.statistics import hodges_lehmann, log_ratios, mean_interval
from autotune.errors import BadWorkload
from autotune.model.units import SPARE_TIME

FEWEST_FOR_INTERVAL = 3
"""Pairs below which no interval is given: Student's interval of two values is of no use (t is 12.7)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRun:
    """One run of a command."""

    seconds: float
    status: int
    """Exit status; negative: the signal that ended it."""
    output: bytes
    """The end of what it wrote to standard output and standard error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedRuns:
    """Runs of the plain command and of its variant, the i-th of each adjacent in time."""

    first: CommandRun
    """Of the plain command, before the pairs: its output counts, its time does not."""
    plain: tuple[CommandRun, ...]
    variant: tuple[CommandRun, ...]

    @property
    def speedup(self) -> float:
        """Hodges-Lehmann estimate of plain seconds over the variant's."""
        return exp(hodges_lehmann(self._log_speedups))

    @property
    def interval(self) -> tuple[float, float] | None:
        """Ends of the 95 % interval of the mean log speed-up (Student); None below three pairs."""
        if len(self.plain) < FEWEST_FOR_INTERVAL:
            return None
        _, low, high = mean_interval(self._log_speedups)
        return exp(low), exp(high)

    @property
    def same_status(self) -> bool:
        """Whether all runs ended with one status."""
        return len({run.status for run in (*self.plain, *self.variant)}) == 1

    @property
    def failure(self) -> int:
        """Exit status with which all runs failed; 0 if any did not, or if their statuses differ."""
        return self.plain[0].status if self.same_status else 0

    @property
    def same_output(self) -> bool | None:
        """Whether all runs wrote the same; None if runs of the plain command already differ among themselves."""
        plain = {run.output for run in (self.first, *self.plain)}
        if len(plain) > 1:
            return None
        return {run.output for run in self.variant} == plain

    @property
    def _log_speedups(self) -> list[float]:
        return log_ratios([run.seconds for run in self.plain], [run.seconds for run in self.variant])


def run_pairs(
    plain: Sequence[str],
    variant: Sequence[str],
    *,
    pairs: int,
    seconds: float,
    seed: int,
    environ: Mapping[str, str],
    variant_environ: Mapping[str, str],
    foresee: Callable[[float, int], object] | None = None,
) -> PairedRuns:
    """Run both commands in pairs, in random order within each pair.

    A first run of the plain command warms the system's caches and is not a timing. No pair begins that the time left
    of `seconds` does not allow; there is at least one, and `pairs` at most. A single run may take all of the time.
    Before the pairs `foresee` is told the seconds of the first run, and how many pairs fit the time if runs scatter.
    Scope of effect: the commands' own, as often as they are run. Raises BadWorkload if the plain command cannot be
    started, or does not end within the time.
    """
    end = monotonic() + seconds
    order = random.Random(seed)
    first = _run(plain, environ, end)
    longest = first.seconds
    if foresee is not None:
        fitting = int((end - monotonic()) / (2 * SPARE_TIME * max(longest, 1e-3)))
        foresee(longest, min(pairs, max(1, fitting)))
    sides: tuple[list[CommandRun], list[CommandRun]] = ([], [])
    for number in range(pairs):
        if number and monotonic() + 2 * longest > end:
            break
        for side in order.sample((0, 1), 2):
            words, variables = ((plain, environ), (variant, variant_environ))[side]
            run = _run(words, variables, max(end, monotonic() + 2 * longest + 1.0))
            longest = max(longest, run.seconds)
            sides[side].append(run)
    return PairedRuns(first=first, plain=tuple(sides[0]), variant=tuple(sides[1]))


def _run(words: Sequence[str], environ: Mapping[str, str], end: float) -> CommandRun:
    """Run a command to its end, with all its children. Raises BadWorkload."""
    limit = end - monotonic()
    try:
        ending, output = run_to_end(words, environ, limit)
    except (OSError, ValueError) as problem:  # ValueError: a NUL byte in an argument
        raise BadWorkload(start_failure(words[0], problem)) from None
    if ending is None or ending.seconds is None:
        raise BadWorkload(
            f"The command did not end within {limit:.3g} s; allow more by --budget."
            f"{last_words(output.decode(errors='replace'))}"
        )
    return CommandRun(seconds=ending.seconds, status=ending.status, output=output)
