"""Which level of the ladder speaks for an operation: the first with evidence for its size. Pure."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from autotune.model.operation import Operation
    from autotune.model.tuning import Tuning
    from autotune.profiles.fit_level import Level


class Refusal(NamedTuple):
    """What is not used, and why."""

    path: str
    entry: str | None
    """The operation with its sizes; None for a whole file."""
    reason: str


class Rung(NamedTuple):
    """The entries of one operation and dtype that one profile gives, as they may be used here."""

    level: "Level"
    path: str
    why: str
    """Why the profile has this level."""
    tunings: "Sequence[Tuning]"
    same_allocation: bool = True
    """Was it measured with as many usable CPUs, for the same reason? Asked while profiles are compiled only."""


class Found(NamedTuple):
    """The entry that speaks for an operation, and where it came from."""

    tuning: "Tuning"
    level: "Level"
    path: str
    why: str
    """Why the profile has this level."""


def climb(rungs: "Iterable[Rung]", operation: "Operation") -> tuple[Found | None, list[Refusal]]:
    """The entry of the best level that has evidence for this size, and the nearer ones passed over.

    `rungs` are the operation's, best level first. Where no level has evidence, an entry that was too noisy to
    tell, or whose time ended, still says that somebody looked: it is the answer, and keeps the default. None:
    plain NumPy.
    """
    from autotune.model.interpolation import choose  # here, since a dataclass costs a millisecond at start

    undecided: Found | None = None
    passed: list[Refusal] = []
    for rung in rungs:
        if all(map(refused, rung.tunings)):
            same = [one for one in rung.tunings if one.operation == operation]
            passed.append(Refusal(rung.path, str(operation), [*same, *rung.tunings][0].reason))
            continue
        tuning = choose(rung.tunings, operation)
        if tuning is None:
            passed.append(Refusal(rung.path, str(operation), _outside(rung.tunings, operation)))
        elif not (tuning.undecided or all(one.undecided for one in rung.tunings)):
            return Found(tuning, rung.level, rung.path, rung.why), passed
        else:
            passed.append(Refusal(rung.path, str(operation), tuning.reason))
            if undecided is None and not refused(tuning):
                undecided = Found(tuning, rung.level, rung.path, rung.why)
    return undecided, passed


def refused(tuning: "Tuning") -> bool:
    """Does this entry only stand in for a refused one? See `fit.blank`."""
    return tuning.default_seconds is None and tuning.status == "noisy"


def _outside(tunings: "Sequence[Tuning]", operation: "Operation") -> str:
    """Why entries do not cover a size: how far they reach, or that it has no neighbours on both sides."""
    values: dict[str, list[int]] = {}
    for tuning in tunings:
        for name, value in tuning.operation.sizes:
            values.setdefault(name, []).append(value)
    ends = {name: (min(sizes), max(sizes)) for name, sizes in values.items()}
    asked = operation.size
    if asked.keys() == ends.keys() and all(low <= asked[name] <= high for name, (low, high) in ends.items()):
        named = ", ".join(f"{name}={value}" for name, value in operation.sizes)
        return f"No sizes that it was measured for lie on both sides of {named}."
    reach = ", ".join(
        f"{name}={low}" if low == high else f"{name} from {low} to {high}"
        for name, (low, high) in ends.items()
    )
    return f"It was measured for {reach or 'no sizes'}; outside nothing is claimed."
