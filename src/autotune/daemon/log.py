"""What the daemon did and why: one JSON object a line, on stderr, which systemd and containers collect."""

import json
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TextIO

_PRIORITIES = {"error": 3, "warning": 4, "info": 6}
"""sd-daemon(3); the journal takes them off again."""


class Log:
    """Says each thing once: the same words about the same subject are not repeated until they change."""

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        environ: Mapping[str, str] = os.environ,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._journal = "JOURNAL_STREAM" in environ
        self._wall = wall
        self._said: dict[str, str] = {}

    def say(self, event: str, why: str = "", *, level: str = "info", **facts: Any) -> None:
        """One thing that happened, with its reason."""
        line = {
            "time": self._wall().isoformat(timespec="seconds"),
            "level": level,
            "event": event,
            "why": why,
        }
        text = json.dumps({**line, **facts})
        with suppress(OSError, ValueError):  # a log on a full disk, or closed, must not end the daemon
            self._stream.write(f"<{_PRIORITIES[level]}>{text}\n" if self._journal else f"{text}\n")
            self._stream.flush()

    def once(self, subject: str, why: str, *, level: str = "warning") -> None:
        """Something that lasts: said when it begins, and again when it reads differently."""
        if self._said.get(subject) != why:
            self._said[subject] = why
            self.say(subject, why, level=level)

    def over(self, subject: str, why: str) -> None:
        """It has passed; said if it had been said."""
        if self._said.pop(subject, None) is not None:
            self.say(subject, why)
