"""What the daemon knows at this moment; written down, and said, in one place."""

from collections import deque
from typing import Any

from autotune.daemon import state_file
from autotune.daemon.clocks import Moment
from autotune.daemon.daemon_settings import Settings
from autotune.daemon.log import Log
from autotune.daemon.paths import Places
from autotune.daemon.schedule import Job

SAVE_SECONDS = 60.0
"""Between two times that unimportant news is written down; decisions are at once."""
MOST_RECENT = 20


class Book:
    """Memory, settings and the moment, for all parts of the daemon."""

    def __init__(self, settings: Settings, places: Places, log: Log, moment: Moment) -> None:
        self.settings = settings
        self.places = places
        self.log = log
        self.moment = moment
        self.file = places.state / "state.json"
        self.memory, problem = state_file.load(self.file)
        if problem is not None:
            log.say("state", problem, level="warning")
        self.recent: deque[dict[str, Any]] = deque(maxlen=MOST_RECENT)
        """What `status` shows of the past."""
        self.news = False
        """Is there something that has not been written down?"""
        self._saved = moment.running

    def save(self) -> None:
        """Write down what is known. A folder that cannot be written costs the memory only."""
        self._saved, self.news = self.moment.running, False
        try:
            state_file.save(self.file, self.memory)
        except OSError as problem:
            self.news = True
            why = (
                f"{self.file} cannot be written ({problem.strerror or problem}); the daemon goes on without."
            )
            self.log.once("state", why)
        else:
            self.log.over("state", f"{self.file} can be written again.")

    def save_news(self) -> None:
        """Write down what is new, if it is time."""
        if self.news and self.moment.running - self._saved >= SAVE_SECONDS:
            self.save()

    def tell(self, event: str, job: Job, why: str, **facts: Any) -> None:
        """What became of a job: into the log, and into what `status` shows."""
        self.recent.append(
            {"wall": self.moment.wall, "event": event, "job": job.subject, "why": why, **facts}
        )
        self.log.say(
            event, why, job=job.subject, cause=job.cause.name.lower(), interpreter=job.interpreter, **facts
        )

    def delayed(self, subject: str) -> bool:
        """Has it failed lately, so that it is not tried again yet?"""
        return self.memory.delayed(subject, self.moment.wall)
