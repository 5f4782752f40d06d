"""Constraints on the fields of data types, for `Annotated`: the codec checks them, and the JSON Schemas state them.

Every tuned program imports this file: those without fields are plain classes, which take no time to make.
"""

from collections.abc import Callable
from typing import Annotated, Any

from autotune.model.record import Record

MAX_INTEGER = 2**63 - 1
LARGEST_SIZE = 2**48
"""Elements; more than any computer holds, and exact in a float."""
NAME = "[a-z_][a-z0-9_.]{0,63}"
"""Names of operations, users' functions and sizes: no path, nothing that runs."""


class Bounds(Record):
    """Bounds of a number. Numbers are finite in any case."""

    low: float
    high: float | None = None
    above: bool = False
    """Exclude the lower bound itself."""


class Pattern(Record):
    """Regular expression that the whole text matches."""

    pattern: str
    expected: str | None = None
    """Description for error messages; by default the expression."""


class Ascending:
    """The first of two numbers is not larger than the second."""


class AsMapping:
    """A tuple of pairs that a document holds as a mapping."""


class Unique:
    """A list without equal items."""


class NonEmpty:
    """A data type, of which at least one field differs from its default."""


class Parsed(Record):
    """A value that a document holds in another form."""

    parse: Callable[[Any], Any]
    """Converts the value of the document. Raises ValueError for another one."""
    expected: str
    """Description for error messages."""
    schema: tuple[tuple[str, Any], ...] = (("type", "string"),)
    """Keywords of JSON Schema."""
    format: Callable[[Any], Any] = str
    """Converts back."""


Amount = Annotated[int, Bounds(0, MAX_INTEGER)]
Quantity = Annotated[int, Bounds(1, MAX_INTEGER)]
Seed = Annotated[int, Bounds(-MAX_INTEGER, MAX_INTEGER)]
Count = Annotated[int, Bounds(1, 4096)]
"""Threads or workers."""
Exponent = Annotated[int, Bounds(4, 30)]
"""Of OPENBLAS_THREAD_TIMEOUT (openblas_env.c)."""
SizeValue = Annotated[int, Bounds(1, LARGEST_SIZE)]
Name = Annotated[str, Pattern(NAME)]
Positive = Annotated[float, Bounds(0.0, above=True)]
Share = Annotated[float, Bounds(0.0, 1.0)]
NonNegative = Annotated[float, Bounds(0.0)]
