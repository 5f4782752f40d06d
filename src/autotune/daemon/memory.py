"""What the daemon remembers: one small JSON file, replaced whole, so that no kill can tear it.

Results are not in it: they stand in profiles, and unfinished ones in the journal of `autotune calibrate`. What
it holds can be lost without harm; it would be found out again.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from autotune.daemon.budget import Spent
from autotune.daemon.canary import Verdict
from autotune.errors import UsageError
from autotune.model.catalogue import CATALOGUE, operation
from autotune.model.operation import Operation
from autotune.store.files import replace

FORMAT = 1
LARGEST_FILE = 2**22
MOST_DEMAND = 1000
"""Operations at a size that are remembered; the least asked for are forgotten."""
HALF_LIFE = 7 * 86400.0
"""Seconds after which a count weighs half: programs change."""
FORGOTTEN = 30 * 86400.0
"""Seconds after which it does not matter any more that something once failed."""
LONGEST_DELAY = 7 * 86400.0
"""Seconds that something which always fails is left alone."""


@dataclass(slots=True, kw_only=True)
class Memory:
    """All of it. Keys of the dictionaries are texts of operations, or paths."""

    spent: Spent = field(default_factory=Spent)
    paused_until: float | None = None
    """Wall-clock seconds; None: not paused."""
    demand: dict[str, list[Any]] = field(default_factory=dict)
    """Text of the operation -> [name, dtype, sizes, calls]: of calls that nothing covered."""
    used: dict[str, list[Any]] = field(default_factory=dict)
    """The same, of calls that an entry covered."""
    faded: float = 0.0
    """When the counts were last made to fade."""
    attempts: dict[str, list[float]] = field(default_factory=dict)
    """Subject of a job -> [failures in a row, when to try again]."""
    wishes: list[list[Any]] = field(default_factory=list)
    """[name, dtype, sizes] that somebody ordered."""
    served: dict[str, list[str]] = field(default_factory=dict)
    """Text of the operation that was ordered -> interpreters that it has been measured with."""
    doubts: dict[str, list[Any]] = field(default_factory=dict)
    """Text of the operation -> [name, dtype, sizes, why]."""
    interrupted: dict[str, Any] | None = None
    """The calibration that was ended before its time; its journal is there."""
    trials: dict[str, list[Any]] = field(default_factory=dict)
    """Profile under trial -> [its stamp, verdicts so far]."""
    trusted: dict[str, list[Any]] = field(default_factory=dict)
    """Profile -> the stamp with which it was found fine, or is our own."""
    known: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Interpreter -> the facts of its key when last seen."""
    stale: dict[str, str] = field(default_factory=dict)
    """Interpreter -> why all it had is stale: a sentence."""
    noticed: dict[str, float] = field(default_factory=dict)
    """Digest of a key -> when this node first had it, wall-clock seconds."""
    checked: dict[str, float] = field(default_factory=dict)
    """Operation and dtype -> when its entries were last measured or checked, wall-clock seconds."""
    counts: dict[str, float] = field(default_factory=dict)
    """Totals for the metrics."""
    unpublished: dict[str, str] = field(default_factory=dict)
    """Profile that the store does not have yet -> the interpreter that it was made with."""
    pulled: float = 0.0
    """When the store was last asked."""
    pull_failures: int = 0

    def count(self, name: str, by: float = 1.0) -> None:
        """Add to a total."""
        self.counts[name] = self.counts.get(name, 0.0) + by

    def strike(self, interpreters: Iterable[str]) -> None:
        """Drop the orders that have been measured with each of these."""
        wanted = set(interpreters)
        for wish in [one for one in self.wishes if wanted <= set(self.served.get(subject_of(*one), ()))]:
            self.wishes.remove(wish)
            self.served.pop(subject_of(*wish), None)

    def fade(self, now: float) -> None:
        """Make the counts weigh less with time, once a day. A clock that was set back fades nothing."""
        days = (now - self.faded) / 86400.0
        if not 0 <= days < 1:
            known, self.faded = self.faded > 0, now  # a new memory has nothing that is old
            factor = 0.5 ** (min(days, 365.0) * 86400.0 / HALF_LIFE) if days > 0 and known else 1.0
            self.demand, self.used = _faded(self.demand, factor), _faded(self.used, factor)
            self.attempts = {name: row for name, row in self.attempts.items() if now - row[1] < FORGOTTEN}

    def trim(self) -> None:
        """Keep no more counts than twice those that a day keeps: anybody may leave some."""
        if max(len(self.demand), len(self.used)) > 2 * MOST_DEMAND:
            self.demand, self.used = _faded(self.demand, 1.0), _faded(self.used, 1.0)

    def failed(self, subject: str, now: float, first: float, *, longest: float = LONGEST_DELAY) -> float:
        """Note a failure; returns when to try again: after `first` seconds, four times as long each time."""
        failures = self.attempts.get(subject, [0.0, 0.0])[0] + 1
        again: float = now + min(first * 4.0 ** min(failures - 1, 20.0), longest)
        self.attempts[subject] = [failures, again]
        return again

    def delayed(self, subject: str, now: float) -> bool:
        """Has it failed lately, so that it is not tried again yet?"""
        return now < self.attempts.get(subject, [0.0, 0.0])[1]

    def settle(self, now: float) -> None:
        """After the clock was set: nothing lies further ahead than it can, or it would never come."""
        for row in self.attempts.values():
            row[1] = min(row[1], now + LONGEST_DELAY)
        for times in (self.noticed, self.checked):
            times.update({name: min(then, now) for name, then in times.items()})
        self.pulled = min(self.pulled, now)


def subject_of(operation: str, dtype: str, sizes: Mapping[str, int]) -> str:
    """What the memory calls an operation; without sizes it is meant at all of its own."""
    return str(Operation(name=operation, dtype=dtype, sizes=tuple(sizes.items())))


def _faded(rows: dict[str, list[Any]], factor: float) -> dict[str, list[Any]]:
    """The rows with so much of their weight; the heaviest of them, without those that weigh nothing any more."""
    lighter = {subject: [*row[:3], row[3] * factor] for subject, row in rows.items()}
    ranked = sorted(lighter.items(), key=lambda pair: -pair[1][3])[:MOST_DEMAND]
    return {subject: row for subject, row in ranked if row[3] >= 0.5}


def load(path: Path) -> tuple[Memory, str | None]:
    """What is remembered, and what is wrong with the file if it is not used: a sentence."""
    try:
        with path.open("rb") as file:
            document = json.loads(file.read(LARGEST_FILE))
        return _memory(document), None
    except FileNotFoundError:
        return Memory(), None
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as problem:
        return Memory(), f"{path} cannot be used ({problem}); the daemon starts without what it knew."


def save(path: Path, memory: Memory) -> None:
    """Write it down. Raises OSError, with the old file untouched."""
    replace(path, json.dumps({"format": FORMAT, **asdict(memory)}, separators=(",", ":")).encode())


def _memory(document: Any) -> Memory:
    """Raises ValueError for anything that this version did not write."""
    if not isinstance(document, Mapping) or document.get("format") != FORMAT:
        raise ValueError("it is of another version")
    found = {item.name: document[item.name] for item in fields(Memory) if item.name in document}
    for name, value in found.items():
        if not _SHAPES[name](value):
            raise ValueError(f"{name} is not what it should be")
    if "spent" in found:
        found["spent"] = Spent(found["spent"]["day"], found["spent"]["cpu_seconds"])
    return Memory(**found)


Shape = Callable[[Any], bool]
"""Is a value what it should be?"""


def _is(*types: type) -> Shape:
    return lambda value: isinstance(value, types) and not isinstance(value, bool)


def _row(*shapes: Shape) -> Shape:
    return lambda value: (
        isinstance(value, list)
        and len(value) == len(shapes)
        and all(fits(each) for fits, each in zip(shapes, value, strict=True))
    )


def _about(*more: Shape, all_sizes: bool = False) -> Shape:
    """A row that begins with an operation that this version knows: name, dtype, sizes."""
    return lambda value: (
        isinstance(value, list) and _known(value[:3], all_sizes=all_sizes) and _row(*more)(value[3:])
    )


def _known(asked: list[Any], *, all_sizes: bool) -> bool:
    """Can it be measured? Without sizes, where they may be left out, it is meant at all of its own."""
    try:
        name, dtype, sizes = asked
        whole = operation(name, dtype=dtype, **(sizes or {"n": 1}))
    except (TypeError, ValueError, UsageError):
        return False
    return name in CATALOGUE and (sizes == whole.size or (all_sizes and sizes == {}))


def _list_of(shape: Shape) -> Shape:
    return lambda value: isinstance(value, list) and all(map(shape, value))


def _by_name(shape: Shape) -> Shape:
    return lambda value: isinstance(value, dict) and all(map(shape, value.values()))


def _begun(value: Any) -> bool:
    return value is None or (
        isinstance(value, dict)
        and value.keys() == {"interpreter", "operation", "dtype", "sizes"}
        and _TEXT(value["interpreter"])
        and _known([value[name] for name in ("operation", "dtype", "sizes")], all_sizes=True)
    )


def _spent(value: Any) -> bool:
    return isinstance(value, dict) and _TEXT(value.get("day")) and _NUMBER(value.get("cpu_seconds"))


_NUMBER, _TEXT, _LIST, _DICT = _is(int, float), _is(str), _is(list), _is(dict)
_SHAPES: Mapping[str, Shape] = {
    "spent": _spent,
    "paused_until": lambda value: value is None or _NUMBER(value),
    "demand": _by_name(_about(_NUMBER)),
    "used": _by_name(_about(_NUMBER)),
    "faded": _NUMBER,
    "attempts": _by_name(_row(_NUMBER, _NUMBER)),
    "wishes": _list_of(_about(all_sizes=True)),
    "served": _by_name(_list_of(_TEXT)),
    "doubts": _by_name(_about(_TEXT, all_sizes=True)),
    "interrupted": _begun,
    "trials": _by_name(_row(_LIST, _list_of(lambda each: each in list(Verdict)))),
    "trusted": _by_name(_LIST),
    "known": _by_name(_DICT),
    "stale": _by_name(_TEXT),
    "noticed": _by_name(_NUMBER),
    "checked": _by_name(_NUMBER),
    "counts": _by_name(_NUMBER),
    "unpublished": _by_name(_TEXT),
    "pulled": _NUMBER,
    "pull_failures": _is(int),
}
