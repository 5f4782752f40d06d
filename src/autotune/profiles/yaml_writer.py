"""A profile as YAML for people: its origin on top, entries grouped by operation, one field or group a line.

Equal profiles give equal bytes. Numbers keep six significant digits, more than any measurement has.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from autotune.model.profile import SCHEMA_URL, Profile
from autotune.profiles.profile_document import encode_profile
from autotune.profiles.yaml_subset import MAX_TEXT

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_+-]*")
_NOT_TEXT = {"true", "false", "null", "yes", "no", "on", "off"}
"""Words that some YAML reader takes for something else."""


def text_of(profile: Profile) -> str:
    document = encode_profile(profile)
    lines = [f"# yaml-language-server: $schema={SCHEMA_URL}", *(f"# {line}" for line in _comment(profile))]
    lines.append(f"schema: {document['schema']}")
    lines += ["key:", *(f"  {name}: {_flow(part)}" for name, part in document["key"].items())]
    if document["provenance"]:
        lines += ["provenance:", *(f"  {name}: {_flow(value)}" for name, value in document["provenance"].items())]
    lines += [f"{name}: {_flow(document[name])}" for name in ("blas_wait", "loops_after_blas") if name in document]
    lines.append("operations:" if document["operations"] else "operations: {}")
    for name, dtypes in document["operations"].items():
        lines.append(f"  {name}:")
        for dtype, entries in dtypes.items():
            lines.append(f"    {dtype}:")
            for entry in entries:
                lines += _entry(entry)
    return "\n".join(lines) + "\n"


def _comment(profile: Profile) -> Iterator[str]:
    key, made = profile.key, profile.provenance
    software = " ".join(part for part in (key.software.blas, key.software.blas_version) if part)
    machine = made.cpu or key.hardware.vendor or "an unknown CPU"
    tuned = sum(not entry.choice.is_default for entry in profile.entries)
    yield _one_line(f"Profile of {machine}: {key.usable_cpus} usable CPUs, {software or 'no BLAS found'}.")
    if made.autotune or made.created:
        day = re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", made.created or "")
        when = f" on {day[0]}" if day else ""
        version = f" {made.autotune}" if made.autotune else ""
        yield _one_line(f"Measured by autotune{version}{when} with `autotune calibrate`.")
    yield f"{tuned} of {len(profile.entries)} entries are not NumPy's default. Speed-up: default / tuned time."
    if any(entry.evidence.hosts is not None for entry in profile.entries):
        yield "A copy of what the cluster's store says: `autotune store pull` replaces it, and edits with it."
    else:
        yield "Safe to edit and to commit. The format is described in docs/profile-format.md."


def _one_line(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)


def _entry(entry: Mapping[str, Any]) -> Iterator[str]:
    lead = "      - "
    for name, value in entry.items():
        yield f"{lead}{name}: {_flow(value)}"
        lead = "        "


def _flow(value: Any) -> str:
    """Return a value on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_scalar(name)}: {_flow(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    return _scalar(value)


def _scalar(value: str | float | bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, int):
        return str(value)
    text = value if len(value) <= MAX_TEXT else value[: MAX_TEXT - 1] + "…"
    if _PLAIN.fullmatch(text) and text.lower() not in _NOT_TEXT:
        return text
    return '"' + "".join(map(_escape, text)) + '"'


def _number(value: float) -> str:
    """Write a float with a point before its exponent, which YAML 1.1 asks of a number."""
    digits, mark, exponent = f"{value:.6g}".partition("e")
    return f"{digits if '.' in digits else digits + '.0'}{mark}{exponent}"


def _escape(character: str) -> str:
    """Write YAML's escapes for what a reader must not see raw; half a surrogate pair cannot be written at all."""
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    code = ord(character)
    if 0xD800 <= code <= 0xDFFF:
        return "\N{REPLACEMENT CHARACTER}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
