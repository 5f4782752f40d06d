"""The document of an entry, apart from that of a profile: a look-up loads no more than this."""

from typing import Any

from autotune.errors import BadDocument
from autotune.model.codec import decode, decode_fields, encode, mismatch
from autotune.model.entry import Entry, Status
from autotune.model.operation import Operation

_IN_PLACE = frozenset({"operation"})
"""Fields of an entry that its place in the document says: the operation's name, its dtype and `sizes`."""


def encode_entry(entry: Entry) -> dict[str, Any]:
    """Return the document of an entry in its place below the name and dtype of its operation."""
    return {"sizes": entry.operation.size, **encode(entry, omit=_IN_PLACE)}


def decode_entry(document: Any, name: str, dtype: str, where: str = "") -> Entry:
    """Return the entry in a document below the name and dtype of its operation. Raises BadDocument."""
    operation: Operation = decode_fields(Operation, _sizes_of(document, where), where, name=name, dtype=dtype)
    entry: Entry = decode_fields(Entry, document, where, operation=operation)
    if (entry.status is Status.TUNED) == entry.choice.is_default:
        expected = "a configuration" if entry.status is Status.TUNED else "nothing"
        text = mismatch(f"{expected} with status {entry.status}", document.get("choice"))
        raise BadDocument(text, f"{where}.choice")
    return entry


def _sizes_of(document: Any, where: str) -> dict[str, Any]:
    """Return the part of an entry's document that belongs to its operation."""
    fields: dict[str, Any] = decode(dict[str, Any], document, where)
    if fields.get("sizes") is None:
        raise BadDocument("it is missing.", f"{where}.sizes" if where else "sizes")
    return {"sizes": fields["sizes"]}
