"""Machines that are formulas: their optimum is known, their noise is chosen, and they answer at once.

A `Computer` says how long a configuration truly takes; a `Weather` says what a timing makes of that; a
`SimulatedBench` runs plans on both, behind the same seam as the bench that starts real processes.
"""

from bisect import bisect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil, exp, inf, log, log2, sqrt
from random import Random
from typing import Protocol
from zlib import crc32

import numpy as np
import numpy.typing as npt

from autotune.bench import sampling
from autotune.bench.noise import is_undisturbed
from autotune.bench.user_workload import UserWorkload
from autotune.model.catalogue import CATALOGUE, Family, Kind
from autotune.model.catalogue import operation as catalogue_operation
from autotune.model.configuration import DEFAULT, Configuration, Knob, Method
from autotune.model.measurement import Case, Measurement, Pair, Session, TrialPlan
from autotune.model.operation import Operation
from autotune.search.search_grid import Grid
from autotune.search.space import setting, space

Array = npt.NDArray[np.float64]

CPUS = (2, 4, 8, 16, 32, 64, 128, 256)
START_SECONDS = 0.06
"""Cost of the start of a process: a fork, threads, and clean-up."""

USER_WORKLOAD = UserWorkload(
    name="simulation",
    source="simulation.py:simulation",
    sizes=("n",),
    optional=("workers", "chunk"),
    knobs=(Knob.WORKERS, Knob.CHUNK),
)
"""A user's function with all three counts as knobs: the largest spaces of numbers that there are."""
USERS = USER_WORKLOAD.kind


@dataclass(frozen=True, kw_only=True)
class Computer:
    """True time of every configuration of every size. Each trait is drawn once for each machine."""

    seed: int
    cpus: int
    cores: int
    """Physical ones; a second thread on one adds less."""
    second_thread: float
    bandwidth: float
    """Cores that saturate the memory."""
    serial_blas: float
    serial_workers: float
    """Parts of the work that do not speed up."""
    barrier: float
    """Seconds that one more BLAS thread costs each call."""
    start: float
    """Seconds that one more worker costs each call."""
    slice_seconds: float
    cache: float
    """Elements of the chunk at which a block fits best."""
    cache_slope: float
    teeth: float
    """Standard deviation by which a thread count is better or worse than its neighbours, for no reason."""
    fallback: int | None
    """BLAS threads beyond which the library uses one."""
    element_seconds: float

    @classmethod
    def draw(cls, seed: int, cpus: int | None = None) -> "Computer":
        """One of many machines."""
        random = np.random.default_rng([7, seed])
        drawn = int(random.choice(CPUS))
        cpus = drawn if cpus is None else cpus
        cores = max(1, cpus // 2) if random.random() < 0.5 else cpus
        return cls(
            seed=seed,
            cpus=cpus,
            cores=cores,
            second_thread=random.uniform(-0.2, 0.4),
            bandwidth=random.uniform(1.5, max(2.0, 1.2 * cores)),
            serial_blas=10 ** random.uniform(-2.5, -0.7),
            serial_workers=10 ** random.uniform(-3, -1.3),
            barrier=10 ** random.uniform(-6.5, -4.5),
            start=10 ** random.uniform(-5.5, -4.3),
            slice_seconds=10 ** random.uniform(-6.5, -5),
            cache=2 ** random.uniform(13, 19),
            cache_slope=random.uniform(0.0, 0.02),
            teeth=random.uniform(0.0, 0.03),
            fallback=int(random.integers(cpus // 2, cpus)) if cpus > 4 and random.random() < 0.2 else None,
            element_seconds=10 ** random.uniform(-9.3, -8.3),
        )

    def seconds(self, kind: Kind, operation: Operation, configuration: Configuration) -> float:
        """Of one unit of work, without any noise."""
        elements = self.elements(kind, operation)
        calls_blas = Knob.BLAS_THREADS in kind.knobs
        blas = configuration.blas_threads or (self.cpus if calls_blas else 1)
        workers = configuration.workers or 1
        if self.fallback is not None and blas > self.fallback:
            blas = 1
        work = elements * self.element_seconds
        faster = self._amdahl(blas, self.serial_blas) * self._amdahl(workers, self.serial_workers)
        faster = min(faster, self._reach(blas * workers))
        seconds = work / faster * float(max(1.0, blas * workers / self.cpus) ** 1.2)
        seconds += self.barrier * (blas - 1) + self.start * (workers - 1)
        seconds *= self._shape(kind, operation, configuration, workers)
        return seconds * exp(self.teeth * self._tooth(blas, workers, configuration.method))

    def elements(self, kind: Kind, operation: Operation) -> float:
        """Amount of work."""
        size = operation.size
        if kind.family is Family.TASKS:
            return float(size["tasks"] * size["n"] ** 2.0)
        if kind.family is Family.LINALG:
            return float(size["n"] ** 2.0)
        return float(size["n"]) * size.get("count", 1)

    def _amdahl(self, threads: int, serial: float) -> float:
        return 1.0 / (serial + (1.0 - serial) / self._reach(threads, inside=False))

    def _reach(self, threads: int, *, inside: bool = True) -> float:
        """Return the work of threads in units of one thread's; `inside` the memory's bandwidth."""
        beyond = max(0, min(threads, self.cpus) - self.cores)
        reached = min(threads, self.cores) + beyond * self.second_thread
        return (reached**-4.0 + self.bandwidth**-4.0) ** -0.25 if inside else max(reached, 0.5)

    def _shape(self, kind: Kind, operation: Operation, configuration: Configuration, workers: int) -> float:
        """Cost of cutting: unequal parts, small slices, slices beyond the cache."""
        factor = 1.0 if configuration.method is None else self._method(configuration.method)
        whole = self.elements(kind, operation)
        if kind.family is Family.TASKS:
            tasks = operation.size["tasks"]
            return factor * ceil(tasks / workers) * workers / tasks
        if configuration.chunk is None:
            return factor
        scale = operation.size["n"] if kind.family is Family.STACK else 1.0
        chunk = min(configuration.chunk * scale, whole)
        slices = ceil(whole / chunk)
        factor *= 1.0 + self.slice_seconds * slices / workers / (whole * self.element_seconds) * workers
        factor *= 1.0 + self.cache_slope * abs(log2(chunk / self.cache))
        return factor * sqrt(ceil(slices / workers) * workers / slices)

    def _method(self, method: Method) -> float:
        copies = list(Method).index(method) >= list(Method).index(Method.ARGUMENT)
        random = np.random.default_rng([11, self.seed, list(Method).index(method)])
        return float(random.uniform(1.5, 6.0) if copies else random.uniform(1.0, 1.3))

    def _tooth(self, *what: object) -> float:
        """The same standard normal number for the same things."""
        return NORMAL[crc32(repr((self.seed, *what)).encode()) % len(NORMAL)]


NORMAL = [float(value) for value in np.random.default_rng(13).standard_normal(2**14)]
"""Numbers from which every machine takes its own."""

Noise = Callable[[np.random.Generator, int], Array]
"""Common noise of a number of samples, as logarithms of factors."""


@dataclass(frozen=True, kw_only=True)
class Weather:
    """Noise that timings of a machine have."""

    jitter: float = 0.0
    """Standard deviation of one timing's logarithm."""
    common: Noise | None = None
    """Slow-downs of all configurations alike, sample after sample."""
    tails: float = 0.0
    """Scale of Pareto delays (exponent 1.5: their variance is infinite)."""
    processes: float = 0.0
    """Standard deviation between processes, all configurations alike."""
    layouts: float = 0.0
    """Standard deviation between processes, each configuration on its own."""
    two_layouts: float = 0.0
    """Each configuration is in every process by so much faster or slower, in logarithm."""
    states: tuple[float, float] | None = None
    """Shortest and longest stretch, in seconds, in which all CPUs are there or half of them are missing."""
    burst: float = 0.0
    """Seconds out of every BURST_EVERY during which a neighbour takes one CPU."""
    in_step: bool = False
    """Does a burst of 5 ms, of which the system tells nothing, hit the second sample of every pair?"""
    sleeps_at: float = inf
    """Seconds after which the machine sleeps for an hour, in the middle of a sample."""
    clock_jumps: float = 0.0
    """Part of the sessions whose wall time is wrong by up to an hour in either direction."""


def _regimes(random: np.random.Generator, count: int) -> Array:
    """Slow times of +10 to +80 %, about 60 samples of every 150, and spikes in 4 % of the samples."""
    slow = _stretches(random, count, 60, 90, lambda: np.log1p(random.uniform(0.1, 0.8)))
    return slow + (random.random(count) < 0.04) * random.exponential(0.3, count)


def _drift(random: np.random.Generator, count: int) -> Array:
    """A machine that heats up and cools down: 25 % over a thousand samples, and a random walk."""
    wave = 0.125 * np.sin(np.arange(count) * 2 * np.pi / 1000 + random.uniform(0, 6))
    return wave + np.cumsum(random.normal(0, 0.003, count))


def _stretches(
    random: np.random.Generator, count: int, lasting: float, apart: float, height: Callable[[], float]
) -> Array:
    values = np.zeros(count)
    place = int(random.exponential(apart))
    while place < count:
        length = 1 + int(random.exponential(lasting))
        values[place : place + length] = height()
        place += length + 1 + int(random.exponential(apart))
    return values


WEATHERS: Mapping[str, Weather] = {
    "none": Weather(),
    "common": Weather(jitter=0.03, common=_regimes),
    "states": Weather(jitter=0.02, layouts=0.01, states=(1.0, 30.0)),
    "bursts-15": Weather(jitter=0.02, layouts=0.01, burst=0.03),
    "bursts-30": Weather(jitter=0.02, layouts=0.01, burst=0.06),
    "in-step": Weather(jitter=0.02, layouts=0.01, in_step=True),
    "drift": Weather(jitter=0.02, common=_drift),
    "tails": Weather(jitter=0.01, tails=0.02),
    "processes": Weather(jitter=0.02, processes=0.07, layouts=0.01),
    "bimodal": Weather(jitter=0.02, two_layouts=0.05),
    "sleep": Weather(jitter=0.02, layouts=0.01, sleeps_at=5.0),
    "clock": Weather(jitter=0.02, layouts=0.01, clock_jumps=0.1),
}

BLOCK = 2**14
"""Samples whose common noise is made at once."""
BURST_EVERY = 0.2
STEP_BURST = 0.005
CASE_SECONDS = 0.04
"""Inputs, check and warm-up of one case."""
PROBE_SCATTER = 0.03
"""Standard deviation of a capacity probe."""
TICK = 0.004
"""Seconds of others' CPU time below which the system tells nothing."""


class Truth(Protocol):
    """True times of a machine."""

    @property
    def cpus(self) -> int:
        """Usable CPUs."""
        ...

    def seconds(self, kind: Kind, operation: Operation, configuration: Configuration) -> float:
        """Of one unit of work, without any noise."""
        ...


@dataclass(frozen=True, kw_only=True)
class Planted:
    """A machine on which every configuration but the default takes a given multiple of the default's time."""

    cpus: int = 2
    ratio: float = 1.0
    default_seconds: float = 0.01

    def seconds(self, kind: Kind, operation: Operation, configuration: Configuration) -> float:
        """Of one unit of work."""
        del kind, operation
        return self.default_seconds * (1.0 if configuration.is_default else self.ratio)


@dataclass
class SimulatedBench:
    """A Bench on a simulated computer with a clock of its own. One `run` is one process."""

    computer: Truth
    kind: Kind | None
    """Of the operations; None to look each up in the catalogue."""
    weather: Weather
    seed: int = 0
    samples: int = 0
    """Timings so far."""
    clock: float = 0.0
    """Seconds."""
    probes_capacity: bool = True
    case_seconds: float = CASE_SECONDS
    _processes: int = 0
    _truth: dict[tuple[Operation, Configuration], float] = field(default_factory=dict)
    _sky: dict[int, list[float]] = field(default_factory=dict)
    _changes: list[float] = field(default_factory=lambda: [0.0])
    """Moments at which the state changes; from the first one on all CPUs are there."""

    def __post_init__(self) -> None:
        self._luck = np.random.default_rng([31, self.seed])

    def run(self, plan: TrialPlan) -> Session:
        """Measure a plan."""
        self._processes += 1
        luck = Random(f"{self.seed} {self._processes} {plan.seed}")
        began = self.clock
        sampled = 0.0
        self.clock += START_SECONDS
        measurements: list[Measurement] = []
        for place, case in enumerate(plan.cases):
            left = inf if plan.seconds is None else (began + plan.seconds - self.clock) / (len(plan.cases) - place)
            measured, spent = self._measure(case, plan, self.clock + left, luck)
            measurements += measured
            sampled += spent
        wall = self.clock - began
        if luck.random() < self.weather.clock_jumps:
            wall += luck.choice((-3600.0, 3600.0)) if luck.random() < 0.5 else luck.uniform(-10.0, 10.0)
            wall = min(wall, 20.0)
        probes = [pair.capacity for trial in measurements for pair in trial.pairs if pair.capacity is not None]
        return Session(
            measurements=tuple(measurements),
            wall_seconds=wall,
            sampled_seconds=sampled,
            best_capacity=max(probes, default=None),
        )

    def truth_without_capacity(self, operation: Operation, configuration: Configuration) -> float:
        """Seconds without noise while half of the CPUs are missing."""
        true = self.truth(operation, configuration)
        return true * self._without_capacity(operation, true, self._cpus_of(operation, configuration))

    def truth(self, operation: Operation, configuration: Configuration) -> float:
        """Seconds without noise."""
        seconds = self._truth.get((operation, configuration))
        if seconds is None:
            seconds = self.computer.seconds(self._kind(operation), operation, configuration)
            self._truth[operation, configuration] = seconds
        return seconds

    def _kind(self, operation: Operation) -> Kind:
        return self.kind if self.kind is not None else CATALOGUE[operation.name]

    def _measure(self, case: Case, plan: TrialPlan, until: float, luck: Random) -> tuple[list[Measurement], float]:
        """Measurements of one case, and the seconds of its samples."""
        arms = _arms(case)
        weather = self.weather
        common = luck.gauss(0, weather.processes) if weather.processes else 0.0
        offsets = {
            arm: common
            + (luck.gauss(0, weather.layouts) if weather.layouts else 0.0)
            + (luck.choice((-1, 1)) * weather.two_layouts if weather.two_layouts else 0.0)
            for arm in arms
        }
        self.clock += self.case_seconds + sum(self.truth(case.operation, arm) for arm in arms)
        pairs: dict[Configuration, list[Pair]] = {arm: [] for arm in arms[1:]}
        plain: list[float] = []
        sampled = 0.0
        agenda = sampling.Agenda(sampling.pair_order(len(arms) - 1, plan.rounds, str(luck.random())))
        for number, turn in enumerate(agenda):
            if number >= len(arms) - 1 and self.clock >= until:
                break
            arm = arms[1 + turn.candidate]
            pair, seconds = self._pair(case.operation, arm, offsets, luck, default_first=turn.default_first)
            agenda.note(turn, disturbed=not is_undisturbed(pair))
            pairs[arm].append(pair)
            plain.append(pair.default_seconds)
            sampled += seconds
        if len(arms) == 1:
            plain = [self._sample(case.operation, DEFAULT, offsets, luck)[0]]
        measured = [Measurement(operation=case.operation, configuration=DEFAULT, seconds=tuple(plain))]
        measured += [
            Measurement(
                operation=case.operation,
                configuration=arm,
                pairs=tuple(pairs[arm]),
                seconds=tuple(pair.candidate_seconds for pair in pairs[arm]),
            )
            for arm in arms[1:]
        ]
        return measured, sampled

    def _pair(
        self,
        operation: Operation,
        arm: Configuration,
        offsets: Mapping[Configuration, float],
        luck: Random,
        *,
        default_first: bool,
    ) -> tuple[Pair, float]:
        """A pair, with its probe, and the seconds of its samples."""
        began = self.clock
        capacity = self._capacity(luck) if self.probes_capacity else None
        first, second = (DEFAULT, arm) if default_first else (arm, DEFAULT)
        times: dict[Configuration, float] = {}
        taken = spent = 0.0
        for place, choice in enumerate((first, second)):
            times[choice], stolen, seconds = self._sample(operation, choice, offsets, luck)
            taken += stolen
            spent += seconds
            if self.weather.in_step and place:
                times[choice] *= 1.0 + STEP_BURST / seconds
            self.clock += 0.5 * seconds  # a discarded call after the switch
        wall = max(self.clock - began, 1e-9)
        interference = taken / wall / self.computer.cpus if taken > TICK else 0.0
        return (
            Pair(
                default_seconds=times[DEFAULT],
                candidate_seconds=times[arm],
                capacity=capacity,
                interference=interference,
            ),
            spent,
        )

    def _sample(
        self, operation: Operation, arm: Configuration, offsets: Mapping[Configuration, float], luck: Random
    ) -> tuple[float, float, float]:
        """(seconds of one unit, CPU seconds that others took, seconds of the sample)."""
        weather = self.weather
        true = self.truth(operation, arm)
        factor = exp(offsets[arm] + (luck.gauss(0, weather.jitter) if weather.jitter else 0.0))
        if weather.common is not None:
            factor *= exp(self._common())
        if weather.tails:
            factor *= 1.0 + weather.tails * luck.paretovariate(1.5)
        cpus = self._cpus_of(operation, arm)
        if self._is_reduced():
            factor *= self._without_capacity(operation, true, cpus)
        seconds = max(true, sampling.SAMPLE_SECONDS) * factor
        overlap = self._overlap(self.clock, self.clock + seconds)
        slowed = overlap * (1.0 if cpus >= self.computer.cpus else 0.05)
        if self.clock < weather.sleeps_at <= self.clock + seconds:
            slowed += 3600.0
            self.clock += 3600.0
        seconds += slowed
        self.clock += min(seconds, 600.0)
        self.samples += 1
        return true * seconds / max(true, sampling.SAMPLE_SECONDS), overlap, seconds

    def _without_capacity(self, operation: Operation, true: float, cpus: int) -> float:
        """Return the factor on the time while half of the CPUs are missing.

        Measured on two CPUs: two workers take 1 to 7 % longer than plain NumPy then, two BLAS threads 30 % longer.
        """
        there = max(1.0, self.computer.cpus / 2)
        if cpus <= there:
            return 1.0
        if there > 1:
            return cpus / there
        calls_blas = Knob.BLAS_THREADS in self._kind(operation).knobs
        alone = self.truth(operation, Configuration(blas_threads=1) if calls_blas else DEFAULT)
        return max(1.0, alone * (1.3 if calls_blas else 1.05) / true)

    def _cpus_of(self, operation: Operation, arm: Configuration) -> int:
        if arm.is_default:
            return self.computer.cpus if Knob.BLAS_THREADS in self._kind(operation).knobs else 1
        return min(arm.cpus, self.computer.cpus)

    def _capacity(self, luck: Random) -> float:
        """A probe of parallel work."""
        cpus = self.computer.cpus
        there = max(1.0, cpus / 2) if self._is_reduced() else float(cpus)
        return float(there * exp(luck.gauss(0, PROBE_SCATTER)))

    def _is_reduced(self) -> bool:
        """Are half of the CPUs missing now?"""
        if self.weather.states is None:
            return False
        shortest, longest = self.weather.states
        while self._changes[-1] <= self.clock:
            stretch = exp(self._luck.uniform(log(shortest), log(longest)))
            self._changes.append(self._changes[-1] + stretch)
        return bisect(self._changes, self.clock) % 2 == self.seed % 2

    def _overlap(self, began: float, ended: float) -> float:
        """Seconds of bursts between two moments."""
        burst = self.weather.burst
        if not burst:
            return 0.0

        def until(moment: float) -> float:
            whole, rest = divmod(moment, BURST_EVERY)
            return whole * burst + min(rest, burst)

        return until(ended) - until(began)

    def _common(self) -> float:
        """Noise of the next sample, for either side."""
        number, place = divmod(self.samples, BLOCK)
        if number not in self._sky:
            assert self.weather.common is not None
            random = np.random.default_rng([19, self.seed, number])
            self._sky[number] = self.weather.common(random, BLOCK).tolist()
        return self._sky[number][place]


def _arms(case: Case) -> list[Configuration]:
    return [DEFAULT, *(choice for choice in case.configurations if not choice.is_default)]


@dataclass(frozen=True, kw_only=True)
class Task:
    """A search task: an operation on a computer, and the space of its configurations."""

    computer: Computer
    kind: Kind
    operations: tuple[Operation, ...]

    @property
    def operation(self) -> Operation:
        """The first of them."""
        return self.operations[0]

    @property
    def user(self) -> UserWorkload | None:
        """The user's function, if it is one."""
        return USER_WORKLOAD if self.kind.family is Family.USER else None

    @property
    def default_threads(self) -> int | None:
        """BLAS threads of the default."""
        return self.computer.cpus

    def grid(self, operation: Operation | None = None) -> Grid:
        """The very space that calibrate searches."""
        grid = space(self.kind, operation or self.operation, self.computer.cpus, self.default_threads)
        assert grid is not None
        return grid

    def configurations(self, operation: Operation | None = None) -> list[Configuration]:
        """All of it, the default last."""
        grid = self.grid(operation)
        return [*(setting(grid, point) for point in range(len(grid.points))), DEFAULT]

    def allowed(self, operation: Operation | None = None) -> list[Configuration]:
        """Those that may be chosen: within the allocation."""
        return [choice for choice in self.configurations(operation) if choice.cpus <= self.computer.cpus]


OPERATIONS: Sequence[tuple[str, Mapping[str, Sequence[int]]]] = (
    ("batch_matmul", {"n": (100, 300, 1000), "tasks": (100, 1000)}),
    ("sqrt", {"n": (100_000, 1_000_000, 10_000_000)}),
    ("stack_inv", {"n": (16,), "count": (1000, 10_000)}),
    ("share", {"n": (1_000_000, 4_000_000, 16_000_000)}),
    ("matmul", {"n": (128, 512, 2048)}),
    (USERS.name, {"n": (100_000, 1_000_000, 10_000_000)}),
)


def draw(seed: int, *, least: int = 75, most: int = 10_000) -> Task:
    """A machine and an operation whose space has `least` to `most` configurations, the default not counted."""
    random = np.random.default_rng([23, seed])
    while True:
        computer = Computer.draw(int(random.integers(2**31)))
        name, sizes = OPERATIONS[int(random.integers(len(OPERATIONS)))]
        size = {key: int(random.choice(values)) for key, values in sizes.items()}
        task = Task(computer=computer, kind=kind_of(name), operations=(operation_of(name, size),))
        grid = space(task.kind, task.operation, computer.cpus, task.default_threads)
        if grid is not None and least <= len(grid.points) <= most:
            return task


def draw_sizes(seed: int, *, most: int = 2_000) -> tuple[Task, Task]:
    """A machine and an operation with three sizes to be measured, and with those halfway between them.

    No size has more than `most` configurations. On twice as many CPUs, where what it teaches is tried, there are up to
    four times as many.
    """
    random = np.random.default_rng([29, seed])
    while True:
        computer = Computer.draw(int(random.integers(2**31)))
        name, sizes = OPERATIONS[int(random.integers(len(OPERATIONS)))]
        rungs = sizes["n"] if len(sizes["n"]) == 3 else (8, 16, 32)
        fixed = {key: values[-1] for key, values in sizes.items() if key != "n"}
        halfway = [int((low * high) ** 0.5) for low, high in pairwise(rungs)]
        measured, between = (
            Task(
                computer=computer,
                kind=kind_of(name),
                operations=tuple(operation_of(name, {**fixed, "n": n}) for n in lengths),
            )
            for lengths in (rungs, halfway)
        )
        if all(len(measured.grid(operation).points) <= most for operation in measured.operations):
            return measured, between


def kind_of(name: str) -> Kind:
    """The row of the catalogue, or the user's function."""
    return USERS if name == USERS.name else CATALOGUE[name]


def operation_of(name: str, size: Mapping[str, int]) -> Operation:
    """With all its sizes."""
    return catalogue_operation(name, dtype="float64", **size)
