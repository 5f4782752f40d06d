"""The document of a profile: the fields of its data types, with the entries grouped by operation and dtype.

Fields that are not known are ignored, so that a later minor version may add some, except in a configuration.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from autotune.errors import BadDocument, ProfileError
from autotune.model.codec import annotations, decode, encode, mismatch
from autotune.model.constraints import Name
from autotune.model.entry import Entry
from autotune.model.operation import DTYPES
from autotune.model.profile import SCHEMA, Key, Profile, Provenance
from autotune.profiles.entry_document import decode_entry, encode_entry


def decode_profile(document: Any) -> Profile:
    """Return the profile that a plain document holds. Raises ProfileError for the first thing that is wrong."""
    try:
        return _decode_profile(document)
    except BadDocument as error:
        raise ProfileError(str(error)) from None


def encode_profile(profile: Profile) -> dict[str, Any]:
    """Return the plain document of a profile, unknowns left out, entries grouped by operation and dtype."""
    operations: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for entry in sorted(profile.entries, key=entry_order):
        group = operations.setdefault(entry.operation.name, {}).setdefault(entry.operation.dtype, [])
        group.append(encode_entry(entry))
    key = encode(profile.key)
    document = {
        "schema": SCHEMA,
        # the parts of a key are stated even where nothing is known, and its defaults too
        "key": {"hardware": {}, "software": {}, "usable_cpus": 1, "limit": "none", **key},
        "provenance": encode(profile.provenance),
        "blas_wait": profile.blas_wait,
        "loops_after_blas": dict(profile.loops_after_blas) or None,
        "operations": operations,
    }
    return {name: value for name, value in document.items() if value is not None}


def entry_order(entry: Entry) -> tuple[str, str, tuple[tuple[str, int], ...]]:
    """Return the key to sort entries by: name, dtype, sizes."""
    return entry.operation.name, entry.operation.dtype, entry.operation.sizes


def _decode_profile(document: Any) -> Profile:
    top: dict[str, Any] = decode(dict[str, Any], document, "the profile")
    _require(top, "schema")
    major: int = decode(int, top["schema"], "schema")
    if major != SCHEMA:
        remedy = (
            "a newer autotune; update this one."
            if major > SCHEMA
            else "an older autotune, whose format is no longer read; measure again with `autotune calibrate`."
        )
        raise BadDocument(f"expected {SCHEMA}, found {major}: it was written by {remedy}", "schema")
    _require(top, "key", "operations")
    provenance, loops = top.get("provenance"), top.get("loops_after_blas")
    types = annotations(Profile)
    return Profile(
        key=decode(Key, top["key"], "key"),
        entries=tuple(_decode_operations(top["operations"])),
        provenance=decode(Provenance, {} if provenance is None else provenance, "provenance"),
        blas_wait=decode(types["blas_wait"], top.get("blas_wait"), "blas_wait"),
        loops_after_blas=decode(types["loops_after_blas"], {} if loops is None else loops, "loops_after_blas"),
    )


def _require(document: dict[str, Any], *names: str) -> None:
    for name in names:
        if document.get(name) is None:
            raise BadDocument("it is missing.", name)


def _decode_operations(document: Any) -> Iterator[Entry]:
    groups: dict[str, dict[str, Any]] = decode(dict[Name, dict[str, Any]], document, "operations")
    for name, dtypes in groups.items():
        for dtype, rows in dtypes.items():
            where = f"operations.{name}.{dtype}"
            if dtype not in DTYPES:
                raise BadDocument(mismatch(f"one of {', '.join(DTYPES)}", dtype), where)
            yield from _decode_rows(decode(tuple[Any, ...], rows, where), name, dtype, where)


def _decode_rows(rows: Iterable[Any], name: str, dtype: str, where: str) -> Iterator[Entry]:
    operations = set()
    for number, row in enumerate(rows):
        entry = decode_entry(row, name, dtype, f"{where}[{number}]")
        if entry.operation in operations:
            raise BadDocument(f"{entry.operation} stands twice.", f"{where}[{number}].sizes")
        operations.add(entry.operation)
        yield entry
