"""Inventory of each listed interpreter: class key, profile entries that apply to it, and when to ask it again."""

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from math import exp, log
from pathlib import Path
from typing import Any

from autotune.daemon.child_processes import ChildCommand, ChildResult
from autotune.daemon.context import DaemonContext
from autotune.daemon.daemon_settings import Interpreter
from autotune.daemon.sensors import fingerprint
from autotune.daemon.state import PlainValue
from autotune.model.catalogue import CATALOGUE
from autotune.model.codec import decode
from autotune.model.operation import Operation

PROFILE_HELPER = "autotune.daemon.profile_helper"
OWN_LEVELS = frozenset({"explicit", "this-host", "same-class"})
"""Fit levels of entries that were measured, or confirmed, for exactly this machine, software and allocation."""
REFUSED = "refused"
"""Status of an entry that is not used here although its profile fits."""
UNKNOWN_ANSWER = "Its answer is not understood: the interpreter's autotune may be of another version."
RETRY_SECONDS, MAX_RETRY_SECONDS = 60.0, 3600.0
"""Delay before an interpreter that cannot be asked is asked again: the first and the longest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InventoryEntry:
    """An entry of a profile that fits."""

    operation: Operation
    status: str
    """As in the profile, or `refused`."""
    speedup: float | None
    level: str
    path: str
    undecided: str = ""
    """Why the entry decides nothing: a sentence; empty if it does."""
    contested: bool = False
    """Do hosts of the class disagree about it?"""

    @property
    def is_own(self) -> bool:
        """Is it about exactly this machine, software and allocation?"""
        return self.level in OWN_LEVELS

    @property
    def is_settled(self) -> bool:
        """Is nothing left to measure?"""
        return self.is_own and not (self.undecided or self.contested)


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """The inventory of one interpreter."""

    key: str
    """Digest of its class key."""
    host: str
    facts: dict[str, PlainValue]
    """The fields of the class key by their dotted names."""
    watched: tuple[str, ...]
    """Files and folders that change when its NumPy or BLAS does."""
    profile: str
    """Path of the profile that the daemon writes for it."""
    created: str | None
    entries: tuple[InventoryEntry, ...]

    @cached_property
    def by_operation(self) -> Mapping[tuple[str, str], Sequence[InventoryEntry]]:
        index: dict[tuple[str, str], list[InventoryEntry]] = {}
        for entry in self.entries:
            index.setdefault((entry.operation.name, entry.operation.dtype), []).append(entry)
        return index

    @cached_property
    def speedups(self) -> Mapping[tuple[str, str], float]:
        """Geometric mean of the speed-ups by operation name and dtype."""
        logs = {
            name: [log(entry.speedup) for entry in entries if entry.speedup and entry.speedup > 0]
            for name, entries in self.by_operation.items()
        }
        return {name: exp(sum(each) / len(each)) for name, each in logs.items() if each}

    @cached_property
    def settled_operations(self) -> frozenset[Operation]:
        """Operations at a size about which nothing is left to measure."""
        return frozenset(entry.operation for entry in self.entries if entry.is_settled)

    def of(self, name: str, dtype: str) -> Sequence[InventoryEntry]:
        return self.by_operation.get((name, dtype), ())


def parse_inventory(answer: bytes) -> Inventory:
    """Parse the answer of the profile helper. Raises ValueError for any other text."""
    document = json.loads(answer)
    if isinstance(document, dict) and "problem" in document:
        raise ValueError(document["problem"])
    inventory: Inventory = decode(Inventory, document)
    # sizes are those of the interpreter's autotune, which may be of another version; it lists no users' functions
    rows = ((entry, CATALOGUE.get(entry.operation.name)) for entry in inventory.entries)
    entries = (entry for entry, row in rows if row is None or entry.operation.size.keys() == set(row.size_names))
    return replace(inventory, entries=tuple(entries))


def unmeasured_operations(inventory: Inventory, *, calibrate: bool, is_stale: bool) -> list[str]:
    """Name the operations to be measured at all sizes: none of their sizes is settled or contested.

    Without `calibrate` only those count that an entry of another level covers, and these only if the change of the
    key made them stale.
    """
    entries = {name: inventory.of(name, "float64") for name in CATALOGUE}
    return [
        name
        for name in CATALOGUE
        if not is_measured_by_size(entries[name]) and (calibrate or (is_stale and entries[name]))
    ]


def is_measured_by_size(entries: Sequence[InventoryEntry]) -> bool:
    """Is an operation measured size by size: is one size settled, or do hosts disagree about one?"""
    return any(entry.is_settled or entry.contested for entry in entries)


def describe_change(before: Mapping[str, PlainValue], now: Mapping[str, PlainValue]) -> str | None:
    """Name each fact that differs, with both values: a sentence, or None."""
    pairs = ((name, before.get(name), value) for name, value in now.items() if before.get(name) != value)
    changes = [
        f"{name} was {'unknown' if old is None else old} and is {'unknown' if new is None else new}"
        for name, old, new in pairs
    ]
    return f"{'; '.join(changes)}." if changes else None


class Inventories:
    """The last answer of each listed interpreter. An interpreter is asked again when its files or limits change."""

    def __init__(self, context: DaemonContext, usable_cpus: Callable[[], tuple[int, str]]) -> None:
        self._context = context
        self._usable_cpus = usable_cpus
        self.by_name: dict[str, Inventory] = {}
        self.problems: dict[str, str] = {}
        """Interpreter -> why it cannot be asked."""
        self._due: set[str] = set()
        self._circumstances: dict[str, Any] = {}
        """Interpreter -> limits and fingerprints when they were last looked at."""

    def look(self) -> None:
        """Find the interpreters whose limits or files have changed."""
        for interpreter in self._context.settings.interpreters:
            name = interpreter.name
            circumstances = self._look_at(interpreter, self.by_name.get(name))
            if self._circumstances.get(name) != circumstances:
                self._circumstances[name] = circumstances
                self._due.add(name)
                self._context.state.retries.pop(_subject(interpreter), None)  # it may answer now

    def ask_again(self, name: str) -> None:
        """Ask an interpreter soon: its last answer may not hold any more."""
        self._due.add(name)

    def keep_only(self, names: set[str]) -> None:
        """Drop the answers of interpreters that are not listed any more."""
        for answers in (self.by_name, self._circumstances, self.problems):
            for name in answers.keys() - names:
                del answers[name]

    def next_question(self) -> tuple[Interpreter, Generator[ChildCommand, ChildResult, None]] | None:
        """Return the next interpreter to be asked, and the procedure that asks it."""
        state, now = self._context.state, self._context.moment.wall
        for interpreter in self._context.settings.interpreters:
            if interpreter.name in self._due and not state.is_delayed(_subject(interpreter), now):
                return interpreter, self._ask(interpreter)
        return None

    def _ask(self, interpreter: Interpreter) -> Generator[ChildCommand, ChildResult, None]:
        context, name, subject = self._context, interpreter.name, _subject(interpreter)
        self._due.discard(name)
        result = yield ChildCommand(module=PROFILE_HELPER, arguments=("inventory", str(context.paths.profiles)))
        try:
            inventory = parse_inventory(result.answer)
        except ValueError as error:
            reason = str(error) if result.answer else result.last_line
            if result.answer and isinstance(error, json.JSONDecodeError):
                reason = f"Its answer breaks off; {context.paths.state}, which holds it meanwhile, may be full."
            self.problems[name] = f"{interpreter.python} cannot be asked: {reason}"
            self._due.add(name)
            context.log.begin(subject, self.problems[name])
            context.state.delay(subject, context.moment.wall, RETRY_SECONDS, longest=MAX_RETRY_SECONDS)
            return
        context.log.end(subject, f"{interpreter.python} answers again.")
        self.problems.pop(name, None)
        context.state.retries.pop(subject, None)
        self.by_name[name] = inventory
        # the fingerprints now include the files that the answer named: that is no change
        self._circumstances[name] = self._look_at(interpreter, inventory)
        self._remember(interpreter, inventory)
        context.save()

    def _look_at(self, interpreter: Interpreter, inventory: Inventory | None) -> tuple[Any, ...]:
        """Return what the interpreter's answer depends on, as far as it can be seen without asking."""
        cpus, limit = self._usable_cpus()
        profiles = {entry.path for entry in inventory.entries} if inventory else set()
        folders = {str(Path(path).parent) for path in profiles} | {str(self._context.paths.profiles)}
        watched = (interpreter.python, *(inventory.watched if inventory else ()), *sorted(profiles | folders))
        return cpus, limit, tuple((path, fingerprint(path)) for path in watched)

    def _remember(self, interpreter: Interpreter, inventory: Inventory) -> None:
        """Record changes of the interpreter's key, and when its entries were measured."""
        state, wall = self._context.state, self._context.moment.wall
        state.first_seen.setdefault(inventory.key, wall)
        before = self._facts_before(interpreter)
        state.facts[interpreter.name] = dict(inventory.facts)
        change = None if before is None else describe_change(before, inventory.facts)
        if change is not None:
            state.stale[interpreter.name] = change
            state.retries.clear()  # what failed before may succeed now
            self._context.log.write("stale", change, interpreter=interpreter.name)
        elif not unmeasured_operations(inventory, calibrate=self._context.settings.calibrate, is_stale=True):
            state.stale.pop(interpreter.name, None)
        checked, measured = state.checked.setdefault(inventory.key, {}), wall
        with suppress(ValueError, OverflowError):  # of a text that is no date
            measured = datetime.fromisoformat(inventory.created or "").timestamp()
        for entry in inventory.entries:
            if entry.path == inventory.profile:
                operation = Operation(name=entry.operation.name, dtype=entry.operation.dtype)
                checked.setdefault(operation, measured)

    def _facts_before(self, interpreter: Interpreter) -> dict[str, PlainValue] | None:
        """Return the last facts of this interpreter, or of the same Python with the environment that it had."""
        listed = {each.name for each in self._context.settings.interpreters}
        facts = self._context.state.facts
        former = [name for name in facts if name not in listed and name.rpartition(" ")[2] == interpreter.python]
        before = facts.get(interpreter.name)
        for name in former:
            before = before or facts[name]
            del facts[name]
        return before


def _subject(interpreter: Interpreter) -> str:
    """Name questions to an interpreter, in the state and in the log."""
    return f"inventory {interpreter.name}"
