"""Machines that are formulas: their optimum is known, their noise is chosen, and they answer at once.

A `Computer` says how long a configuration truly takes; a `Weather` says what a timing makes of that; a
`SimulatedBench` runs plans on both, behind the same seam as the bench that starts real processes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil, exp, log2
from zlib import crc32

import numpy as np
import numpy.typing as npt

from autotune.bench import rounds
from autotune.bench.user_workload import UserKind, UserWorkload
from autotune.model.catalogue import CATALOGUE, Family, Kind
from autotune.model.catalogue import operation as catalogue_operation
from autotune.model.configuration import DEFAULT, Configuration, Knob, Method
from autotune.model.measurement import Case, Measurement, Pair, Session, TrialPlan
from autotune.model.operation import Operation
from autotune.search.search_grid import Grid
from autotune.search.space import setting, space

Array = npt.NDArray[np.float64]

CPUS = (2, 4, 8, 16, 32, 64, 128, 256)
START_SECONDS = 0.2
"""What starting a process costs."""

USERS: UserKind = UserWorkload(
    name="simulation",
    source="simulation.py:simulation",
    sizes=("n",),
    optional=("workers", "chunk"),
    knobs=(Knob.WORKERS, Knob.CHUNK),
).kind
"""A user's function with all three counts as knobs: the largest spaces of numbers that there are."""


@dataclass(frozen=True, kw_only=True)
class Computer:
    """How long every configuration of every size truly takes. Each trait is drawn once for each machine."""

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
        seconds = work / faster * max(1.0, blas * workers / self.cpus) ** 1.2
        seconds += self.barrier * (blas - 1) + self.start * (workers - 1)
        seconds *= self._shape(kind, operation, configuration, workers)
        return seconds * exp(self.teeth * self._tooth(blas, workers, configuration.method))

    def elements(self, kind: Kind, operation: Operation) -> float:
        """How much there is to do."""
        size = operation.size
        if kind.family is Family.TASKS:
            return size["tasks"] * size["n"] ** 2.0
        if kind.family is Family.LINALG:
            return size["n"] ** 2.0
        return float(size["n"]) * size.get("count", 1)

    def _amdahl(self, threads: int, serial: float) -> float:
        return 1.0 / (serial + (1.0 - serial) / self._reach(threads, inside=False))

    def _reach(self, threads: int, *, inside: bool = True) -> float:
        """How many single threads' work so many threads do; `inside` the memory's bandwidth."""
        beyond = max(0, min(threads, self.cpus) - self.cores)
        reached = min(threads, self.cores) + beyond * self.second_thread
        return (reached**-4.0 + self.bandwidth**-4.0) ** -0.25 if inside else max(reached, 0.5)

    def _shape(self, kind: Kind, operation: Operation, configuration: Configuration, workers: int) -> float:
        """What the way of cutting costs: unequal parts, small slices, slices beyond the cache."""
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
        return factor * (ceil(slices / workers) * workers / slices) ** 0.5

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
"""So many samples' worth of what happens to everybody, as logarithms of factors."""


@dataclass(frozen=True, kw_only=True)
class Weather:
    """What timings make of the truth."""

    jitter: float = 0.0
    """Standard deviation of one timing's logarithm."""
    common: Noise | None = None
    """What slows all configurations alike, sample after sample."""
    tails: float = 0.0
    """Scale of Pareto delays (exponent 1.5: their variance is infinite)."""
    processes: float = 0.0
    """Standard deviation between processes, all configurations alike."""
    layouts: float = 0.0
    """Standard deviation between processes, each configuration on its own."""
    neighbour: float = 0.0
    """How much slower, in logarithm, a configuration on all CPUs gets while a neighbour is there; one on
    fewer CPUs in proportion."""
    presence: float = 0.1
    """Part of the time that the neighbour is there."""


def _regimes(random: np.random.Generator, count: int) -> Array:
    """Slow times of +10 to +80 %, about 60 samples of every 150, and spikes in 4 % of the samples."""
    slow = _stretches(random, count, 60, 90, lambda: np.log1p(random.uniform(0.1, 0.8)))
    return slow + (random.random(count) < 0.04) * random.exponential(0.3, count)


def _bursts(random: np.random.Generator, count: int) -> Array:
    """Ten samples at 1.5 to 4 times the time, after a hundred that are quiet."""
    return _stretches(random, count, 10, 100, lambda: np.log(random.uniform(1.5, 4.0)))


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
    "bursts": Weather(jitter=0.015, common=_bursts),
    "drift": Weather(jitter=0.02, common=_drift),
    "tails": Weather(jitter=0.01, tails=0.02),
    "processes": Weather(jitter=0.02, processes=0.07, layouts=0.01),
    "interference": Weather(jitter=0.02, neighbour=0.5),
}

BLOCK = 2**14
"""Samples whose weather is made at once."""


@dataclass
class SimulatedBench:
    """A Bench on a simulated computer. One `run` is one process; `samples` counts timings."""

    computer: Computer
    kind: Kind
    weather: Weather
    seed: int = 0
    samples: int = 0
    """Timings of one configuration in one round each, so far."""
    _processes: int = 0
    _truth: dict[tuple[Operation, Configuration], float] = field(default_factory=dict)
    _sky: dict[int, tuple[Array, Array]] = field(default_factory=dict)

    def run(self, plan: TrialPlan) -> Session:
        """As the protocol says; a sample lasts at least as long as the real bench's."""
        self._processes += 1
        luck = np.random.default_rng([17, self.seed, self._processes])
        spent, measurements = START_SECONDS, []
        for place, case in enumerate(plan.cases):
            left = None if plan.seconds is None else (plan.seconds - spent) / (len(plan.cases) - place)
            seconds, took = self._measure(case, plan, left, luck)
            spent += took
            arms = _arms(case)
            measurements += [
                Measurement(
                    operation=case.operation,
                    configuration=arm,
                    pairs=tuple(
                        Pair(default_seconds=float(plain), candidate_seconds=float(tuned))
                        for plain, tuned in zip(seconds[:, 0], column, strict=True)
                    )
                    if place
                    else (),
                    seconds=tuple(map(float, column)),
                )
                for place, (arm, column) in enumerate(zip(arms, seconds.T, strict=True))
            ]
        return Session(measurements=tuple(measurements), wall_seconds=spent)

    def truth(self, operation: Operation, configuration: Configuration) -> float:
        """Seconds without noise."""
        known = self._truth.get((operation, configuration))
        if known is None:
            known = self.computer.seconds(self.kind, operation, configuration)
            self._truth[operation, configuration] = known
        return known

    def _measure(
        self, case: Case, plan: TrialPlan, left: float | None, luck: np.random.Generator
    ) -> tuple[Array, float]:
        """(rounds x arms) seconds, and how long it took."""
        arms = _arms(case)
        true = np.asarray([self.truth(case.operation, arm) for arm in arms])
        share = np.asarray([self._share(arm) for arm in arms])
        process = luck.normal(0, self.weather.processes) + luck.normal(0, self.weather.layouts, len(arms))
        took, found = float(np.maximum(true, rounds.SAMPLE_SECONDS).sum()), []
        for order in rounds.orders(len(arms), plan.rounds, rounds.order_seed(plan.seed, case.operation)):
            if found and left is not None and took >= left:
                break
            common, present = self._sky_over(len(arms))
            delay = process + luck.normal(0, self.weather.jitter, len(arms))
            delay[list(order)] += common + self.weather.neighbour * present * share[list(order)]
            delay += np.log1p(self.weather.tails * luck.pareto(1.5, len(arms)))
            found.append(true * np.exp(delay))
            took += float(np.maximum(found[-1], rounds.SAMPLE_SECONDS).sum())
            self.samples += len(arms)
        return np.asarray(found), took

    def _share(self, configuration: Configuration) -> float:
        """Part of the CPUs that a configuration keeps busy."""
        plain = self.computer.cpus if Knob.BLAS_THREADS in self.kind.knobs else 1
        busy = plain if configuration.is_default else configuration.cpus
        return min(1.0, busy / self.computer.cpus)

    def _sky_over(self, count: int) -> tuple[Array, Array]:
        """What the next samples meet: slowness for all, and whether the neighbour is there."""
        begin, end = self.samples, self.samples + count
        blocks = [self._block(number) for number in range(begin // BLOCK, (end - 1) // BLOCK + 1)]
        offset = begin % BLOCK
        common, present = (
            np.concatenate(parts)[offset : offset + count] for parts in zip(*blocks, strict=True)
        )
        return common, present

    def _block(self, number: int) -> tuple[Array, Array]:
        if number not in self._sky:
            random = np.random.default_rng([19, self.seed, number])
            common = np.zeros(BLOCK) if self.weather.common is None else self.weather.common(random, BLOCK)
            absent = 30 * (1 / self.weather.presence - 1)
            self._sky[number] = common, _stretches(random, BLOCK, 30, absent, lambda: 1.0)
        return self._sky[number]


def _arms(case: Case) -> list[Configuration]:
    return [DEFAULT, *(one for one in case.configurations if not one.is_default)]


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is searched: an operation on a computer, and the space of its configurations."""

    computer: Computer
    kind: Kind
    operations: tuple[Operation, ...]

    @property
    def operation(self) -> Operation:
        """The first of them."""
        return self.operations[0]

    @property
    def user(self) -> Kind | None:
        """The kind, if it is a user's function."""
        return self.kind if self.kind.family is Family.USER else None

    @property
    def default_threads(self) -> int | None:
        """BLAS threads of the default."""
        return self.computer.cpus

    def grid(self, operation: Operation | None = None) -> Grid:
        """The very space that calibrate searches."""
        found = space(self.kind, operation or self.operation, self.computer.cpus, self.default_threads)
        assert found is not None
        return found

    def configurations(self, operation: Operation | None = None) -> list[Configuration]:
        """All of it, the default last."""
        grid = self.grid(operation)
        return [*(setting(grid, point) for point in range(len(grid.points))), DEFAULT]

    def allowed(self, operation: Operation | None = None) -> list[Configuration]:
        """Those that may be chosen: within the allocation."""
        return [one for one in self.configurations(operation) if one.cpus <= self.computer.cpus]


OPERATIONS: Sequence[tuple[str, Mapping[str, Sequence[int]]]] = (
    ("batch_matmul", {"n": (100, 300, 1000), "tasks": (100, 1000)}),
    ("sqrt", {"n": (100_000, 1_000_000, 10_000_000)}),
    ("stack_inv", {"n": (16,), "count": (1000, 10_000)}),
    ("share", {"n": (1_000_000, 4_000_000, 16_000_000)}),
    ("matmul", {"n": (128, 512, 2048)}),
    (USERS.name, {"n": (100_000, 1_000_000, 10_000_000)}),
)


def draw(seed: int, *, least: int = 75, most: int = 10_000) -> Task:
    """A machine and an operation whose space has so many configurations, the default not counted."""
    random = np.random.default_rng([23, seed])
    while True:
        computer = Computer.draw(int(random.integers(2**31)))
        name, sizes = OPERATIONS[int(random.integers(len(OPERATIONS)))]
        size = {key: int(random.choice(values)) for key, values in sizes.items()}
        task = Task(computer=computer, kind=kind_of(name), operations=(operation_of(name, size),))
        found = space(task.kind, task.operation, computer.cpus, task.default_threads)
        if found is not None and least <= len(found.points) <= most:
            return task


def draw_sizes(seed: int) -> tuple[Task, Task]:
    """A machine and an operation with three sizes to be measured, and with those halfway between them."""
    random = np.random.default_rng([29, seed])
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
    return measured, between


def kind_of(name: str) -> Kind:
    """The row of the catalogue, or the user's function."""
    return USERS if name == USERS.name else CATALOGUE[name]


def operation_of(name: str, size: Mapping[str, int]) -> Operation:
    """With all its sizes."""
    return catalogue_operation(name, **size)
