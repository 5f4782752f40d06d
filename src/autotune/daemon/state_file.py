"""The memory as one small JSON file, replaced whole, so that no kill can tear it, and believed only where every value
is what it should be.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from datetime import date
from pathlib import Path
from typing import Any

from autotune.daemon.budget import Spent
from autotune.daemon.canary import Verdict
from autotune.daemon.remembered import Memory
from autotune.errors import UntrustedFile, UsageError
from autotune.host.trusted_files import FileRule, read_file, replace_file
from autotune.model.catalogue import CATALOGUE, operation

FORMAT = 1
LARGEST_FILE = 2**22
LARGEST_number = 1e15
"""Thirty million years in seconds."""


def load(path: Path) -> tuple[Memory, str | None]:
    """What is remembered, and what is wrong with the file if it is not used: a sentence."""
    try:
        return _memory(json.loads(read_file(path, FileRule(LARGEST_FILE)).data)), None
    except FileNotFoundError:
        return Memory(), None
    except (UntrustedFile, OSError, ValueError, TypeError, KeyError, RecursionError) as problem:
        return Memory(), f"{path} cannot be used ({problem}); the daemon starts without what it knew."


def save(path: Path, memory: Memory) -> None:
    """Write it down. Raises OSError, with the old file untouched."""
    replace_file(path, json.dumps({"format": FORMAT, **asdict(memory)}, separators=(",", ":")).encode())


def _memory(document: Any) -> Memory:
    """Raises ValueError for anything that this version did not write."""
    if not isinstance(document, Mapping) or document.get("format") != FORMAT:
        raise ValueError("it is of another version")
    found = {item.name: document[item.name] for item in fields(Memory) if item.name in document}
    for name, value in found.items():
        if not _SHAPES[name](value):
            raise ValueError(f"{name} is not what it should be")
    if "spent" in found:
        found["spent"] = Spent(found["spent"]["day"], found["spent"]["cpu_seconds"])
    return Memory(**found)


Shape = Callable[[Any], bool]
"""Is a value what it should be?"""


def _number(value: Any) -> bool:
    """A finite one, as times and counts are: arithmetic with it cannot overflow."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST_number


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float)


def _day(value: Any) -> bool:
    try:
        return value == "" or bool(date.fromisoformat(value))
    except (TypeError, ValueError):
        return False


def _is(*types: type) -> Shape:
    return lambda value: isinstance(value, types) and not isinstance(value, bool)


def _row(*shapes: Shape) -> Shape:
    return lambda value: (
        isinstance(value, list)
        and len(value) == len(shapes)
        and all(fits(each) for fits, each in zip(shapes, value, strict=True))
    )


def _about(*more: Shape, all_sizes: bool = False) -> Shape:
    """A row that begins with an operation that this version knows: name, dtype, sizes."""
    return lambda value: (
        isinstance(value, list) and _known(value[:3], all_sizes=all_sizes) and _row(*more)(value[3:])
    )


def _known(asked: list[Any], *, all_sizes: bool) -> bool:
    """Can it be measured? Without sizes, where they may be left out, it is meant at all of its own."""
    try:
        name, dtype, sizes = asked
        whole = operation(name, dtype=dtype, **(sizes or {"n": 1}))
    except (TypeError, ValueError, UsageError):
        return False
    return name in CATALOGUE and (sizes == whole.size or (all_sizes and sizes == {}))


def _list_of(shape: Shape) -> Shape:
    return lambda value: isinstance(value, list) and all(map(shape, value))


def _by_name(shape: Shape) -> Shape:
    return lambda value: isinstance(value, dict) and all(map(shape, value.values()))


def _begun(value: Any) -> bool:
    return value is None or (
        isinstance(value, dict)
        and value.keys() == {"interpreter", "operation", "dtype", "sizes"}
        and _TEXT(value["interpreter"])
        and _known([value[name] for name in ("operation", "dtype", "sizes")], all_sizes=True)
    )


def _spent(value: Any) -> bool:
    return isinstance(value, dict) and _day(value.get("day")) and _number(value.get("cpu_seconds"))


_TEXT = _is(str)
_STAMP = _list_of(_plain)
_FACTS = _by_name(_plain)
_SHAPES: Mapping[str, Shape] = {
    "spent": _spent,
    "paused_until": lambda value: value is None or _number(value),
    "demand": _by_name(_about(_number)),
    "used": _by_name(_about(_number)),
    "faded": _number,
    "attempts": _by_name(_row(_number, _number)),
    "wishes": _list_of(_about(all_sizes=True)),
    "served": _by_name(_list_of(_TEXT)),
    "doubts": _by_name(_about(_TEXT, all_sizes=True)),
    "interrupted": _begun,
    "trials": _by_name(_row(_STAMP, _list_of(lambda each: each in list(Verdict)))),
    "trusted": _by_name(_STAMP),
    "known": _by_name(_FACTS),
    "stale": _by_name(_TEXT),
    "noticed": _by_name(_number),
    "checked": _by_name(_number),
    "counts": _by_name(_number),
    "unpublished": _by_name(_TEXT),
    "pulled": _number,
    "pull_failures": _is(int),
}
