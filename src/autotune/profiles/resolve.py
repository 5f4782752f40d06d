"""Everything measured that fits this machine: from the compiled copy, if that still holds."""

import os
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from autotune._version import __version__
from autotune.errors import ProfileError, UsageError
from autotune.host.numeric_libraries import software
from autotune.host.usable_cpus import affinity, schedulable_cpus, usable_cpus
from autotune.model.allocation import Limit
from autotune.profiles import compiled_copy
from autotune.profiles.compiled_copy import Compiled, Group
from autotune.profiles.folders import Layer, cache_dir, places
from autotune.profiles.lookup import Level, LookupResult, Refusal, Rung, climb, refused

if TYPE_CHECKING:
    from autotune.model.entry import Entry
    from autotune.model.machine import Allocation, Machine
    from autotune.model.operation import Operation
    from autotune.model.profile import Key
    from autotune.profiles.fit import Site

Named = str | os.PathLike[str] | None
"""A profile, or a folder of profiles, that the user names."""

_SUFFIXES = (".yaml", ".yml")
_BOOT = "/proc/sys/kernel/random/boot_id"
_ONLINE = "/sys/devices/system/cpu/online"
_KERNEL_CHOICES = ("OPENBLAS_CORETYPE", "MKL_ENABLE_INSTRUCTIONS", "BLIS_ARCH_TYPE")
"""Variables by which a BLAS library runs other kernels, which a profile has to fit."""


class Resolution:
    """All entries for this machine and allocation. It does not change; resolve() makes a new one."""

    def __init__(self, copy: Compiled, usable: int, limit: Limit) -> None:
        self.usable_cpus = usable
        self.limit = limit
        self.threads, self.threads_why = copy.threads
        """The process-wide BLAS thread count, not yet clamped, and why; None: leave it alone."""
        self.wait = copy.wait
        self.copy = copy
        self._parsed: dict[tuple[str, str], list[Rung]] = {}

    def find(self, operation: "Operation") -> LookupResult | None:
        """Return the entry that speaks for an operation: the best level that has evidence for its size."""
        rungs = self._rungs(operation.name, operation.dtype)
        return climb(rungs, operation)[0] if rungs else None

    def climbed(self, operation: "Operation") -> tuple[LookupResult | None, list[Refusal]]:
        """Return the same, and the nearer entries that do not speak for an operation, with their reasons."""
        return climb(self._rungs(operation.name, operation.dtype), operation)

    def operations(self) -> list["Operation"]:
        """Return every operation and size that some profile for this machine names, used here or refused."""
        every = (result.entry.operation for result in self._everything())
        return sorted(dict.fromkeys(every), key=lambda each: (each.name, each.dtype, each.sizes))

    def names(self) -> frozenset[str]:
        """Return the names of all operations that some profile for this machine has entries of."""
        return frozenset(name for name, _ in self.copy.pairs())

    def measured(self, name: str, dtype: str) -> list["Operation"]:
        """Return the sizes at which one operation was measured."""
        return list({entry.operation: None for rung in self._rungs(name, dtype) for entry in rung.entries})

    def entries(self) -> Iterator[LookupResult]:
        """Yield every entry in use, each operation's best level first; operations of the nearest profile go first."""
        return (result for result in self._everything() if not refused(result.entry))

    def refused(self) -> Iterator[LookupResult]:
        """Yield every entry of a profile that fits which is not used itself, with its reason as the entry's."""
        return (result for result in self._everything() if refused(result.entry))

    def _everything(self) -> Iterator[LookupResult]:
        for pair in self.copy.pairs():
            for rung in self._rungs(*pair):
                for entry in rung.entries:
                    yield LookupResult(entry, rung.level, rung.path, rung.why)

    def _rungs(self, name: str, dtype: str) -> list[Rung]:
        rungs = self._parsed.get((name, dtype))
        if rungs is None:
            groups = self.copy.groups(name, dtype)
            rungs = [Rung(Level(group.level), group.path, group.why, group.entries()) for group in groups]
            self._parsed[name, dtype] = rungs
        return rungs

    @property
    def summary(self) -> str:
        """A sentence: how much is known, and how much is not used."""
        operations = {(hit.entry.operation.name, hit.entry.operation.dtype) for hit in self.entries()}
        files = {refusal.path for refusal in self.refusals if refusal.entry is None}
        entries = sum(refusal.entry is not None for refusal in self.refusals)
        covered = f"Profiles speak for {len(operations)} operation{'s' * (len(operations) != 1)}"
        if not files and not entries:
            return f"{covered}."
        refused = (
            f"{len(files)} file{'s' * (len(files) != 1)} and {entries} entr{'y' if entries == 1 else 'ies'}"
        )
        return f"{covered}; {refused} are not used, for the reasons that explain() gives."

    @property
    def outdated(self) -> str | None:
        """A sentence about this host's profiles for another NumPy or BLAS; None once there are some for this."""
        files = {refusal.path: refusal.outdated for refusal in self.refusals if refusal.outdated}
        fitting = {Level.EXPLICIT, Level.HOST, Level.STALE}
        if not files or any(result.level in fitting for result in self._everything()):
            return None
        verb = "profile of this host is" if len(files) == 1 else "profiles of this host are"
        return (
            f"{len(files)} {verb} for {', '.join(sorted(set(files.values())))}, and this Python has another: calls run "
            'as plain NumPy. `autotune calibrate` measures again; the guide "After an upgrade" says more.'
        )

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """Every file and entry that is not used, with its reason."""
        return self.copy.refusals()


def resolve(named: str | os.PathLike[str] | None = None, *, processes: int | None = None) -> Resolution:
    """Resolve the entries that fit this machine now: hardware, software, and the CPUs that this process may use.

    `named` is a profile or a folder of profiles that the user names; without it $AUTOTUNE_PROFILE is looked at.
    `processes` share the CPUs. NumPy is imported, since its BLAS is part of the key. Raises UsageError for less
    than one process, and nothing for whatever is wrong with a profile: that is in `refusals`.
    """
    if processes is not None and processes < 1:
        raise UsageError(f"The CPUs are shared by at least one process, this one: processes={processes}.")
    if "numpy" not in sys.modules:
        import numpy as np  # noqa: F401
    usable, limit = usable_cpus(processes)
    files = profile_paths(named)
    made_from = _inputs(usable, limit, files)
    path = f"{cache_dir()}/applied-{zlib.crc32(repr((made_from[:-1], named)).encode()):08x}.json"
    copy = compiled_copy.load(path)
    if copy is None or copy.made_from != made_from:
        copy = _compile(files, this_site(usable, limit), made_from)
        compiled_copy.save(path, copy)
    return Resolution(copy, usable, limit)


def resolve_inputs(named: str | os.PathLike[str] | None = None, *, processes: int | None = None) -> list[Any]:
    """Return everything that resolve() depends on: as long as this is equal, so is the answer. Reads no profile."""
    return _inputs(*usable_cpus(processes), profile_paths(named))


def this_site(usable: int, limit: Limit) -> "Site":
    """Describe this machine with this allocation. Reads all of it, in tens of milliseconds, and loads NumPy."""
    from dataclasses import replace

    from autotune.host.detect import detect
    from autotune.host.identity import host_id, marks
    from autotune.profiles.fit import Site

    machine, allocation = detect()
    return Site(
        key=key(machine, replace(allocation, usable_cpus=usable, limit=limit)),
        host=host_id(),
        marks=marks(),
        schedulable_cpus=schedulable_cpus(),
    )


def key(machine: "Machine", allocation: "Allocation") -> "Key":
    """Return what a profile of this machine with this allocation is for. Loads NumPy, whose BLAS is part of it."""
    from autotune.model.profile import Key

    kinds = [cpu.kind for cpu in machine.cpus if cpu.kind and cpu.number in allocation.cpus]
    return Key(
        hardware=machine.hardware,
        software=software(load=True),
        usable_cpus=allocation.usable_cpus,
        limit=allocation.limit,
        cores=allocation.counts.physical_cores,
        nodes=allocation.counts.numa_nodes,
        kinds=tuple(f"{kind}:{kinds.count(kind)}" for kind in sorted(set(kinds))),
    )


def _compile(files: list[tuple[Layer, str]], site: "Site", made_from: list[Any]) -> Compiled:
    """Read, fit and order every profile."""
    from pathlib import Path

    from autotune.profiles.consensus import consensus
    from autotune.profiles.entry_document import encode_entry
    from autotune.profiles.fit import Source, blas_wait, rungs
    from autotune.profiles.profile_files import read

    unread: list[Refusal] = []
    sources: list[Source] = []
    for layer, path in files:
        try:
            sources.append(Source(layer=layer, path=path, profile=read(Path(path), layer)))
        except ProfileError as error:
            unread.append(Refusal(path, None, error.reason))
    built, refusals = rungs(sources, site)
    groups = [
        Group(name, dtype, step.level, step.path, step.why, [encode_entry(entry) for entry in step.entries])
        for (name, dtype), steps in built.items()
        for step in steps
    ]
    wait = compiled_copy.Wait(*blas_wait(sources, site))
    return compiled_copy.compiled(
        made_from, consensus(_votes(built.values())), wait, groups, [*unread, *refusals]
    )


def _votes(built: Iterable[Sequence[Rung]]) -> list["Entry"]:
    """Collect for each operation and size the entry of the best level with this allocation, for the consensus.

    A refused entry has no vote, unless it is refused because hosts disagree: then no count is known to be safe.
    """
    votes: dict[Operation, Entry] = {}
    for steps in built:
        for rung in reversed(steps):
            if rung.same_allocation:
                entries = (each for each in rung.entries if each.evidence.contested or not refused(each))
                votes |= {entry.operation: entry for entry in entries}
    return list(votes.values())


def profile_paths(named: str | os.PathLike[str] | None = None) -> list[tuple[Layer, str]]:
    """Return every profile file, nearest layer first. What cannot be listed stands for itself, to be refused."""
    files: list[tuple[Layer, str]] = []
    for layer, place in places(named):
        try:
            with os.scandir(place) as folder:
                names = sorted(entry.name for entry in folder)
        except FileNotFoundError:
            files += [(layer, place)] if layer is Layer.NAMED else []
            continue
        except OSError:
            files.append((layer, place))
            continue
        chosen = [name for name in names if name.endswith(_SUFFIXES) and not name.startswith(".")]
        files += [(layer, os.path.join(place, name)) for name in chosen]  # noqa: PTH118 - once a file
        if layer is Layer.NAMED and not chosen:
            files.append((layer, place))
    return files


def inputs_without_numpy(named: Named = None, processes: int | None = None) -> list[Any]:
    """List what the answer of resolve() depends on, as plain values; NumPy by its file, without loading it."""
    from importlib.util import find_spec

    usable, limit = usable_cpus(processes)
    spec = find_spec("numpy")
    installed = os.stat(spec.origin) if spec and spec.origin else None  # noqa: PTH116 - a system call
    return [
        *_system_state(usable, limit),
        installed and [installed.st_ino, installed.st_ctime_ns],
        [os.environ.get(name) for name in _KERNEL_CHOICES],
        [_state(path) for _, path in profile_paths(named)],
    ]


def _inputs(usable: int, limit: Limit, files: list[tuple[Layer, str]]) -> list[Any]:
    versions = software()
    parts = [getattr(versions, name) for name in versions.__slots__]
    return [*_system_state(usable, limit), *parts, [_state(path) for _, path in files]]


def _system_state(usable: int, limit: Limit) -> list[Any]:
    """List what else the fit depends on, cheap to read. Hardware changes at a boot, or when a CPU is switched."""
    return [
        __version__,
        usable,
        str(limit),
        sorted(affinity() or ()),
        schedulable_cpus(),
        _content(_BOOT),
        _content(_ONLINE),
        os.environ.get("AUTOTUNE_HOST_ID"),
        os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME"),
    ]


def _content(path: str) -> str | None:
    try:
        with open(path, encoding="ascii", errors="replace") as file:  # noqa: PTH123 - a millisecond less
            return file.read(4096).strip()
    except OSError:
        return None


def _state(path: str) -> list[Any]:
    """Return values that change when a file, or its trust, changes."""
    is_link = os.path.islink(path)  # noqa: PTH114
    try:
        folder = os.stat(os.path.dirname(os.path.realpath(path) if is_link else path))  # noqa: PTH116, PTH120
        file = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return [path]
    return [
        *(path, file.st_mtime_ns, file.st_size, file.st_ino, file.st_mode, file.st_uid),
        *(folder.st_mode, folder.st_uid, is_link),
    ]
