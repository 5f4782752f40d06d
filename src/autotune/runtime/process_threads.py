"""The BLAS thread count and the wait policy for the whole process."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from autotune.controls import thread_variables
from autotune.model.allocation import LIMITED_BY, Limit
from autotune.model.record import Record
from autotune.profiles.resolve import resolve, resolve_before_numpy
from autotune.runtime.process_state import DISABLED, is_disabled

if TYPE_CHECKING:
    from autotune.profiles.resolve import Resolution

_TIGHT = {Limit.QUOTA, Limit.CAP, Limit.SHARED}
"""Limits that BLAS libraries do not see, and so start more threads than there are CPUs to run them."""


class ProcessChoice(Record):
    """Settings of a process from its start on."""

    blas_threads: int | None
    """None: the count is left alone."""
    reason: str
    """Why this count: a sentence."""
    variables: Mapping[str, str] = {}
    """Other environment variables."""


def process_choice() -> ProcessChoice:
    """Choose the BLAS thread count and the wait policy for this whole process. Changes nothing.

    NumPy, half of the time of `autotune run`, is loaded only where its library's thread count can make a difference.
    """
    if is_disabled():
        return ProcessChoice(None, DISABLED)
    from autotune.controls import wait_policy

    resolution = resolve_before_numpy()
    if resolution is not None and _is_known_without_library(resolution):
        # no more than the usable CPUs: the library sees all limits that are in force here
        threads, reason = safe_threads(resolution, current=resolution.usable_cpus, user_limit=None)
    else:
        resolution = resolve()
        from autotune.controls import blas

        threads, reason = safe_threads(resolution, current=blas.current(), user_limit=blas.user_limit())
    return ProcessChoice(threads, reason, wait_policy.variables(resolution.wait.exponent))


def _is_known_without_library(resolution: "Resolution") -> bool:
    """Return whether any thread count of the BLAS library, and any reading of variables, gives the same choice."""
    names = {name for names in thread_variables.LIMITS.values() for name in names}
    return resolution.has_blas and resolution.limit not in _TIGHT and names.isdisjoint(os.environ)


def safe_threads(resolution: "Resolution", *, current: int | None, user_limit: int | None) -> tuple[int | None, str]:
    """Return the count that slows no measured size, and why; None: leave it alone.

    A count that all entries allow is used as it is or not at all: a clamped one was not measured. Without such a
    count, a BLAS library that would start more threads than the quota, the cap or the other processes leave CPUs
    for is limited to the usable CPUs.
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
        return (
            usable,
            f"This process may use {cpus} (limited by {LIMITED_BY[limit]}); BLAS would start {current} threads.",
        )
    return None, why


def threads_text(threads: int | None) -> str:
    """Say in a sentence to what the BLAS threads of the process are set; None: they are left alone."""
    return f"BLAS threads of the process {'stay as they are' if threads is None else f'are set to {threads}'}."
