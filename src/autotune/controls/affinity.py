"""This process held to some of its CPUs for a while, as a smaller machine would hold it."""

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from autotune.errors import UnsupportedPlatform


@contextmanager
def confined(cpus: Collection[int] | None) -> Iterator[None]:
    """Within the `with`, the calling thread and all that it starts run on these CPUs only; None: as before.

    Scope of effect: this thread, and threads and processes begun in the `with`. Threads that are there already,
    those of a BLAS library among them, stay where they are. Raises UnsupportedPlatform where the system cannot do
    it, or does not allow these CPUs.
    """
    if cpus is None:
        yield
        return
    if not hasattr(os, "sched_setaffinity"):
        raise UnsupportedPlatform("This system cannot hold a process to some of its CPUs; leave --cpus out.")
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, cpus)
    except OSError as error:
        named = ", ".join(map(str, sorted(cpus)))
        raise UnsupportedPlatform(
            f"This process may not be held to the CPUs {named}: {error.strerror}."
        ) from error
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
