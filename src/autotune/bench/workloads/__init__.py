"""The runnable work of the catalogue: one file per way of working, one Recipe per row."""

from importlib import import_module

from autotune.bench.workloads.workload import Workload
from autotune.model.catalogue import Family, kind

_FILES = {
    Family.LINALG: "linear_algebra",
    Family.STACK: "linear_algebra",
    Family.LOOP: "loop_work",
    Family.TASKS: "tasks",
    Family.SHARING: "sharing_work",
    Family.ESTIMATOR: "estimators",
}
"""The file of a family; whole arrays are the work of all others."""


def load_all() -> None:
    """Load the modules of all workloads, and NumPy with them."""
    for file in ("array_work", *_FILES.values()):
        import_module(f"{__name__}.{file}")


def find(name: str) -> Workload:
    """Return the workload of a row of the catalogue, or of its alias.

    Loads NumPy, so the process's environment must be settled by then. Raises UnknownOperation.
    """
    row = kind(name)
    recipes: dict[str, Workload] = import_module(f"{__name__}.{_FILES.get(row.family, 'array_work')}").RECIPES
    return recipes[row.name]
