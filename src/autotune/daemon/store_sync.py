"""What is asked of the cluster's store, and when: to bring what others found, and to take what was found here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from autotune.daemon import stagger, staging
from autotune.daemon.book import Book
from autotune.daemon.child_processes import Ended
from autotune.daemon.daemon_settings import Interpreter
from autotune.daemon.inventory import Survey
from autotune.daemon.procedures import CLI, Step, json_of, last_words

SECONDS = 60.0
"""For one visit."""
RETRY_SECONDS = 600.0
"""Before a publication that failed is tried again, for the first time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """A child to send to the store, and what follows."""

    interpreter: Interpreter
    step: Step
    then: Callable[[Ended], None]
    environ: Mapping[str, str]


class Errands:
    """Pulls once an interval, at this host's own moment; publishes what is new."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._next_pull: float | None = None
        self._round: list[Interpreter] = []
        """Interpreters for which this pull has not been made yet."""

    def plan_anew(self) -> None:
        """The clock was set, or the configuration has changed."""
        self._next_pull = None
        self._round = []

    def next(self, surveys: Mapping[str, Survey]) -> Errand | None:
        """What is to be done now."""
        url = self._book.settings.store
        if url is None:
            return None
        return self._publication(url) or self._pull(url, surveys)

    def _publication(self, url: str) -> Errand | None:
        memory = self._book.memory
        listed = {one.name: one for one in self._book.settings.interpreters}
        for path, name in memory.unpublished.items():
            if name in listed and not self._book.delayed(f"publish {path}"):
                return self._errand(
                    listed[name],
                    ("publish", path, "--store", url),
                    partial(self._published, path),
                    {},
                )
        return None

    def _published(self, path: str, ended: Ended) -> None:
        memory, subject = self._book.memory, f"publish {path}"
        if ended.status == 0:
            memory.unpublished.pop(path, None)
            memory.attempts.pop(subject, None)
        else:
            memory.failed(subject, self._book.moment.wall, RETRY_SECONDS)
        self._say("publish", ended, done=ended.status == 0)
        self._book.save()

    def _pull(self, url: str, surveys: Mapping[str, Survey]) -> Errand | None:
        """One for each class that the interpreters have."""
        book, memory = self._book, self._book.memory
        if not self._round:
            if not surveys:
                return None
            if self._next_pull is None:
                host = next(iter(surveys.values())).host
                self._next_pull = stagger.next_pull(
                    host,
                    book.moment.wall,
                    interval=book.settings.pull_seconds,
                    failures=memory.pull_failures,
                )
            if book.moment.wall < self._next_pull:
                return None
            classes = {
                surveys[one.name].key: one
                for one in reversed(book.settings.interpreters)
                if one.name in surveys
            }
            self._round = list(classes.values())
        one = self._round[-1]
        return self._errand(
            one,
            ("pull", "--store", url, "--json"),
            partial(self._pulled, one),
            {"AUTOTUNE_STATE_DIR": str(staging.folder(book.places, one))},
        )

    def _pulled(self, one: Interpreter, ended: Ended) -> None:
        """The answer tells: an exit code of 1 is that the store has nothing, or that anything went wrong."""
        book, memory = self._book, self._book.memory
        done = isinstance(json_of(ended).get("mirrored"), list)
        self._round = [each for each in self._round if each != one] if done else []
        memory.pull_failures = 0 if done else memory.pull_failures + 1
        if not self._round:
            self._next_pull = None
            if done:
                memory.pulled = book.moment.wall
                staging.sweep(book.places, book.settings.interpreters)
        self._say("pull", ended, done=done)
        book.news = True

    def _say(self, errand: str, ended: Ended, *, done: bool) -> None:
        self._book.memory.count(f"{errand}_{'done' if done else 'failed'}")
        if done:
            self._book.log.over(errand, "The store answers again.")
        else:
            self._book.log.once(errand, f"{last_words(ended)} Nothing changes locally.")

    def _errand(
        self,
        one: Interpreter,
        words: tuple[str, ...],
        then: Callable[[Ended], None],
        environ: Mapping[str, str],
    ) -> Errand:
        step = Step(module=CLI, arguments=words, seconds=SECONDS)
        return Errand(interpreter=one, step=step, then=then, environ=environ)
