"""Generated search spaces: families of time curves whose parameters are drawn at random, with a known optimum.

Each family is one difficulty that a search meets on real machines. An instance is drawn from the family's name and a
number, so that instances used while the search was developed and instances held out never meet.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import log
from zlib import crc32

import numpy as np
import numpy.typing as npt

from autotune.search.search_grid import Grid

Array = npt.NDArray[np.float64]
Random = np.random.Generator

CORES = (16, 64, 96, 128, 256)
"""Thread counts of the machines that the families stand for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One generated space."""

    family: str
    number: int
    grid: Grid
    log_seconds: Array
    """(points,) true logarithm of the time; infinite where every trial fails."""
    scatter: float
    """Standard deviation of one timing's logarithm."""
    tails: float
    """Probability that a timing is disturbed; disturbed timings are slower by a factor of e^0.3 on average."""

    @property
    def default(self) -> int | None:
        """None: a search gets no hint."""
        return None

    @property
    def seconds(self) -> Array:
        """(points,) true times; infinite where every trial fails."""
        return np.exp(self.log_seconds)

    def visit(self, point: int, random: Random) -> float | None:
        """Time the point once; None for a failed trial."""
        truth = self.log_seconds[point]
        if not np.isfinite(truth):
            return None
        disturbed = random.exponential(0.3) if random.random() < self.tails else 0.0
        return float(truth + self.scatter * random.standard_normal() + disturbed)


def draw_instance(family: str, number: int) -> Instance:
    """Draw an instance of a family, the same one for the same number."""
    random = np.random.default_rng([41, crc32(family.encode()), number])
    return FAMILIES[family](family, number, random)


def _instance(
    family: str,
    number: int,
    grid: Grid,
    log_seconds: Array,
    random: Random,
    scatter: tuple[float, float] = (0.02, 0.05),
    tails: float = 0.02,
) -> Instance:
    low, high = np.log(scatter)
    drawn = float(np.exp(random.uniform(low, high)))
    return Instance(family=family, number=number, grid=grid, log_seconds=log_seconds, scatter=drawn, tails=tails)


def _cores(random: Random) -> int:
    return int(random.choice(CORES))


def _counts(random: Random, cores: int) -> tuple[int, ...]:
    """Return a list of a dozen thread counts as people write it: powers of two, with multiples of a quarter between."""
    powers = [2**power for power in range(9) if 2**power <= cores]
    between = [3 * 2**power for power in range(8) if 3 * 2**power <= cores]
    halves = [cores * part // 8 for part in range(1, 9)]
    listed = sorted({*powers, *between, *halves} - {0})
    while len(listed) > 14:
        listed.pop(int(random.integers(1, len(listed) - 1)))
    return tuple(listed)


def _columns(grid: Grid) -> dict[str, npt.NDArray[np.object_]]:
    return {
        name: np.asarray([point[axis] for point in grid.points], dtype=object)
        for axis, name in enumerate(grid.parameters)
    }


def _numbers(grid: Grid, name: str) -> Array:
    return np.asarray(_columns(grid)[name], dtype=np.float64)


# Curves over a thread count: logarithms of times, of which only differences matter.


def _usl(threads: Array, random: Random, optimum: float | None = None) -> Array:
    """Draw a curve of the universal scalability law (Gunther 1993), its optimum at or near the given count."""
    serial = 10 ** random.uniform(-2.5, -0.7)
    top = float(threads.max())
    wanted = optimum or float(np.exp(random.uniform(log(max(2.0, top / 8)), log(2 * top))))
    crosstalk = (1 - serial) / wanted**2
    return np.log(serial + (1 - serial) / threads + crosstalk * threads)


def _falling(threads: Array, random: Random) -> Array:
    return -random.uniform(0.4, 1.0) * np.log(threads)


def _rising(threads: Array, random: Random) -> Array:
    return random.uniform(0.05, 0.4) * np.log(threads)


def _flat(threads: Array, random: Random) -> Array:
    return random.uniform(-0.02, 0.02) * np.log(threads)


def _stepped(threads: Array, random: Random) -> Array:
    """Draw a curve that improves up to a count, beyond which the library falls back to fewer threads or loses."""
    top = threads.max()
    edge = random.uniform(0.2, 0.95) * top
    curve = _usl(threads, random, optimum=random.uniform(0.5, 2.0) * top)
    if random.random() < 0.5:
        return np.where(threads > edge, curve[int(threads.argmin())] + random.uniform(-0.3, 0.1), curve)
    lost: Array = curve + (threads > edge) * random.uniform(0.1, 1.0)
    return lost


def _valuation(threads: Array, prime: int) -> Array:
    values, left = np.zeros(len(threads)), threads.astype(int)
    for _ in range(8):
        divides = (left % prime == 0) & (left > 0)
        values += divides
        left = np.where(divides, left // prime, left)
    return values


def _factors(count: int) -> tuple[int, int]:
    """Return the largest prime factor, and the quotient of the two factors nearest to the square root."""
    largest, left, divisor = 1, count, 2
    while left > 1:
        while left % divisor == 0:
            largest, left = divisor, left // divisor
        divisor += 1
    near = max(divisor for divisor in range(1, int(count**0.5) + 1) if count % divisor == 0)
    return largest, count // near // near


def _teeth(threads: Array, random: Random) -> Array:
    """Draw saw teeth of one of five kinds that follow the factorisation of the count, up to 10 to 60 % high."""
    height = random.uniform(0.1, 0.6)
    match int(random.integers(5)):
        case 0:  # some multiples of 2 and of 3 are favoured
            two, three = _valuation(threads, 2), _valuation(threads, 3)
            drawn = random.uniform(0, 1, 9), random.uniform(0, 0.5, 9)
            teeth: Array = height * (drawn[0][two.astype(int)] + drawn[1][three.astype(int)]) / 1.5
            return teeth
        case 1:  # the threads form a grid of p x q, best when square
            return height * np.asarray([min(1.0, log(_factors(int(t))[1] or 1) / 5) for t in threads])
        case 2:  # equal parts of a number of blocks
            blocks = float(random.choice([48, 60, 64, 96, 100, 128, 200, 256, 512]))
            return np.log(np.ceil(blocks / threads) * threads / blocks).clip(max=1.0)
        case 3:  # a large prime factor makes long, thin parts
            return height * np.asarray([log(_factors(int(t))[0]) for t in threads]) / log(threads.max() + 1)
        case _:  # multiples of one number (threads of a cache or NUMA node) are favoured
            node = int(random.choice([4, 6, 8, 12, 16]))
            return height * ((threads.astype(int) % node) > 0) + 0.2 * height * (threads.astype(int) % 2)


def _saw(threads: Array, random: Random) -> Array:
    return _usl(threads, random) + _teeth(threads, random)


SHAPES = (_usl, _falling, _rising, _flat, _stepped, _saw)


def _any_shape(threads: Array, random: Random) -> Array:
    return SHAPES[int(random.integers(len(SHAPES)))](threads, random)


# Families.


def _smooth(family: str, number: int, random: Random) -> Instance:
    """Every thread count; a smooth curve with its optimum inside the range or at an end."""
    grid = Grid.full({"threads": tuple(range(1, _cores(random) + 1))})
    return _instance(family, number, grid, _usl(_numbers(grid, "threads"), random), random)


def _libraries(family: str, number: int, random: Random) -> Instance:
    """BLAS library x affinity x a dozen thread counts: every library has a curve of another shape."""
    libraries = tuple("abcd"[: int(random.integers(2, 5))])
    grid = Grid.full(
        {
            "library": libraries,
            "affinity": ("close", "spread"),
            "threads": _counts(random, int(random.choice(CORES[1:]))),
        }
    )
    return _per_category(family, number, grid, random, "library", "affinity")


def _per_category(
    family: str, number: int, grid: Grid, random: Random, curved: str, scaled: str | None = None
) -> Instance:
    """Give every value of `curved` a curve of its own; `scaled` multiplies them, per curve or for all alike."""
    threads, columns = _numbers(grid, "threads"), _columns(grid)
    value = np.zeros(len(threads))
    for name in grid.parameters[curved]:
        rows = columns[curved] == name
        curve = _any_shape(threads[rows], random)
        # levelled at the best, so that the winner is not the steepest curve alone
        value[rows] = curve - curve.min() + random.uniform(0.0, 0.5)
    if scaled is not None:
        alike = random.random() < 0.5
        factor = {name: random.choice([0.0, random.uniform(0, 0.55)]) for name in grid.parameters[scaled]}
        for name in grid.parameters[curved]:
            if not alike:
                factor = {each: random.uniform(0, 0.55) for each in grid.parameters[scaled]}
            for each in grid.parameters[scaled]:
                value[(columns[curved] == name) & (columns[scaled] == each)] += factor[each]
    return _instance(family, number, grid, value, random, scatter=(0.01, 0.05))


def _curves(family: str, number: int, random: Random) -> Instance:
    """Two to four categories x 16 to 64 thread counts, a curve of another shape in each."""
    grid = Grid.full(
        {
            "library": tuple("abcd"[: int(random.integers(2, 5))]),
            "threads": tuple(range(1, int(random.choice([16, 32, 64])) + 1)),
        }
    )
    return _per_category(family, number, grid, random, "library")


def _sawtooth(family: str, number: int, random: Random) -> Instance:
    """Every thread count; teeth that follow the factorisation of the count, and 2 to 20 % scatter."""
    grid = Grid.full({"threads": tuple(range(1, int(random.choice(CORES[1:])) + 1))})
    threads = _numbers(grid, "threads")
    value = _saw(threads, random) + random.normal(0, random.uniform(0, 0.05), len(threads))
    return _instance(family, number, grid, value, random, scatter=(0.02, 0.2))


def _steps(family: str, number: int, random: Random) -> Instance:
    """Every thread count; one to three steps up or down."""
    grid = Grid.full({"threads": tuple(range(1, _cores(random) + 1))})
    threads = _numbers(grid, "threads")
    value = _stepped(threads, random)
    for _ in range(int(random.integers(0, 3))):
        value = value + (threads > random.uniform(0, 1) * threads.max()) * random.uniform(-0.4, 0.4)
    return _instance(family, number, grid, value, random)


def _needles(family: str, number: int, random: Random) -> Instance:
    """Thread count x chunk, nearly flat; 1 to 3 % of the points are 1.2 to 3 times as fast."""
    grid = Grid.full({"threads": tuple(range(1, 33)), "chunk": tuple(2**p for p in range(12, 20))})
    value = random.normal(0, random.uniform(0.005, 0.05), len(grid.points))
    value += random.uniform(-0.1, 0.1) * np.log(_numbers(grid, "threads"))
    count = int(random.integers(3, 9))
    needles = random.choice(len(value), count, replace=False)
    value[needles] -= np.log(random.uniform(1.2, 3.0, count))
    return _instance(family, number, grid, value, random)


def _plateau(family: str, number: int, random: Random) -> Instance:
    """Thread count x chunk; flat but for a box of 3 to 20 % of the points that is faster."""
    grid = Grid.full({"threads": tuple(range(1, 33)), "chunk": tuple(2**p for p in range(12, 22))})
    place = grid.coordinates
    centre, extent = random.uniform(0, 1, 2), np.sqrt(random.uniform(0.03, 0.2)) / 2
    inside = (np.abs(place - centre) <= extent * np.exp(random.uniform(-0.4, 0.4) * np.array([1, -1]))).all(1)
    inside[int(np.abs(place - centre).sum(1).argmin())] = True
    value = np.where(inside, -random.uniform(0.1, 1.0), 0.0) + random.normal(0, 0.01, len(place))
    return _instance(family, number, grid, value, random)


def _failures(family: str, number: int, random: Random) -> Instance:
    """BLAS threads x workers; beyond a limit of memory every trial fails, and 3 % of the others too."""
    cores = int(random.choice([16, 32, 64]))
    pairs = [(b, w) for b in range(1, cores + 1) for w in range(1, cores + 1) if b * w <= 2 * cores]
    grid = Grid.of(("blas_threads", "workers"), pairs)
    blas, workers = _numbers(grid, "blas_threads"), _numbers(grid, "workers")
    value = 0.3 * _usl(blas, random) + _usl(workers, random) + 0.5 * np.log(np.maximum(1, blas * workers / cores))
    limit = np.exp(random.uniform(log(max(2, cores / 16)), log(cores)))
    needed = workers if random.random() < 0.5 else blas * workers
    value[(needed > limit) | (random.random(len(value)) < 0.03)] = np.inf
    return _instance(family, number, grid, value, random)


def _ridge(family: str, number: int, random: Random) -> Instance:
    """BLAS threads x workers within the CPUs: the product matters, and each costs something of its own."""
    cores = int(random.choice(CORES[:4]))
    grid = Grid.of(("blas_threads", "workers"), [(b, w) for b in range(1, cores + 1) for w in range(1, cores // b + 1)])
    blas, workers = _numbers(grid, "blas_threads"), _numbers(grid, "workers")
    serial_b, serial_w = 10 ** random.uniform(-2.5, -0.5), 10 ** random.uniform(-3, -1.0)
    bandwidth = random.uniform(1.5, 1.2 * cores)
    speed = 1 / (serial_b + (1 - serial_b) / blas) / (serial_w + (1 - serial_w) / workers)
    speed = (speed**-4 + bandwidth**-4) ** -0.25
    tasks = float(random.choice([20, 100, 1000]))
    value = -np.log(speed) + random.uniform(0, 0.01) * workers + np.log(np.ceil(tasks / workers) * workers / tasks)
    value += random.normal(0, random.uniform(0, 0.05), len(value))
    return _instance(family, number, grid, value, random)


def _rough(family: str, number: int, random: Random) -> Instance:
    """Every thread count; on a smooth curve every count has a deviation of its own, of 3 to 20 %."""
    grid = Grid.full({"threads": tuple(range(1, _cores(random) + 1))})
    value = _usl(_numbers(grid, "threads"), random)
    value = value + random.normal(0, random.uniform(0.03, 0.2), len(value))
    return _instance(family, number, grid, value, random, scatter=(0.02, 0.1))


def _scatter(family: str, number: int, random: Random) -> Instance:
    """Method x thread count, smooth; timings scatter by 10 to 20 %, and 5 % of them are disturbed."""
    grid = Grid.full({"method": ("static", "dynamic", "guided"), "threads": tuple(range(1, 65))})
    threads, columns = _numbers(grid, "threads"), _columns(grid)
    value = _usl(threads, random)
    for name in grid.parameters["method"]:
        value[columns["method"] == name] += random.uniform(0, 0.4)
    return _instance(family, number, grid, value, random, scatter=(0.1, 0.2), tails=0.05)


def _basins(family: str, number: int, random: Random) -> Instance:
    """Thread count x chunk; a wide basin, and a narrow one that is deeper by 10 to 60 %."""
    grid = Grid.full({"threads": tuple(range(1, 49)), "chunk": tuple(2**p for p in range(12, 20))})
    place = grid.coordinates
    wide, narrow = random.uniform(0, 1, 2), random.uniform(0, 1, 2)
    depth = random.uniform(0.3, 1.5)

    def basin(centre: Array, width: float) -> Array:
        shape: Array = np.exp(-((place - centre) ** 2).sum(1) / (2 * width**2))
        return shape

    value = -depth * basin(wide, random.uniform(0.25, 0.5))
    deep = basin(narrow, random.uniform(0.06, 0.15))
    value = (1 - deep) * value - deep * (depth + random.uniform(0.1, 0.6))
    return _instance(family, number, grid, value, random)


def _large(family: str, number: int, random: Random) -> Instance:
    """Thread count x chunk x method x placement, 1,500 to 5,000 points, with interactions."""
    cores = int(random.choice([32, 64, 96]))
    grid = Grid.full(
        {
            "threads": tuple(range(1, cores + 1)),
            "chunk": tuple(2**power for power in range(10, 18)),
            "method": ("static", "dynamic", "guided"),
            "placement": ("anywhere", "spread"),
        }
    )
    threads, columns = _numbers(grid, "threads"), _columns(grid)
    chunk = np.log2(_numbers(grid, "chunk"))
    value = np.zeros(len(threads))
    for method in grid.parameters["method"]:
        for placement in grid.parameters["placement"]:
            rows = (columns["method"] == method) & (columns["placement"] == placement)
            value[rows] = _usl(threads[rows], random) + random.uniform(0.0, 0.4)
    value += random.uniform(0.01, 0.15) * np.abs(chunk - random.uniform(10, 17))
    value += random.uniform(0, 0.05) * np.log2(threads) * (chunk - 10) / 7
    value += random.normal(0, random.uniform(0, 0.03), len(value))
    return _instance(family, number, grid, value, random)


def _methods(family: str, number: int, random: Random) -> Instance:
    """Many methods x two allocators x powers of two: mostly categories."""
    methods = tuple(f"method{index}" for index in range(int(random.integers(5, 10))))
    grid = Grid.full({"method": methods, "allocator": ("default", "retain"), "processes": (1, 2, 4, 8, 16, 32)})
    processes, columns = _numbers(grid, "processes"), _columns(grid)
    value = np.zeros(len(processes))
    for method in methods:
        rows = columns["method"] == method
        value[rows] = 0.6 * _any_shape(processes[rows], random) + random.uniform(0, 1.2)
        value[rows & (columns["allocator"] == "retain")] += random.uniform(-0.3, 0.1)
    return _instance(family, number, grid, value, random, scatter=(0.02, 0.1))


def _cliffs(family: str, number: int, random: Random) -> Instance:
    """Library x thread count; each library falls back to one thread beyond a count of its own."""
    cores = int(random.choice(CORES[1:]))
    listed = tuple(range(1, cores + 1)) if random.random() < 0.5 else _counts(random, cores)
    grid = Grid.full({"library": ("a", "b"), "threads": listed})
    threads, columns = _numbers(grid, "threads"), _columns(grid)
    value = np.zeros(len(threads))
    for name in grid.parameters["library"]:
        rows = columns["library"] == name
        value[rows] = _stepped(threads[rows], random) + random.uniform(0, 0.3)
    return _instance(family, number, grid, value, random)


Family = Callable[[str, int, Random], Instance]

FAMILIES: Mapping[str, Family] = {
    "smooth": _smooth,
    "libraries": _libraries,
    "curves": _curves,
    "sawtooth": _sawtooth,
    "steps": _steps,
    "cliffs": _cliffs,
    "needles": _needles,
    "plateau": _plateau,
    "failures": _failures,
    "ridge": _ridge,
    "rough": _rough,
    "scatter": _scatter,
    "basins": _basins,
    "methods": _methods,
    "large": _large,
}
