"""Which BLAS thread count suits the whole process."""

import os
from typing import TYPE_CHECKING

from autotune.model.allocation import Limit
from autotune.runtime.applied import DISABLED, disabled, resolved

if TYPE_CHECKING:
    from autotune.profiles.resolve import Resolution

_TIGHT = {Limit.QUOTA, Limit.CAP, Limit.SHARED}
"""Limits that BLAS libraries do not see, and so start more threads than there are CPUs to run them."""


def process_threads(
    profile: str | os.PathLike[str] | None = None, *, processes: int | None = None
) -> tuple[int | None, str]:
    """The BLAS thread count for the whole process, and why, as a sentence; None: leave it alone.

    NumPy is imported if it has not been. Nothing is changed.
    """
    if disabled():
        return None, DISABLED
    resolution = resolved(profile, processes=processes)
    from autotune.controls import blas, thread_variables

    return decided(resolution, current=blas.current(), user_limit=thread_variables.user_limit(os.environ))


def decided(
    resolution: "Resolution", *, current: int | None, user_limit: int | None
) -> tuple[int | None, str]:
    """The count that changes nothing for the worse, and why; None: leave it alone.

    A count that the measurements agree on is taken as it is or not at all: clamped, it would be one that
    was not measured. Without one, a BLAS that would start more threads than a quota, a cap or the other
    processes leave CPUs for is held to these.
    """
    if current is None:
        return None, "No BLAS library was found whose threads could be set."
    threads, why = resolution.threads, resolution.threads_why
    usable, limit = resolution.usable_cpus, resolution.limit
    if threads is not None and user_limit is not None and threads > user_limit:
        threads, why = None, f"{why} But the environment limits BLAS to {user_limit}."
    if threads is not None and threads <= usable:
        return threads, why
    if current > usable and limit in _TIGHT:
        cpus = "1 CPU" if usable == 1 else f"{usable} CPUs"
        return usable, f"This process may use {cpus} ({limit}); BLAS would start {current} threads."
    return None, why
