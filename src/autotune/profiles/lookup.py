"""The level of the ladder that covers an operation: the first with evidence for its size. Pure."""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

from autotune.model.record import Record

if TYPE_CHECKING:
    from autotune.model.entry import Entry
    from autotune.model.operation import Operation

_ONE_LINE = {ord("\t"): " ", ord("\n"): " "}


class Level(StrEnum):
    """Best first; for each operation the first level that covers its size is used."""

    EXPLICIT = "explicit"
    """In a file that the user named."""
    HOST = "this-host"
    """Measured on this host, with this allocation."""
    CLASS = "same-class"
    """Measured on another host with the same key, and confirmed."""
    STALE = "stale"
    """Same hardware, another patch version of the BLAS library."""
    ALLOCATION = "other-allocation"
    """Same hardware and software, another number of usable CPUs or kind of limit."""
    DEFAULT = "default"
    """Nothing measured fits: NumPy's own behaviour."""


class Refusal(Record):
    """A profile or entry that is not used, and the reason."""

    path: str
    entry: str | None
    """The operation with its sizes; None for a whole file."""
    reason: str
    outdated: str | None = None
    """The NumPy or BLAS that a profile was measured with, such as "NumPy 2.4"; None unless it is refused for this."""

    @property
    def sentence(self) -> str:
        """Say in one line of a whole file that it is not used, and why."""
        return f"The profile {self.path} is not used: {self.reason}".translate(_ONE_LINE)


class Rung(Record):
    """The entries of one operation and dtype that one profile gives, as they may be used here."""

    level: Level
    path: str
    why: str
    """Why the profile has this level."""
    entries: "Sequence[Entry]"
    same_allocation: bool = True
    """Was it measured with equally many usable CPUs and the same kind of limit? Known while profiles are compiled."""


class LookupResult(Record):
    """The entry that covers an operation, and where it came from."""

    entry: "Entry"
    level: Level
    path: str
    why: str
    """Why the profile has this level."""


def look_up(rungs: "Iterable[Rung]", operation: "Operation") -> tuple[LookupResult | None, list[Refusal]]:
    """Return the entry of the best level that has evidence for this size, and the nearer ones passed over.

    `rungs` are the operation's, best level first. Where no level has evidence, an entry that was too noisy to tell, or
    whose time ended, still counts as an answer: it is used, and keeps the default. None: plain NumPy.
    """
    from autotune.model.interpolation import choose  # here, since the entries' types are not loaded at start

    undecided: LookupResult | None = None
    passed: list[Refusal] = []
    for rung in rungs:
        if all(map(is_refused, rung.entries)):
            same = [entry for entry in rung.entries if entry.operation == operation]
            passed.append(Refusal(rung.path, str(operation), [*same, *rung.entries][0].reason))
            continue
        entry = choose(rung.entries, operation)
        if entry is None:
            passed.append(Refusal(rung.path, str(operation), _outside(rung.entries, operation)))
        elif entry.is_decided and any(item.is_decided for item in rung.entries):
            return LookupResult(entry, rung.level, rung.path, rung.why), passed
        else:
            passed.append(Refusal(rung.path, str(operation), entry.reason))
            if undecided is None and not is_refused(entry):
                undecided = LookupResult(entry, rung.level, rung.path, rung.why)
    return undecided, passed


def is_refused(entry: "Entry") -> bool:
    """Is this entry the placeholder of a refused one? See `fit.blank`."""
    return entry.evidence.default_seconds is None and entry.status == "noisy"


def _outside(entries: "Sequence[Entry]", operation: "Operation") -> str:
    """Return why entries do not cover a size: how far they reach, or that it has no neighbours on both sides."""
    values: dict[str, list[int]] = {}
    for entry in entries:
        for name, value in entry.operation.sizes:
            values.setdefault(name, []).append(value)
    ends = {name: (min(sizes), max(sizes)) for name, sizes in values.items()}
    size = operation.size
    if size.keys() == ends.keys() and all(low <= size[name] <= high for name, (low, high) in ends.items()):
        named = ", ".join(f"{name}={value}" for name, value in operation.sizes)
        return f"No sizes that it was measured for lie on both sides of {named}."
    reach = ", ".join(
        f"{name}={low}" if low == high else f"{name} from {low} to {high}" for name, (low, high) in ends.items()
    )
    return f"It was measured for {reach or 'no sizes'}; outside nothing is claimed."
