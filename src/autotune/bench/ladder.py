"""Sizes of an operation to measure, from the machine's caches and memory. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import ceil, inf

from autotune.model.catalogue import IN_PROCESSES, Family, Kind, Sizes, operation
from autotune.model.operation import Operation
from autotune.model.policy import CREDIBLE_L3_BYTES, memory_allowance

LONGEST_CALL: Mapping[str, float] = {"normal": 0.14, "thorough": 0.5}
"""Seconds that one call may take by `seconds_of`, for each effort."""
LONGEST_STACK: Mapping[str, float] = {"normal": 0.04, "thorough": 0.2}
"""The same for stacks, which have many configurations, each with a result to check."""
MATRICES = (20, 50, 100, 200, 500, 1000, 2000, 5000)
"""Rows of square matrices, as people have them. Rows of 2^k elements meet in the same sets of a cache, and would say
less of the sizes between."""
SMALLEST_MATRIX = 100
"""But for thorough efforts."""

ROWS: Mapping[str, tuple[int, ...]] = {
    "quick": (10_000,),
    "normal": (1_000, 100_000),
    "thorough": (1_000, 10_000, 100_000),
}
"""Rows of the data that estimators are fitted to."""

CORNERS: Mapping[str, tuple[tuple[int, int], ...]] = {
    "quick": ((300, 100),),
    "normal": ((300, 100), (1000, 1000), (2000, 1000)),
    "thorough": ((300, 100), (1000, 1000), (2000, 1000), (100, 10), (1000, 10)),
}
"""Rows of the matrices of many tasks, and tasks. All else lies between these corners. A few of the
tasks stand for all, so that many tasks cost no more than few."""

SHARED_LENGTHS: Mapping[str, tuple[int, ...]] = {
    "quick": (1_000_000,),
    "normal": (1_000_000, 4_000_000),
    "thorough": (100_000, 1_000_000, 4_000_000, 10_000_000),
}
"""Elements of arrays worth starting processes for."""

LONGEST_WAVES = 0.5
"""Seconds. Where two waves of tasks take longer, one is measured: the cost of making a pool is small against it."""


BANDWIDTH = 10e9
"""Bytes a second that one call moves, on a machine slower than most."""

FLOPS: Mapping[str, float] = {
    "matmul": 50e9,
    "matvec": 2e9,
    "solve": 20e9,
    "inv": 20e9,
    "det": 20e9,
    "lstsq": 10e9,
    "pinv": 35e9,
    "cholesky": 12e9,
    "qr": 20e9,
    "eigh": 35e9,
    "eig": 10e9,
    "svd": 35e9,
    "stack_matmul": 5e9,
    "stack_solve": 1e9,
    "stack_inv": 1e9,
    "stack_cholesky": 1e9,
    "stack_eigh": 1.5e9,
    "stack_svd": 2.5e9,
    "k_means": 2e9,
    "hist_gradient_boosting": 4e9,
    "nearest_neighbours": 10e9,
    "batch_matmul": 50e9,
    "batch_matmul_processes": 50e9,
}
"""Flops a second that plain NumPy reaches at middle sizes on two vCPUs of a 2023 Xeon (OpenBLAS 0.3.31),
rounded down; stacks at n=16, and in proportion to n at others, since the call's own cost counts."""

ELEMENT_SECONDS: Mapping[str, float] = {
    "exp": 1.5e-9,
    "log": 1.5e-9,
    "sin": 8e-9,
    "power": 3.5e-9,
    "var": 3.5e-9,
    "random": 10e-9,
    "expression": 5e-9,
    "share": 50e-9,
    "temporaries": 6e-9,
}
"""Seconds for one element, where that and not memory decides; measured on the same machine."""

START_SECONDS: Mapping[str, float] = {"share": 0.05}
"""Seconds that do not depend on the size: processes are started."""


def seconds_of(kind: Kind, operation: Operation) -> float:
    """Estimate the seconds of one plain call on a machine slower than most (50 GFLOP/s, 10 GB/s).

    For planning only: it is never compared with a measurement. Of many tasks only those are counted that a
    call of the workload runs.
    """
    if kind.family is Family.TASKS:
        size = operation.size
        operation = replace(operation, sizes=(("n", size["n"]), ("tasks", measured_tasks(**size, usable_cpus=2))))
    if kind.name in FLOPS:
        share = operation.size["n"] / 16 if kind.family is Family.STACK else 1.0
        return kind.work_of(operation) / (FLOPS[kind.name] * share)
    moved = kind.work_of(operation) / BANDWIDTH
    counted = operation.size.get("n", 0) * ELEMENT_SECONDS.get(kind.name.removeprefix("loop_"), 0.0)
    return START_SECONDS.get(kind.name, 0.0) + max(moved, counted)


def measured_tasks(n: int, tasks: int, *, usable_cpus: int) -> int:
    """Choose how many of many equal tasks to run, so that their time stands for all: it grows by whole waves.

    The work is that of 100 products of 300 x 300, so that the start of a pool of threads, which is paid once, weighs as
    little as it does for all tasks. The number is a multiple of two waves, or of one where tasks take long; a wave is
    one task for each CPU. Fewer tasks than that all run, since there the last, unfilled wave counts.
    """
    seconds = 2.0 * n**3 / (FLOPS["batch_matmul"] / 2)  # of one task on one CPU
    wave = usable_cpus if 2 * seconds > LONGEST_WAVES else 2 * usable_cpus
    return min(tasks, wave * ceil(100 * (300 / n) ** 3 / wave))


def sizes(
    kind: Kind,
    *,
    machine_l2: int | None,
    machine_l3: int | None,
    memory_bytes: int | None,
    effort: str,
    dtype: str = "float64",
) -> tuple[Sizes, ...]:
    """Choose the sizes to measure of a row of the catalogue.

    One with effort "quick", two to five with "normal", more and longer ones with "thorough". Caches are in
    bytes, of one cache each; memory is what this process may use. What is None is unknown and plays no part.
    Empty if nothing fits the memory, and for a user's function, whose sizes only the user knows.
    """
    match kind.family:
        case Family.USER:
            rungs: Iterable[Sizes] = ()
        case Family.LINALG if kind.name != "vdot":
            rungs = _matrices(kind, effort, dtype)
        case Family.STACK:
            rungs = _stacks(kind, effort, dtype)
        case Family.TASKS:
            # worker processes start within a second, so that their largest matrices are left to thorough efforts
            most = 1000 if kind.name.endswith(IN_PROCESSES) and effort != "thorough" else inf
            rungs = [{"n": n, "tasks": tasks} for n, tasks in CORNERS[effort] if n <= most]
        case Family.ESTIMATOR:
            rungs = [kind.complete({"rows": rows}) for rows in ROWS[effort]]
        case Family.SHARING:
            rungs = [{"n": n} for n in SHARED_LENGTHS[effort]]
        case _:
            rungs = _arrays(kind, effort, dtype, machine_l2, machine_l3)
    return tuple(rung for rung in rungs if _fits(kind, rung, dtype, memory_bytes))


def _matrices(kind: Kind, effort: str, dtype: str) -> list[Sizes]:
    """List square ones, of which BLAS threads slow down the small and speed up the large; tall and wide ones."""
    if effort == "quick":
        return [kind.complete({"n": SMALLEST_MATRIX})]
    squares: list[Sizes] = [kind.complete({"n": n}) for n in MATRICES if n >= SMALLEST_MATRIX or effort == "thorough"]
    quick_enough = [size for size in squares if _takes(kind, size, dtype) <= LONGEST_CALL[effort]]
    if effort == "normal" and len(quick_enough) > 3:
        quick_enough = [quick_enough[0], quick_enough[len(quick_enough) // 2], quick_enough[-1]]
    sides = ((64, 4096), (256, 4096)) if effort == "thorough" else ((128, 2048),)
    # a shape for each size that can be the long one: tall, deep, wide
    names = kind.size_names if len(kind.size_names) > 1 else ()
    return quick_enough + [{**dict.fromkeys(names, short), name: long} for short, long in sides for name in names]


def _stacks(kind: Kind, effort: str, dtype: str) -> list[Sizes]:
    """List stacks of thousands of matrices that are too small for BLAS threads."""
    if effort == "quick":
        return [{"n": 16, "count": 1000}]
    rungs: list[Sizes] = []
    for count in (1000, 10_000):
        column: list[Sizes] = [{"n": n, "count": count} for n in (8, 16, 32, 64)]
        quick_enough = [size for size in column if _takes(kind, size, dtype) <= LONGEST_STACK[effort]]
        if effort == "normal":  # one smallest corner, since sizes between two measured ones are covered
            quick_enough = quick_enough[-1:] if rungs else [quick_enough[0], quick_enough[-1]]
        rungs += quick_enough
    return [size for place, size in enumerate(rungs) if size not in rungs[:place]]


def _arrays(kind: Kind, effort: str, dtype: str, l2: int | None, l3: int | None) -> list[Sizes]:
    """List arrays that fit an L2 cache, half an L3 cache, and neither."""
    if effort == "quick":
        return [{"n": 1_000_000}]
    element_bytes = kind.bytes_of(operation(kind.name, dtype=dtype, n=1_000_000)) / 1_000_000
    lengths = {10_000_000}
    if l2 is not None:
        lengths.add(_round(l2 / element_bytes))
    if l3 is not None:
        lengths.add(_round(min(l3, CREDIBLE_L3_BYTES) / 2 / element_bytes))
    if effort == "thorough":
        lengths |= {100_000, 1_000_000, 100_000_000}
    longest = LONGEST_CALL[effort]
    return [{"n": n} for n in sorted(lengths) if _takes(kind, {"n": n}, dtype) <= longest]


def _round(number: float) -> int:
    """Round down to 1, 2, 5, 10, 20, 50 ..., but to 10,000 elements at least."""
    power: int = 10 ** (len(str(int(number))) - 1)
    return max(10_000, max(step for step in (1, 2, 5) if step * power <= max(number, 1)) * power)


def _takes(kind: Kind, size: Sizes, dtype: str) -> float:
    return seconds_of(kind, operation(kind.name, dtype=dtype, **size))


def _fits(kind: Kind, size: Sizes, dtype: str, memory_bytes: int | None) -> bool:
    """Do they fit in memory? Matrices are held twice, once for each memory order."""
    copies = 2 if kind.family is Family.LINALG else 1
    needed = copies * kind.bytes_of(operation(kind.name, dtype=dtype, **size))
    allowed = memory_allowance(memory_bytes)
    return allowed is None or needed <= allowed
