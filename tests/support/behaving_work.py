"""Functions of tests/bench/workloads/behaving.py, which crash, hang, lie or print, as work of the real bench."""

from pathlib import Path

from autotune.bench.user_workload import UserWorkload
from autotune.model.configuration import Configuration, Knob
from autotune.model.measurement import Case
from autotune.model.operation import Operation

WORKLOADS = Path(__file__).parents[1] / "bench" / "workloads"


def behaving(*names: str) -> dict[str, UserWorkload]:
    """Return workloads by their names."""
    return {
        name: UserWorkload(
            name=name,
            source=f"{WORKLOADS / 'behaving.py'}:{name}",
            sizes=("n",),
            optional=("workers",),
            knobs=(Knob.WORKERS,),
        )
        for name in names
    }


def case_of(name: str, *configurations: Configuration) -> Case:
    """Return the case of such a function."""
    return Case(operation=Operation(name=name, sizes=(("n", 10),)), configurations=configurations)
