"""What was measured, kept as it arrives, so that an interrupted calibration goes on where it ended.

A journal is a Bench around a Bench. Plans that it has seen are answered from the file; since search has no
other clock and no other luck than its sessions and its seed, the same plans are asked again in the same order.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from autotune.bench.protocol import Bench
from autotune.model.configuration import configuration
from autotune.model.measurement import Failure, FailureKind, Measurement, Pair, Session, TrialPlan
from autotune.model.operation import Operation
from autotune.profiles.profile_files import replace
from autotune.search.environment import Site

Json = dict[str, Any]

_SITE = {item.name for item in fields(Site)}


class Journal:
    """A Bench that remembers.

    Each session is one line, written and synced before it is used. A line cut short by a crash, or answering
    another plan than the one asked, ends what is remembered: from there on the real bench measures.
    """

    def __init__(self, bench: Bench, path: Path, head: Mapping[str, Any], *, resume: bool = False) -> None:
        """`head` is what whoever resumes must know: what was asked, and what the self-test found.

        Scope of effect: replaces the file unless `resume` is set. An unwritable folder costs the memory only.
        """
        self.bench = bench
        self._path = path
        self._known = remembered(path) if resume else []
        self._lines: list[Json] = [dict(head)]
        self._write(self._known)

    def run(self, plan: TrialPlan) -> Session:
        """The session of a plan, remembered or measured now."""
        written = json.loads(json.dumps(asdict(plan)))
        if self._known:
            line = self._known.pop(0)
            session = _session(line["session"]) if line["plan"] == written else None
            if session is not None:
                self._lines.append(line)
                return session
            self._known.clear()
            self._write([])
        session = self.bench.run(plan)
        self._lines.append({"plan": written, "session": asdict(session)})
        _append(self._path, self._lines[-1])
        return session

    def _write(self, ahead: list[Json]) -> None:
        """The file anew: what was used so far and what may be used."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            replace(self._path, "".join(json.dumps(line) + "\n" for line in [*self._lines, *ahead]).encode())
        except OSError:
            return  # without a journal the calibration is as good, only not resumable


def header(path: Path) -> Json | None:
    """What a journal begins with; None if there is none that can be gone on with."""
    match _lines(path)[:1]:
        case [
            {
                "asked": dict(),
                "site": dict(site),
                "capacity": float() | int() | None,
                "spent": float() | int(),
            } as head
        ] if site.keys() == _SITE:  # else another version wrote it
            return head
    return None


def remembered(path: Path) -> list[Json]:
    """The sessions of a journal, in order, up to the first line that is not whole."""
    return [line for line in _lines(path)[1:] if line.keys() == {"plan", "session"}]


def sessions(path: Path) -> tuple[Session, ...]:
    """What a journal holds, in order, up to the first line that this version does not understand."""
    found: list[Session] = []
    for line in remembered(path):
        session = _session(line["session"])
        if session is None:
            break
        found.append(session)
    return tuple(found)


def _lines(path: Path) -> list[Json]:
    try:
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
    except (OSError, UnicodeDecodeError):
        return []
    lines: list[Json] = []
    for line in text.splitlines():
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            break
        if not isinstance(value, dict):
            break
        lines.append(value)
    return lines


def _append(path: Path, line: Json) -> None:
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        return  # as above


def _session(values: Json) -> Session | None:
    """A session; None if another version wrote it."""
    try:
        return Session(
            measurements=tuple(_measurement(one) for one in values["measurements"]),
            wall_seconds=values["wall_seconds"],
            sampled_seconds=values["sampled_seconds"],
            best_capacity=values["best_capacity"],
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _measurement(values: Json) -> Measurement:
    operation, failure = values["operation"], values["failure"]
    return Measurement(
        operation=Operation(
            name=operation["name"],
            dtype=operation["dtype"],
            sizes=tuple((name, size) for name, size in operation["sizes"]),
        ),
        configuration=configuration({k: v for k, v in values["configuration"].items() if v is not None}),
        pairs=tuple(Pair(**pair) for pair in values["pairs"]),
        seconds=tuple(values["seconds"]),
        failure=failure and Failure(kind=FailureKind(failure["kind"]), reason=failure["reason"]),
        note=values["note"],
        resident_bytes=values.get("resident_bytes"),
    )
