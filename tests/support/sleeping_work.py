"""Functions that sleep as long as work would take on this machine, by the number of workers, in three shapes.

The shapes are those that thread counts have on machines of 64 to 256 CPUs: a serial part with a cost of each worker,
equal tasks in whole waves, and a library that falls back to one thread beyond some count.
"""

import os
import time
from math import ceil

WORK_SECONDS = 0.06
"""Of one worker. The best count is then some milliseconds, which a sleep keeps to 2 %."""


def seconds(curve: str, workers: int, cpus: int) -> float:
    """Return the time of a curve with `workers` on `cpus`."""
    if curve == "scaling":
        parallel = 0.04 + 0.96 / workers + 6.0 * (workers - 1) / cpus**2
    elif curve == "waves":
        tasks = 2 * cpus + cpus // 4
        parallel = 0.03 + 0.97 * ceil(tasks / workers) / tasks + 2.0 * (workers - 1) / cpus**2
    else:
        parallel = 0.06 + 0.94 / workers if workers <= 2 * cpus // 3 else 1.1
    return WORK_SECONDS * parallel


def scaling(workers: int = 1) -> None:
    """Take the time of a serial part, the rest divided among the workers, and a cost of each."""
    time.sleep(seconds("scaling", workers, os.cpu_count() or 1))


def waves(workers: int = 1) -> None:
    """Take the time of equal tasks in whole waves."""
    time.sleep(seconds("waves", workers, os.cpu_count() or 1))


def step(workers: int = 1) -> None:
    """Take the time of one worker beyond two thirds of the CPUs."""
    time.sleep(seconds("step", workers, os.cpu_count() or 1))
