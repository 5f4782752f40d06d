"""Conversion between data types and plain documents (dicts, lists, texts, numbers), as in JSON and YAML.

The annotations of a Record or frozen dataclass, with the constraints of `autotune.model.constraints`, alone describe
its document: `decode` checks and converts, `encode` converts back, `scripts/json_schema.py` states the same for
others. A field that has its default is left out of a document, and one that is absent has it; so has one that is null
and must not be None. Fields that a type does not have are ignored, so that a later minor version may add some, unless
the type is strict:

    STRICT: ClassVar[bool] = True
"""

import re
import sys
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from autotune.errors import BadDocument
from autotune.model.constraints import (
    MAX_INTEGER,
    Ascending,
    AsMapping,
    Bounds,
    NonEmpty,
    Parsed,
    Pattern,
    Unique,
)
from autotune.model.record import REQUIRED, Record

_T = TypeVar("_T")
_Decoder = Callable[[Any], Any]
_Encoder = Callable[[Any], Any]
_MAX_FLOAT = sys.float_info.max
_F = TypeVar("_F", bound=Callable[..., Any])


def _cached(function: _F) -> _F:
    """Cache a function of annotations, which are hashable although their types do not say so."""
    return cast(_F, cache(function))


class _Mismatch(Exception):
    """The fault of a value; enclosing decoders add the names and numbers that lead to it."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        self.path: list[str | int] = []

    def where(self) -> str:
        text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in reversed(self.path))
        return text.removeprefix(".")


def decode(kind: type[_T] | Any, document: Any, where: str = "") -> _T:
    """Convert a document to a value of this type.

    Parameters
    ----------
    kind
        A dataclass, or any annotation that a field may have.
    document
        Plain values.
    where : str
        Place of the document in a larger one, for error messages.

    Raises
    ------
    BadDocument
        For the first value that is not what is expected; names its place, the expectation and the value.

    """
    try:
        value: _T = _decoder(kind)(document)
    except _Mismatch as error:
        raise _located(error, where) from None
    return value


def decode_fields(kind: type[_T], document: Any, where: str = "", **given: Any) -> _T:
    """Convert a document to a dataclass of which some fields are given and do not stand in the document."""
    try:
        value: _T = _dataclass_decoder(kind, frozenset(given))(document, given)
    except _Mismatch as error:
        raise _located(error, where) from None
    return value


def encode(value: Any, *, omit: frozenset[str] = frozenset()) -> Any:
    """Convert a value to a document. `omit` names fields of a dataclass that are left out."""
    return _dataclass_encoder(type(value), omit)(value) if is_data_type(type(value)) else _encoder(type(value))(value)


def mismatch(expected: str, value: Any) -> str:
    """Say what was expected in the place of a value."""
    return f"expected {expected}, found {'nothing' if value is None else repr(value)[:80]}."


def annotations(kind: type) -> Mapping[str, Any]:
    """Return the annotations of a dataclass, constraints included."""
    if issubclass(kind, Record):
        types = kind.TYPES
    else:
        types = {name: kind.__dataclass_fields__[name].type for name in defaults(kind)}  # type: ignore[attr-defined]
    return get_type_hints(kind, include_extras=True) if any(isinstance(each, str) for each in types.values()) else types


def defaults(kind: Any) -> Mapping[str, Any]:
    """Return the fields of a Record or dataclass with their defaults; REQUIRED for a field that has none."""
    if issubclass(kind, Record):
        return cast("Mapping[str, Any]", kind.FIELDS)
    from dataclasses import MISSING, fields

    values = {
        item.name: item.default if item.default_factory is MISSING else item.default_factory() for item in fields(kind)
    }
    return {name: REQUIRED if value is MISSING else value for name, value in values.items()}


def is_data_type(kind: Any) -> bool:
    """Return whether values of this type are documents of named fields."""
    return isinstance(kind, type) and (issubclass(kind, Record) or hasattr(kind, "__dataclass_fields__"))


def is_strict(kind: type) -> bool:
    """Return whether documents of a type may hold no other fields."""
    return bool(getattr(kind, "STRICT", False))


def _located(error: _Mismatch, where: str) -> BadDocument:
    inner = error.where()
    dot = "." if where and inner and not inner.startswith("[") else ""
    return BadDocument(error.reason, f"{where}{dot}{inner}"[:200])


def _wrong(expected: str, value: Any) -> _Mismatch:
    return _Mismatch(mismatch(expected, value))


def _at(name: str, reason: str) -> _Mismatch:
    """Return the mismatch for a field."""
    error = _Mismatch(reason)
    error.path.append(name)
    return error


@_cached
def _decoder(kind: Any) -> _Decoder:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _constrained(arguments[0], arguments[1:])
    if origin in {UnionType, Union}:
        return _union_decoder(arguments)
    if origin is Literal:
        return _choice_decoder({value: value for value in arguments})
    if origin is tuple:
        return _tuple_decoder(arguments)
    if origin in {dict, Mapping}:
        return _mapping_decoder(*arguments)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return _choice_decoder({str(item): item for item in kind})
    if is_data_type(kind):
        decoder = _dataclass_decoder(kind, frozenset())
        return lambda value: decoder(value, {})
    return _SIMPLE[kind]


def _constrained(kind: Any, constraints: tuple[Any, ...]) -> _Decoder:
    """Return a decoder for `Annotated[kind, *constraints]`."""
    decoder: _Decoder | None = None
    for constraint in constraints:
        match constraint:
            case Bounds() if kind is int:
                decoder = _integer_decoder(int(constraint.low), int(constraint.high or MAX_INTEGER))
            case Bounds():
                decoder = _number_decoder(constraint)
            case Pattern():
                decoder = _text_decoder(constraint)
            case Parsed():
                decoder = _parsed_decoder(constraint)
            case AsMapping():
                decoder = _pairs_decoder(*get_args(get_args(kind)[0]))
            case Ascending() | Unique():
                decoder = _list_decoder(decoder or _decoder(kind), constraint)
            case NonEmpty():
                decoder = _nonempty_decoder(decoder or _decoder(kind))
    return decoder or _decoder(kind)


def _union_decoder(kinds: tuple[Any, ...]) -> _Decoder:
    present = [kind for kind in kinds if kind is not NoneType]
    decoders = {kind: _decoder(kind) for kind in present}
    first = decoders[present[0]]

    def decode_union(value: Any) -> Any:
        if value is None and NoneType in kinds:
            return None
        return decoders.get(type(value), first)(value)

    return decode_union


def _integer(value: Any) -> int:
    if type(value) is not int or abs(value) > MAX_INTEGER:
        raise _wrong("a whole number", value)
    return value


def _number(value: Any) -> float:
    # neither NaN, nor an integer that is too long for a float
    if type(value) not in {int, float} or not -_MAX_FLOAT <= value <= _MAX_FLOAT:
        raise _wrong("a number", value)
    return float(value)


def _text(value: Any) -> str:
    if type(value) is not str:
        raise _wrong("text (numbers such as versions in quotes)", value)
    return value


def _truth(value: Any) -> bool:
    if type(value) is not bool:
        raise _wrong("true or false", value)
    return value


_SIMPLE: dict[Any, _Decoder] = {
    int: _integer,
    float: _number,
    str: _text,
    bool: _truth,
    Any: lambda value: value,
}


def _integer_decoder(low: int, high: int) -> _Decoder:
    def decode_integer(value: Any) -> int:
        if type(value) is not int or not low <= value <= high:
            raise _wrong(f"a whole number from {low} to {high}", value)
        return value

    return decode_integer


def _number_decoder(bounds: Bounds) -> _Decoder:
    low, high, above = bounds.low, bounds.high or _MAX_FLOAT, bounds.above
    limit = "" if bounds.high is None else f" and at most {high:g}"
    expected = f"a number {'above' if above else 'of at least'} {low:g}{limit}"

    def decode_number(value: Any) -> float:
        if type(value) not in {int, float} or not low <= value <= high or (above and value == low):
            raise _wrong(expected, value)
        return float(value)

    return decode_number


def _text_decoder(constraint: Pattern) -> _Decoder:
    pattern = re.compile(constraint.pattern)
    expected = constraint.expected or f"a name like {constraint.pattern}"

    def decode_text(value: Any) -> str:
        if type(value) is not str or pattern.fullmatch(value) is None:
            raise _wrong(expected, value)
        return value

    return decode_text


def _parsed_decoder(constraint: Parsed) -> _Decoder:
    def decode_parsed(value: Any) -> Any:
        try:
            return constraint.parse(value)
        except (TypeError, ValueError):
            raise _wrong(constraint.expected, value) from None

    return decode_parsed


def _choice_decoder(choices: Mapping[str, Any]) -> _Decoder:
    expected = f"one of {', '.join(choices)}"

    def decode_choice(value: Any) -> Any:
        if type(value) is not str or value not in choices:
            raise _wrong(expected, value)
        return choices[value]

    return decode_choice


def _tuple_decoder(kinds: tuple[Any, ...]) -> _Decoder:
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        decoder, length = _decoder(kinds[0]), None
        decoders = None
    else:
        decoders, length = [_decoder(kind) for kind in kinds], len(kinds)

    def decode_tuple(value: Any) -> tuple[Any, ...]:
        if type(value) is not list or length not in {None, len(value)}:
            raise _wrong("a list" if length is None else f"a list of {length} items", value)
        items = []
        for number, item in enumerate(value):
            try:
                items.append((decoder if decoders is None else decoders[number])(item))
            except _Mismatch as error:
                error.path.append(number)
                raise
        return tuple(items)

    return decode_tuple


def _list_decoder(decoder: _Decoder, constraint: Ascending | Unique) -> _Decoder:
    def decode_list(value: Any) -> Any:
        items = decoder(value)
        if isinstance(constraint, Ascending) and items[0] > items[1]:
            raise _wrong("two numbers, the lower one first", value)
        if isinstance(constraint, Unique) and len(set(items)) != len(items):
            raise _wrong("a list without equal items", value)
        return items

    return decode_list


def _nonempty_decoder(decoder: _Decoder) -> _Decoder:
    def decode_nonempty(value: Any) -> Any:
        if value == {}:
            raise _wrong("at least one of its fields", value)
        return decoder(value)

    return decode_nonempty


def _pairs_decoder(key: Any, kind: Any) -> _Decoder:
    decoder = _mapping_decoder(key, kind)
    return lambda value: tuple(decoder(value).items())


def _mapping_decoder(key: Any, kind: Any) -> _Decoder:
    decode_key, decode_item = _decoder(key), _decoder(kind)
    has_text_keys = key is str or (get_origin(key) is Annotated and get_args(key)[0] is str)

    def decode_mapping(value: Any) -> dict[Any, Any]:
        if has_text_keys and type(value) is not dict:
            raise _wrong("a mapping of names to values", value)
        if not has_text_keys and not (type(value) is list and all(map(_is_pair, value))):
            raise _wrong("a list of pairs", value)
        items = {}
        for name, item in value.items() if has_text_keys else value:
            try:
                items[decode_key(name)] = decode_item(item)
            except _Mismatch as error:
                error.path.append(str(name)[:80])
                raise
        return items

    return decode_mapping


def _is_pair(value: Any) -> bool:
    return type(value) is list and len(value) == 2


@_cached
def _dataclass_decoder(kind: Any, given_names: frozenset[str]) -> Callable[[Any, Mapping[str, Any]], Any]:
    types = annotations(kind)
    decoders = {name: _decoder(types[name]) for name in types if name not in given_names}
    required = [name for name, default in defaults(kind).items() if default is REQUIRED and name not in given_names]
    optional = {name for name in decoders if NoneType in get_args(types[name])}
    strict = is_strict(kind)

    def decode_dataclass(value: Any, given: Mapping[str, Any]) -> Any:
        if type(value) is not dict:
            raise _wrong("a mapping of names to values", value)
        arguments = dict(given)
        for name, item in value.items():
            decoder = decoders.get(name)
            if decoder is None:
                if strict:
                    raise _at(str(name)[:80], f"there is no such field; the fields are {', '.join(decoders)}.")
                continue
            if item is None:
                if name in optional:
                    arguments[name] = None
                continue
            try:
                arguments[name] = decoder(item)
            except _Mismatch as error:
                error.path.append(name)
                raise
        for name in required:
            if name not in arguments:
                raise _at(name, "it is missing.")
        try:
            return kind(**arguments)
        except BadDocument as error:  # of a check in __post_init__
            raise _at(error.where, error.reason) from None
        except ValueError as error:
            raise _Mismatch(str(error)) from None

    return decode_dataclass


@_cached
def _encoder(kind: Any) -> _Encoder:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        for constraint in arguments[1:]:
            if isinstance(constraint, AsMapping):
                return dict
            if isinstance(constraint, Parsed):
                return constraint.format
        return _encoder(arguments[0])
    if origin in {UnionType, Union}:
        encoders = {get_args(kind)[0] if get_origin(kind) is Annotated else kind: _encoder(kind) for kind in arguments}
        present = [kind for kind in arguments if kind is not NoneType]
        return lambda value: None if value is None else encoders.get(type(value), _encoder(present[0]))(value)
    if origin is tuple:
        return _tuple_encoder(arguments)
    if origin in {dict, Mapping}:
        encode_key, encode_item = _encoder(arguments[0]), _encoder(arguments[1])
        if encode_key is _same:
            return lambda value: {name: encode_item(item) for name, item in value.items()}
        return lambda value: [[encode_key(key), encode_item(item)] for key, item in value.items()]
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return str
    if is_data_type(kind):
        return _dataclass_encoder(kind, frozenset())
    return _same


def _same(value: Any) -> Any:
    return value


def _tuple_encoder(kinds: tuple[Any, ...]) -> _Encoder:
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        encoder = _encoder(kinds[0])
        return lambda value: [encoder(item) for item in value]
    encoders = [_encoder(kind) for kind in kinds]
    return lambda value: [encoder(item) for encoder, item in zip(encoders, value, strict=True)]


@_cached
def _dataclass_encoder(kind: Any, omit: frozenset[str]) -> _Encoder:
    types = annotations(kind)
    items = [(name, _encoder(types[name]), default) for name, default in defaults(kind).items() if name not in omit]

    def encode_dataclass(value: Any) -> dict[str, Any]:
        document = {}
        for name, encoder, default in items:
            item = getattr(value, name)
            if item is not default and item != default:
                document[name] = None if item is None else encoder(item)
        return document

    return encode_dataclass
