"""Profile <-> plain dicts and lists, strict about types. The same rules, for others: profile.schema.json.

Unknown fields are ignored, so that a later minor version may add some; an unknown knob is refused, since a
configuration without it would not be what was measured. An error names the field, what is expected there and
what is found. Two rules cannot be said in JSON Schema: no size stands twice in a group, and an interval is in
order.
"""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from autotune.errors import ProfileError
from autotune.model.allocation import Limit
from autotune.model.catalogue import LARGEST_SIZE
from autotune.model.configuration import Configuration, Knob, configuration
from autotune.model.entry import Entry, Status
from autotune.model.machine import Hardware
from autotune.model.operation import DTYPES, Operation
from autotune.model.profile import SCHEMA, Key, Profile, Provenance
from autotune.model.software import Software
from autotune.profiles import value_checks
from autotune.profiles.value_checks import each, field

MAX_COUNT = 4096
"""Threads or workers."""
MAX_NUMBER = 2**63 - 1

_COUNT = value_checks.whole(1, MAX_COUNT)
_SIZE = value_checks.whole(1, LARGEST_SIZE)
_AMOUNT = value_checks.whole(0, MAX_NUMBER)
_SOME = value_checks.whole(1, MAX_NUMBER)
_POSITIVE = value_checks.number(0.0, inclusive=False)


def _counts(value: Any, where: str) -> tuple[int, ...]:
    return tuple(value_checks.list_of(_COUNT)(value, where))


_EVIDENCE: Mapping[str, value_checks.Check] = {
    "processes": _AMOUNT,
    "pairs": _AMOUNT,
    "default_threads": _COUNT,
    "safe_threads": _counts,
    "hosts": _SOME,
    "signer": value_checks.text,
    "contested": value_checks.truth,
    "created": value_checks.text,
    "resolution": value_checks.number(0.0),
    "retained_bytes": _AMOUNT,
    "expected_ratio": _POSITIVE,
    "full_capacity_share": value_checks.number(0.0, 1.0),
}
"""Fields of an Entry that stand under `evidence`."""
_KNOBS = frozenset(map(str, Knob))


def profile_of(document: Any) -> Profile:
    """The Profile that a parsed document holds. Raises ProfileError for the first thing that is wrong."""
    top = value_checks.mapping(document, "the profile")
    major = field(top, "schema", "", _SOME)
    if major > SCHEMA:
        raise ProfileError(
            f"schema: expected {SCHEMA}, found {major}: it was written by a newer autotune; update this one."
        )
    if major < SCHEMA:
        raise ProfileError(f"schema: expected {SCHEMA}, found {major}.")
    return Profile(
        key=_key(field(top, "key", "", value_checks.mapping)),
        entries=tuple(_entries(field(top, "operations", "", value_checks.mapping))),
        provenance=_provenance(field(top, "provenance", "", value_checks.mapping, {})),
    )


def document_of(profile: Profile) -> dict[str, Any]:
    """The plain document of a profile, unknowns left out, entries grouped by operation and dtype."""
    operations: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for entry in sorted(
        profile.entries, key=lambda t: (t.operation.name, t.operation.dtype, t.operation.sizes)
    ):
        group = operations.setdefault(entry.operation.name, {}).setdefault(entry.operation.dtype, [])
        group.append(_entry_document(entry))
    provenance = _known(profile.provenance)
    provenance |= {name: list(provenance[name]) for name in ("scrubbed", "marks") if name in provenance}
    return {
        "schema": SCHEMA,
        "key": {
            "hardware": _known(profile.key.hardware),
            "software": _known(profile.key.software),
            "allocation": _allocation_document(profile.key),
        },
        "provenance": provenance,
        "operations": operations,
    }


def _allocation_document(key: Key) -> dict[str, Any]:
    document = {
        "usable_cpus": key.usable_cpus,
        "limit": str(key.limit),
        "cores": key.cores,
        "nodes": key.nodes,
        "kinds": list(key.kinds) or None,
    }
    return {name: value for name, value in document.items() if value is not None}


def _key(document: Mapping[str, Any]) -> Key:
    hardware = field(document, "hardware", "key", value_checks.mapping)
    software = field(document, "software", "key", value_checks.mapping)
    allocation = field(document, "allocation", "key", value_checks.mapping)
    return Key(
        hardware=Hardware(
            **each(hardware, "key.hardware", value_checks.text, "architecture", "vendor"),
            **each(hardware, "key.hardware", _AMOUNT, "family", "model", "l2_bytes", "l3_bytes"),
            **each(hardware, "key.hardware", _SOME, "packages", "physical_cores", "smt", "numa_nodes"),
        ),
        software=Software(
            **each(software, "key.software", value_checks.text, "blas", "blas_version", "kernels"),
            **each(software, "key.software", value_checks.text, "threading", "numpy", "python"),
            **each(software, "key.software", value_checks.truth, "ilp64"),
        ),
        usable_cpus=field(allocation, "usable_cpus", "key.allocation", _SOME),
        limit=field(allocation, "limit", "key.allocation", value_checks.one_of(Limit)),
        kinds=tuple(
            field(allocation, "kinds", "key.allocation", value_checks.list_of(value_checks.text), ())
        ),
        **each(allocation, "key.allocation", _SOME, "cores", "nodes"),
    )


def _provenance(document: Mapping[str, Any]) -> Provenance:
    at = "provenance"
    texts = ("created", "autotune", "host", "cpu", "microarchitecture", "kernel", "governor", "effort")
    numbers = ("resolution", "capacity", "memory_bandwidth", "peak_flops", "error_per_rule")
    counts = ("neighbours", "rules_tested")
    return Provenance(
        **each(document, at, value_checks.text, *texts),
        **each(document, at, value_checks.number(0.0), *numbers),
        **each(document, at, value_checks.whole(-MAX_NUMBER, MAX_NUMBER), "seed"),
        **{name: field(document, name, at, _AMOUNT, 0) for name in counts},
        copies=field(document, "copies", at, _SOME, 1),
        scrubbed=tuple(field(document, "scrubbed", at, value_checks.list_of(value_checks.text), ())),
        marks=tuple(field(document, "marks", at, value_checks.list_of(value_checks.text), ())),
    )


def _entries(operations: Mapping[str, Any]) -> Iterable[Entry]:
    for name, dtypes in operations.items():
        value_checks.name(name, f"operations.{name}")
        for dtype, rows in value_checks.mapping(dtypes, f"operations.{name}").items():
            at = f"operations.{name}.{dtype}"
            if dtype not in DTYPES:
                raise value_checks.wrong(at, f"one of {', '.join(DTYPES)}", dtype)
            seen = set()
            for number, item in enumerate(value_checks.items(rows, at)):
                entry = _entry(value_checks.mapping(item, f"{at}[{number}]"), name, dtype, f"{at}[{number}]")
                if entry.operation.sizes in seen:
                    raise ProfileError(f"{at}[{number}].sizes: {entry.operation} stands twice.")
                seen.add(entry.operation.sizes)
                yield entry


def _entry(document: Mapping[str, Any], name: str, dtype: str, at: str) -> Entry:
    sizes = field(document, "sizes", at, _sizes)
    status = field(document, "status", at, value_checks.one_of(Status))
    choice = field(document, "choice", at, _choice, None)
    if (status is Status.TUNED) != (choice is not None):
        expected = "a configuration" if status is Status.TUNED else "nothing"
        raise value_checks.wrong(f"{at}.choice", f"{expected} with status {status}", document.get("choice"))
    seconds = field(document, "seconds", at, value_checks.mapping, {})
    evidence = field(document, "evidence", at, value_checks.mapping, {})
    low, high = field(document, "interval", at, _interval, (None, None))
    return Entry(
        operation=Operation(name=name, dtype=dtype, sizes=sizes),
        status=status,
        reason=field(document, "reason", at, value_checks.text),
        choice=choice or Configuration(),
        default_seconds=field(seconds, "default", f"{at}.seconds", _POSITIVE, None),
        tuned_seconds=field(seconds, "tuned", f"{at}.seconds", _POSITIVE, None),
        ratio=field(document, "ratio", at, _POSITIVE, None),
        ratio_low=low,
        ratio_high=high,
        alternatives=tuple(field(document, "alternatives", at, value_checks.list_of(_alternative), ())),
        corners=tuple(field(document, "corners", at, value_checks.list_of(_corner), ())),
        **{
            what: check(value, f"{at}.evidence.{what}")
            for what, value in evidence.items()
            if value is not None and (check := _EVIDENCE.get(what)) is not None
        },
    )


def _entry_document(entry: Entry) -> dict[str, Any]:
    seconds = {"default": entry.default_seconds, "tuned": entry.tuned_seconds}
    evidence = {
        "processes": entry.processes or None,
        "pairs": entry.pairs or None,
        "default_threads": entry.default_threads,
        "safe_threads": list(entry.safe_threads) or None,
        "retained_bytes": entry.retained_bytes,
        "expected_ratio": entry.expected_ratio,
        "full_capacity_share": entry.full_capacity_share,
        "hosts": entry.hosts,
        "signer": entry.signer,
        "contested": entry.contested or None,
        "created": entry.created,
        "resolution": entry.resolution,
    }
    interval = [entry.ratio_low, entry.ratio_high]
    document = {
        "sizes": entry.operation.size,
        "status": str(entry.status),
        "choice": entry.choice.as_dict(),
        "ratio": entry.ratio,
        "interval": None if None in interval else interval,
        "seconds": {name: value for name, value in seconds.items() if value is not None},
        "evidence": {name: value for name, value in evidence.items() if value is not None},
        "alternatives": [{"choice": one.as_dict(), "ratio": ratio} for one, ratio in entry.alternatives]
        or None,
        "corners": [{**corner.as_dict(), "ratio": ratio} for corner, ratio in entry.corners] or None,
        "reason": entry.reason,
    }
    return {
        name: value
        for name, value in document.items()
        if value is not None and (value != {} or name == "sizes")
    }


def _known(noun: Any) -> dict[str, Any]:
    """The fields of a noun that say something: neither unknown nor what stands for nothing."""
    pairs = ((item, getattr(noun, item.name)) for item in fields(noun))
    return {item.name: value for item, value in pairs if value is not None and value != item.default}


def _sizes(value: Any, where: str) -> tuple[tuple[str, int], ...]:
    return tuple(
        (value_checks.name(name, f"{where}.{name}"), _SIZE(size, f"{where}.{name}"))
        for name, size in value_checks.mapping(value, where).items()
    )


def _alternative(value: Any, where: str) -> tuple[Configuration, float]:
    alternative = value_checks.mapping(value, where)
    return field(alternative, "choice", where, _choice), field(alternative, "ratio", where, _POSITIVE)


def _corner(value: Any, where: str) -> tuple[Configuration, float]:
    corner = value_checks.mapping(value, where)
    blas, workers = (field(corner, name, where, _COUNT) for name in ("blas_threads", "workers"))
    return Configuration(blas_threads=blas, workers=workers), field(corner, "ratio", where, _POSITIVE)


def _choice(value: Any, where: str) -> Configuration:
    for name, setting in value_checks.mapping(value, where).items():
        if name not in _KNOBS:
            raise value_checks.wrong(f"{where}.{name}"[:120], f"one of {', '.join(Knob)}", name)
        if name in {Knob.BLAS_THREADS, Knob.OPENMP_THREADS, Knob.WORKERS}:
            _COUNT(setting, f"{where}.{name}")
        elif name == Knob.CHUNK:
            _SIZE(setting, f"{where}.{name}")
        else:
            value_checks.text(setting, f"{where}.{name}")
    if not value:
        raise value_checks.wrong(where, "at least one knob", value)
    try:
        return configuration(value)
    except ValueError as error:
        raise ProfileError(f"{where}: {error}.") from None


def _interval(value: Any, where: str) -> tuple[float, float]:
    ends = value_checks.list_of(_POSITIVE)(value, where)
    if len(ends) != 2 or ends[0] > ends[1]:
        raise value_checks.wrong(where, "two numbers, the lower one first", value)
    return ends[0], ends[1]
