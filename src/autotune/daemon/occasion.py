"""May anything be measured now? What the machine feels like, and what is configured."""

from datetime import datetime

from autotune.daemon.book import Book
from autotune.daemon.budget import left, spend
from autotune.daemon.idle import Window, step
from autotune.daemon.runner import Running
from autotune.daemon.sensors import Senses

PROGRAMS_SECONDS = 1.0
"""Between two looks at who runs, while something is measured."""
HOST_BUSY_SECONDS = 120.0
"""Before it is tried again whether somebody else still measures on this host."""


class Occasion:
    """The idle window, and everything else that keeps it shut."""

    def __init__(self, book: Book, senses: Senses) -> None:
        self._book = book
        self._senses = senses
        self.window = Window()
        self._host_busy = float("-inf")
        self._own: float | None = None
        self._looked = float("-inf")

    def close(self, why: str) -> None:
        """It has to be quiet for a while once more."""
        self.window = Window(why=why)

    def host_is_busy(self) -> None:
        """Somebody else measures on this host: wait."""
        self._host_busy = self._book.moment.running + HOST_BUSY_SECONDS

    def feel(self, running: Running | None) -> None:
        """How busy the machine is, and what that means; what measuring has cost."""
        book, measuring = self._book, running is not None and running.step.measuring
        sample = self._senses.sample(book.settings.idle.busy_seconds, measuring=measuring)
        own = self._senses.own_seconds()
        if measuring and own is not None and self._own is not None and own > self._own:
            book.memory.spent = spend(book.memory.spent, book.moment.day, own - self._own)
            book.memory.count("cpu_seconds", own - self._own)
            book.news = True
        self._own = own
        if sample is None:
            return
        if running is not None and not measuring:
            return  # what our own child does says nothing of the machine, and will be over soon
        was_open = self.window.open
        self.window = step(self.window, sample, book.settings.idle)
        if was_open != self.window.open:
            book.log.say("idle" if self.window.open else "busy", self.window.why)

    def objection(self) -> str | None:
        """Why nothing may be measured now; None: it may."""
        return self._obstacle() or ("" if self.window.open else self.window.why) or self._excluded()

    def objection_to_more(self) -> str | None:
        """Why what measures has to end now; None: it may go on."""
        why = self.window.why if not self.window.open else self._obstacle()
        if why is None and self._book.moment.running - self._looked >= PROGRAMS_SECONDS:
            self._looked = self._book.moment.running
            why = self._excluded()
        return why

    def _obstacle(self) -> str | None:
        """Why nothing may be measured however idle the machine is."""
        settings, memory, moment = self._book.settings, self._book.memory, self._book.moment
        if memory.paused_until is not None:
            if moment.wall < memory.paused_until:
                return "It is paused."
            memory.paused_until = None
            self._book.news = True
        if moment.running < self._host_busy:
            return "Somebody else measures on this host."
        here = datetime.fromtimestamp(moment.wall)  # noqa: DTZ006 - people configure local hours
        if settings.hours and not any(hours.holds(here) for hours in settings.hours):
            return "It is none of the hours that are configured."
        if left(memory.spent, moment.day, settings.daily_cpu_seconds) == 0:
            return f"The {settings.daily_cpu_seconds:g} CPU seconds of this day are spent."
        return None

    def _excluded(self) -> str | None:
        name = self._senses.running(self._book.settings.exclude)
        return None if name is None else f"{name} is running."
