"""The daemon's configuration file: strict, so that a misspelt word never means "the default"."""

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from autotune.daemon.idle import Thresholds
from autotune.errors import ProfileError, UntrustedFile, UsageError
from autotune.host.trusted_files import FileRule, read_file
from autotune.profiles import value_checks
from autotune.profiles.yaml_subset import parse

LARGEST_FILE = 2**16
_RULE = FileRule(LARGEST_FILE, follow_links=True)
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SPAN = re.compile(
    r"(?:(?P<days>[a-z]{3}(?:,[a-z]{3})*) )?(?P<from>\d\d:\d\d)-(?P<to>\d\d:\d\d)", re.IGNORECASE
)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_PROGRAM = re.compile(r"[^/\0]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """A Python that programs use, with the environment that they give it."""

    python: str = sys.executable
    environment: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """What people and the state file call it."""
        return " ".join([*(f"{name}={value}" for name, value in self.environment), self.python])


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """A stretch of some days, in local time. One that ends before it begins goes on past midnight."""

    days: frozenset[int]
    """0 is Monday; a stretch past midnight belongs to the day that it began on."""
    begins: int
    """Minutes after midnight."""
    ends: int

    def holds(self, moment: datetime) -> bool:
        """Does it contain this moment?"""
        minute, day = moment.hour * 60 + moment.minute, moment.weekday()
        if self.begins < self.ends:
            return day in self.days and self.begins <= minute < self.ends
        return (day in self.days and minute >= self.begins) or (
            (day - 1) % 7 in self.days and minute < self.ends
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the daemon is told."""

    interpreters: tuple[Interpreter, ...] = (Interpreter(),)
    idle: Thresholds = field(default_factory=Thresholds)
    hours: tuple[Hours, ...] = ()
    """When it may measure; empty: always."""
    exclude: tuple[str, ...] = ()
    """Programs during which nothing is measured, by the name that the kernel knows them by."""
    daily_cpu_seconds: float | None = 3600.0
    job_seconds: float = 120.0
    """Budget of one calibration or check."""
    memory_bytes: int | None = None
    """Physical memory that one job may hold; None: a quarter of what there is."""
    recheck_days: float = 30.0
    """Age from which an entry is checked again."""
    calibrate: bool = True
    """Measure the whole catalogue on a machine without a profile; else only what programs ask for."""
    store: str | None = None
    """URL of the cluster's store; None: the one that `autotune pull` would take."""
    pull_seconds: float = 3600.0
    group: str | None = None
    """Users of this group may give orders, beside root and the daemon's own user."""
    metrics: str | None = None
    """Prometheus text file to keep; None: in the state folder."""


def load(path: Path) -> Settings:
    """The settings in a file; the default ones if there is no such file.

    Raises UsageError with the place and what is expected there.
    """
    try:
        data = _bytes(path)
        found = Settings() if data is None else settings(parse(data))
    except ProfileError as problem:
        raise UsageError(f"{path}: {problem.reason}") from None
    except OSError as problem:
        raise UsageError(f"{path} cannot be read: {problem.strerror or problem}.") from None
    return found if found.store is not None else replace(found, store=_store(path.with_name("config.yaml")))


def settings(document: Any) -> Settings:
    """The settings in a parsed document. Raises ProfileError for anything that is not expected there."""
    if document is None:
        return Settings()
    values = _known(document, "", Settings)
    found = {
        name: _CHECKS[name](value, name)
        for name, value in values.items()
        if value is not None or name in _NULL
    }
    return Settings(**found)


def _store(shared: Path) -> str | None:
    """The store that this node has anyway: $AUTOTUNE_STORE, else the one in `config.yaml`, whose other faults
    `autotune pull` tells.
    """
    named = os.environ.get("AUTOTUNE_STORE", "").strip()
    if named:
        return named
    try:
        document = parse(_bytes(shared) or b"")
    except (ProfileError, OSError):
        return None
    store = document.get("store") if isinstance(document, dict) else None
    return store if isinstance(store, str) else None


def _bytes(path: Path) -> bytes | None:
    """Read a settings file, if there is one. It names programs to run: no one else may have written it."""
    try:
        return read_file(path, _RULE).data
    except FileNotFoundError:
        return None
    except UntrustedFile as error:
        raise ProfileError(error.reason) from None


def _known(value: Any, where: str, noun: type) -> Mapping[str, Any]:
    names = {item.name for item in fields(noun)}
    found = value_checks.mapping(value, where or "the document")
    unknown = sorted(found.keys() - names)
    if unknown:
        raise ProfileError(
            f"{where}{'.' if where else ''}{unknown[0]}: there is no such setting; the known ones "
            f"are {', '.join(sorted(names))}."
        )
    return found


def _interpreter(value: Any, where: str) -> Interpreter:
    found = _known(value, where, Interpreter)
    python = value_checks.field(found, "python", where, value_checks.text)
    if not Path(python).is_absolute():
        raise value_checks.wrong(f"{where}.python", "an absolute path", python)
    pairs = value_checks.field(found, "environment", where, value_checks.mapping, {})
    for name, text in pairs.items():
        if not _VARIABLE.fullmatch(name):
            raise value_checks.wrong(f"{where}.environment", "names of environment variables", name)
        value_checks.text(text, f"{where}.environment.{name}")
    return Interpreter(python=python, environment=tuple(sorted(pairs.items())))


def _interpreters(value: Any, where: str) -> tuple[Interpreter, ...]:
    found = tuple(dict.fromkeys(value_checks.list_of(_interpreter)(value, where)))
    if not found:
        raise value_checks.wrong(where, "at least one interpreter", value)
    return found


def _idle(value: Any, where: str) -> Thresholds:
    found = _known(value, where, Thresholds)
    limits = Thresholds(
        **{
            name: value_checks.number(0.0, inclusive=False)(each, f"{where}.{name}")
            for name, each in found.items()
        }
    )
    if limits.stop_above <= limits.start_below:
        raise value_checks.wrong(
            f"{where}.stop_above", f"more than start_below ({limits.start_below:g})", limits.stop_above
        )
    return limits


def hours(value: Any, where: str) -> Hours:
    """A stretch such as `22:00-06:00` or `sat,sun 00:00-24:00`."""
    match = _SPAN.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is not None:
        days = match["days"].lower().split(",") if match["days"] else _DAYS
        begins, ends = _minutes(match["from"]), _minutes(match["to"])
        if set(days) <= set(_DAYS) and begins is not None and ends is not None and begins != ends:
            return Hours(days=frozenset(map(_DAYS.index, days)), begins=begins, ends=ends)
    raise value_checks.wrong(where, 'a time such as "22:00-06:00" or "sat,sun 00:00-24:00"', value)


def _minutes(text: str) -> int | None:
    hour, minute = int(text[:2]), int(text[3:])
    return hour * 60 + minute if minute < 60 and hour * 60 + minute <= 24 * 60 else None


def _program(value: Any, where: str) -> str:
    text = value_checks.text(value, where)
    if not _PROGRAM.fullmatch(text):
        raise value_checks.wrong(where, "the name of a program, without a folder", value)
    return text


def _absolute(value: Any, where: str) -> str | None:
    if value is not None and not Path(value_checks.text(value, where)).is_absolute():
        raise value_checks.wrong(where, "an absolute path", value)
    return value  # type: ignore[no-any-return]  # it is text


def _each(check: value_checks.Check) -> value_checks.Check:
    return lambda value, where: tuple(value_checks.list_of(check)(value, where))


def _or_none(check: value_checks.Check) -> value_checks.Check:
    return lambda value, where: None if value is None else check(value, where)


_CHECKS: Mapping[str, value_checks.Check] = {
    "interpreters": _interpreters,
    "idle": _idle,
    "hours": _each(hours),
    "exclude": _each(_program),
    "daily_cpu_seconds": _or_none(value_checks.number(0.0)),
    "job_seconds": value_checks.number(5.0),
    "memory_bytes": _or_none(value_checks.whole(2**26, 2**63)),
    "recheck_days": value_checks.number(0.0, inclusive=False),
    "calibrate": value_checks.truth,
    "store": _or_none(value_checks.text),
    "pull_seconds": value_checks.number(10.0),
    "group": _or_none(value_checks.text),
    "metrics": _absolute,
}
_NULL = {"daily_cpu_seconds", "memory_bytes", "store", "group", "metrics"}
"""Settings that may be switched off by `null`."""
