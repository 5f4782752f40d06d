"""One daemon at a time: a lock that the kernel holds, and frees whenever and however its process dies."""

import os
from pathlib import Path

from autotune.errors import EnvironmentProblem


class Running(EnvironmentProblem):
    """Another daemon holds the lock."""


def hold(path: Path) -> int:
    """Hold the lock until this process ends; its descriptor.

    The file stays: removing it would let two daemons lock two files of one name. Raises Running, and
    EnvironmentProblem where no lock can be made.
    """
    try:
        import fcntl
    except ImportError:
        raise EnvironmentProblem("The daemon needs flock(2), which this system does not have.") from None
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except OSError as problem:
        raise EnvironmentProblem(
            f"The lock {path} cannot be made: {problem.strerror or problem}."
        ) from problem
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as problem:
        os.close(handle)
        raise Running(
            f"Another daemon holds {path}. `autotune daemon status` asks it; two would measure each other."
        ) from problem
    return handle
