"""Journal of a calibration: its sessions, kept as they arrive, so that an interrupted one goes on where it ended.

A journal is a Bench around a Bench. Plans that it has seen are answered from the file; since search has no
other clock and no other luck than its sessions and its seed, the same plans are asked again in the same order.
"""

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from autotune.bench.selftest import SelfTest
from autotune.errors import BadDocument, ProfileError
from autotune.host.identity import short_host_id
from autotune.host.trusted_files import replace_file
from autotune.model.codec import decode, encode
from autotune.model.measurement import Bench, Session, TrialPlan
from autotune.model.profile import Key
from autotune.profiles.folders import state_dir
from autotune.profiles.profile_document import ProfileDocument
from autotune.search.environment import Environment
from autotune.search.request import Request

Json = dict[str, Any]
_FINISHED: Json = {"finished": True}
"""Last line of a journal whose calibration came to its end."""


def journal_path(key: Key) -> Path:
    """Return the path of the journal of the last calibration of this machine and allocation."""
    return state_dir() / f"calibration-{key.digest}-{short_host_id()}.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """All that a calibration depends on besides its sessions."""

    request: Request
    environment: Environment
    self_test: SelfTest
    warm_starts: tuple[ProfileDocument, ...] = ()
    """Choices proved elsewhere: they decide what is tried."""

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Return the header of a journal; None if there is none that this version can go on with."""
        try:
            return decode(cls, _lines(path)[0])
        except (IndexError, BadDocument, ProfileError):
            return None


class Journal:
    """A Bench that remembers.

    Each session is one line, written and synced before it is used. A line cut short by a crash, or answering
    another plan than the one asked, ends what is remembered: from there on the real bench measures.
    """

    def __init__(self, bench: Bench, path: Path, header: Header, *, resume: bool = False) -> None:
        """Begin a journal, or go on with the one at `path`.

        Scope of effect: replaces the file unless `resume` is set. An unwritable folder costs the memory only.
        """
        self.bench = bench
        self._path = path
        self._remembered = _sessions(path) if resume else []
        self._lines: list[Json] = [encode(header)]
        self._write(self._remembered)

    def run(self, plan: TrialPlan) -> Session:
        """Return the session of a plan, remembered or measured now."""
        written = encode(plan)
        if self._remembered:
            line = self._remembered.pop(0)
            session = _session(line["session"]) if line["plan"] == written else None
            if session is not None:
                self._lines.append(line)
                return session
            self._remembered.clear()
            self._write([])
        session = self.bench.run(plan)
        self._append({"plan": written, "session": encode(session)})
        return session

    def finish(self) -> None:
        """Note that the calibration has come to its end."""
        self._append(_FINISHED)

    def _append(self, line: Json) -> None:
        self._lines.append(line)
        with suppress(OSError), self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _write(self, ahead: list[Json]) -> None:
        """Write the file anew: what was used so far and what may be used."""
        with suppress(OSError):  # without a journal the calibration is as good, only not resumable
            self._path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self._path, "".join(json.dumps(line) + "\n" for line in [*self._lines, *ahead]).encode())


def has_finished(path: Path, request: Request) -> bool:
    """Is this the journal of such a calibration, and did that come to its end?"""
    header = Header.read(path)
    return header is not None and header.request.with_pools() == request and _lines(path)[-1] == _FINISHED


def sessions(path: Path) -> tuple[Session, ...]:
    """Return the sessions of a journal, in order, up to the first line that this version does not understand."""
    understood: list[Session] = []
    for line in _sessions(path):
        session = _session(line["session"])
        if session is None:
            break
        understood.append(session)
    return tuple(understood)


def _sessions(path: Path) -> list[Json]:
    return [line for line in _lines(path)[1:] if line.keys() == {"plan", "session"}]


def _lines(path: Path) -> list[Json]:
    """Return every line up to the first that is not whole."""
    lines: list[Json] = []
    with suppress(OSError, ValueError, RecursionError):
        for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
            value = json.loads(line)
            if not isinstance(value, dict):
                break
            lines.append(value)
    return lines


def _session(document: Any) -> Session | None:
    """Return a session; None if another version wrote it."""
    try:
        session: Session = decode(Session, document)
    except BadDocument:
        return None
    return session
