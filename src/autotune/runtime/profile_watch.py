"""Takes up new profiles and CPU quotas in a program that runs for long: `apply(watch=True)`.

A thread looks at the files' stamps every half minute, as long as nothing is different for 0.5 ms of CPU time
(0.002 %); calls pay nothing. What is new goes into force under the lock that apply() takes, by the same steps:
a scope or a call that is under way keeps the count that it began with, and the next one gets the new.
"""

import os
import threading
from collections.abc import Callable
from time import sleep
from typing import TYPE_CHECKING

from autotune.profiles.resolve import depends_on
from autotune.runtime.applied import state

if TYPE_CHECKING:
    from autotune.runtime.apply import Applied

SECONDS = 30.0


class Watch:
    """Renews one apply() until another takes its place, or it is restored."""

    def __init__(
        self,
        applied: "Applied",
        again: "Callable[[], Applied]",
        *,
        named: str | os.PathLike[str] | None,
        processes: int | None,
    ) -> None:
        self._applied = applied
        self._again = again
        self._named = named
        self._processes = processes
        self._seen = self._look()

    def start(self) -> None:
        """Watch from now on, in a thread that does not keep the program from ending; in forked children too."""
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._run)
        self._run()

    def check(self) -> bool:
        """Renew if anything is different; False once there is nothing left to renew."""
        with state.lock:
            if not self._applied.in_force:
                return False
            seen = self._look()
            if seen != self._seen:
                self._seen = seen
                self._applied.renew(self._again())
            return True

    def _look(self) -> object:
        try:
            return depends_on(self._named, processes=self._processes)
        except Exception:  # noqa: BLE001 - apply() raises nothing for what cannot be looked at, and neither do we
            return None

    def _run(self) -> None:
        if self._applied.in_force:
            threading.Thread(target=self._turn, name="autotune-watch", daemon=True).start()

    def _turn(self) -> None:
        while True:
            sleep(SECONDS)
            if not self.check():
                return
