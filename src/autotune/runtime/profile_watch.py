"""`apply(watch=True)`: takes up new profiles and CPU quotas in a program that runs for long.

A thread compares the files' stamps every 30 seconds, at 0.5 ms of CPU time (0.002 %); calls pay nothing. Changes go
into force under the lock that apply() takes, by the same steps: a scope or a call under way keeps its count, and the
next one gets the new.
"""

from autotune.controls.periodic_thread import PeriodicThread
from autotune.profiles.resolve import resolve_inputs
from autotune.runtime.applied import Applied, Wishes
from autotune.runtime.process_state import state

SECONDS = 30.0


class ProfileWatch:
    """Applies the same wishes again whenever profiles change, until another apply() takes over or it is restored."""

    def __init__(self, applied: Applied, wishes: Wishes) -> None:
        self._applied = applied
        self._wishes = wishes
        self._circumstances = self._look()

    def start(self) -> None:
        """Watch from now on, in a daemon thread; in forked children too."""
        PeriodicThread("autotune-watch", SECONDS, self.check).start()

    def check(self) -> bool:
        """Apply again if the circumstances differ; False once this apply() is no longer in force."""
        with state.lock:
            if not self._applied.in_force:
                return False
            circumstances = self._look()
            if circumstances != self._circumstances:
                self._circumstances = circumstances
                self._applied.refresh()
            return True

    def _look(self) -> object:
        try:
            return resolve_inputs(self._wishes.profile, processes=self._wishes.processes)
        except Exception:  # noqa: BLE001 - apply() raises nothing for what cannot be read, and neither does this
            return None
