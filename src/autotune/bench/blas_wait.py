"""Measurement of the time that idle BLAS threads should spin on this machine: a knob that is measured once.

The library's own time-out (0.1 s with OpenBLAS) takes the CPUs from what follows a call. A shorter one is chosen if
calls of BLAS in a row lose nothing by it: fresh processes with each exponent and with the default, round by round,
time products and QR (`spin_trial`). With the chosen time-out, loops right after a product are timed plain and cut: only
those that gain there may be cut while threads spin.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, log
from statistics import fmean, median
from subprocess import PIPE
from time import monotonic
from typing import Any

from autotune.bench.statistics import mean_interval
from autotune.controls.supervise import Supervised
from autotune.controls.wait_policy import DEFAULT_EXPONENT, VARIABLE
from autotune.model.software import Software

EXPONENTS = (20, 22)
"""The shortest first: 2^20 cycles are 0.4 ms, 2^22 cycles 1.6 ms. Shorter ones slow QR down by 10 to 40 %, since its
threads have to be woken within a call (measured with OpenBLAS 0.3.31)."""

MOST_LOST = 1.02
"""Time of calls in a row over the default's that counts as nothing lost: upper end of its 95 % interval."""
MOST_LOST_BY_ONE = 1.05
"""The same for the median of each kind of call, so that one does not pay for another."""

LEAST_ROUNDS, MOST_ROUNDS = 4, 8
TRIAL_SECONDS = 30.0
"""Time limit of one process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlasWait:
    """Finding on this machine."""

    exponent: int | None = None
    """Idle threads spin for 2**exponent cycles; DEFAULT_EXPONENT: as the library does by default; None: unknown."""
    loops: Mapping[str, int] = field(default_factory=dict)
    """Classes of loops that gain right after a call of BLAS, with the elements from which on they do."""
    seconds: float = 0.0
    """Wall time of the measurement."""


Trial = Callable[[int | None], Mapping[str, Any] | None]
"""Measure with an exponent, None for the default, in a fresh process; None if that failed."""


def measure_blas_wait(
    software: Software, environ: Mapping[str, str], *, cpus: int, seconds: float
) -> BlasWait | None:
    """Measure the exponent for this machine; None where there is nothing to choose, or no time for it.

    Parameters
    ----------
    software
        Whose BLAS it is: OpenBLAS with threads of its own has the knob.
    environ
        Environment of the trials. An exponent that the user has set is kept: there is nothing to choose.
    cpus
        CPUs that loops may use.
    seconds
        Time for all of it.

    """
    has_knob = software.blas == "openblas" and software.threading == "pthreads"
    if not has_knob or cpus < 2 or VARIABLE in environ:
        return None
    return choose(lambda exponent: _trial(environ, exponent, cpus), seconds=seconds, clock=monotonic)


def choose(trial: Trial, *, seconds: float, clock: Callable[[], float]) -> BlasWait | None:
    """Choose an exponent by rounds of trials. Pure but for what it is given.

    None if there was time for fewer rounds than are needed, or if a trial failed.
    """
    began = clock()
    end = began + seconds
    rounds: list[dict[int | None, Mapping[str, Any]]] = []
    while len(rounds) < MOST_ROUNDS and (len(rounds) < LEAST_ROUNDS or clock() < end):
        done: dict[int | None, Mapping[str, Any]] = {}
        for exponent in _in_turn((None, *EXPONENTS), len(rounds)):
            one = trial(exponent)
            if one is None:
                return None
            done[exponent] = one
        rounds.append(done)
        if len(rounds) < LEAST_ROUNDS and clock() >= end:
            return None
    chosen = next((exponent for exponent in EXPONENTS if loses_nothing(rounds, exponent)), None)
    if chosen is None:
        return BlasWait(exponent=DEFAULT_EXPONENT, seconds=clock() - began)
    loops = loops_that_gain([one[chosen]["loops"] for one in rounds])
    return BlasWait(exponent=chosen, loops=loops, seconds=clock() - began)


def loses_nothing(rounds: Sequence[Mapping[int | None, Mapping[str, Any]]], exponent: int) -> bool:
    """Return whether calls of BLAS in a row take no longer with this exponent than with the default. Pure."""
    ratios = {
        name: [log(one[exponent]["calls"][name] / one[None]["calls"][name]) for one in rounds]
        for name in rounds[0][None]["calls"]
    }
    _, _, high = mean_interval([fmean(values) for values in zip(*ratios.values(), strict=True)])
    return exp(high) <= MOST_LOST and all(
        exp(median(values)) <= MOST_LOST_BY_ONE for values in ratios.values()
    )


def loops_that_gain(processes: Sequence[Mapping[str, Sequence[Sequence[float]]]]) -> dict[str, int]:
    """Find the least elements of each class from which on cut loops were faster right after a call. Pure.

    A process is one sample: the median of its pairs.
    """
    gains: dict[str, int] = {}
    for kind in processes[0]:
        for elements in sorted({int(row[0]) for row in processes[0][kind]}, reverse=True):
            ratios = [
                median(log(cut / plain) for n, plain, cut in one[kind] if n == elements) for one in processes
            ]
            if mean_interval(ratios)[2] >= 0:
                break
            gains[kind] = elements
    return gains


def _in_turn(arms: tuple[int | None, ...], turn: int) -> tuple[int | None, ...]:
    """Begin each round with another arm, so that a drift of the machine spreads evenly."""
    start = turn % len(arms)
    return arms[start:] + arms[:start]


def _trial(environ: Mapping[str, str], exponent: int | None, cpus: int) -> Mapping[str, Any] | None:
    wait = {} if exponent is None else {VARIABLE: str(exponent)}
    # nothing of the gain of loops is left while threads spin for 0.1 s: with the default they are not measured
    loop_cpus = 1 if exponent is None else cpus
    command = [sys.executable, "-P", "-m", "autotune.bench.spin_trial", str(loop_cpus)]
    try:
        with Supervised(command, stdout=PIPE, env={**environ, **wait}) as process:
            ending = process.wait(TRIAL_SECONDS)
            if ending is None or ending.status or process.stdout is None:
                return None
            printed: Mapping[str, Any] = json.loads(process.stdout.read())
            return printed
    except (OSError, ValueError):
        return None
