"""The daemon's state as one JSON file, replaced as a whole, and believed only where every value is valid."""

import json
from dataclasses import fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from autotune.daemon.state import DaemonState
from autotune.errors import UntrustedFile, UsageError
from autotune.host.trusted_files import FileRule, read_file, replace_file
from autotune.model.catalogue import CATALOGUE, operation
from autotune.model.operation import Operation

FORMAT = 2
MAX_BYTES = 2**22
MAX_NUMBER = 2e19
"""Arithmetic with times, counts and inode numbers up to it cannot overflow."""


def load_state(path: Path) -> tuple[DaemonState, str | None]:
    """Read the state. Return an empty one and a sentence if the file cannot be used."""
    try:
        return _state_of(json.loads(read_file(path, FileRule(MAX_BYTES)).data)), None
    except FileNotFoundError:
        return DaemonState(), None
    except UntrustedFile as error:
        return DaemonState(), f"{error} The daemon starts without its former state."
    except (OSError, ValueError, RecursionError) as error:
        return DaemonState(), f"{path} cannot be used: {error}. The daemon starts without its former state."


def save_state(path: Path, state: DaemonState) -> None:
    """Write the state. Raises OSError, with the old file untouched."""
    document = {"format": FORMAT, **encode(state)}
    replace_file(path, json.dumps(document, separators=(",", ":")).encode())


def _state_of(document: Any) -> DaemonState:
    if not isinstance(document, dict) or document.pop("format", None) != FORMAT:
        raise ValueError("it is of another version")
    state: DaemonState = decode(DaemonState, document)
    return state


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


def decode(kind: Any, value: Any, where: str = "the document") -> Any:
    """Turn a JSON document into values of this type. Raises ValueError that names what is wrong."""
    origin, arguments = get_origin(kind), get_args(kind)
    if isinstance(kind, UnionType):
        return _decode_union(arguments, value, where)
    if kind is Operation:
        return _decode_operation(value, where)
    if is_dataclass(kind):
        return _decode_dataclass(kind, value, where)
    if origin is tuple and isinstance(value, list):
        return tuple(decode(arguments[0], item, where) for item in value)
    if origin is dict and isinstance(value, dict) and (arguments[0] is str or not value):
        return {key: decode(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if origin is dict and isinstance(value, list) and all(_is_pair(item) for item in value):
        return {decode(arguments[0], key, where): decode(arguments[1], item, where) for key, item in value}
    if isinstance(kind, type) and issubclass(kind, StrEnum) and value in list(kind):
        return kind(value)
    if kind in {int, float} and type(value) in {int, kind} and abs(value) <= MAX_NUMBER:
        return kind(value)
    if kind in {str, bool} and type(value) is kind:
        return value
    raise ValueError(f"{where} is not valid")


def _decode_union(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and NoneType in kinds:
        return None
    exact = [kind for kind in kinds if type(value) is kind]
    return decode(exact[0] if exact else kinds[0], value, where)


def _decode_dataclass(kind: Any, value: Any, where: str) -> Any:
    types = get_type_hints(kind)
    if not isinstance(value, dict) or not value.keys() <= types.keys():
        raise ValueError(f"{where} is not valid")
    try:
        return kind(**{name: decode(types[name], item, f"{where}.{name}") for name, item in value.items()})
    except TypeError:
        raise ValueError(f"{where} is not complete") from None


def _decode_operation(value: Any, where: str) -> Operation:
    """Return an operation that this version can measure; without sizes it stands for all sizes of its ladder."""
    try:
        name, dtype, sizes = value["operation"], value["dtype"], value["sizes"]
        complete = operation(name, dtype=dtype, **(sizes or {"n": 1}))
    except (TypeError, KeyError, UsageError):
        raise ValueError(f"{where} has an operation that cannot be measured") from None
    if name not in CATALOGUE or sizes not in ({}, complete.size):
        raise ValueError(f"{where} has an operation that cannot be measured")
    return complete if sizes else Operation(name=name, dtype=dtype)


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2
