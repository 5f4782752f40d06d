"""The document of a profile: the fields of its data types, with the entries grouped by operation and dtype.

Fields that are not known are ignored, so that a later minor version may add some, except in a configuration.
"""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any

from autotune.errors import BadDocument, ProfileError
from autotune.model.catalogue import row_of
from autotune.model.codec import decode, encode, mismatch
from autotune.model.constraints import Name, Parsed
from autotune.model.entry import Entry, decode_entry, encode_entry
from autotune.model.operation import Dtype
from autotune.model.profile import SCHEMA, Profile

_Groups = dict[Name, dict[Dtype, tuple[Any, ...]]]


def decode_profile(document: Any) -> Profile:
    """Return the profile that a plain document holds. Raises ProfileError for the first thing that is wrong."""
    try:
        top: dict[str, Any] = decode(dict[str, Any], document, "the profile")
        _check_schema(decode(int, _require(top, "schema"), "schema"))
        _require(top, "key")
        return decode(Profile, top, entries=tuple(_decode_operations(_require(top, "operations"))))
    except BadDocument as error:
        raise ProfileError(str(error)) from None


def encode_profile(profile: Profile) -> dict[str, Any]:
    """Return the plain document of a profile, unknowns left out, entries grouped by operation and dtype."""
    operations: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for entry in sorted(profile.entries, key=entry_order):
        group = operations.setdefault(entry.operation.name, {}).setdefault(entry.operation.dtype, [])
        group.append(encode_entry(entry))
    document = {"key": {}, "provenance": {}, **encode(profile, omit=frozenset({"entries"}))}
    # the parts of a key are stated even where nothing is known, and its defaults too
    document["key"] = {"hardware": {}, "software": {}, "usable_cpus": 1, "limit": "none", **document["key"]}
    return {"schema": SCHEMA, **document, "operations": operations}


ProfileDocument = Annotated[Profile, Parsed(decode_profile, "a profile", format=encode_profile)]
"""A profile in another document. Decoding it may raise ProfileError."""


def entry_order(entry: Entry) -> tuple[str, str, tuple[tuple[str, int], ...]]:
    """Return the key to sort entries by: name, dtype, sizes."""
    return entry.operation.name, entry.operation.dtype, entry.operation.sizes


def _check_schema(major: int) -> None:
    if major != SCHEMA:
        remedy = (
            "a newer autotune; update this one."
            if major > SCHEMA
            else "an older autotune, whose format is no longer read; measure again with `autotune calibrate`."
        )
        raise BadDocument(f"expected {SCHEMA}, found {major}: it was written by {remedy}", "schema")


def _require(document: dict[str, Any], name: str) -> Any:
    if document.get(name) is None:
        raise BadDocument("it is missing.", name)
    return document[name]


def _decode_operations(document: Any) -> Iterator[Entry]:
    groups: _Groups = decode(_Groups, document, "operations")
    for name, dtypes in groups.items():
        for dtype, rows in dtypes.items():
            yield from _decode_rows(rows, name, dtype, f"operations.{name}.{dtype}")


def _decode_rows(rows: Iterable[Any], name: str, dtype: str, where: str) -> Iterator[Entry]:
    kind, operations = row_of(name), set()
    for number, row in enumerate(rows):
        entry = decode_entry(row, name, dtype, f"{where}[{number}]")
        if kind is not None and entry.operation.size.keys() != set(kind.size_names):
            expected = f"the sizes {', '.join(kind.size_names)}"
            raise BadDocument(mismatch(expected, entry.operation.size), f"{where}[{number}].sizes")
        if entry.operation in operations:
            raise BadDocument(f"{entry.operation} stands twice.", f"{where}[{number}].sizes")
        operations.add(entry.operation)
        yield entry
