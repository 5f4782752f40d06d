"""Which configurations of an operation may be tried on an allocation. Pure."""

from collections.abc import Iterable, Mapping
from itertools import product
from math import ceil
from types import MappingProxyType
from typing import get_args

from autotune.model.catalogue import IN_PROCESSES, Family, Kind
from autotune.model.codec import decode
from autotune.model.configuration import Configuration, IdleThreads, Knob, Method
from autotune.model.operation import Operation
from autotune.search.search_grid import Grid, Point, Value

SMALLEST_CHUNK = 4096
"""Elements. A slice of 4096 float64 takes about a microsecond to copy, as much as handing it out."""
LARGEST_CHUNK = 2**22
"""Elements: 32 MiB of float64, more than any core's own cache."""
MOST_SLICES = 64
"""For each worker. More always lost where it was tried: 64 slices of a million additions took 2.5 times as long
as two."""
ANYWHERE = "anywhere"
"""A point's value for no placement, and for the default waiting of idle threads. It sorts before the others, so that a
grid's first corners are without one."""
WAITS = (ANYWHERE, *get_args(IdleThreads))
"""Values of a point for idle threads."""
POOLS = {Knob.BLAS_THREADS, Knob.OPENMP_THREADS}
"""Knobs that are thread counts of libraries, all of which start with the same count."""
NOWHERE: Mapping[str, int] = MappingProxyType({})
"""No placements: the CPUs have no structure."""


def space(
    kind: Kind,
    operation: Operation,
    usable_cpus: int,
    default_threads: int | None = None,
    placements: Mapping[str, int] = NOWHERE,
) -> Grid | None:
    """Return the configurations to choose from, without the default: every knob at every value that may make sense.

    None if there is nothing to choose. `default_threads` is how many threads the default gives to BLAS: in all
    pools and alone it would be the default again. Without a BLAS it is None. `placements` are those that the machine
    has a structure for, each with the most workers that it has room for.

    Every count of BLAS threads up to the usable CPUs is in it, since curves over counts have teeth. No
    configuration uses more CPUs than there are, but that tasks always have the corner in which every worker
    gets all BLAS threads: plain NumPy in a thread pool, which people write and which should be seen to fail.
    A placement is for several workers with one BLAS thread each, since it moves no others. Processes, which cost
    a start, are tried where they fill the machine.
    """
    missing = {Knob.BLAS_THREADS} if default_threads is None else set()
    missing |= set() if placements else {Knob.PLACEMENT}
    knobs = [knob for knob in kind.knobs if knob not in missing]
    values = {knob.value: _values(knob, kind, operation, usable_cpus, placements) for knob in knobs}
    points = [
        point
        for point in product(*values.values())
        if _legal(dict(zip(values, point, strict=True)), kind, operation, usable_cpus)
        and _has_room(dict(zip(values, point, strict=True)), placements)
        and not (set(knobs) <= POOLS and set(point) == {default_threads})
    ]
    return Grid.of(tuple(values), points) if values and points else None


def setting(grid: Grid, point: int) -> Configuration:
    """Return the Configuration that a point of the grid stands for."""
    values = zip(grid.parameters, grid.points[point], strict=True)
    return decode(Configuration, {name: value for name, value in values if value != ANYWHERE})


def position(grid: Grid, chosen: Configuration) -> int | None:
    """Return the point of the grid that stands for this configuration; None if it is off the grid."""
    return grid.index.get(_point(grid, chosen))


def _point(grid: Grid, chosen: Configuration) -> Point:
    values = chosen.as_dict()
    return tuple(values.get(name, ANYWHERE) for name in grid.parameters)


def nearest(grid: Grid, wanted: Configuration) -> int | None:
    """Return the legal point nearest to a configuration of another size; None if it sets none of the knobs.

    Of points with the same counts the one with the nearest chunk, whose curve is much flatter than theirs.
    """
    knobs = wanted.as_dict()
    if not knobs.keys() & grid.parameters.keys():
        return None
    knobs.setdefault(Knob.PLACEMENT.value, ANYWHERE)

    def distance(place: int) -> tuple[float, float, int]:
        apart = {
            name: _apart(value, knobs[name])
            for name, value in zip(grid.parameters, grid.points[place], strict=True)
            if name in knobs
        }
        chunks_apart = apart.pop(Knob.CHUNK, 0.0)
        return sum(apart.values()), chunks_apart, place

    return min(range(len(grid.points)), key=distance)


def with_chunks(grid: Grid, wanted: Iterable[Configuration]) -> Grid:
    """Return the grid with the chunks of these configurations too, each next to its other values.

    A grid's chunks are powers of two; what is known from elsewhere cuts the whole into equal parts. A chunk
    smaller than all that the grid has next to those values, or twice as large, is left out.
    """
    names = tuple(grid.parameters)
    if Knob.CHUNK.value not in names:
        return grid
    place = names.index(Knob.CHUNK.value)

    def other_chunks(point: Point) -> list[int]:
        rest = (point[:place], point[place + 1 :])
        return [int(near[place]) for near in grid.points if (near[:place], near[place + 1 :]) == rest]

    points = list(grid.points)
    for choice in wanted:
        point = _point(grid, choice)
        chunks = other_chunks(point)
        if choice.chunk is not None and chunks and min(chunks) <= choice.chunk < 2 * max(chunks):
            points.append(point)
    return Grid.of(names, points)


def parsimony(chosen: Configuration) -> tuple[bool, int, int, int]:
    """Return a key that sorts equally fast ones: no placement, fewest threads, fewest workers, the largest chunk."""
    return chosen.placement is not None, chosen.cpus, chosen.workers or 1, -(chosen.chunk or 0)


def _values(
    knob: Knob, kind: Kind, operation: Operation, usable_cpus: int, placements: Mapping[str, int]
) -> tuple[Value, ...]:
    match knob:
        case Knob.BLAS_THREADS | Knob.WORKERS:
            return tuple(range(1, usable_cpus + 1))
        case Knob.OPENMP_THREADS:
            return _sparse_counts(usable_cpus)
        case Knob.CHUNK:
            return _chunks(kind, operation)
        case Knob.METHOD:
            return tuple(method.value for method in Method)
        case Knob.ALLOCATOR:
            return ("retain",)
        case Knob.PLACEMENT:
            return (ANYWHERE, *placements)
        case Knob.WAIT:
            return WAITS


def _sparse_counts(usable_cpus: int) -> tuple[int, ...]:
    """Return all counts up to 8, then powers of two and halves between them: these threads multiply with BLAS's."""
    powers = [2**power for power in range(3, usable_cpus.bit_length())]
    larger = {*powers, *(3 * power // 2 for power in powers), usable_cpus}
    return tuple(sorted({*range(1, 9), *larger} & set(range(1, usable_cpus + 1))))


def _chunks(kind: Kind, operation: Operation) -> tuple[int, ...]:
    """List powers of two, from slices worth handing out to the whole."""
    sizes = operation.size
    if kind.family is Family.STACK:
        smallest, whole = 1, sizes["count"]
    else:
        whole = max(sizes.values(), default=1)
        smallest = SMALLEST_CHUNK
    powers = [2**power for power in range(1, 50) if smallest <= 2**power <= min(whole, LARGEST_CHUNK)]
    return tuple(powers) or (max(1, whole),)


def _legal(values: dict[str, Value], kind: Kind, operation: Operation, usable_cpus: int) -> bool:
    counts = {name: int(value) for name, value in values.items() if not isinstance(value, str)}
    blas, workers, chunk = counts.get("blas_threads", 1), counts.get("workers", 1), counts.get("chunk")
    threads = max(blas, counts.get("openmp_threads", 1))
    if kind.name.endswith(IN_PROCESSES):
        return workers > 1 and counts.get("blas_threads") in {None, usable_cpus // workers}
    if threads * workers > usable_cpus:
        return kind.family is Family.TASKS and blas == workers == usable_cpus
    if chunk is None or kind.family is Family.USER:
        return True
    whole = operation.size.get("count") or max(operation.size.values(), default=1)
    slices = ceil(whole / chunk)
    if workers == 1 and kind.family is not Family.EXPRESSION:
        return False  # slices one after another are the plain call with more overhead
    return workers <= slices <= MOST_SLICES * workers


def _has_room(values: Mapping[str, Value], placements: Mapping[str, int]) -> bool:
    where = str(values.get("placement", ANYWHERE))
    workers = int(values.get("workers", 1))
    return where == ANYWHERE or (values.get("blas_threads", 1) == 1 and 1 < workers <= placements[where])


def _apart(left: Value, right: Value) -> float:
    if isinstance(left, str) or isinstance(right, str):
        return 0.0 if left == right else 10.0
    return abs(left - right) / max(left, right)
