"""The runtime's state in this process: the settings in force, the profiles that were read, and answers given so far."""

from _thread import RLock
from typing import TYPE_CHECKING, Any

from autotune.controls import after_fork
from autotune.profiles.resolve import resolve
from autotune.runtime.process_settings import DISABLED, Setting, is_disabled, text_or_raise

if TYPE_CHECKING:
    from autotune.model.configuration import Configuration
    from autotune.model.operation import Operation
    from autotune.profiles.resolve import Resolution
    from autotune.runtime.demand import Demand
    from autotune.runtime.guard import Dropped
    from autotune.runtime.learner import Learned
    from autotune.runtime.per_call import PerCall

_MOST_ANSWERS = 10_000
"""Look-ups kept; a program with more sizes than this looks some of them up again."""


class State:
    """The setting in force, and the answers that config() has given under it."""

    def __init__(self) -> None:
        self.lock = RLock()
        self.setting = Setting()
        self.applied: Any = None
        """The apply() in force; None: there is none."""
        self.displaced: dict[str, str | None] = {}
        """Values of the exported variables before they were set."""
        self.answers: dict[Any, Configuration | None] = {}
        """Answers of config(), by its arguments."""
        self.overrides: dict[Operation, Configuration] = {}
        """Configurations that go before those of profiles in this process: dropped by the guard, or learned."""
        self.reported: set[str] = set()
        """Unknown names, and warnings, that were logged."""
        self.initial_reductions = False
        """Options of the start of the process (`autotune run --reductions`)."""
        self.initial_learn = False
        """The same of `autotune run --learn`."""
        self.is_started_by_run = False
        """Whether `autotune run` started this process, and has told what it sets."""
        self.per_call: PerCall | None = None
        """The interception of single calls; None: there is none."""
        self.demand: Demand | None = None
        """Counts of requested operations; None: nothing is recorded now."""
        self.process_demand: Demand | None = None
        """All counts of this process, kept until its end."""
        self.report_folder: str | None = None
        """Folder in which `autotune compare` wants a report of this process; None without one."""
        self.dropped: list[Dropped] = []
        """Entries dropped by guards that are no longer in force."""
        self.learned: list[Learned] = []
        """Choices that learners proved which are no longer in force."""
        after_fork.register(self.after_fork)

    def resolution(self) -> "Resolution | None":
        """Return the profiles that fit this machine, reading them on the first call.

        None if AUTOTUNE_DISABLE is set, or if reading failed, which is not tried again before the next apply().
        """
        setting = self.setting
        if setting.resolution is not None or setting.failure is not None:
            return setting.resolution
        after_fork.check()
        with self.lock:
            if self.setting.resolution is None and self.setting.failure is None:
                self.setting = _read_profiles(self.setting)
            return self.setting.resolution

    def replace_setting(self, setting: Setting) -> None:
        """Put a setting in the place of the current one, and forget the answers given under that."""
        self.setting = setting
        self.answers = {}

    def override(self, operation: "Operation", configuration: "Configuration") -> None:
        """Let config() answer this for an operation from now on."""
        self.overrides[operation] = configuration
        self.answers = {}

    def remember(self, question: object, answer: "Configuration | None") -> None:
        if len(self.answers) >= _MOST_ANSWERS:
            self.answers = {}
        self.answers[question] = answer

    def after_fork(self) -> None:
        """Replace the lock, which a thread of the parent may have held, and reset the counts of the parent."""
        self.lock = RLock()
        if self.process_demand is not None:
            self.process_demand.forget()
        if self.per_call is not None:
            self.per_call.forget()
        self.dropped.clear()
        self.learned.clear()


def _read_profiles(setting: Setting) -> Setting:
    if is_disabled():
        return setting.replace(failure=DISABLED)
    try:
        return setting.replace(resolution=resolve())
    except Exception as error:  # noqa: BLE001 - a program that asks for a configuration runs on without one
        return setting.replace(failure=text_or_raise(error))


state = State()
