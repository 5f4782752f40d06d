"""Profile <-> plain dicts and lists, strict about types. The same rules, for others: profile.schema.json.

Unknown fields are ignored, so that a later minor version may add some; an unknown knob is refused, since a
configuration without it would not be what was measured. An error names the field, what is expected there and
what is found. Two rules cannot be said in JSON Schema: no size stands twice in a group, and an interval is in
order.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from enum import StrEnum
from typing import Any, TypeVar

from autotune.errors import ProfileError
from autotune.model.allocation import Limit
from autotune.model.catalogue import LARGEST_SIZE
from autotune.model.configuration import Configuration, Knob, configuration
from autotune.model.machine import Hardware
from autotune.model.operation import DTYPES, NAME, Operation
from autotune.model.profile import SCHEMA, Key, Profile, Provenance
from autotune.model.software import Software
from autotune.model.tuning import Status, Tuning

MAX_COUNT = 4096
"""Threads or workers."""
MAX_NUMBER = 2**63 - 1

_Check = Callable[[Any, str], Any]
_E = TypeVar("_E", bound=StrEnum)


def profile_of(document: Any) -> Profile:
    """The Profile that a parsed document holds. Raises ProfileError for the first thing that is wrong."""
    top = _mapping(document, "the profile")
    major = _field(top, "schema", "", _whole(1, MAX_NUMBER))
    if major > SCHEMA:
        raise ProfileError(
            f"schema: expected {SCHEMA}, found {major}: it was written by a newer autotune; update this one."
        )
    if major < SCHEMA:
        raise ProfileError(f"schema: expected {SCHEMA}, found {major}.")
    return Profile(
        key=_key(_field(top, "key", "", _mapping)),
        tunings=tuple(_tunings(_field(top, "operations", "", _mapping))),
        provenance=_provenance(_field(top, "provenance", "", _mapping, {})),
    )


def document_of(profile: Profile) -> dict[str, Any]:
    """The plain document of a profile, unknowns left out, entries grouped by operation and dtype."""
    operations: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for tuning in sorted(
        profile.tunings, key=lambda t: (t.operation.name, t.operation.dtype, t.operation.sizes)
    ):
        group = operations.setdefault(tuning.operation.name, {}).setdefault(tuning.operation.dtype, [])
        group.append(_entry_of(tuning))
    provenance = _known(profile.provenance)
    if "scrubbed" in provenance:
        provenance["scrubbed"] = list(provenance["scrubbed"])
    return {
        "schema": SCHEMA,
        "key": {
            "hardware": _known(profile.key.hardware),
            "software": _known(profile.key.software),
            "allocation": {"usable_cpus": profile.key.usable_cpus, "limit": str(profile.key.limit)},
        },
        "provenance": provenance,
        "operations": operations,
    }


# --- the parts of a document -----------------------------------------------------------------


def _key(document: Mapping[str, Any]) -> Key:
    hardware = _field(document, "hardware", "key", _mapping)
    software = _field(document, "software", "key", _mapping)
    allocation = _field(document, "allocation", "key", _mapping)
    return Key(
        hardware=Hardware(
            **_each(hardware, "key.hardware", _text, "architecture", "vendor"),
            **_each(
                hardware, "key.hardware", _whole(0, MAX_NUMBER), "family", "model", "l2_bytes", "l3_bytes"
            ),
            **_each(
                hardware,
                "key.hardware",
                _whole(1, MAX_NUMBER),
                "packages",
                "physical_cores",
                "smt",
                "numa_nodes",
            ),
        ),
        software=Software(
            **_each(
                software,
                "key.software",
                _text,
                *("blas", "blas_version", "kernels", "threading", "numpy", "python"),
            ),
            **_each(software, "key.software", _truth, "ilp64"),
        ),
        usable_cpus=_field(allocation, "usable_cpus", "key.allocation", _whole(1, MAX_NUMBER)),
        limit=_field(allocation, "limit", "key.allocation", _one_of(Limit)),
    )


def _provenance(document: Mapping[str, Any]) -> Provenance:
    at = "provenance"
    texts = ("created", "autotune", "host", "cpu", "kernel", "governor", "effort")
    numbers = ("resolution", "capacity", "error_per_rule")
    counts = ("neighbours", "rules_tested")
    return Provenance(
        **_each(document, at, _text, *texts),
        **_each(document, at, _number(0.0), *numbers),
        **_each(document, at, _whole(-MAX_NUMBER, MAX_NUMBER), "seed"),
        **{name: _field(document, name, at, _whole(0, MAX_NUMBER), 0) for name in counts},
        copies=_field(document, "copies", at, _whole(1, MAX_NUMBER), 1),
        scrubbed=tuple(_field(document, "scrubbed", at, _list_of(_text), ())),
    )


def _tunings(operations: Mapping[str, Any]) -> Iterable[Tuning]:
    for name, dtypes in operations.items():
        _name(name, f"operations.{name}")
        for dtype, entries in _mapping(dtypes, f"operations.{name}").items():
            at = f"operations.{name}.{dtype}"
            if dtype not in DTYPES:
                raise _wrong(at, f"one of {', '.join(DTYPES)}", dtype)
            seen = set()
            for number, entry in enumerate(_list(entries, at)):
                tuning = _tuning(_mapping(entry, f"{at}[{number}]"), name, dtype, f"{at}[{number}]")
                if tuning.operation.sizes in seen:
                    raise ProfileError(f"{at}[{number}].sizes: {tuning.operation} stands twice.")
                seen.add(tuning.operation.sizes)
                yield tuning


def _tuning(entry: Mapping[str, Any], name: str, dtype: str, at: str) -> Tuning:
    sizes = _field(entry, "sizes", at, _sizes)
    status = _field(entry, "status", at, _one_of(Status))
    choice = _field(entry, "choice", at, _choice, None)
    if (status is Status.TUNED) != (choice is not None):
        expected = "a configuration" if status is Status.TUNED else "nothing"
        raise _wrong(f"{at}.choice", f"{expected} with status {status}", entry.get("choice"))
    seconds = _field(entry, "seconds", at, _mapping, {})
    evidence = _field(entry, "evidence", at, _mapping, {})
    low, high = _field(entry, "interval", at, _interval, (None, None))
    return Tuning(
        operation=Operation(name=name, dtype=dtype, sizes=sizes),
        status=status,
        reason=_field(entry, "reason", at, _text),
        choice=choice or Configuration(),
        default_seconds=_field(seconds, "default", f"{at}.seconds", _POSITIVE, None),
        tuned_seconds=_field(seconds, "tuned", f"{at}.seconds", _POSITIVE, None),
        ratio=_field(entry, "ratio", at, _POSITIVE, None),
        ratio_low=low,
        ratio_high=high,
        processes=_field(evidence, "processes", f"{at}.evidence", _whole(0, MAX_NUMBER), 0),
        pairs=_field(evidence, "pairs", f"{at}.evidence", _whole(0, MAX_NUMBER), 0),
        default_threads=_field(evidence, "default_threads", f"{at}.evidence", _COUNT, None),
        safe_threads=tuple(_field(evidence, "safe_threads", f"{at}.evidence", _list_of(_COUNT), ())),
        retained_bytes=_field(evidence, "retained_bytes", f"{at}.evidence", _whole(0, MAX_NUMBER), None),
        corners=tuple(_field(entry, "corners", at, _list_of(_corner), ())),
    )


def _entry_of(tuning: Tuning) -> dict[str, Any]:
    seconds = {"default": tuning.default_seconds, "tuned": tuning.tuned_seconds}
    evidence = {
        "processes": tuning.processes or None,
        "pairs": tuning.pairs or None,
        "default_threads": tuning.default_threads,
        "safe_threads": list(tuning.safe_threads) or None,
        "retained_bytes": tuning.retained_bytes,
    }
    interval = [tuning.ratio_low, tuning.ratio_high]
    entry = {
        "sizes": tuning.operation.size,
        "status": str(tuning.status),
        "choice": tuning.choice.as_dict(),
        "ratio": tuning.ratio,
        "interval": None if None in interval else interval,
        "seconds": {name: value for name, value in seconds.items() if value is not None},
        "evidence": {name: value for name, value in evidence.items() if value is not None},
        "corners": [{**corner.as_dict(), "ratio": ratio} for corner, ratio in tuning.corners] or None,
        "reason": tuning.reason,
    }
    return {
        name: value for name, value in entry.items() if value is not None and (value != {} or name == "sizes")
    }


def _known(noun: Any) -> dict[str, Any]:
    """The fields of a noun that say something: neither unknown nor what stands for nothing."""
    pairs = ((item, getattr(noun, item.name)) for item in fields(noun))
    return {item.name: value for item, value in pairs if value is not None and value != item.default}


# --- the types -------------------------------------------------------------------------------


_REQUIRED = object()


def _field(document: Mapping[str, Any], name: str, at: str, check: _Check, default: Any = _REQUIRED) -> Any:
    """One field, checked. A field that is absent or null has its default, if it has one."""
    value = document.get(name)
    where = f"{at}.{name}" if at else name
    if value is None:
        if default is _REQUIRED:
            raise ProfileError(f"{where}: it is missing.")
        return default
    return check(value, where)


def _each(document: Mapping[str, Any], at: str, check: _Check, *names: str) -> dict[str, Any]:
    return {name: _field(document, name, at, check, None) for name in names}


def _wrong(where: str, expected: str, found: Any) -> ProfileError:
    shown = "nothing" if found is None else repr(found)
    return ProfileError(f"{where}: expected {expected}, found {shown[:80]}.")


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(where, "a mapping of names to values", value)
    return value


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise _wrong(where, "a list", value)
    return value


def _list_of(check: _Check) -> _Check:
    def checked(value: Any, where: str) -> list[Any]:
        return [check(item, f"{where}[{number}]") for number, item in enumerate(_list(value, where))]

    return checked


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise _wrong(where, "text (numbers such as versions in quotes)", value)
    return value


def _name(value: str, where: str) -> str:
    if re.fullmatch(NAME, value) is None:
        raise _wrong(where[:120], f"a name like {NAME}", value)
    return value


def _truth(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise _wrong(where, "true or false", value)
    return value


def _whole(low: int, high: int) -> _Check:
    def checked(value: Any, where: str) -> int:
        if type(value) is not int or not low <= value <= high:
            raise _wrong(where, f"a whole number from {low} to {high}", value)
        return value

    return checked


def _number(low: float, *, inclusive: bool = True) -> _Check:
    bound = f"{'of at least' if inclusive else 'above'} {low:g}"

    def checked(value: Any, where: str) -> float:
        if (
            type(value) not in {int, float}
            or not math.isfinite(value)
            or value < low
            or (value == low and not inclusive)
        ):
            raise _wrong(where, f"a number {bound}", value)
        return float(value)

    return checked


def _one_of(enum: type[_E]) -> Callable[[Any, str], _E]:
    known = {str(item): item for item in enum}

    def checked(value: Any, where: str) -> _E:
        if not isinstance(value, str) or value not in known:
            raise _wrong(where, f"one of {', '.join(known)}", value)
        return known[value]

    return checked


def _sizes(value: Any, where: str) -> tuple[tuple[str, int], ...]:
    whole = _whole(1, LARGEST_SIZE)
    return tuple(
        (_name(name, f"{where}.{name}"), whole(size, f"{where}.{name}"))
        for name, size in _mapping(value, where).items()
    )


def _corner(value: Any, where: str) -> tuple[Configuration, float]:
    blas, workers = (
        _field(_mapping(value, where), name, where, _COUNT) for name in ("blas_threads", "workers")
    )
    ratio = _field(_mapping(value, where), "ratio", where, _POSITIVE)
    return Configuration(blas_threads=blas, workers=workers), ratio


def _choice(value: Any, where: str) -> Configuration:
    knobs = {str(knob) for knob in Knob}
    for name, setting in _mapping(value, where).items():
        if name not in knobs:
            raise _wrong(f"{where}.{name}"[:120], f"one of {', '.join(Knob)}", name)
        if name in {Knob.BLAS_THREADS, Knob.WORKERS}:
            _COUNT(setting, f"{where}.{name}")
        elif name == Knob.CHUNK:
            _whole(1, LARGEST_SIZE)(setting, f"{where}.{name}")
        else:
            _text(setting, f"{where}.{name}")
    if not value:
        raise _wrong(where, "at least one knob", value)
    try:
        return configuration(value)
    except ValueError as error:
        raise ProfileError(f"{where}: {error}.") from None


def _interval(value: Any, where: str) -> tuple[float, float]:
    ends = _list_of(_POSITIVE)(value, where)
    if len(ends) != 2 or ends[0] > ends[1]:
        raise _wrong(where, "two numbers, the lower one first", value)
    return ends[0], ends[1]


_COUNT = _whole(1, MAX_COUNT)
_POSITIVE = _number(0.0, inclusive=False)
