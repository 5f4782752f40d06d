"""Python imports this file at its start where its folder is on PYTHONPATH: the process may run on AUTOTUNE_FAKED_CPUS.

Only Python is told so. The kernel, and what C libraries ask it, stay as they are. Without PBKDF2 capacity is not
probed: threads for all of these CPUs would only tell how many there really are.
"""

import hashlib
import os

del hashlib.pbkdf2_hmac

_cpus = frozenset(range(int(os.environ["AUTOTUNE_FAKED_CPUS"])))


def _affinity(_pid: int = 0) -> set[int]:
    return set(_cpus)


os.sched_getaffinity = _affinity
os.cpu_count = lambda: len(_cpus)
if hasattr(os, "process_cpu_count"):
    os.process_cpu_count = os.cpu_count
