"""Recorded processes of a command, read from the files that they left in its folder."""

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autotune.recording.call_names import call_of
from autotune.recording.ledger import Ledger, read_ledger, stop_ledger
from autotune.recording.recording import RecordedProcess, ThreadPool, join_calls

ROOM = 2**20
"""Bytes for the ledgers of a few processes, of 69 kB each."""
UNFINISHED_NOTE = ".json.new"
"""End of the name of a note until it is complete (`runtime.record_process`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """All that lies in the folder of a recording."""

    processes: tuple[RecordedProcess, ...]
    without_autotune: tuple[str, ...]


def collect(folder: Path, began: float) -> Collected:
    """Read the files that are there now. `began` is the command's start, in seconds of CLOCK_MONOTONIC."""
    notes: dict[int, list[tuple[str, Mapping[str, Any]]]] = {}
    for path in sorted(folder.glob("*.json")):
        with suppress(OSError, ValueError):
            note = json.loads(path.read_text(encoding="utf-8"))
            notes.setdefault(note["pid"], []).append((path.stem, note))
    ledgers: dict[str, Ledger] = {}
    for path in sorted(folder.glob("*.ledger")):
        with suppress(OSError):
            ledger = read_ledger(path)
            if ledger is not None:
                ledgers[path.stem] = ledger
    parents = {ledger.pid: ledger.parent for ledger in ledgers.values()}
    processes = []
    for stem, ledger in ledgers.items():
        note = dict(notes.get(ledger.pid, ())).get(stem)
        inherited = note or _note_of_ancestor(ledger.parent, parents, notes)
        processes.append(_process(ledger, inherited, began, is_fork=note is None))
    for pid, of_process in notes.items():
        for stem, note in of_process:
            if note["native"] is not None and stem not in ledgers:
                ledger = Ledger(pid=pid, parent=note["parent"], start=began, last=began)
                processes.append(_process(ledger, note, began, is_fork=False))
    for pid in _processes_without_room(folder, ledgers):
        ledger = Ledger(pid=pid, parent=0, start=began, last=began)
        processes.append(_process(ledger, {"native": _unwritten(folder)}, began, is_fork=False))
    missing = set()
    for path in folder.glob("*.missing"):  # the path of an interpreter, as bytes of any encoding
        with suppress(OSError):
            missing.add(path.read_text(encoding="utf-8", errors="backslashreplace"))
    return Collected(processes=tuple(processes), without_autotune=tuple(sorted(missing)))


def stop(folder: Path) -> None:
    """End the recording: in running processes at once, and in those that start later."""
    from autotune.runtime.record_process import STOPPED

    with suppress(OSError):  # the command has removed the folder
        (folder / STOPPED).touch()
    for path in folder.glob("*.ledger"):
        with suppress(OSError):
            stop_ledger(path)


def _processes_without_room(folder: Path, ledgers: Mapping[str, Ledger]) -> list[int]:
    """Return the processes that could write neither a ledger nor a note: an empty file of each is left."""
    stems = (path.name.removesuffix(UNFINISHED_NOTE) for path in folder.glob(f"*{UNFINISHED_NOTE}"))
    left = [stem for stem in stems if stem not in ledgers and not (folder / f"{stem}.json").exists()]
    return [int(number) for number in (stem.partition("-")[0] for stem in left) if number.isdecimal()]


def _unwritten(folder: Path) -> str:
    """Return a sentence: why processes could not write their recording."""
    place = folder.parent
    is_full = shutil.disk_usage(place).free < ROOM
    why = f"the file system of {place} is full" if is_full else f"{place} had no room for it meanwhile"
    return f"The recording could not be written: {why}. Set TMPDIR to a folder with a megabyte of room that lasts."


def _note_of_ancestor(
    pid: int, parents: Mapping[int, int], notes: Mapping[int, list[tuple[str, Mapping[str, Any]]]]
) -> Mapping[str, Any]:
    """Return the note of the nearest ancestor that has one: the process that this one was forked from."""
    for _ in range(len(parents) + 1):
        if pid in notes:
            return notes[pid][-1][1]
        pid = parents.get(pid, 0)
    return {}


def _process(ledger: Ledger, note: Mapping[str, Any], began: float, *, is_fork: bool) -> RecordedProcess:
    return RecordedProcess(
        pid=ledger.pid,
        parent=ledger.parent,
        words=tuple(note.get("words", ())),
        is_fork=is_fork,
        start=max(0.0, ledger.start - began),
        end=max(0.0, ledger.last - began),
        cpu_seconds=ledger.cpu_seconds,
        threads=ledger.threads,
        most_at_once=ledger.most_at_once,
        turns=ledger.turns,
        pools=tuple(ThreadPool(**pool) for pool in note.get("pools", ()) if pool["threads"] is not None),
        others=tuple(note.get("others", ())),
        environment=note.get("environment", {}),
        usable_cpus=note.get("usable_cpus"),
        unseen=tuple(filter(None, (note.get("native"), *note.get("refusals", ())))),
        calls=join_calls(map(call_of, ledger.rows)),
    )
