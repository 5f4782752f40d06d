"""What is in force in this process, and what has been looked up: the one place that the runtime keeps state
in.
"""

import os
import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from autotune.errors import AutotuneError, UsageError

if TYPE_CHECKING:
    from autotune.model.configuration import Configuration
    from autotune.profiles.resolve import Resolution
    from autotune.runtime.demand import Demand
    from autotune.runtime.per_call import PerCall

PerCallWish = bool | Literal["all"]
"""Calls to switch: none, those of numpy.linalg, or those of matmul too."""

DISABLED = "AUTOTUNE_DISABLE is set."
_MOST_KNOWN = 10_000
"""Look-ups kept; a program with more sizes than this looks some of them up again."""


class Setting(NamedTuple):
    """What one apply() put into force."""

    resolution: "Resolution | None" = None
    """What is known for this machine; None: not looked yet, or nothing could be."""
    failure: str | None = None
    """Why nothing could be looked up; None if it could."""
    blas_threads: int | None = None
    """The process-wide count that was set; None: left alone."""
    found_threads: int | None = None
    """The count before any apply(); None without BLAS."""
    why: str = "autotune.apply() was not called."
    """Why the count was set, or left alone: a sentence."""
    exported: Mapping[str, str] = {}
    """Environment variables for child processes."""
    allocator: str | None = None
    per_call: PerCallWish = False
    guard: bool = False
    record: bool = False
    reproducible: bool = False


class State:
    """The setting in force, and the answers that config() has given under it."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.setting = Setting()
        self.displaced: dict[str, str | None] = {}
        """What the exported variables held before."""
        self.known: dict[Any, Configuration | None] = {}
        self.said: set[str] = set()
        """Names of operations that were said to be unknown."""
        self.wish: PerCallWish = False
        """What the start of the process asked for."""
        self.per_call: PerCall | None = None
        """What meets single calls; None: nothing does."""
        self.demand: Demand | None = None
        """What is asked for in vain goes here; None: nothing is recorded now."""
        self.counted: Demand | None = None
        """What was recorded in this process, until its end."""
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)

    def resolution(self) -> "Resolution | None":
        """What is known for this machine, looked up now if it was not before.

        None if AUTOTUNE_DISABLE is set, or if looking failed, which is not tried again before the next
        apply().
        """
        setting = self.setting
        if setting.resolution is not None or setting.failure is not None:
            return setting.resolution
        with self.lock:
            if self.setting.resolution is None and self.setting.failure is None:
                self.setting = _looked(self.setting)
            return self.setting.resolution

    def take(self, setting: Setting) -> None:
        """Make this the setting; answers given under another one are forgotten."""
        self.setting = setting
        self.known = {}

    def learn(self, question: object, answer: "Configuration | None") -> None:
        """Keep an answer of config()."""
        if len(self.known) >= _MOST_KNOWN:
            self.known = {}
        self.known[question] = answer

    def _after_fork(self) -> None:
        """Whoever held the lock is not in the child, and it leaves its own counts."""
        self.lock = threading.RLock()
        if self.counted is not None:
            self.counted.forget()
        if self.per_call is not None:
            self.per_call.forget()


def disabled() -> bool:
    """Has the user switched autotune off, by AUTOTUNE_DISABLE?"""
    return os.environ.get("AUTOTUNE_DISABLE", "") not in {"", "0"}


def _looked(setting: Setting) -> Setting:
    if disabled():
        return setting._replace(failure=DISABLED)
    try:
        return setting._replace(resolution=resolved())
    except Exception as error:  # noqa: BLE001 - a program that asks for a configuration runs on without one
        return setting._replace(failure=sentence(error))


def sentence(error: Exception) -> str:
    """What went wrong, for people: our own errors are sentences already."""
    return str(error) if isinstance(error, AutotuneError) else f"{type(error).__name__}: {error}"


def resolved(named: str | os.PathLike[str] | None = None, *, processes: int | None = None) -> "Resolution":
    """What is known for this machine. NumPy is imported first: its BLAS is part of the question.

    Raises UsageError for less than one process.
    """
    if processes is not None and processes < 1:
        raise UsageError(f"The CPUs are shared by at least one process, this one: processes={processes}.")
    if "numpy" not in sys.modules:
        import numpy as np  # noqa: F401
    from autotune.profiles.resolve import resolve

    return resolve(named, processes=processes)


state = State()
