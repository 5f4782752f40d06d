"""Builders of made-up recordings and of the advice from them."""

from typing import Any

from autotune.intercept.array_loops import loop_names
from autotune.intercept.operations import Layout
from autotune.model.allocation import Limit
from autotune.model.entry import Entry
from autotune.model.operation import Operation
from autotune.profiles.compiled_copy import Compiled, Wait, body
from autotune.profiles.lookup import Level, Rung
from autotune.profiles.resolve import Resolution, plan_loops
from autotune.recording.advice import Advice, advise_on
from autotune.recording.recording import ARRAYS, LINALG, Call, Loop, RecordedProcess, Recording, ThreadPool


def call(
    name: str = "qr",
    *,
    group: str = LINALG,
    dtype: str = "float64",
    seconds: float = 1.0,
    calls: int = 10,
    **fields: Any,
) -> Call:
    operation = fields.pop("operation", None)
    size = fields.pop("size", "n=50")
    elements, contiguous = fields.pop("elements", None), fields.pop("contiguous", True)
    return Call(
        name=name,
        group=group,
        dtype=dtype,
        size=size,
        elements=elements,
        contiguous=contiguous,
        calls=calls,
        seconds=seconds,
        operation=operation,
        **fields,
    )


def loop_call(elements: int, *, layout: int = Layout.CONTIGUOUS, kind: str = "arithmetic", **fields: Any) -> Call:
    """Make a call of np.add in whole loops of `elements`."""
    loop = Loop(kind=kind, dtype="float64", layout=layout, elements=elements)
    operation = Operation(name=loop_names(kind, layout)[0], sizes=(("n", elements),))
    return call("add", group=ARRAYS, operation=operation, loop=loop, **fields)


QR = Operation(name="qr", sizes=(("m", 50), ("n", 50)))


def process(
    *calls: Call, pid: int = 10, parent: int = 1, start: float = 0.0, end: float = 10.0, **fields: Any
) -> RecordedProcess:
    plain: dict[str, Any] = {
        "words": ("python", "x.py"),
        "is_fork": False,
        "cpu_seconds": 10.0,
        "threads": 1,
        "most_at_once": 1,
        "turns": 0,
        "pools": (ThreadPool(library="openblas", kind="blas", threads=2),),
        "others": (),
        "environment": {},
        "usable_cpus": 2,
        "unseen": (),
    }
    return RecordedProcess(pid=pid, parent=parent, start=start, end=end, calls=calls, **{**plain, **fields})


def recording(*processes: RecordedProcess, **fields: Any) -> Recording:
    plain: dict[str, Any] = {"command": ("python", "x.py"), "status": 0, "wall_seconds": 10.0, "cpu_seconds": 10.0}
    return Recording(processes=processes, **{**plain, "usable_cpus": 2, **fields})


def resolution_of(*entries: Entry, level: Level = Level.HOST) -> Resolution:
    """Resolve these entries, as those of one profile for a machine of two CPUs."""
    built: dict[tuple[str, str], list[Rung]] = {}
    for entry in entries:
        key = entry.operation.name, entry.operation.dtype
        own = [item for item in entries if (item.operation.name, item.operation.dtype) == key]
        built[key] = [Rung(level, "/profiles/mine.yaml", "It was made up.", own)]
    copy = Compiled("", "", (None, ""), Wait(None, {}), body(built, ()))
    resolution = Resolution(copy, 2, Limit.NONE)
    return Resolution(copy.replace(loops=plan_loops(resolution, cpus=2)), 2, Limit.NONE)


def advised(recorded: Recording, *entries: Entry) -> Advice:
    return advise_on(recorded, resolution_of(*entries))
