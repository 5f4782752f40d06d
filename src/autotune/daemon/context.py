"""Settings, paths, state, clock and log, which all parts of the daemon share; and the log itself."""

import json
import sys
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TextIO

from autotune.daemon.daemon_settings import DaemonPaths, DaemonSettings
from autotune.daemon.sensors import Moment
from autotune.daemon.state import load_state, save_state

SAVE_SECONDS = 60.0
"""Between two writes of counts; decisions are written at once."""
MAX_RECENT = 20


class DaemonLog:
    """The log: one JSON object a line on stderr, which systemd and containers collect."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._lasting: dict[str, str] = {}

    def write(self, event: str, why: str = "", *, level: str = "info", **facts: Any) -> None:
        time = datetime.now(UTC).isoformat(timespec="seconds")
        text = json.dumps({"time": time, "level": level, "event": event, "why": why, **facts})
        with suppress(OSError, ValueError):  # a full disk or a closed stream must not end the daemon
            self._stream.write(f"{text}\n")
            self._stream.flush()

    def begin(self, subject: str, why: str, *, level: str = "warning") -> None:
        """Log a lasting condition once, and again when its reason changes."""
        if self._lasting.get(subject) != why:
            self._lasting[subject] = why
            self.write(subject, why, level=level)

    def end(self, subject: str, why: str) -> None:
        """Log the end of a lasting condition that was logged."""
        if self._lasting.pop(subject, None) is not None:
            self.write(subject, why)


class DaemonContext:
    """The state that all parts of the daemon share."""

    def __init__(self, settings: DaemonSettings, paths: DaemonPaths, log: DaemonLog, moment: Moment) -> None:
        self.settings = settings
        self.paths = paths
        self.log = log
        self.moment = moment
        """When the current tick began."""
        self.state, problem = load_state(paths.state_file)
        if problem is not None:
            log.write("state", problem, level="warning")
        self.recent: deque[dict[str, Any]] = deque(maxlen=MAX_RECENT)
        """The last events of jobs, which `status` shows."""
        self.has_unsaved = False
        self._saved = moment.running

    def save(self) -> None:
        """Write the state. If that fails, the daemon goes on and tries again later."""
        self._saved, self.has_unsaved = self.moment.running, False
        path = self.paths.state_file
        try:
            save_state(path, self.state)
        except OSError as error:
            self.has_unsaved = True
            reason = f"{path} cannot be written ({error.strerror or error}); the daemon goes on without."
            self.log.begin("state", reason)
        else:
            self.log.end("state", f"{path} can be written again.")

    def save_if_due(self) -> None:
        if self.has_unsaved and self.moment.running - self._saved >= SAVE_SECONDS:
            self.save()
