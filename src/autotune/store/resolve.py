"""Everything measured that fits this machine: from the compiled copy, if that still holds."""

import os
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import autotune
from autotune.errors import ProfileError
from autotune.host.allocation import usable_cpus
from autotune.host.software import software
from autotune.model.allocation import Limit
from autotune.store import compiled
from autotune.store.compiled import Compiled, Group, Refusal
from autotune.store.folders import Layer, cache_dir, places
from autotune.store.level import Level

if TYPE_CHECKING:
    from autotune.model.operation import Operation
    from autotune.model.profile import Profile
    from autotune.model.tuning import Tuning
    from autotune.store.fit import Here

_SUFFIXES = (".yaml", ".yml")
_BOOT = "/proc/sys/kernel/random/boot_id"
_ONLINE = "/sys/devices/system/cpu/online"


class Found(NamedTuple):
    """The entry that speaks for an operation, and where it came from."""

    tuning: "Tuning"
    level: Level
    path: str
    why: str
    """Why the profile has this level."""


class Resolution:
    """What is known for this machine and allocation. It does not change; resolve() makes a new one."""

    def __init__(self, copy: Compiled, usable: int, limit: Limit) -> None:
        self.usable_cpus = usable
        self.limit = limit
        self.threads, self.threads_why = copy.threads
        """The process-wide BLAS thread count, not yet clamped, and why; None: leave it alone."""
        self._copy = copy
        self._parsed: dict[tuple[str, str], list[tuple[Group, tuple[Tuning, ...]]]] = {}

    def find(self, operation: "Operation") -> Found | None:
        """The entry that speaks for an operation: the best level that has evidence for its size."""
        pair = (operation.name, operation.dtype)
        groups = self._parsed.get(pair)
        if groups is None:
            groups = [(group, group.tunings()) for group in self._copy.groups(*pair)]
            self._parsed[pair] = groups
        if not groups:
            return None
        from autotune.model.tuning import Status
        from autotune.store.rule import choose

        undecided = None
        for group, tunings in groups:
            tuning = choose(tunings, operation)
            if tuning is not None:
                found = Found(tuning, Level(group.level), group.path, group.why)
                if tuning.status not in {Status.NOISY, Status.FAILED}:
                    return found
                undecided = undecided or found
        return undecided

    def entries(self) -> Iterator[Found]:
        """Every entry in use, each operation's best level first."""
        for group in self._copy.all_groups():
            for tuning in group.tunings():
                yield Found(tuning, Level(group.level), group.path, group.why)

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """Every file and entry that is not used, with its reason."""
        return self._copy.refusals()


def resolve(named: str | os.PathLike[str] | None = None, *, processes: int | None = None) -> Resolution:
    """What fits this machine now: hardware, software, and the CPUs that this process may use.

    NumPy must have been imported. `named` is a profile or a folder of profiles that the user names; without
    it $AUTOTUNE_PROFILE is looked at. `processes` share the CPUs. Raises nothing for whatever is wrong with a
    profile: that is in `refusals`.
    """
    usable, limit = usable_cpus(processes)
    files = _files(named)
    made_from = [*_circumstances(usable, limit), [_state(path) for _, path in files]]
    path = f"{cache_dir()}/applied-{zlib.crc32(repr((made_from[:-1], named)).encode()):08x}.json"
    copy = compiled.load(path)
    if copy is None or copy.made_from != made_from:
        copy = _compile(files, here(usable, limit), made_from)
        compiled.save(path, copy)
    return Resolution(copy, usable, limit)


def here(usable: int, limit: Limit) -> "Here":
    """This machine with this allocation. Reads all of it: tens of milliseconds."""
    from autotune.host.detect import detect
    from autotune.host.identity import host_id
    from autotune.model.profile import Key
    from autotune.store.fit import Here

    machine, _ = detect()
    key = Key(hardware=machine.hardware, software=software(), usable_cpus=usable, limit=limit)
    return Here(key=key, host=host_id())


def _compile(files: list[tuple[Layer, str]], site: "Here", made_from: list[Any]) -> Compiled:
    """Read, fit and order every profile."""
    from pathlib import Path

    from autotune.store.consensus import consensus
    from autotune.store.files import TRUST, read
    from autotune.store.fit import Fit, fit, same_allocation

    refusals: list[Refusal] = []
    fitting: list[tuple[Level, Fit, str, Profile]] = []
    for layer, path in files:
        try:
            profile = read(Path(path), TRUST[layer])
        except ProfileError as error:
            refusals.append(Refusal(path, None, error.reason))
            continue
        fitted = fit(profile, layer, site)
        if fitted.level is None:
            refusals.append(Refusal(path, None, fitted.reason))
        else:
            fitting.append((fitted.level, fitted, path, profile))
    fitting.sort(key=lambda one: list(Level).index(one[0]))

    groups: list[Group] = []
    votes: dict[Operation, Tuning] = {}
    for level, fitted, path, profile in fitting:
        rows, refused = _rows(profile, path, site)
        refusals += refused
        groups += [Group(*pair, level, path, fitted.reason, entries) for pair, entries in rows.items()]
        if same_allocation(profile.key, site.key):
            votes = {tuning.operation: tuning for tuning in profile.tunings} | votes
    return compiled.compiled(made_from, consensus(votes.values()), groups, refusals)


def _rows(
    profile: "Profile", path: str, site: "Here"
) -> tuple[dict[tuple[str, str], list[Any]], list[Refusal]]:
    """The entries of a profile that fits, by operation and dtype, and those that are not used."""
    from autotune.store.fit import refusal

    rows: dict[tuple[str, str], list[Any]] = {}
    used: set[tuple[str, str]] = set()
    refusals: list[Refusal] = []
    for tuning in profile.tunings:
        pair = (tuning.operation.name, tuning.operation.dtype)
        reason = refusal(tuning, profile.key, site.key)
        if reason is None:
            used.add(pair)
        else:
            refusals.append(Refusal(path, str(tuning.operation), reason))
        entry = tuning if reason is None else _without_evidence(tuning, reason)
        rows.setdefault(pair, []).append(compiled.pack(entry))
    return {pair: entries for pair, entries in rows.items() if pair in used}, refusals


def _without_evidence(tuning: "Tuning", reason: str) -> "Tuning":
    """A refused entry as its neighbours have to see it: a size where no choice is known to be safe."""
    from dataclasses import replace

    from autotune.model.configuration import DEFAULT
    from autotune.model.tuning import Status

    return replace(tuning, status=Status.NOISY, choice=DEFAULT, reason=reason, safe_threads=())


def _files(named: str | os.PathLike[str] | None) -> list[tuple[Layer, str]]:
    """Every profile file, nearest layer first. What cannot be listed stands for itself, to be refused."""
    found: list[tuple[Layer, str]] = []
    for layer, place in places(named):
        try:
            with os.scandir(place) as folder:
                names = sorted(entry.name for entry in folder)
        except FileNotFoundError:
            found += [(layer, place)] if layer is Layer.NAMED else []
            continue
        except OSError:
            found.append((layer, place))
            continue
        chosen = [name for name in names if name.endswith(_SUFFIXES) and not name.startswith(".")]
        found += [(layer, os.path.join(place, name)) for name in chosen]  # noqa: PTH118 - once a file
        if layer is Layer.NAMED and not chosen:
            found.append((layer, place))
    return found


def _circumstances(usable: int, limit: Limit) -> list[Any]:
    """What else the fit depends on, cheap to read. Hardware changes at a boot, or when a CPU is switched."""
    known = software()
    return [
        autotune.__version__,
        usable,
        str(limit),
        *(getattr(known, name) for name in known.__slots__),
        _content(_BOOT),
        _content(_ONLINE),
        os.environ.get("AUTOTUNE_HOST_ID"),
    ]


def _content(path: str) -> str | None:
    try:
        with open(path, encoding="ascii", errors="replace") as file:  # noqa: PTH123 - a millisecond less
            return file.read(4096).strip()
    except OSError:
        return None


def _state(path: str) -> list[Any]:
    """What changes when a file, or what it may be trusted for, does."""
    try:
        file, folder = os.stat(path), os.stat(os.path.dirname(path))  # noqa: PTH116, PTH120
    except (OSError, ValueError):
        return [path]
    return [
        *(path, file.st_mtime_ns, file.st_size, file.st_ino, file.st_mode, file.st_uid),
        *(folder.st_mode, folder.st_uid, os.path.islink(path)),  # noqa: PTH114
    ]
