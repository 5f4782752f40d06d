"""What a value of a document may be: every check returns the value, or says what is expected in its place.

A check takes the value and where it stands, such as `key.hardware.family`, and raises ProfileError.
"""

import re
import sys
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, TypeVar

from autotune.errors import ProfileError
from autotune.model.constraints import NAME

Check = Callable[[Any, str], Any]
_E = TypeVar("_E", bound=StrEnum)

_REQUIRED = object()
LARGEST = sys.float_info.max
"""Of the numbers with a point. JSON knows integers of any length, which no float holds."""


def field(document: Mapping[str, Any], name: str, at: str, check: Check, default: Any = _REQUIRED) -> Any:
    """One field, checked. A field that is absent or null has its default, if it has one."""
    value = document.get(name)
    where = f"{at}.{name}" if at else name
    if value is None:
        if default is _REQUIRED:
            raise ProfileError(f"{where}: it is missing.")
        return default
    return check(value, where)


def each(document: Mapping[str, Any], at: str, check: Check, *names: str) -> dict[str, Any]:
    """Several fields of one kind by their names, None for those that are absent."""
    return {name: field(document, name, at, check, None) for name in names}


def wrong(where: str, expected: str, found: Any) -> ProfileError:
    """The error for a value that is not what is expected there."""
    shown = "nothing" if found is None else repr(found)
    return ProfileError(f"{where}: expected {expected}, found {shown[:80]}.")


def mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise wrong(where, "a mapping of names to values", value)
    return value


def items(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise wrong(where, "a list", value)
    return value


def list_of(check: Check) -> Check:
    """A list, every item of which passes the check."""

    def checked(value: Any, where: str) -> list[Any]:
        return [check(item, f"{where}[{number}]") for number, item in enumerate(items(value, where))]

    return checked


def text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise wrong(where, "text (numbers such as versions in quotes)", value)
    return value


def name(value: str, where: str) -> str:
    """The name of an operation or a size, which is a key of the document."""
    if re.fullmatch(NAME, value) is None:
        raise wrong(where[:120], f"a name like {NAME}", value)
    return value


def truth(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise wrong(where, "true or false", value)
    return value


def whole(low: int, high: int) -> Check:
    """A whole number from `low` to `high`; 1.0 and true are none."""

    def checked(value: Any, where: str) -> int:
        if type(value) is not int or not low <= value <= high:
            raise wrong(where, f"a whole number from {low} to {high}", value)
        return value

    return checked


def number(low: float, high: float = LARGEST, *, inclusive: bool = True) -> Check:
    """Return a check for a finite number of at least `low`, or above it, and at most `high`."""
    bound = f"{'of at least' if inclusive else 'above'} {low:g}" + f" and at most {high:g}" * (high < LARGEST)

    def checked(value: Any, where: str) -> float:
        if (
            type(value) not in {int, float}
            or not low <= value <= high  # neither is NaN, nor an integer too long for a float
            or (value == low and not inclusive)
        ):
            raise wrong(where, f"a number {bound}", value)
        return float(value)

    return checked


def one_of(enum: type[_E]) -> Callable[[Any, str], _E]:
    """A value of the enumeration, by its text."""
    known = {str(item): item for item in enum}

    def checked(value: Any, where: str) -> _E:
        if not isinstance(value, str) or value not in known:
            raise wrong(where, f"one of {', '.join(known)}", value)
        return known[value]

    return checked
