"""Tuning of a whole command: its space of configurations, in which every timing is a process of its own."""

from dataclasses import dataclass
from itertools import product

from autotune.bench.command_bench import Command, Metric
from autotune.errors import BadBudget
from autotune.model.catalogue import user_kind
from autotune.model.configuration import Knob
from autotune.model.operation import Operation
from autotune.model.units import budget
from autotune.search.environment import Environment
from autotune.search.pipeline import EXPLORATION_SHARE
from autotune.search.plan import Item, Plan
from autotune.search.request import Objective
from autotune.search.search_grid import Grid
from autotune.search.sequential_test import LEAST_PROCESSES
from autotune.search.space import ANYWHERE, WAITS, setting

RUNS = 16
"""Pairs of runs after which a test ends. A pair is worth less than a process of calibration, which times several."""
SCREENING_RUNS = 4
"""For each configuration that the exploration should have time for: two pairs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRequest:
    """A request to tune a command."""

    command: Command
    name: str
    """Under which its entry goes into the profile."""
    workers: tuple[int, ...] = ()
    """Values for its place for workers; empty for every count of CPUs."""
    chunks: tuple[int, ...] = ()
    metric: Metric | None = None
    """None for its wall time."""
    runs: int = RUNS
    """Pairs of runs, as it stands and with the candidate, after which the test ends."""
    seconds: float = 300.0
    """Time allowed for everything."""
    patience: float | None = None
    """Seconds that one run may take; None for all of the time, which shows what tuning a long command needs."""
    seed: int = 0
    objective: Objective = Objective.TIME

    @property
    def run_seconds(self) -> float:
        """Largest time of one run."""
        return self.seconds if self.patience is None else self.patience


def command_plan(request: CommandRequest, environment: Environment, first_seconds: float) -> Plan:
    """Plan the tuning of a command whose first run took `first_seconds` of wall time.

    Raises BadBudget if the time does not suffice for a choice and its test.
    """
    item = Item(
        kind=user_kind(request.name, (), request.command.knobs, "a command"),
        dtype="float64",
        operations=(Operation(name=request.name),),
        grid=_affordable(request, environment.usable_cpus, first_seconds),
        most_processes=request.runs,
        pairs=1,
    )
    return Plan(items=(item,), objective=request.objective)


def _affordable(request: CommandRequest, usable_cpus: int, run: float) -> Grid:
    """Return the finest space that there is time for, if one run takes `run` seconds."""
    left = request.seconds - run
    most = EXPLORATION_SHARE * left / max(run, 1e-3) / SCREENING_RUNS
    waits = (WAITS, (ANYWHERE,)) if request.command.runtimes else ((),)
    grids = [_grid(request, usable_cpus, counts, wait) for counts in _counts(usable_cpus) for wait in waits]
    fitting = [grid for grid in grids if len(grid.points) <= most]
    if fitting:
        return fitting[0]
    coarsest = grids[-1]
    # without which nothing is proved: the first, a pair of each, and those of a test
    runs = 1 + 2 * len(coarsest.points) + 2 * LEAST_PROCESSES
    if runs * run > request.seconds:
        fewer = "choose among fewer values" if request.workers or request.chunks else "give the command less to do"
        raise BadBudget(
            f"One run takes {run:.3g} s, and a choice among {len(coarsest.points)} configurations and its test take at "
            f"least {runs} of them, {runs * run:.0f} s: allow --budget {budget(runs * run)}, or {fewer}."
        )
    return coarsest


def _grid(request: CommandRequest, usable_cpus: int, counts: tuple[int, ...], waits: tuple[str, ...]) -> Grid:
    """Return every combination that uses no more CPUs than there are; threads from these counts."""
    values: dict[Knob, tuple[int | str, ...]] = {
        Knob.BLAS_THREADS: counts,
        Knob.OPENMP_THREADS: counts,
        Knob.WORKERS: request.workers or counts,
        Knob.CHUNK: request.chunks,
        Knob.WAIT: waits,
    }
    knobs = request.command.knobs
    names = [knob.value for knob in knobs]
    points = product(*(values[knob] for knob in knobs))
    return Grid.of(names, [point for point in points if setting(Grid.of(names, [point]), 0).cpus <= usable_cpus])


def _counts(usable_cpus: int) -> tuple[tuple[int, ...], ...]:
    """List the thread counts to try, from fine to coarse: all, powers of two, the ends; always one and all."""
    powers = {2**power for power in range(usable_cpus.bit_length())}
    return (tuple(range(1, usable_cpus + 1)), tuple(sorted({*powers, usable_cpus})), tuple(sorted({1, usable_cpus})))
