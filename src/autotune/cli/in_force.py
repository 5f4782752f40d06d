"""The entries in force on this machine and its profiles."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from autotune.cli import messages
from autotune.cli.options import parse_sizes
from autotune.errors import BadSize, UnknownOperation
from autotune.host.detect import detect
from autotune.model.catalogue import ALIASES, nearest_names, row_of
from autotune.model.operation import DTYPES, Operation
from autotune.model.policy import COMMANDS, memory_allowance
from autotune.model.record import Record
from autotune.profiles import folders
from autotune.profiles.lookup import LookupResult
from autotune.profiles.resolve import profile_paths, resolve, resolve_before_numpy

if TYPE_CHECKING:
    from autotune.model.profile import Profile


_REFUSED = "Not used: "


class LocalProfile(Record, kw_only=True):
    """A profile file on this machine."""

    path: str
    layer: str
    in_force: int
    """Entries of it that are in force here: choices, and defaults that are kept; open entries are not."""
    statuses: Mapping[str, int]
    """Number of its entries that answer for their operation and size here, by status: open ones, too."""
    reason: str
    """Why it fits, or why it is not used."""
    is_refused: bool
    """Is all of it unused, since it does not fit or cannot be read?"""


class InForce(Record, kw_only=True):
    """Everything that applies on this machine."""

    profiles: tuple[LocalProfile, ...]
    """Nearest first."""
    entries: tuple[LookupResult, ...]
    outdated: str | None = None
    """A sentence about this host's profiles for another NumPy or BLAS."""

    def as_profile(self) -> "Profile | None":
        """Return all entries as one profile, with key and provenance of the file of most of them; None without any."""
        from autotune.profiles import profile_files  # `show` needs no types of profiles, which take 10 ms to load

        files = [profile for profile in self.profiles if profile.statuses]
        if not files:
            return None
        main = profile_files.read(Path(max(files, key=lambda profile: sum(profile.statuses.values())).path))
        return main.replace(entries=tuple(match.entry for match in self.entries))


def not_covered(names: Sequence[str], sizes: Sequence[str], measured: Iterable[str], *, dtype: str = DTYPES[0]) -> str:
    """Return a sentence about operations and sizes that none of the measured ones covers, if any are measured at all.

    Raises UnknownOperation for a name that neither the catalogue nor a measured operation has, unless a profile of the
    user's is refused, which may hold a function of that name.
    """
    measured = list(measured)
    if not (names or measured):
        return messages.NO_PROFILE
    own_names = {operation.partition(" ")[0].removeprefix(COMMANDS) for operation in measured}
    wanted = {ALIASES.get(name, name) for name in names}
    own = [operation for operation in measured if operation.partition(" ")[0] in wanted]
    for name in names:
        if row_of(name) is None and not any(operation.partition(" ")[0] == name for operation in own):
            refused = [profile for profile in in_force().profiles if profile.is_refused]
            nearest = nearest_names(name, own_names)
            if all(profile.layer == folders.Layer.SHIPPED for profile in refused):
                raise UnknownOperation(name, nearest)
            return messages.not_in_catalogue(name, nearest)
        for needed, allowed in memory_exceeded(name, sizes, dtype):
            return messages.does_not_fit(name, sizes, needed=needed, allowed=allowed)
    words = [*sizes, *([] if dtype == DTYPES[0] else [f"--dtype {dtype}"])]
    return messages.not_measured(names, words, own)


def memory_exceeded(name: str, sizes: Sequence[str], dtype: str) -> Iterator[tuple[int, int]]:
    """Yield the bytes that an operation needs and may have, for each of these sizes that is too large here."""
    row, allowed = row_of(name), memory_allowance(detect()[1].memory_bytes)
    if row is None or allowed is None:
        return
    with suppress(BadSize):  # not a size of this operation: no entry has it either
        for size in parse_sizes(sizes, row):
            needed = int(row.bytes_of(Operation(name=row.name, dtype=dtype, sizes=tuple(size.items()))))
            if needed > allowed:
                yield needed, allowed


def in_force() -> InForce:
    """Resolve the profiles for this machine.

    Scope of effect: loads NumPy, whose BLAS is part of what a profile has to fit, unless nothing has changed since the
    answer was last computed.
    """
    resolution = resolve_before_numpy() or resolve()
    chosen = (resolution.find(operation) for operation in resolution.operations())
    entries = {match.entry.operation: match for match in chosen if match is not None}
    statuses: dict[str, Counter[str]] = {}
    decided: Counter[str] = Counter()
    reasons = {refusal.path: f"{_REFUSED}{refusal.reason}" for refusal in resolution.refusals if refusal.entry is None}
    for match in entries.values():
        statuses.setdefault(match.path, Counter())[str(match.entry.status)] += 1
        decided[match.path] += match.entry.is_decided
        reasons[match.path] = match.why
    return InForce(
        profiles=tuple(
            LocalProfile(
                path=path,
                layer=str(layer),
                in_force=decided[path],
                statuses=statuses.get(path, {}),
                is_refused=reasons.get(path, "").startswith(_REFUSED),
                reason=reasons.get(path, "Nearer profiles apply instead, or its entries do not apply here."),
            )
            for layer, path in profile_paths()
        ),
        entries=tuple(entries.values()),
        outdated=resolution.outdated,
    )
