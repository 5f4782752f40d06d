"""The interpreters that are listed: asked what they have, and asked again when something about them changes."""

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from autotune.daemon import schedule
from autotune.daemon.book import Book
from autotune.daemon.child_processes import Ended
from autotune.daemon.daemon_settings import Interpreter
from autotune.daemon.file_fingerprint import stamps
from autotune.daemon.inventory import Survey, change, survey
from autotune.daemon.procedures import CLERK, STRANGE, Step, last_words
from autotune.daemon.schedule import Cause, Knowledge

RETRY_SECONDS, LONGEST_RETRY_SECONDS = 60.0, 3600.0
"""Before one that cannot be asked is asked again, for the first time and at most."""


class Interpreters:
    """What each one said last, and which are to be asked."""

    def __init__(self, book: Book, usable: Callable[[], tuple[int, str]]) -> None:
        self._book = book
        self._usable = usable
        self.surveys: dict[str, Survey] = {}
        self.problems: dict[str, str] = {}
        """Interpreter -> why it cannot be asked."""
        self._due: set[str] = set()
        self._seen: dict[str, Any] = {}
        """Interpreter -> limits and stamps when it was last looked at."""

    def look(self) -> None:
        """At the limits, and at the files that tell of a change."""
        for one in self._book.settings.interpreters:
            seen = self._circumstances(one, self.surveys.get(one.name))
            if self._seen.get(one.name) != seen:
                self._seen[one.name] = seen
                self._due.add(one.name)
                self._book.memory.attempts.pop(_subject(one), None)  # it may answer now

    def again(self, name: str) -> None:
        """Ask it again: something that it said may not be true any more."""
        self._due.add(name)

    def forget_all_but(self, names: set[str]) -> None:
        """Others are listed now."""
        for known in (self.surveys, self._seen, self.problems):
            for name in known.keys() - names:
                known.pop(name)

    def due(self) -> Interpreter | None:
        """The next one to be asked; it counts as asked from now on."""
        for one in self._book.settings.interpreters:
            if one.name in self._due and not self._book.delayed(_subject(one)):
                self._due.discard(one.name)
                return one
        return None

    def question(self) -> Step:
        """What it is asked."""
        return Step(module=CLERK, arguments=("survey", str(self._book.places.profiles)))

    def answered(self, one: Interpreter, ended: Ended) -> None:
        """Take in what it said."""
        book, subject = self._book, _subject(one)
        try:
            found = survey(ended.answer)
        except (ValueError, KeyError, TypeError, AttributeError) as problem:
            self.problems[one.name] = f"{one.python} cannot be asked: {self._why(problem, ended)}"
            book.log.once(subject, self.problems[one.name])
            book.memory.failed(subject, book.moment.wall, RETRY_SECONDS, longest=LONGEST_RETRY_SECONDS)
            self._due.add(one.name)
            return
        book.log.over(subject, f"{one.python} answers again.")
        self.problems.pop(one.name, None)
        book.memory.attempts.pop(subject, None)
        self.surveys[one.name] = found
        # its stamps now include what the survey named: that alone is no change
        self._seen[one.name] = self._circumstances(one, found)
        self._remember(one, found)
        book.save()

    def _why(self, problem: Exception, ended: Ended) -> str:
        if not ended.answer:
            return last_words(ended)
        if isinstance(problem, json.JSONDecodeError):
            return (
                f"Its answer breaks off; {self._book.places.state}, where it is kept meanwhile, may be full."
            )
        return str(problem) if isinstance(problem, ValueError) else STRANGE

    def knowledge(self, untried: dict[str, str]) -> Knowledge:
        """What is known, to decide by."""
        return Knowledge(
            settings=self._book.settings,
            memory=self._book.memory,
            surveys=self.surveys,
            untried=untried,
            now=self._book.moment.wall,
        )

    def _circumstances(self, one: Interpreter, known: Survey | None) -> tuple[Any, ...]:
        """What its answer depends on, as far as can be seen without asking."""
        usable, limit = self._usable()
        applying = {entry.path for entry in known.entries} if known else set()
        folders = {str(Path(path).parent) for path in applying} | {str(self._book.places.profiles)}
        watched = (one.python, *(known.watch if known else ()), *sorted(applying | folders))
        return usable, str(limit), stamps(watched)

    def _remember(self, one: Interpreter, found: Survey) -> None:
        """What is new about it, and since when."""
        memory, wall = self._book.memory, self._book.moment.wall
        memory.noticed.setdefault(found.key, wall)
        before = self._before(one)
        memory.known[one.name] = dict(found.facts)
        changed = None if before is None else change(before, found.facts)
        if changed is not None:
            memory.stale[one.name] = changed
            memory.attempts.clear()  # what failed before may not fail now
            memory.count("changes")
            self._book.log.say("stale", changed, interpreter=one.name)
        for entry in found.entries:
            if entry.path == found.profile:
                key = schedule.checked_key(found.key, entry.operation.name, entry.operation.dtype)
                memory.checked.setdefault(key, _wall(found.created) or wall)
        missing = {
            job.interpreter for job in schedule.queue(self.knowledge({})) if job.cause is Cause.MISSING
        }
        if changed is None and one.name not in missing:
            memory.stale.pop(one.name, None)

    def _before(self, one: Interpreter) -> dict[str, Any] | None:
        """The facts when last seen: of this interpreter, or of the same Python with the environment it had."""
        listed = {each.name for each in self._book.settings.interpreters}
        known = self._book.memory.known
        former = [name for name in known if name not in listed and name.rpartition(" ")[2] == one.python]
        before = known.get(one.name)
        for name in former:
            before = before or known[name]
            del known[name]
        return before


def _wall(created: str | None) -> float | None:
    """Seconds since 1970 of an ISO date; None if it is none."""
    try:
        return None if created is None else datetime.fromisoformat(created).timestamp()
    except (ValueError, OverflowError):
        return None


def _subject(one: Interpreter) -> str:
    """What questions to it are called, in the memory and in the log."""
    return f"survey {one.name}"
