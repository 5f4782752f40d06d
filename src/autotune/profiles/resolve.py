"""Everything measured that fits this machine: from the compiled copy, if that still holds."""

import os
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from autotune._version import __version__
from autotune.controls.thread_variables import worker_cpus
from autotune.host.kernel_files import read
from autotune.host.numeric_libraries import software_fields
from autotune.host.usable_cpus import affinity, schedulable_cpus, usable_cpus
from autotune.intercept.operations import MET
from autotune.model.allocation import Limit
from autotune.profiles import compiled_copy
from autotune.profiles.compiled_copy import Compiled, LoopPlan
from autotune.profiles.folders import Layer, cache_dir, places

if TYPE_CHECKING:
    from autotune.model.configuration import Configuration
    from autotune.model.entry import Entry
    from autotune.model.machine import Allocation, Machine
    from autotune.model.operation import Operation
    from autotune.model.profile import Key, Profile
    from autotune.profiles.fit import Site
    from autotune.profiles.lookup import Level, LookupResult, Refusal, Rung

Named = str | os.PathLike[str] | None
"""A profile, or a folder of profiles, that the user names."""

_Part = TypeVar("_Part")

_SUFFIXES = (".yaml", ".yml")
_BOOT = "/proc/sys/kernel/random/boot_id"
_ONLINE = "/sys/devices/system/cpu/online"
_BLAS_CHOICES = (
    *("OPENBLAS_CORETYPE", "MKL_ENABLE_INSTRUCTIONS", "BLIS_ARCH_TYPE"),
    *("FLEXIBLAS", "LD_PRELOAD", "LD_LIBRARY_PATH"),
)
"""Variables by which NumPy gets another BLAS library, or that runs other kernels, which a profile has to fit."""


class Resolution:
    """All entries for this machine and allocation. It does not change; resolve() makes a new one.

    The entries of a compiled copy are decoded when they are first asked for. If that fails, `remake` makes the copy
    again, once.
    """

    def __init__(self, copy: Compiled, usable: int, limit: Limit, remake: Callable[[], Compiled] | None = None) -> None:
        self.usable_cpus = usable
        self.limit = limit
        self.threads, self.threads_why = copy.threads
        """The process-wide BLAS thread count, not yet clamped, and why; None: leave it alone."""
        self.wait = copy.wait
        self.loops = copy.loops
        """Plans of whole-array loops."""
        self.outdated = copy.outdated
        self.unused_named = copy.unused_named
        """A sentence for each profile that an argument or $AUTOTUNE_PROFILE names, if none of them is used."""
        self.has_blas = "'blas': None" not in copy.software
        """Has NumPy a BLAS library whose threads can be set?"""
        self.numpy = copy.software.partition("'numpy': '")[2].partition("'")[0] or None
        """The series of NumPy, such as "2.4"."""
        self._copy = copy
        self._remake = remake
        self._parsed: dict[tuple[str, str], list[Rung]] = {}

    def find(self, operation: "Operation") -> "LookupResult | None":
        """Return the entry that covers an operation: the best level that has evidence for its size."""
        return self.look_up(operation)[0] if self.names_operation(operation.name, operation.dtype) else None

    def look_up(self, operation: "Operation") -> "tuple[LookupResult | None, list[Refusal]]":
        """Return the same, and the nearer entries that do not cover an operation, with their reasons."""
        from autotune.profiles.lookup import look_up

        return look_up(self._rungs(operation.name, operation.dtype), operation)

    def operations(self) -> list["Operation"]:
        """Return every operation and size that some profile for this machine names, used here or refused."""
        every = (result.entry.operation for result in self._everything())
        return sorted(dict.fromkeys(every), key=lambda each: (each.name, each.dtype, each.sizes))

    def names_operation(self, name: str, dtype: str | None = None) -> bool:
        """Return whether some profile for this machine has entries of an operation, with this dtype or any."""
        return self._copy.has(name, dtype)

    def clamp(self, choice: "Configuration") -> "Configuration":
        """Return a choice within the CPUs that this process may use."""
        from autotune.model.configuration import clamp

        return clamp(choice, self.usable_cpus)

    def tunes_calls(self) -> bool:
        """Return whether some profile for this machine has a choice for calls that are switched one by one."""
        return self._copy.tunes(MET)

    def measured_sizes(self, name: str, dtype: str) -> list["Operation"]:
        """Return the sizes at which one operation was measured."""
        return list({entry.operation: None for rung in self._rungs(name, dtype) for entry in rung.entries})

    def measured_entry(self, operation: "Operation") -> "LookupResult | None":
        """Return the entry of exactly this size: the best level's, one that is decided before others."""
        from autotune.profiles.lookup import LookupResult, is_refused

        own = [
            LookupResult(entry, rung.level, rung.path, rung.why)
            for rung in self._rungs(operation.name, operation.dtype)
            for entry in rung.entries
            if entry.operation == operation and not is_refused(entry)
        ]
        return next((result for result in own if result.entry.is_decided), next(iter(own), None))

    def entries(self) -> "Iterator[LookupResult]":
        """Yield every entry in use, each operation's best level first; operations of the nearest profile go first."""
        from autotune.profiles.lookup import is_refused

        return (result for result in self._everything() if not is_refused(result.entry))

    def refused_entries(self) -> "Iterator[LookupResult]":
        """Yield every entry of a profile that fits which is not used itself, with its reason as the entry's."""
        from autotune.profiles.lookup import is_refused

        return (result for result in self._everything() if is_refused(result.entry))

    def _everything(self) -> "Iterator[LookupResult]":
        from autotune.profiles.lookup import LookupResult

        # all are decoded before the first is given: a copy that is made again half-way would repeat some
        for rungs in self._read(lambda copy: [self._parse(copy, *pair) for pair in copy.pairs()]):
            for rung in rungs:
                for entry in rung.entries:
                    yield LookupResult(entry, rung.level, rung.path, rung.why)

    def _rungs(self, name: str, dtype: str) -> "list[Rung]":
        return self._read(lambda copy: self._parse(copy, name, dtype))

    def _parse(self, copy: Compiled, name: str, dtype: str) -> "list[Rung]":
        rungs = self._parsed.get((name, dtype))
        if rungs is None:
            rungs = self._parsed[name, dtype] = copy.rungs(name, dtype)
        return rungs

    def _read(self, part: Callable[[Compiled], _Part]) -> _Part:
        """Return a part of the copy, which is made again if that cannot be decoded."""
        try:
            return part(self._copy)
        except compiled_copy.UNREADABLE:
            if self._remake is None:
                raise
            self._copy, self._remake = self._remake(), None
            self._parsed.clear()
            return part(self._copy)

    @property
    def refusals(self) -> "tuple[Refusal, ...]":
        """Every file and entry that is not used, with its reason."""
        return self._read(Compiled.refusals)


def resolve(named: Named = None, *, processes: int | None = None) -> Resolution:
    """Resolve the entries that fit this machine now: hardware, software, and the CPUs that this process may use.

    `named` is a profile or a folder of profiles that the user names; without it $AUTOTUNE_PROFILE is looked at.
    `processes` share the CPUs. NumPy is imported, since its BLAS is part of the key. Raises UsageError for less
    than one process, and nothing for whatever is wrong with a profile: that is in `refusals`.
    """
    if processes is not None and processes < 1:
        from autotune.errors import UsageError

        raise UsageError(f"The CPUs are shared by at least one process, this one: processes={processes}.")
    if "numpy" not in sys.modules:
        import numpy as np  # noqa: F401
    usable, limit = usable_cpus(processes)
    copy = _last_copy(named, usable, limit)
    if copy is None or copy.software != repr(software_fields()):
        return Resolution(_make(named, usable, limit), usable, limit)
    return Resolution(copy, usable, limit, lambda: _make(named, usable, limit))


def resolve_before_numpy(named: Named = None, *, processes: int | None = None) -> Resolution | None:
    """Return the last answer of resolve() in these circumstances; None if there is none. Loads nothing.

    Which profile fits depends on NumPy's BLAS, too. It is taken to be the one that this NumPy's file had the last time.
    Where the answer's entries turn out to be unreadable, they are made again, which loads NumPy.
    """
    usable, limit = usable_cpus(processes)
    copy = _last_copy(named, usable, limit)
    return None if copy is None else Resolution(copy, usable, limit, lambda: _make(named, usable, limit))


def resolve_inputs(named: Named = None, *, processes: int | None = None) -> object:
    """Return everything that resolve() depends on: as long as this is equal, so is the answer. Reads no profile."""
    return _circumstances(named, *usable_cpus(processes)), software_fields()


def this_site(usable: int, limit: Limit) -> "Site":
    """Describe this machine with this allocation. Reads all of it, in tens of milliseconds, and loads NumPy."""
    from autotune.host.detect import detect
    from autotune.host.identity import host_id, marks
    from autotune.profiles.fit import Site

    machine, allocation = detect()
    return Site(
        key=key(machine, allocation.replace(usable_cpus=usable, limit=limit)),
        host=host_id(),
        marks=marks(),
        schedulable_cpus=schedulable_cpus(),
    )


def key(machine: "Machine", allocation: "Allocation") -> "Key":
    """Return what a profile of this machine with this allocation is for. Loads NumPy, whose BLAS is part of it."""
    from autotune.host.numeric_libraries import software
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


def _make(named: Named, usable: int, limit: Limit) -> Compiled:
    """Make the compiled copy for this process, and put it in its place. Loads NumPy."""
    import numpy as np  # noqa: F401 - its BLAS is part of the key

    path, circumstances = _circumstances(named, usable, limit)
    files, fields = profile_paths(named), repr(software_fields())
    copy = _compile(files, this_site(usable, limit), circumstances, fields)
    compiled_copy.save(path, copy)
    return copy


def _last_copy(named: Named, usable: int, limit: Limit) -> Compiled | None:
    """Return the compiled copy that was made in these circumstances; None if there is none."""
    path, circumstances = _circumstances(named, usable, limit)
    copy = compiled_copy.load(path)
    return copy if copy is not None and copy.circumstances == circumstances else None


def _compile(files: list[tuple[Layer, str]], site: "Site", circumstances: str, fields: str) -> Compiled:
    """Read, fit and order every profile, and plan the loops that they cover."""
    from pathlib import Path

    from autotune.errors import ProfileError
    from autotune.profiles.consensus import consensus
    from autotune.profiles.fit import Source, blas_wait, fit, fitting_profiles, rungs
    from autotune.profiles.lookup import Refusal
    from autotune.profiles.profile_files import read

    def fits(profile: "Profile", layer: Layer) -> bool:
        return fit(profile, layer, site).level is not None

    unread: list[Refusal] = []
    sources: list[Source] = []
    for layer, path in files:
        try:
            sources.append(Source(layer=layer, path=path, profile=read(Path(path), layer, is_wanted=fits)))
        except ProfileError as error:
            unread.append(Refusal(path, None, error.reason))
    fitting, unfitting = fitting_profiles(sources, site)
    built, refused_entries = rungs(fitting, site)
    refusals = [*unread, *unfitting, *refused_entries]
    copy = Compiled(
        circumstances,
        fields,
        consensus(_votes(built.values())),
        compiled_copy.Wait(*blas_wait(fitting, site)),
        compiled_copy.body(built, refusals),
        outdated=_outdated_text(refusals, {step.level for steps in built.values() for step in steps}),
        unused_named=_unused_named(files, refusals),
    )
    usable = site.key.usable_cpus
    cpus = worker_cpus(os.environ, usable)
    return copy.replace(loops=plan_loops(Resolution(copy, usable, site.key.limit), cpus=cpus))


def plan_loops(resolution: Resolution, *, cpus: int) -> list[LoopPlan]:
    """Return the plans of the loops that entries cover, with at most a worker for each CPU."""
    from autotune.model.operation import Operation
    from autotune.profiles.loop_plan import loop_plans

    def choose(name: str, dtype: str, elements: int) -> "Configuration | None":
        match = resolution.find(Operation(name=name, dtype=dtype, sizes=(("n", elements),)))
        return None if match is None else match.entry.choice

    def lengths(name: str, dtype: str) -> list[int]:
        return list({measured.size["n"]: None for measured in resolution.measured_sizes(name, dtype)})

    return loop_plans(choose, lengths, cpus=cpus)


def _outdated_text(refusals: "Iterable[Refusal]", levels: "set[Level]") -> str | None:
    """Return a sentence about this host's profiles for another NumPy or BLAS; None if there are some for this."""
    from autotune.model.units import count_of
    from autotune.profiles.lookup import Level

    files = {refusal.path: refusal.outdated for refusal in refusals if refusal.outdated}
    if not files or levels & {Level.EXPLICIT, Level.HOST, Level.STALE}:
        return None
    profiles = count_of(len(files), "profile of this host is", "profiles of this host are")
    return (
        f"{profiles} for {', '.join(sorted(set(files.values())))}, and this Python has another: calls run "
        'as plain NumPy. `autotune calibrate` measures again; the guide "After an upgrade" says more.'
    )


def _votes(built: "Iterable[Sequence[Rung]]") -> list["Entry"]:
    """Collect for each operation and size the entry of the best level with this allocation, for the consensus.

    A refused entry has no vote, unless it is refused because hosts disagree: then no count is known to be safe.
    """
    from autotune.profiles.lookup import is_refused

    votes: dict[Operation, Entry] = {}
    for steps in built:
        for rung in reversed(steps):
            if rung.same_allocation:
                entries = (each for each in rung.entries if each.evidence.contested or not is_refused(each))
                votes |= {entry.operation: entry for entry in entries}
    return list(votes.values())


def _unused_named(files: list[tuple[Layer, str]], refusals: "Iterable[Refusal]") -> tuple[str, ...]:
    """Return a sentence for each profile that an argument or $AUTOTUNE_PROFILE names, if none of them is used.

    A named folder may hold profiles of several machines: it is used if one of them fits.
    """
    named = {path for layer, path in files if layer is Layer.NAMED}
    refused = [refusal.sentence for refusal in refusals if refusal.entry is None and refusal.path in named]
    return tuple(refused) if len(refused) == len(named) else ()


def profile_paths(named: Named = None) -> list[tuple[Layer, str]]:
    """Return every profile file once, nearest layer first. What cannot be listed stands for itself, to be refused."""
    files: dict[str, Layer] = {}
    for layer, place in places(named):
        try:
            with os.scandir(place) as folder:
                names = sorted(entry.name for entry in folder)
        except FileNotFoundError:
            if layer is Layer.NAMED:
                files[place] = layer
            continue
        except OSError:
            files.setdefault(place, layer)
            continue
        chosen = [name for name in names if name.endswith(_SUFFIXES) and not name.startswith(".")]
        for name in chosen:
            files.setdefault(os.path.join(place, name), layer)  # noqa: PTH118 - once a file
        if layer is Layer.NAMED and not chosen:
            files[place] = layer
    return [(layer, path) for path, layer in files.items()]


def _circumstances(named: Named, usable: int, limit: Limit) -> tuple[str, str]:
    """Return the path of the compiled copy, and as one line of text what it depends on but for NumPy's BLAS.

    A copy is not shared by circumstances that alternate on one machine: only those of files are not in its name.
    """
    rest = places(named), _without_files(usable, limit)
    path = f"{cache_dir()}/applied-{zlib.crc32(repr(rest).encode()):08x}"
    return path, repr((rest, [_state(path) for _, path in profile_paths(named)]))


def _without_files(usable: int, limit: Limit) -> object:
    """Return what else the fit depends on, cheap to read. Hardware changes at a boot, or when a CPU is switched."""
    return (
        __version__,
        usable,
        str(limit),
        worker_cpus(os.environ, usable),
        sorted(affinity() or ()),
        schedulable_cpus(),
        read(_BOOT),
        read(_ONLINE),
        os.environ.get("AUTOTUNE_HOST_ID"),
        os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME"),
        _installed_numpy(),
        [os.environ.get(name) for name in _BLAS_CHOICES],
    )


def _installed_numpy() -> list[int] | None:
    """Return what tells NumPy's installation from another one, without loading it; None if it is not installed."""
    from importlib.machinery import PathFinder

    spec = sys.modules["numpy"].__spec__ if "numpy" in sys.modules else PathFinder.find_spec("numpy")
    if spec is None or spec.origin is None:
        return None
    file = os.stat(spec.origin)  # noqa: PTH116 - a system call
    return [file.st_ino, file.st_ctime_ns]


def _state(path: str) -> list[object]:
    """Return values that change when a file, or its trust, changes."""
    is_link = os.path.islink(path)  # noqa: PTH114
    try:
        folder = os.stat(os.path.dirname(os.path.realpath(path) if is_link else path))  # noqa: PTH116, PTH120
        file = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return [path]
    return [
        # a copy over the old file may keep its size and time of change (rsync --inplace), but not the inode's
        *(path, file.st_ctime_ns, file.st_mtime_ns, file.st_size, file.st_ino, file.st_mode, file.st_uid),
        *(folder.st_mode, folder.st_uid, is_link),
    ]
