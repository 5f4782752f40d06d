"""Typed values as JSON values, and back. Every value is checked against the types of the dataclasses."""

from dataclasses import fields, is_dataclass
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from autotune.errors import BadDocument
from autotune.model.operation import Operation

MAX_NUMBER = 2e19
"""Arithmetic with times, counts and inode numbers up to it cannot overflow."""

_NOUNS: dict[Any, str] = {
    str: "text (numbers such as versions in quotes)",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    tuple: "a list",
    dict: "a mapping of names to values",
}


def wrong(where: str, expected: str, value: object) -> BadDocument:
    """Return the error for a value that is not what is expected in its place."""
    shown = "nothing" if value is None else repr(value)[:80]
    return BadDocument(f"{where or 'the document'}: expected {expected}, found {shown}.")


def check(valid: object, where: str, expected: str, value: object) -> None:
    """Check a value of a document. Raises BadDocument."""
    if not valid:
        raise wrong(where, expected, value)


def encode(value: Any) -> Any:
    """Turn typed values into values that JSON can hold."""
    match value:
        case Operation():
            return {"operation": value.name, "dtype": value.dtype, "sizes": value.size}
        case dict() if any(not isinstance(key, str) for key in value):
            return [[encode(key), encode(item)] for key, item in value.items()]
        case dict():
            return {key: encode(item) for key, item in value.items()}
        case tuple():
            return [encode(item) for item in value]
        case _ if is_dataclass(value):
            return {item.name: encode(getattr(value, item.name)) for item in fields(value)}
    return value


def decode(kind: Any, value: Any, where: str = "") -> Any:
    """Turn JSON values into values of this type. `where` is their place in the document.

    Types are dataclasses, Operation, tuple[X, ...], dict[K, X], X | None, StrEnum, str, int, float and bool. A type
    with a method `from_text` is read from text. Raises BadDocument.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if isinstance(kind, UnionType):
        exact = [each for each in arguments if type(value) is each]
        return None if value is None else decode((exact or arguments)[0], value, where)
    if kind is Operation:
        return _decode_operation(value, where)
    if hasattr(kind, "from_text"):
        return kind.from_text(value, where)
    if is_dataclass(kind):
        return _decode_dataclass(kind, value, where)
    if origin is tuple and isinstance(value, list):
        return tuple(decode(arguments[0], item, f"{where}[{number}]") for number, item in enumerate(value))
    if origin is dict and isinstance(value, dict) and (arguments[0] is str or not value):
        return {key: decode(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if origin is dict and arguments[0] is not str and _is_list_of_pairs(value):
        return {decode(arguments[0], key, where): decode(arguments[1], item, where) for key, item in value}
    if isinstance(kind, type) and issubclass(kind, StrEnum) and value in list(kind):
        return kind(value)
    if kind in {int, float} and type(value) in {int, kind} and abs(value) <= MAX_NUMBER:
        return kind(value)
    if kind in {str, bool} and type(value) is kind:
        return value
    raise wrong(where, _NOUNS.get(origin or kind, "another value"), value)


def _decode_dataclass(kind: Any, value: Any, where: str) -> Any:
    """Decode each field. One that is null, and may not be, has its default."""
    if not isinstance(value, dict):
        raise wrong(where, _NOUNS[dict], value)
    types, prefix = _types(kind), f"{where}." if where else ""
    unknown = sorted(value.keys() - types.keys())
    if unknown:
        raise BadDocument(
            f"{prefix}{unknown[0]}: there is no such name; the known ones are {', '.join(sorted(types))}."
        )
    arguments = {
        name: decode(types[name], item, f"{prefix}{name}")
        for name, item in value.items()
        if item is not None or NoneType in get_args(types[name])
    }
    try:
        return kind(**arguments)
    except TypeError:
        missing = ", ".join(sorted(types.keys() - arguments.keys()))
        raise wrong(where, f"{missing} as well", value) from None
    except BadDocument as error:  # of a check in __post_init__
        raise BadDocument(f"{prefix}{error}") from None


@cache
def _types(kind: type) -> dict[str, Any]:
    types = get_type_hints(kind)
    return {item.name: types[item.name] for item in fields(kind)}


def _decode_operation(value: Any, where: str) -> Operation:
    if not isinstance(value, dict) or value.keys() != {"operation", "dtype", "sizes"}:
        raise wrong(where, "an operation with its dtype and sizes", value)
    name, dtype = (decode(str, value[field], where) for field in ("operation", "dtype"))
    sizes = decode(dict[str, int], value["sizes"], where)
    return Operation(name=name, dtype=dtype, sizes=tuple(sizes.items()))


def _is_list_of_pairs(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, list) and len(item) == 2 for item in value)
