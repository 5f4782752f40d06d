"""Tunes a whole command: a space of its own, then hunt, prove, decide, with every run a process of its own."""

from dataclasses import dataclass, replace
from itertools import product
from math import ceil, nan

from autotune.bench.command_bench import Command, Metric
from autotune.bench.protocol import Bench
from autotune.errors import BadBudget
from autotune.model.catalogue import Family, Kind, WorkUnit
from autotune.model.configuration import Knob, configuration
from autotune.model.entry import Entry
from autotune.model.operation import Operation
from autotune.search.environment import Site
from autotune.search.events import Listener
from autotune.search.pipeline import HUNT_SHARE, Item, decided
from autotune.search.search_grid import Grid
from autotune.search.sequential_test import LOOKS, Look
from autotune.search.time_budget import Clock

RUNS = 16
"""Pairs of runs at the last look. A pair is worth less than a process of calibration, which times several."""


SCREENING_ROUNDS = 2
"""Runs of each configuration that the search should have time for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandKind(Kind):
    """The row that a command would have in the catalogue. Its work and memory are unknown: NaN."""

    command: Command

    @property
    def knobs(self) -> tuple[Knob, ...]:
        """What can be tuned of the command."""
        return self.command.knobs

    @classmethod
    def of(cls, command: Command, name: str) -> "CommandKind":
        """The row of this command; `name` is the one that its entry goes by."""
        return cls(
            name=name,
            family=Family.USER,
            size_names=(),
            work=lambda _: nan,
            unit=WorkUnit.FLOPS,
            footprint=lambda _: nan,
            summary="a command",
            defaults={},
            command=command,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRequest:
    """What tuning a command is asked to do."""

    command: Command
    name: str
    """Under which its entry goes into the profile."""
    workers: tuple[int, ...] = ()
    """Values for its place for workers; empty for every count of CPUs."""
    chunks: tuple[int, ...] = ()
    metric: Metric | None = None
    """None for its wall time."""
    runs: int = RUNS
    """Pairs of runs, as it stands and with the candidate, after which the proof ends."""
    seconds: float = 300.0
    """Time allowed for everything."""
    patience: float | None = None
    """Seconds that one run may take; None for as long as so many runs as a proof needs fit the time."""
    seed: int = 0

    @property
    def looks(self) -> tuple[Look, ...]:
        """When the proof is looked at: after as large a part of the runs as in a calibration."""
        last = LOOKS[-1].processes
        return tuple(
            Look(processes=ceil(self.runs * look.processes / last), error=look.error) for look in LOOKS
        )

    def fewest_runs(self, choices: int = 1) -> int:
        """Runs without which there is no proof: the first, one of each configuration, and those of a look."""
        return 1 + (1 + choices) + 2 * self.looks[0].processes

    @property
    def run_seconds(self) -> float:
        """How long one run may take."""
        return self.seconds / self.fewest_runs() if self.patience is None else self.patience


def tune(
    request: CommandRequest, *, site: Site, bench: Bench, report: Listener, first_seconds: float
) -> Entry:
    """The entry of a command whose first run took so many wall seconds.

    Every run is one process: Student's t is taken over the log-ratios of pairs of runs, at each planned look.
    Raises BadBudget if the time does not suffice for a choice and its proof.
    """
    clock = Clock(budget=request.seconds, seed=request.seed, elapsed=first_seconds)
    item = Item(
        kind=CommandKind.of(request.command, request.name),
        dtype="float64",
        operations=(Operation(name=request.name),),
        grid=_affordable(request, site.usable_cpus, first_seconds),
        looks=request.looks,
        rounds=1,
    )
    (entry,) = decided([item], site=site, bench=bench, clock=clock, report=report)
    return replace(entry, safe_threads=())  # BLAS's are but a part of a command's threads


def _affordable(request: CommandRequest, usable_cpus: int, run: float) -> Grid:
    """The finest space that there is time for, if one run takes `run` seconds."""
    left = request.seconds - run
    most = HUNT_SHARE * left / max(run, 1e-3) / SCREENING_ROUNDS - 1
    grids = [_grid(request, usable_cpus, counts) for counts in _counts(usable_cpus)]
    fitting = [grid for grid in grids if len(grid.points) <= most]
    if fitting:
        return fitting[0]
    coarsest = grids[-1]
    runs = request.fewest_runs(len(coarsest.points))
    if runs * run > request.seconds:
        raise BadBudget(
            f"One run takes {run:.3g} s, and a choice among {len(coarsest.points)} configurations and its "
            f"proof take {runs} of them: allow {ceil(1.2 * runs * run)} s, or choose among fewer values."
        )
    return coarsest


def _grid(request: CommandRequest, usable_cpus: int, counts: tuple[int, ...]) -> Grid:
    """Every combination that uses no more CPUs than there are; threads from these counts."""
    values = {
        Knob.BLAS_THREADS: counts,
        Knob.WORKERS: request.workers or counts,
        Knob.CHUNK: request.chunks,
    }
    knobs = request.command.knobs
    points = [
        point
        for point in product(*(values[knob] for knob in knobs))
        if configuration(dict(zip(knobs, point, strict=True))).cpus <= usable_cpus
    ]
    return Grid.of([knob.value for knob in knobs], points)


def _counts(usable_cpus: int) -> tuple[tuple[int, ...], ...]:
    """Thread counts to try, from fine to coarse: all, powers of two, the ends; always one and all."""
    powers = {2**power for power in range(usable_cpus.bit_length())}
    return (
        tuple(range(1, usable_cpus + 1)),
        tuple(sorted({*powers, usable_cpus})),
        tuple(sorted({1, usable_cpus})),
    )
