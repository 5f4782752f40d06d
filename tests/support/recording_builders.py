"""Builders of made-up recordings and of the advice from them."""

from autotune.model.operation import Operation
from autotune.recording.advice import advise_on
from autotune.recording.recording import LINALG, Call, RecordedProcess, Recording, ThreadPool


def call(name="qr", *, group=LINALG, dtype="float64", seconds=1.0, calls=10, **fields):
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


QR = Operation(name="qr", sizes=(("m", 50), ("n", 50)))


def process(*calls, pid=10, parent=1, start=0.0, end=10.0, **fields):
    plain = {
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


def recording(*processes, **fields):
    plain = {"command": ("python", "x.py"), "status": 0, "wall_seconds": 10.0, "cpu_seconds": 10.0}
    return Recording(processes=processes, **{**plain, "usable_cpus": 2, **fields})


def advised(recorded, *entries):
    by_operation = {entry.operation: entry for entry in entries}
    return advise_on(
        recorded,
        by_operation.get,
        lambda name, dtype: [size for size in by_operation if (size.name, size.dtype) == (name, dtype)],
    )
