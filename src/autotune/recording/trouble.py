"""Trouble that a recording shows without any measurement. Pure; each sentence says what follows and what to do."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from autotune.host.usable_cpus import BINDINGS
from autotune.model.units import count_of
from autotune.recording.program_gain import total_seconds
from autotune.recording.recording import ARRAYS, LINALG, SHORT_LOOP, SHORT_REDUCTION, Call, RecordedProcess, Recording

WORTH_SAYING = 0.02
"""Part of the run below which a cost is not mentioned."""
SMALL_ARRAY = 1000
"""Elements up to which the overhead of a call, about 0.5 us, is most of its time."""
TURNS_A_SECOND = 10.0
"""Changes of the calling thread that show threads that run at once: CPython's GIL changes hands every 5 ms."""
SLOW_PRODUCTS = frozenset({"matmul", "dot", "inner", "vdot", "matvec", "vecdot", "matmat"})
NOT_STEERED = frozenset({"jax", "tensorflow"})
"""Libraries that take no thread count from the variables that `autotune tune` sets."""
_INTEGERS = ("int", "uint", "bool", "float16")


def trouble(recording: Recording) -> tuple[str, ...]:
    """Return sentences, the gravest first."""
    total = total_seconds(recording)
    calls = [call for process in recording.processes for call in process.calls]
    return (
        *_recording_gaps(recording),
        *([crowd.sentence] if (crowd := crowding(recording)) else []),
        *_environment(recording),
        *_costs_of_operands(calls, total),
        *_turns_at_the_gil(recording),
    )


def _recording_gaps(recording: Recording) -> Iterator[str]:
    for interpreter in recording.without_autotune:
        yield f"{interpreter} has no autotune: its calls were not recorded. Install autotune for it."
    yield from dict.fromkeys(text for process in recording.processes for text in process.unseen)


def _blas_threads(process: RecordedProcess) -> int:
    return max((pool.threads for pool in process.pools if pool.kind == "blas"), default=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowding:
    """More BLAS threads than usable CPUs."""

    sentence: str
    processes: int
    """Processes among which the CPUs have to be divided."""


def crowding(recording: Recording) -> Crowding | None:
    """Compare BLAS threads times what runs at once with the usable CPUs; None: they fit, or BLAS takes no time."""
    usable, cpus = recording.usable_cpus, count_of(recording.usable_cpus, "usable CPU")
    working = [process for process in recording.processes if _blas_seconds(process)]
    if sum(map(_blas_seconds, working)) <= WORTH_SAYING * total_seconds(recording):
        return None
    threads = max(map(_blas_threads, working))
    at_once = processes_at_once(working)
    callers = max(process.most_at_once for process in working)
    if at_once > 1 and at_once * threads > usable:
        sentence = (
            f"{at_once} processes ran at once, each with {threads} BLAS threads: {at_once * threads} threads on "
            f"{cpus}. `AUTOTUNE_PROCESSES={at_once} autotune run --children` gives each its share; so does "
            f"OPENBLAS_NUM_THREADS={max(1, usable // at_once)}, or the variable of your BLAS library."
        )
    elif callers > 1 and threads > 1 and callers * threads > usable:
        sentence = (
            f"Up to {callers} threads called NumPy at once, and a call of linear algebra has {threads} BLAS threads "
            f"(nested pools), on {cpus}. Once a profile covers linear algebra, `autotune run` shares the CPUs among "
            "calls at once."
        )
    elif threads > usable:
        sentence = (
            f"BLAS uses {threads} threads on {cpus}: the surplus only gets in the way. "
            f"`autotune run` keeps to {usable}."
        )
    else:
        return None
    return Crowding(sentence=sentence, processes=at_once if at_once * threads > usable else 1)


def _blas_seconds(process: RecordedProcess) -> float:
    return _seconds([call for call in process.calls if call.group == LINALG])


def processes_at_once(processes: Sequence[RecordedProcess]) -> int:
    """Return the most processes that were active at once; one that waits for its children does not count."""
    parents = {process.parent for process in processes}
    leaves = [process for process in processes if process.pid not in parents] or list(processes)
    # at equal times an end comes first
    events = sorted(event for process in leaves for event in ((process.start, 1), (process.end, -1)))
    most = now = 0
    for _, step in events:
        now += step
        most = max(most, now)
    return max(most, 1)


def _environment(recording: Recording) -> Iterator[str]:
    """Yield sentences on a quota, on pinned threads and on pools other than BLAS."""
    if recording.throttled_seconds > WORTH_SAYING * recording.wall_seconds:
        yield (
            f"The CPU quota paused the program for {recording.throttled_seconds:.1f} s of thread time: it ran more "
            f"threads than the quota pays for. `autotune run` keeps BLAS to "
            f"{count_of(recording.usable_cpus, 'usable CPU')}."
        )
    openmp = {pool.library for process in recording.processes for pool in process.pools if pool.kind == "openmp"}
    names = {name for process in recording.processes for name in process.environment if name in BINDINGS}
    if names and openmp:
        yield (
            f"{', '.join(sorted(names))} lets OpenMP pin threads: BLAS and other threads that start later share "
            "the few CPUs of the thread that was pinned. Unset it unless you rely on it."
        )
    libraries = openmp | {name for process in recording.processes for name in process.others}
    if libraries:
        steered = ", ".join(sorted(libraries - NOT_STEERED))
        yield (
            f"Other thread pools are loaded ({', '.join(sorted(libraries))}). Their time is part of the rest."
            + (f" `autotune tune -- CMD` finds the best thread count for {steered}." if steered else "")
        )


def _costs_of_operands(calls: Sequence[Call], total: float) -> Iterator[str]:
    """Yield sentences on calls whose operands take time that no thread count saves."""
    products = [call for call in calls if call.name in SLOW_PRODUCTS and call.dtype]
    products = [call for call in products if all(part.startswith(_INTEGERS) for part in call.dtype.split("+"))]
    if took := _part(products, total):
        yield (
            f"Products of {_names(products)} arrays took {took}: BLAS has none for "
            "them. Convert the operands to float64, or float32 where its precision is enough."
        )
    mixed = [call for call in calls if "+" in call.dtype and call.name not in {"where", "take", "repeat"}]
    mixed = [call for call in mixed if call.group in {LINALG, ARRAYS} and "bool" not in call.dtype]
    if took := _part(mixed, total):
        yield (
            f"Calls with operands of two dtypes ({_names(mixed)}) took {took}: "
            "NumPy converts the operands at each call. Convert them once."
        )
    short = [call for call in calls if call.is_in_short_loops]
    if took := _part(short, total, least=2 * WORTH_SAYING):
        yield (
            f"Calls on large arrays in short loops (fewer than {SHORT_LOOP:,} elements, of reductions "
            f"{SHORT_REDUCTION:,}) took {took}: converted operands, a mask or a short axis make NumPy go piece by "
            "piece, which stays on one CPU. autotune.map_blocks can share such calls where the function's own "
            "entry is tuned (`autotune calibrate add n=...`)."
        )
    small = [call for call in calls if call.group == ARRAYS and (call.elements or 0) <= SMALL_ARRAY]
    if took := _part(small, total, least=5 * WORTH_SAYING):
        yield (
            f"{sum(call.calls for call in small):,} calls on arrays of at most {SMALL_ARRAY:,} elements took "
            f"{took}. No thread count makes them faster: work on larger arrays at once."
        )
    freed = [call for call in calls if call.name == "free"]
    if took := _part(freed, total, least=2 * WORTH_SAYING):
        yield (
            f"Freeing large arrays took {took}, and new ones cost as much: memory goes back to the "
            'system each time. Write results into arrays that stay (out=), or try apply(allocator="retain").'
        )


def _turns_at_the_gil(recording: Recording) -> Iterator[str]:
    cpus = count_of(recording.usable_cpus, "usable CPU")
    for process in recording.processes:
        span = process.end - process.start
        if (
            process.threads > 1
            and (process.most_at_once > 1 or process.turns > TURNS_A_SECOND * span)
            and span > 0
            and _is_serial(process, span, recording)
        ):
            yield (
                f"{process.threads} threads called NumPy, and together they kept {process.cpu_seconds / span:.1f} of "
                f"{cpus} busy: they wait for the GIL, as short calls and Python code do, or for CPUs that others "
                "use. Processes, or larger arrays a call, help against the GIL."
            )
            return


def _is_serial(process: RecordedProcess, span: float, recording: Recording) -> bool:
    most = min(process.threads, recording.usable_cpus)
    return most > 1 and process.cpu_seconds < 1.2 * span and process.call_seconds > 0.2 * span


def _seconds(calls: Sequence[Call]) -> float:
    return sum(call.seconds for call in calls)


def _part(calls: Sequence[Call], total: float, least: float = WORTH_SAYING) -> str:
    """Return the time of calls, as seconds and as part of the run; empty if they take no more than `least` of it."""
    seconds = _seconds(calls)
    return f"{seconds:.2g} s ({seconds / total:.0%} of the run)" if seconds > least * total else ""


def _names(calls: Sequence[Call]) -> str:
    return ", ".join(list(dict.fromkeys(call.dtype for call in calls))[:3])
