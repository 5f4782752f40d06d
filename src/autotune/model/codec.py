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
from types import MappingProxyType, NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from autotune.errors import BadDocument
from autotune.model.constraints import MAX_INTEGER, Ascending, AsMapping, Bounds, NonEmpty, Parsed, Pattern, Unique
from autotune.model.record import REQUIRED, Record

_T = TypeVar("_T")
_Decoder = Callable[[Any], Any]
_Encoder = Callable[[Any], Any]
_MAX_FLOAT = sys.float_info.max
_F = TypeVar("_F", bound=Callable[..., Any])


def _cache_by_type(function: _F) -> _F:
    """Cache a function of annotations, which are hashable although their types do not say so."""
    return cast(_F, cache(function))


def decode(kind: type[_T] | Any, document: Any, where: str = "", **given: Any) -> _T:
    """Convert a document to a value of this type: a dataclass, or any annotation that a field may have.

    `where` is the place of the document in a larger one, for error messages; `given` are fields of a dataclass that do
    not stand in the document. Raises BadDocument for the first value that is not what is expected; it names its place,
    the expectation and the value.
    """
    try:
        value: _T = _dataclass_decoder(kind, frozenset(given))(document, given) if given else _decoder(kind)(document)
    except BadDocument as error:
        raise _within(where, error) from None
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


def _within(outer: str, error: BadDocument) -> BadDocument:
    """Return the error of a value with the name of what holds it before its place."""
    dot = "." if outer and error.where and not error.where.startswith("[") else ""
    return BadDocument(error.reason, f"{outer}{dot}{error.where}"[:200])


@_cache_by_type
def _decoder(kind: Any) -> _Decoder:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        decoder: _Decoder | None = None
        for constraint in arguments[1:]:
            decoder = _constraint_decoder(arguments[0], constraint, decoder)
        return decoder or _decoder(arguments[0])
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
        return _dataclass_decoder(kind, frozenset())
    return _SIMPLE[kind]


def _constraint_decoder(kind: Any, constraint: Any, decoder: _Decoder | None) -> _Decoder:
    """Return a decoder of values that a constraint allows, over that of the constraints before it."""
    match constraint:
        case Bounds() if kind is int:
            low, high = int(constraint.low), int(constraint.high or MAX_INTEGER)
            return _checking_decoder(
                lambda value: type(value) is int and low <= value <= high, f"a whole number from {low} to {high}"
            )
        case Bounds():
            return _number_decoder(constraint)
        case Pattern():
            pattern = re.compile(constraint.pattern)
            return _checking_decoder(
                lambda value: type(value) is str and pattern.fullmatch(value) is not None,
                constraint.expected or f"a name like {constraint.pattern}",
            )
        case Parsed():
            return _parsed_decoder(constraint)
        case AsMapping():
            decode_mapping = _mapping_decoder(*get_args(get_args(kind)[0]))
            return lambda value: tuple(decode_mapping(value).items())
    return _rule_decoder(decoder or _decoder(kind), *_RULES[type(constraint)])


def _checking_decoder(accepts: Callable[[Any], bool], expected: str, convert: _Decoder | None = None) -> _Decoder:
    def decode_checked(value: Any) -> Any:
        if not accepts(value):
            raise BadDocument(mismatch(expected, value))
        return value if convert is None else convert(value)

    return decode_checked


def _rule_decoder(decoder: _Decoder, expected: str, holds: Callable[[Any, Any], bool]) -> _Decoder:
    """Return a decoder of values that keep a rule, which is given the document and the value."""

    def decode_ruled(document: Any) -> Any:
        value = decoder(document)
        if not holds(document, value):
            raise BadDocument(mismatch(expected, document))
        return value

    return decode_ruled


_RULES: dict[type, tuple[str, Callable[[Any, Any], bool]]] = {
    Ascending: ("two numbers, the lower one first", lambda _, value: value[0] <= value[1]),
    Unique: ("a list without equal items", lambda _, value: len(set(value)) == len(value)),
    NonEmpty: ("at least one of its fields", lambda _, value: value != type(value)()),
}


def _union_decoder(kinds: tuple[Any, ...]) -> _Decoder:
    present = [kind for kind in kinds if kind is not NoneType]
    decoders = {kind: _decoder(kind) for kind in present}
    first = decoders[present[0]]

    def decode_union(value: Any) -> Any:
        if value is None and NoneType in kinds:
            return None
        return decoders.get(type(value), first)(value)

    return decode_union


_SIMPLE: dict[Any, _Decoder] = {
    int: _checking_decoder(lambda value: type(value) is int and abs(value) <= MAX_INTEGER, "a whole number"),
    # neither NaN, nor an integer that is too long for a float
    float: _checking_decoder(
        lambda value: type(value) in {int, float} and -_MAX_FLOAT <= value <= _MAX_FLOAT, "a number", float
    ),
    str: _checking_decoder(lambda value: type(value) is str, "text (numbers such as versions in quotes)"),
    bool: _checking_decoder(lambda value: type(value) is bool, "true or false"),
    Any: lambda value: value,
}


def _number_decoder(bounds: Bounds) -> _Decoder:
    low, high, above = bounds.low, bounds.high or _MAX_FLOAT, bounds.above
    limit = "" if bounds.high is None else f" and at most {high:g}"
    return _checking_decoder(
        lambda value: type(value) in {int, float} and low <= value <= high and not (above and value == low),
        f"a number {'above' if above else 'of at least'} {low:g}{limit}",
        float,
    )


def _parsed_decoder(constraint: Parsed) -> _Decoder:
    def decode_parsed(value: Any) -> Any:
        try:
            return constraint.parse(value)
        except (TypeError, ValueError):
            raise BadDocument(mismatch(constraint.expected, value)) from None

    return decode_parsed


def _choice_decoder(choices: Mapping[str, Any]) -> _Decoder:
    return _checking_decoder(
        lambda value: type(value) is str and value in choices, f"one of {', '.join(choices)}", choices.__getitem__
    )


def _tuple_decoder(kinds: tuple[Any, ...]) -> _Decoder:
    length = None if kinds[1:] == (Ellipsis,) else len(kinds)
    decoders = [_decoder(kind) for kind in kinds if kind is not Ellipsis]

    def decode_tuple(value: Any) -> tuple[Any, ...]:
        if type(value) is not list or length not in {None, len(value)}:
            raise BadDocument(mismatch("a list" if length is None else f"a list of {length} items", value))
        items = []
        for number, item in enumerate(value):
            try:
                items.append(decoders[0 if length is None else number](item))
            except BadDocument as error:
                raise _within(f"[{number}]", error) from None
        return tuple(items)

    return decode_tuple


def _mapping_decoder(key: Any, kind: Any) -> _Decoder:
    decode_key, decode_item = _decoder(key), _decoder(kind)
    base = get_args(key)[0] if get_origin(key) is Annotated else key
    has_text_keys = base is str or get_origin(base) is Literal

    def decode_mapping(value: Any) -> dict[Any, Any]:
        if has_text_keys and type(value) is not dict:
            raise BadDocument(mismatch("a mapping of names to values", value))
        is_list = type(value) is list and all(type(pair) is list and len(pair) == 2 for pair in value)
        if not has_text_keys and not is_list:
            raise BadDocument(mismatch("a list of pairs", value))
        items = {}
        for name, item in value.items() if has_text_keys else value:
            try:
                items[decode_key(name)] = decode_item(item)
            except BadDocument as error:
                raise _within(str(name)[:80], error) from None
        return items

    return decode_mapping


@_cache_by_type
def _dataclass_decoder(kind: Any, given_names: frozenset[str]) -> Callable[..., Any]:
    types = annotations(kind)
    decoders = {name: _decoder(types[name]) for name in types if name not in given_names}
    required = [name for name, default in defaults(kind).items() if default is REQUIRED and name not in given_names]
    optional = {name for name in decoders if NoneType in get_args(types[name])}
    strict = is_strict(kind)

    def decode_dataclass(value: Any, given: Mapping[str, Any] = MappingProxyType({})) -> Any:
        if type(value) is not dict:
            raise BadDocument(mismatch("a mapping of names to values", value))
        arguments = dict(given)
        for name, item in value.items():
            decoder = decoders.get(name)
            if decoder is None:
                if strict:
                    raise BadDocument(f"there is no such field; the fields are {', '.join(decoders)}.", str(name)[:80])
                continue
            if item is None:
                if name in optional:
                    arguments[name] = None
                continue
            try:
                arguments[name] = decoder(item)
            except BadDocument as error:
                raise _within(name, error) from None
        for name in required:
            if name not in arguments:
                raise BadDocument("it is missing.", name)
        try:
            return kind(**arguments)
        except BadDocument:  # of a check in __post_init__
            raise
        except ValueError as error:
            raise BadDocument(str(error)) from None

    return decode_dataclass


@_cache_by_type
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
    if origin is tuple and arguments[1:] == (Ellipsis,):
        encoder = _encoder(arguments[0])
        return lambda value: [encoder(item) for item in value]
    if origin is tuple:
        parts = [_encoder(kind) for kind in arguments]
        return lambda value: [encoder(item) for encoder, item in zip(parts, value, strict=True)]
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


@_cache_by_type
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
