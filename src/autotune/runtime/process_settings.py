"""Settings of the whole process: those of an apply(), and how the BLAS thread count and the wait policy are chosen."""

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from autotune import native
from autotune.controls import thread_variables, wait_policy
from autotune.model.allocation import LIMITED_BY, Limit
from autotune.model.record import Record
from autotune.profiles.resolve import resolve, resolve_before_numpy

if TYPE_CHECKING:
    from autotune.profiles.resolve import Named, Resolution

DISABLED = "AUTOTUNE_DISABLE switches autotune off."
NOT_APPLIED = "autotune.apply() was not called."
_TIGHT = {Limit.QUOTA, Limit.CAP, Limit.SHARED}
"""Limits that BLAS libraries ignore, so that they start more threads than there are CPUs to run them."""
_SCIPYS_BLAS = ("scipy.linalg._fblas", "scipy.linalg._flapack")
"""Modules with which SciPy's wheel brings a BLAS of its own."""


def is_disabled() -> bool:
    """Return whether the user has switched autotune off, by AUTOTUNE_DISABLE."""
    return os.environ.get("AUTOTUNE_DISABLE", "") not in {"", "0"}


def text_or_raise(error: Exception) -> str:
    """Return an exception as text for people. Raises one of a signal handler again, which is meant for the program."""
    try:
        import signal  # noqa: F401 - which raise_if_of_signal_handler loads

        from autotune.errors import error_text, raise_if_of_signal_handler
    except (ImportError, OSError):  # after setuid, say, a process may no longer read the files of Python
        return f"{type(error).__name__}: {error}"
    raise_if_of_signal_handler(error)
    return error_text(error)


class PlainReasons(Record):
    """Reasons why calls of linear algebra and loops of ufuncs run as plain NumPy, as sentences."""

    calls: str | None
    """None: they need not."""
    loops: str | None


def why_plain(resolution: "Resolution") -> PlainReasons:
    """Return what keeps apply() in this environment from calls and loops, as `per_call` finds it.

    Does not load NumPy.
    """
    if is_disabled():
        return PlainReasons(DISABLED, DISABLED)
    refusal = native.refusal(resolution.numpy)
    if refusal is None and thread_variables.worker_cpus(os.environ, resolution.usable_cpus) < 2:
        held = thread_variables.limit_of_workers(os.environ, resolution.usable_cpus)
        return PlainReasons(None, f"{held or 'the limit of the CPUs'} leaves them one thread.")
    return PlainReasons(refusal, refusal)


class Setting(Record):
    """Settings that one apply() put into force."""

    resolution: "Resolution | None" = None
    """The profiles that fit this machine; None: not read yet, or reading failed."""
    failure: str | None = None
    """Why no profile could be read; None if it could."""
    blas_threads: int | None = None
    """The process-wide count that was set; None: left alone."""
    initial_threads: int | None = None
    """The count before any apply(); None without BLAS."""
    reason: str = NOT_APPLIED
    """Why the count was set, or left alone: a sentence."""
    waiting: str = ""
    """Spin time of idle BLAS threads, and the reason: a sentence; empty if no profile says anything about it."""
    exported: Mapping[str, str] = {}
    """Environment variables for child processes."""
    allocator: str | None = None
    per_call: bool = False
    reductions: bool = False
    guard: bool = False
    learn: bool = False
    record: bool = False
    reproducible: bool = False


class ProcessChoice(Record):
    """Settings of a process from its start on."""

    blas_threads: int | None
    """None: the count is left alone."""
    reason: str
    """Why this count: a sentence."""
    variables: Mapping[str, str] = {}
    """Other environment variables."""


def process_choice(resolution: "Resolution | None" = None) -> ProcessChoice:
    """Choose the BLAS thread count and the wait policy for this whole process. Changes nothing.

    NumPy, half of the time of `autotune run`, is loaded only where its library's thread count can make a difference;
    `resolution` is what resolve_before_numpy() returned, if it was called already.
    """
    if is_disabled():
        return ProcessChoice(None, DISABLED)
    resolution = resolution or resolve_before_numpy()
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


def plain_text(reason: str) -> str:
    """Say in a sentence that nothing is applied, and why."""
    return f"NumPy runs as it would without autotune: {reason}"


def import_numpy(named: "Named", processes: int | None) -> None:
    """Import NumPy, unless it has been, where only so its BLAS threads wait as the profile says."""
    if "numpy" in sys.modules or wait_policy.exponent_of(os.environ) is not None:
        return
    resolution = resolve_before_numpy(named, processes=processes)
    exponent = None if resolution is None else resolution.wait.exponent
    if exponent is not None and exponent != wait_policy.DEFAULT_EXPONENT:
        with wait_policy.process.loading(exponent):
            import numpy as np  # noqa: F401 - its library reads the variable


def wait_as_profile_says(resolution: "Resolution") -> str:
    """Have the BLAS libraries wait as the profile says. Return the outcome as a sentence; empty if there is none."""
    chosen = wait_policy.exponent_of(os.environ)
    if chosen is not None:
        who = "autotune run" if wait_policy.VARIABLE in thread_variables.exported_names(os.environ) else "The user"
        return f"{who} has idle BLAS threads sleep after 2^{chosen} cycles."
    exponent = resolution.wait.exponent
    if exponent is None:
        return ""
    if exponent == wait_policy.DEFAULT_EXPONENT:
        return "Idle BLAS threads spin as long as their library lets them: no shorter time was shown to cost nothing."
    refusal = wait_policy.process.set_late(exponent)
    if refusal is None:
        from autotune.controls.import_hooks import when_imported

        when_imported(_SCIPYS_BLAS, lambda: _set_for_scipy(exponent))
        return f"Idle BLAS threads sleep after 2^{exponent} cycles."
    return (
        f"Idle BLAS threads spin for 0.1 s, and no loop is cut meanwhile: the profile's 2^{exponent} cycles came too "
        f"late, since {refusal} Start the program with `autotune run`, or call apply() before NumPy is imported."
    )


def _set_for_scipy(exponent: int) -> None:
    """Have SciPy's library wait as NumPy's does; where it cannot, loops wait for its threads, too."""
    if wait_policy.process.set_late(exponent) is not None:
        from autotune.native import loaded_core

        wait_policy.process.exponent = None
        native = loaded_core()
        if native is not None:
            native.blas_spins(wait_policy.spin_seconds(None))
