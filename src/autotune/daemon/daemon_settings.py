"""The daemon's configuration file and the paths of its other files.

The file is read strictly: a setting that is misspelt is refused, since its default would be used otherwise.
"""

import os
import re
import sys
import zlib
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, ClassVar

from autotune.errors import BadDocument, BadSettings
from autotune.host.identity import short_host_id
from autotune.host.trusted_files import FileRule
from autotune.host.usable_cpus import online_cpus
from autotune.model.codec import mismatch
from autotune.model.constraints import Bounds, Parsed, Pattern, Positive
from autotune.profiles.folders import NODE_FOLDER, cluster_profiles, state_dir, user_profiles, user_spool
from autotune.profiles.yaml_subset import read_settings

_RULE = FileRule(max_bytes=2**16, follow_links=True)
SYSTEM_SETTINGS = Path("/etc/autotune/daemon.yaml")
SYSTEM_STATE = Path(NODE_FOLDER)
SYSTEM_RUN = Path("/run/autotune")
SYSTEM_USER = "autotune"
"""A static user, so that programs of other users can tell whose profiles they read."""

_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS = re.compile(r"(?:(?P<days>[a-z]{3}(?:,[a-z]{3})*) )?(?P<from>\d\d:[0-5]\d)-(?P<to>\d\d:[0-5]\d)", re.ASCII)
VariableName = Annotated[str, Pattern("[A-Za-z_][A-Za-z0-9_]{0,63}", "the name of an environment variable")]
ProgramName = Annotated[str, Pattern(r"[^/\0]{1,64}", "the name of a program, without a folder")]
AbsolutePath = Annotated[str, Pattern(r"/[^\0]*", "an absolute path")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """A Python interpreter that programs use, with the environment that they give it."""

    STRICT: ClassVar[bool] = True

    python: AbsolutePath = sys.executable
    environment: dict[VariableName, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its name in `status` and in the state."""
        variables = (f"{name}={value}" for name, value in sorted(self.environment.items()))
        return " ".join([*variables, self.python])


SPAN = 'a time such as "22:00-06:00" or "sat,sun 00:00-24:00"'


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedHours:
    """A span of hours on some days, in local time. If it ends before it begins, it goes on past midnight."""

    days: frozenset[int]
    """0 is Monday. A span past midnight belongs to the day that it began on."""
    begins: int
    """Minutes after midnight."""
    ends: int

    @classmethod
    def from_text(cls, text: object) -> "AllowedHours":
        """Parse a span such as `22:00-06:00` or `sat,sun 00:00-24:00`. Raises ValueError."""
        match = _HOURS.fullmatch(text.strip().lower()) if isinstance(text, str) else None
        if match is not None:
            days = match["days"].split(",") if match["days"] else _WEEKDAYS
            begins, ends = (60 * int(each[:2]) + int(each[3:]) for each in (match["from"], match["to"]))
            if set(days) <= set(_WEEKDAYS) and max(begins, ends) <= 24 * 60 and begins != ends:
                return cls(days=frozenset(map(_WEEKDAYS.index, days)), begins=begins, ends=ends)
        raise ValueError(mismatch(SPAN, text))

    def contain(self, moment: datetime) -> bool:
        minute, day = moment.hour * 60 + moment.minute, moment.weekday()
        if self.begins < self.ends:
            return day in self.days and self.begins <= minute < self.ends
        evening = day in self.days and minute >= self.begins
        return evening or ((day - 1) % 7 in self.days and minute < self.ends)


def quiet_cpus(cpus: int) -> float:
    """Return the default of `start_below`: 3 % of the CPUs, from 0.08 to 0.25 CPUs.

    A desktop in use by no one keeps 0.1 to 0.2 CPUs busy. Of few CPUs that much disturbs a trial, and one second
    of work every ten seconds (0.1 CPUs) must keep two CPUs from counting as idle.
    """
    return min(max(0.08, 0.03 * cpus), 0.25)


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleThresholds:
    """Load that opens and closes the idle window."""

    STRICT: ClassVar[bool] = True

    start_below: Positive = field(default_factory=lambda: quiet_cpus(online_cpus()))
    """CPUs that other processes keep busy, below which the machine counts as quiet."""
    start_waiting: Positive = 0.05
    """Share of the time during which some task waited for a CPU, below which the machine counts as quiet."""
    quiet_seconds: Positive = 60.0
    """Duration of quiet before anything is measured."""
    stop_above: Positive = 0.4
    """CPUs that other processes keep busy, above which the machine counts as busy: a process that shares its CPU
    with a trial gets half of it or more."""
    busy_seconds: Positive = 0.5
    """Duration of load before a trial is ended: half of the second within which the CPUs are given back."""

    def __post_init__(self) -> None:
        """Raises BadDocument for thresholds that never close the window."""
        if self.stop_above <= self.start_below:
            expected = f"more than start_below ({self.start_below:g})"
            raise BadDocument(mismatch(expected, self.stop_above), "stop_above")


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonSettings:
    """The configuration file."""

    STRICT: ClassVar[bool] = True

    interpreters: tuple[Interpreter, ...] = (Interpreter(),)
    idle: IdleThresholds = field(default_factory=IdleThresholds)
    hours: tuple[Annotated[AllowedHours, Parsed(AllowedHours.from_text, SPAN)], ...] = ()
    """When it may measure; empty: always."""
    exclude: tuple[ProgramName, ...] = ()
    """Programs during which nothing is measured, by the kernel's names for them."""
    daily_cpu_seconds: Annotated[float, Bounds(0.0)] | None = 3600.0
    job_seconds: Annotated[float, Bounds(5.0)] = 120.0
    """Budget of one calibration or check."""
    recheck_days: Annotated[float, Bounds(1e-6)] = 30.0
    """Age from which an entry is checked again."""
    calibrate: bool = True
    """Measure the whole catalogue on a machine without a profile; else only what programs call."""
    store: str | None = None
    """URL of the cluster's store; None: the one that `autotune store pull` uses."""
    pull_seconds: Annotated[float, Bounds(10.0)] = 3600.0
    group: str | None = None
    """Users of this group may give orders, besides root and the daemon's own user."""
    metrics: AbsolutePath | None = None
    """Path of the Prometheus text file; None: `metrics.prom` in the state folder."""

    def __post_init__(self) -> None:
        """Raises BadDocument without an interpreter."""
        if not self.interpreters:
            raise BadDocument(mismatch("at least one interpreter", []), "interpreters")


@dataclass(frozen=True, slots=True, kw_only=True)
class _SharedSettings:
    """The part of `config.yaml` that the daemon reads."""

    store: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonPaths:
    """The files and folders of one daemon."""

    settings: Path
    state: Path
    run: Path
    """Lock and socket."""
    profiles: Path
    """Folder in which programs read the profiles that this daemon measured."""
    mirror: Path
    """Folder in which programs read the profiles of the cluster's store."""
    spool: Path
    """Folder in which programs leave counts of their calls."""
    shared: bool = False
    """Is the spool open to every user?"""

    @property
    def state_file(self) -> Path:
        return self.state / "state.json"

    @property
    def candidate(self) -> Path:
        """The profile of the last calibration, until its canary has passed."""
        return self.state / "candidate.yaml"

    @property
    def excerpt(self) -> Path:
        """The entries of a profile that are timed again."""
        return self.state / "excerpt.yaml"

    @property
    def pulled_folder(self) -> Path:
        """Profiles that were pulled, before and after their canary."""
        return self.state / "pulled"

    def pulled_for(self, interpreter: Interpreter) -> Path:
        """Return the state folder of `autotune store pull`: each interpreter has a class of its own."""
        return self.pulled_folder / f"{zlib.crc32(interpreter.name.encode()):08x}"

    @property
    def socket(self) -> Path:
        return self.run / "control.sock"

    @property
    def lock(self) -> Path:
        """Held by the kernel while the daemon runs."""
        return self.run / "daemon.lock"


def system_paths() -> DaemonPaths:
    """Return the paths of the daemon that serves all users; its systemd unit makes the folders."""
    return DaemonPaths(
        settings=SYSTEM_SETTINGS,
        state=SYSTEM_STATE / "daemon",
        run=SYSTEM_RUN,
        profiles=SYSTEM_STATE / "profiles",
        mirror=SYSTEM_STATE / "cluster",
        spool=SYSTEM_RUN / "spool",
        shared=True,
    )


def user_paths() -> DaemonPaths:
    """Return the paths of the daemon that a user runs on this host: homes may be shared by many."""
    state = state_dir()
    own = state / f"daemon-{short_host_id()}"
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    # a separate state folder asks for a separate daemon
    in_runtime = runtime and "AUTOTUNE_STATE_DIR" not in os.environ
    return DaemonPaths(
        settings=user_profiles().parent / "daemon.yaml",
        state=own,
        run=Path(runtime) / "autotune" if in_runtime else own / "run",
        profiles=user_profiles(),
        mirror=cluster_profiles(),
        spool=user_spool(),
    )


def load_settings(path: Path) -> DaemonSettings:
    """Read the configuration file; without one, every setting has its default.

    The file names programs to run, so no other user may have written it. The store is that of the file, else of
    $AUTOTUNE_STORE, else of `config.yaml`, whose other faults `autotune store pull` reports. Raises BadSettings with
    the place of the fault and what is expected there.
    """
    settings = read_settings(DaemonSettings, path, _RULE)
    store = settings.store or os.environ.get("AUTOTUNE_STORE", "").strip() or None
    if store is None:
        with suppress(BadSettings):
            store = read_settings(_SharedSettings, path.with_name("config.yaml"), _RULE).store
    return replace(settings, store=store)
