"""JSON Schema of data types, from their annotations, constraints and docstrings.

Rules that JSON Schema cannot state (`Ascending`) are in the descriptions.
"""

import ast
import inspect
import sys
from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from itertools import pairwise
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from autotune.model.codec import annotations, defaults, encode, is_data_type, is_strict
from autotune.model.constraints import Ascending, AsMapping, Bounds, NonEmpty, Parsed, Pattern, Unique
from autotune.model.record import REQUIRED

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SIMPLE = {int: "integer", float: "number", str: "string", bool: "boolean"}

Schema = dict[str, Any]


class Schemas:
    """The schemas of several types, where each type is defined once and referred to."""

    def __init__(self) -> None:
        self.definitions: dict[str, Schema] = {}
        """For `$defs`, by class name."""

    def object(
        self, kind: type, *, omit: frozenset[str] = frozenset(), more: Mapping[str, Schema] | None = None
    ) -> Schema:
        """Return the schema of a dataclass, without some fields, and with more that its document has."""
        types, texts = annotations(kind), field_texts(kind)
        properties: dict[str, Schema] = dict(more or {})
        required = [*properties]
        for name, default in defaults(kind).items():
            if name in omit:
                continue
            schema = self.value(types[name])
            if default is REQUIRED:
                required.append(name)
            else:
                schema = _with_null(schema) | _default(default)
            if name in texts:
                schema["description"] = texts[name]
            properties[name] = schema
        return {
            "type": "object",
            "description": inspect.cleandoc(kind.__doc__ or ""),
            "properties": properties,
            **({"required": required} if required else {}),
            **({"additionalProperties": False} if is_strict(kind) else {}),
        }

    def value(self, kind: Any) -> Schema:
        """Return the schema of a value by its annotation."""
        origin, arguments = get_origin(kind), get_args(kind)
        if origin is Annotated:
            schema = self.value(arguments[0])
            for constraint in arguments[1:]:
                schema = self._constrained(schema, constraint, arguments[0])
            return schema
        if origin in {UnionType, Union}:
            schemas = [self.value(kind) for kind in arguments if kind is not NoneType]
            schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
            return _with_null(schema) if NoneType in arguments else schema
        if origin is Literal:
            return {"type": "string", "enum": list(arguments)}
        if origin is tuple:
            return self._list(arguments)
        if origin in {dict, Mapping}:
            return {"type": "object", "additionalProperties": self.value(arguments[1])}
        if is_data_type(kind) or (isinstance(kind, type) and issubclass(kind, StrEnum)):
            return self._reference(kind)
        return {"type": _SIMPLE[kind]}

    def _reference(self, kind: Any) -> Schema:
        if kind.__name__ not in self.definitions:
            self.definitions[kind.__name__] = {}  # in case it refers to itself
            is_enumeration = issubclass(kind, StrEnum)
            self.definitions[kind.__name__] = _enumeration(kind) if is_enumeration else self.object(kind)
        return {"$ref": f"#/$defs/{kind.__name__}"}

    def _list(self, kinds: tuple[Any, ...]) -> Schema:
        if len(kinds) == 2 and kinds[1] is Ellipsis:
            return {"type": "array", "items": self.value(kinds[0])}
        items = [self.value(kind) for kind in kinds]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}

    def _constrained(self, schema: Schema, constraint: Any, kind: Any) -> Schema:
        match constraint:
            case Bounds(low, high, above):
                bounds: Schema = {"exclusiveMinimum" if above else "minimum": int(low) if kind is int else low}
                return {**schema, **bounds, **({} if high is None else {"maximum": high})}
            case Pattern(pattern):
                return {**schema, "pattern": f"^{pattern}$"}
            case Parsed():
                return dict(constraint.schema)
            case AsMapping():
                name, value = get_args(get_args(kind)[0])
                names = {} if name is str else {"propertyNames": self.value(name)}
                return {"type": "object", **names, "additionalProperties": self.value(value)}
            case NonEmpty():
                return {**schema, "minProperties": 1}
            case Unique():
                return {**schema, "uniqueItems": True}
            case Ascending():
                return schema
        raise TypeError(f"{constraint} is no constraint.")


@cache
def field_texts(kind: type) -> Mapping[str, str]:
    """Return the docstrings that follow the fields of a dataclass, or the members of an enumeration."""
    tree = ast.parse(inspect.getsource(sys.modules[kind.__module__]))
    body = next(node.body for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == kind.__name__)
    texts = {}
    for statement, following in pairwise(body):
        target = getattr(statement, "target", None) or next(iter(getattr(statement, "targets", ())), None)
        if isinstance(target, ast.Name) and isinstance(following, ast.Expr):
            text = following.value.value if isinstance(following.value, ast.Constant) else None
            if isinstance(text, str):
                texts[target.id] = " ".join(text.split())
    return texts


def _enumeration(kind: type[StrEnum]) -> Schema:
    texts = field_texts(kind)
    members = [f"`{item}`: {texts[item.name].rstrip('.')}" for item in kind if item.name in texts]
    description = "; ".join([inspect.cleandoc(kind.__doc__ or "").rstrip("."), *members])
    return {"type": "string", "description": f"{description}.", "enum": [str(item) for item in kind]}


def _with_null(schema: Schema) -> Schema:
    """Return the schema of the same or null, which stands for the default."""
    if "anyOf" in schema and {"type": "null"} in schema["anyOf"]:
        return dict(schema)
    if "type" in schema and "enum" not in schema:
        types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        return {**schema, "type": [*dict.fromkeys([*types, "null"])]}
    return {"anyOf": [schema, {"type": "null"}]}


def _default(value: Any) -> Schema:
    plain = encode(value) if is_data_type(type(value)) else str(value) if isinstance(value, StrEnum) else value
    return {} if plain in (None, (), {}) else {"default": plain}
