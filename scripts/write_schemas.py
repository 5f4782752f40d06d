"""Writes the JSON Schemas that the package ships, from the data types they describe.

    PYTHONPATH=src python scripts/write_schemas.py

`profile.schema.json`: profiles. A test fails when a schema is not up to date.
"""

import json
from pathlib import Path

from json_schema import DIALECT, Schema, Schemas

import autotune
from autotune.model.codec import annotations
from autotune.model.constraints import NAME
from autotune.model.entry import Entry, Status
from autotune.model.operation import DTYPES, Operation
from autotune.model.profile import SCHEMA, SCHEMA_URL, Key, Profile, Provenance

PACKAGE = Path(autotune.__file__).parent


def schemas() -> dict[Path, Schema]:
    """Return every schema by the path of its file."""
    return {PACKAGE / "profiles" / "profile.schema.json": profile_schema()}


def profile_schema() -> Schema:
    """Return the schema of a profile: the fields of its types, with the entries grouped by operation and dtype."""
    schemas = Schemas()
    sizes = schemas.value(annotations(Operation)["sizes"])
    sizes["description"] = "Every size of the operation by name, in elements; none for a whole command."
    entry = schemas.object(Entry, omit=frozenset({"operation"}), more={"sizes": sizes})
    entry["if"] = {"properties": {"status": {"const": str(Status.TUNED)}}}
    entry["then"] = {"required": ["choice"], "properties": {"choice": {"type": "object"}}}
    entry["else"] = {"properties": {"choice": {"type": "null"}}}
    key, provenance = schemas.value(Key), schemas.value(Provenance)
    waits = schemas.object(Profile, omit=frozenset({"key", "entries", "provenance"}))["properties"]
    return {
        "$schema": DIALECT,
        "$id": SCHEMA_URL,
        "title": "autotune profile",
        "description": (
            "All entries of one machine and allocation. Fields that are not listed are ignored, except in a "
            "configuration. Seconds, bytes and element counts throughout. Three rules cannot be stated here: no sizes "
            "stand twice in a group, the lower end of an interval comes first, and a whole number is written "
            "without a point."
        ),
        "type": "object",
        "required": ["schema", "key", "operations"],
        "properties": {
            "schema": {"const": SCHEMA, "description": "Major version of the format."},
            "key": key,
            "provenance": {"anyOf": [provenance, {"type": "null"}]},
            **waits,
            "operations": {
                "type": "object",
                "description": "Entries by the name of their operation, then by dtype.",
                "propertyNames": {"pattern": f"^{NAME}$"},
                "additionalProperties": {
                    "type": "object",
                    "propertyNames": {"enum": list(DTYPES)},
                    "additionalProperties": {"type": "array", "items": {"$ref": "#/$defs/Entry"}},
                },
            },
        },
        "$defs": {"Entry": entry, **schemas.definitions},
    }


def text_of(schema: Schema) -> str:
    """Return a schema as the text of its file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for path, schema in schemas().items():
        path.write_text(text_of(schema), encoding="utf-8")
        print(path)
