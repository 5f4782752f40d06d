"""Sizes as they are written on a command line: `n=1000`, `m=100,200 n=5`."""

import re
from collections.abc import Iterable
from itertools import product
from math import prod

from autotune.errors import BadSize
from autotune.model.catalogue import LARGEST_SIZE, Kind, Sizes

MOST_COMBINATIONS = 1000


def parse_sizes(texts: Iterable[str], kind: Kind) -> tuple[Sizes, ...]:
    """The sizes that words such as `m=100,200 n=5` ask for: the product of all their values, in order.

    A value is a whole number, also written 1_000_000 or 1e6. Sizes left out are filled in as the catalogue
    says. Raises BadSize, with the word that is wrong.
    """
    named = _values(texts)
    if prod(map(len, named.values())) > MOST_COMBINATIONS:
        raise BadSize(f"These sizes are more than {MOST_COMBINATIONS} combinations; give fewer values.")
    combinations = (dict(zip(named, values, strict=True)) for values in product(*named.values()))
    return tuple(kind.filled(combination) for combination in combinations) if named else ()


def parse_size(texts: Iterable[str]) -> dict[str, int]:
    """The one value that each of the words such as `rows=100` gives its size. Raises BadSize."""
    named = _values(texts)
    several = [name for name, values in named.items() if len(values) > 1]
    if several:
        raise BadSize(f"Size {several[0]} has several values; give one.")
    return {name: values[0] for name, values in named.items()}


def _values(texts: Iterable[str]) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for word in (word for text in texts for word in text.split()):
        name, equals, values = word.partition("=")
        if not (name and equals and values):
            raise BadSize(f"Size {word!r} is not of the form n=1000 or n=1000,4000.")
        if name in found:
            raise BadSize(f"Size {name} is given twice; write its values as one list, {name}=1000,4000.")
        found[name] = tuple(dict.fromkeys(_whole(value, word) for value in values.split(",")))
    return found


def _whole(text: str, word: str) -> int:
    """A positive whole number, exact: 1e6 is one, 1.5e0 and 1e400 are not."""
    parts = re.fullmatch(r"(\d[\d_]*)(?:\.(\d+))?(?:[eE]\+?(\d{1,2}))?", text, re.ASCII)
    if parts is not None:
        digits, fraction = parts[1].replace("_", ""), (parts[2] or "").rstrip("0")
        exponent = int(parts[3] or 0)
        if len(fraction) <= exponent and len(digits) <= 20:
            value: int = int(digits + fraction) * 10 ** (exponent - len(fraction))
            if 1 <= value <= LARGEST_SIZE:
                return value
    raise BadSize(f"Size {word!r}: {text!r} is not a whole number from 1 to {LARGEST_SIZE}.")
