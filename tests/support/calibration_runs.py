"""Calibrations on benches that answer instantly, and pairs made by hand."""

from collections.abc import Sequence
from typing import Any

from autotune.model.configuration import Configuration
from autotune.model.entry import Entry
from autotune.model.measurement import Bench, Failure, FailureKind, Pair
from autotune.model.operation import Operation
from autotune.model.profile import Profile
from autotune.search.candidate import Candidate
from autotune.search.environment import Environment
from autotune.search.events import Listener, ignore
from autotune.search.machine_states import Capacity, Visit
from autotune.search.pipeline import Calibration
from autotune.search.plan import make_plan
from autotune.search.request import Request
from autotune.search.sequential_test import candidate_error
from autotune.search.time_budget import Clock

CRASH = Failure(kind=FailureKind.CRASH, reason="It crashed with SIGSEGV.")
SMALL, LARGE = (Operation(name="svd", sizes=(("m", n), ("n", n))) for n in (100, 400))
ONE, TWO = Configuration(blas_threads=1), Configuration(blas_threads=2)
THRESHOLD = 1.7
"""Of two CPUs: 0.7 of the way from one to both."""


def run_calibration(
    bench: Bench,
    request: Request,
    environment: Environment,
    *,
    warm_starts: Sequence[Profile] = (),
    report: Listener = ignore,
    elapsed: float = 0.0,
) -> tuple[list[Entry], Clock, Capacity]:
    """Entries in the order in which they were decided, with the clock and the capacity that was seen."""
    capacity = Capacity(usable_cpus=environment.usable_cpus, known_best=environment.full_capacity)
    clock = Clock(bench=bench, capacity=capacity, budget=request.seconds, seed=request.seed, elapsed=elapsed)
    calibration = Calibration(
        plan=make_plan(request, environment),
        environment=environment,
        clock=clock,
        report=report,
        warm_starts=warm_starts,
    )
    return list(calibration.entries()), clock, capacity


def visit(
    ratio: float,
    *,
    pairs: int = 8,
    capacity: float | None = None,
    interference: float | None = None,
    slow: int = 0,
    factor: float = 1.0,
    elapsed: float = 0.0,
) -> Visit:
    """A process in which the candidate took `ratio` of the default's time, and `factor` times that in `slow` pairs."""
    ratios = [ratio] * (pairs - slow) + [ratio * factor] * slow
    return Visit(
        pairs=tuple(
            Pair(default_seconds=0.01, candidate_seconds=0.01 * ratio, capacity=capacity, interference=interference)
            for ratio in ratios
        ),
        elapsed=elapsed,
    )


def candidate(
    *visits: Visit, choice: Configuration = ONE, fewer_cpus: bool = False, error: float | None = None, **more: Any
) -> Candidate:
    """A candidate after these processes, which ran two seconds apart."""
    tested = Candidate(
        operation=SMALL,
        choice=choice,
        fewer_cpus=fewer_cpus,
        error=candidate_error(0) if error is None else error,
        **more,
    )
    for place, each in enumerate(visits):
        tested.visits.append(Visit(pairs=each.pairs, elapsed=2.0 * place, full_capacity_threshold=THRESHOLD))
    return tested


def probed(*probes: float, usable_cpus: int = 2, known_best: float | None = None) -> Capacity:
    """The capacity of a machine of which these probes were seen."""
    capacity = Capacity(usable_cpus=usable_cpus, known_best=known_best)
    capacity.probes.extend(float(probe) for probe in probes)
    return capacity


def environment_of(cpus: int = 2, **more: Any) -> Environment:
    """An allocation of `cpus` CPUs, all of which BLAS uses by default."""
    return Environment(usable_cpus=cpus, default_threads=cpus, **more)
