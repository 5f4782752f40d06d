"""Measurement of the time that idle BLAS threads should spin on this machine: a knob that is measured once.

The library's own time-out (0.1 s with OpenBLAS) takes the CPUs from what follows a call. A shorter one is chosen if
calls of BLAS in a row lose nothing by it. A process with the default and one with each exponent take turns, some
milliseconds each, so that all see the same state of the machine; then fresh processes follow. With the chosen time-out,
loops right after a product are timed plain and cut: only those that gain there may be cut while threads spin.
"""

import json
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from math import exp, log
from select import select
from statistics import fmean, median
from subprocess import PIPE
from time import monotonic, sleep
from typing import Any

from autotune.bench.statistics import mean_interval
from autotune.controls.supervise import Supervised
from autotune.controls.wait_policy import DEFAULT_EXPONENT, SHORTER_EXPONENTS, VARIABLE
from autotune.model.betting import median_interval
from autotune.model.software import Software

MOST_LOST = 1.05
"""Largest time of calls in a row over the default's that counts as no loss: the upper 95 % bound of the median."""
MOST_LOST_BY_ONE = 1.04
"""The same for the median of each kind of call, so that one does not pay for another."""
ROUNDS = 8
"""Turns of each process."""
LEAST_SETS, MOST_SETS = 2, 6
"""Sets of fresh processes."""
MOST_TIMES = 2.0
"""Multiple of the time allowed after which it ends without a result: a busy machine can be a hundred times slower."""
PAUSE_SECONDS = 0.12
"""Pause before each turn: spinning threads of other processes end, and the CPUs rest equally long. A turn after a
shorter pause is 10 % faster."""
ANSWER_SECONDS = 30.0
"""Time limit of one turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlasWait:
    """Finding on this machine."""

    exponent: int | None = None
    """Idle threads spin for 2**exponent cycles; DEFAULT_EXPONENT: as the library does by default; None: unknown."""
    loops: Mapping[str, int] = field(default_factory=dict)
    """Classes of loops that gain right after a call of BLAS, with the elements from which on they do."""
    seconds: float = 0.0
    """Wall time of the measurement."""


Round = dict[int | None, Mapping[str, float]]
"""Seconds of each kind of calls, by exponent; None: the default."""


Ask = Callable[[str], Any]
"""Have a process measure "calls" or "loops". Raises OSError or ValueError if it does not answer."""

Start = Callable[[int | None], AbstractContextManager[Ask]]
"""Start a fresh process with an exponent, None for the default."""


def measure_blas_wait(software: Software, environ: Mapping[str, str], *, cpus: int, seconds: float) -> BlasWait | None:
    """Measure the exponent for this machine within `seconds`, with loops on `cpus` CPUs.

    None where there is no time for it, or nothing to choose: only OpenBLAS with threads of its own has the knob, and an
    exponent that the user has set in the trials' environment is kept.
    """
    has_knob = software.blas == "openblas" and software.threading == "pthreads"
    if not has_knob or cpus < 2 or VARIABLE in environ:
        return None
    start = partial(spin_trial, environ, cpus)
    return choose(start, seconds=seconds, clock=monotonic, pause=lambda: sleep(PAUSE_SECONDS))


def choose(start: Start, *, seconds: float, clock: Callable[[], float], pause: Callable[[], None]) -> BlasWait | None:
    """Choose an exponent by sets of processes. Pure but for what it is given.

    None if there was time for fewer sets than are needed, or if a process failed.
    """
    began = clock()
    rounds: list[Round] = []
    try:
        for count in range(MOST_SETS):
            if clock() - began >= seconds and count >= LEAST_SETS:
                break
            rounds += _one_set(start, pause, lambda: clock() - began > MOST_TIMES * seconds)
            if clock() - began >= seconds and count + 1 < LEAST_SETS:
                return None
        chosen = next((exponent for exponent in SHORTER_EXPONENTS if loses_nothing(rounds, exponent)), None)
        if chosen is None:
            return BlasWait(exponent=DEFAULT_EXPONENT, seconds=clock() - began)
        loops = []
        for _ in range(LEAST_SETS + 1):
            with start(chosen) as ask:
                loops.append(ask("loops"))
    except (OSError, ValueError):
        return None
    return BlasWait(exponent=chosen, loops=loops_that_gain(loops), seconds=clock() - began)


def _one_set(start: Start, pause: Callable[[], None], is_late: Callable[[], bool]) -> list[Round]:
    """Have fresh processes, one for each exponent and one with the default, take turns.

    Raises TimeoutError when `is_late`.
    """
    with ExitStack() as stack:
        trials = {exponent: stack.enter_context(start(exponent)) for exponent in (None, *SHORTER_EXPONENTS)}
        rounds: list[Round] = []
        order = deque(trials)
        for _ in range(ROUNDS):
            if is_late():
                raise TimeoutError
            rounds.append({})
            for exponent in order:
                pause()
                rounds[-1][exponent] = trials[exponent]("calls")
            order.rotate(-1)  # each round begins with another, so that a drift of the machine spreads evenly
    return rounds


def loses_nothing(rounds: Sequence[Round], exponent: int) -> bool:
    """Return whether calls of BLAS in a row take no longer with this exponent than with the default. Pure."""
    ratios = {
        name: [log(seconds[exponent][name] / seconds[None][name]) for seconds in rounds] for name in rounds[0][None]
    }
    means = [fmean(values) for values in zip(*ratios.values(), strict=True)]
    places = median_interval(len(means), tail=0.05)
    if places is None or exp(sorted(means)[places[1]]) > MOST_LOST:
        return False
    return all(exp(median(values)) <= MOST_LOST_BY_ONE for values in ratios.values())


def loops_that_gain(processes: Sequence[Mapping[str, Sequence[Sequence[float]]]]) -> dict[str, int]:
    """Find the least elements of each class from which on cut loops were faster right after a call. Pure.

    A process is one sample: the median of its pairs.
    """
    gains: dict[str, int] = {}
    for kind in processes[0]:
        for elements in sorted({int(row[0]) for row in processes[0][kind]}, reverse=True):
            ratios = [median(log(cut / plain) for n, plain, cut in pairs[kind] if n == elements) for pairs in processes]
            if mean_interval(ratios)[2] >= 0:
                break
            gains[kind] = elements
    return gains


@contextmanager
def spin_trial(environ: Mapping[str, str], cpus: int, exponent: int | None) -> Iterator[Ask]:
    """Start the program `spin_trial` in a fresh process."""
    wait = {} if exponent is None else {VARIABLE: str(exponent)}
    command = [sys.executable, "-P", "-m", "autotune.bench.spin_trial", str(cpus)]
    with Supervised(command, stdin=PIPE, stdout=PIPE, env={**environ, **wait}) as process:
        requests, answers = process.stdin, process.stdout
        assert requests is not None
        assert answers is not None

        def ask(what: str) -> Any:
            requests.write(f"{what}\n".encode())
            requests.flush()
            if not select([answers], [], [], ANSWER_SECONDS)[0]:
                raise TimeoutError
            return json.loads(answers.readline())

        yield ask
