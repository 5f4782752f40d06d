"""Options and arguments that several verbs share: sizes, times, the entries that are meant, the store."""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from itertools import product
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import click

from autotune.errors import BadBudget, BadSize
from autotune.model.catalogue import ALIASES, Kind, Sizes, row_of
from autotune.model.constraints import LARGEST_SIZE
from autotune.model.operation import DTYPES, Operation
from autotune.model.record import Record

if TYPE_CHECKING:
    from autotune.bench.user_workload import UserWorkload
    from autotune.model.profile import Profile

MOST_COMBINATIONS = 1000
LONGEST_SECONDS = 30 * 24 * 3600.0
_SPAN = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m(?:in)?)?(?:(\d+(?:\.\d+)?)s?)?", re.ASCII)

FILE = click.Path(path_type=Path, dir_okay=False)
PRESENT_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)

store_option = click.option(
    "--store",
    metavar="URL",
    help="A folder, or s3://, gs://, https:// ...; else $AUTOTUNE_STORE, else `store:` in config.yaml.",
)


dtype_option = click.option("--dtype", type=click.Choice(DTYPES), default=DTYPES[0], show_default=True)


def workload_option(text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make the option that names a function of the user's, which a fresh process describes."""

    def describe(ctx: click.Context, _: click.Parameter, source: str | None) -> "UserWorkload | None":
        from autotune.bench.process_bench import inspect_workload

        return None if source is None or ctx.resilient_parsing else inspect_workload(source)

    return click.option("--workload", metavar="FILE.py:FUNCTION", callback=describe, help=text)


class Selection(Record, kw_only=True):
    """The entries that a command line selects: of these operations, all if none is named, and of these sizes."""

    files: tuple[Path, ...] = ()
    """Profiles that are named, instead of those in force."""
    names: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    """The sizes as they are written."""
    sizes: Mapping[str, tuple[int, ...]]

    @classmethod
    def parse(cls, words: Iterable[str], *, most_files: int | None = 1) -> Self:
        """Separate files, which come first unless any number is allowed, names and sizes. Raises BadSize."""
        names, texts = split_words(words)
        # Path's is_file raises for a name that is too long, and for a folder that is closed
        files = [name for name in names[:most_files] if name.endswith((".yaml", ".yml")) or os.path.isfile(name)]  # noqa: PTH113
        return cls(
            files=tuple(map(Path, files)),
            names=tuple(name for name in names if name not in files),
            texts=tuple(texts),
            sizes=parse_size_lists(texts),
        )

    def contains(self, operation: Operation) -> bool:
        """Is the operation of one of the names and sizes? `n` stands for sizes that are left out, as in all verbs."""
        own = operation.size
        names = {ALIASES.get(name, name) for name in self.names}
        if (names and operation.name not in names) or not self.sizes.keys() <= {*own, "n"}:
            return False
        row = row_of(operation.name)
        defaults = {} if row is None else row.defaults
        for name, value in own.items():
            values = self.sizes.get(name) or (self.sizes.get("n") if name not in defaults else None)
            if values and value not in values:
                return False
        return True

    def narrow(self, profile: "Profile") -> "Profile":
        """Keep the entries that are meant."""
        return profile.replace(entries=tuple(entry for entry in profile.entries if self.contains(entry.operation)))


def split_words(words: Iterable[str]) -> tuple[list[str], list[str]]:
    """Separate arguments into names and sizes, which have an equals sign."""
    words = list(words)
    return [word for word in words if "=" not in word], [word for word in words if "=" in word]


def parse_sizes(texts: Iterable[str], kind: Kind) -> tuple[Sizes, ...]:
    """Parse words such as `m=100,200 n=5` into the product of all their values, in order.

    A value is a whole number, also written 1_000_000 or 1e6. Sizes left out are filled in as the catalogue says. Raises
    BadSize, with the word that is wrong.
    """
    values = parse_size_lists(texts)
    if prod(map(len, values.values())) > MOST_COMBINATIONS:
        raise BadSize(f"These sizes are more than {MOST_COMBINATIONS} combinations; give fewer values.")
    combinations = (dict(zip(values, each, strict=True)) for each in product(*values.values()))
    return tuple(kind.complete(combination) for combination in combinations) if values else ()


def parse_size(texts: Iterable[str]) -> dict[str, int]:
    """Parse words such as `rows=100` that give one value to each size. Raises BadSize."""
    values = parse_size_lists(texts)
    several = [name for name, numbers in values.items() if len(numbers) > 1]
    if several:
        raise BadSize(f"Size {several[0]} has several values; give one.")
    return {name: numbers[0] for name, numbers in values.items()}


def parse_size_lists(texts: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Parse words such as `m=100,200 n=5` into the values of each size. Raises BadSize."""
    values: dict[str, tuple[int, ...]] = {}
    for word in (word for text in texts for word in text.split()):
        name, equals, numbers = word.partition("=")
        if not (name and equals and numbers):
            raise BadSize(f"Size {word!r} is not of the form n=1000 or n=1000,4000.")
        if name in values:
            raise BadSize(f"Size {name} is given twice; write its values as one list, {name}=1000,4000.")
        values[name] = tuple(dict.fromkeys(_whole_number(number, word) for number in numbers.split(",")))
    return values


def _whole_number(text: str, word: str) -> int:
    """Parse a positive whole number exactly: 1e6 is one, 1.5e0 and 1e400 are not."""
    if len(text) <= 40 and re.fullmatch(r"\d[\d_]*(\.\d+)?([eE]\+?\d{1,2})?", text, re.ASCII):
        from fractions import Fraction  # takes 5 ms to load

        value = Fraction(text.replace("_", ""))
        if value.denominator == 1 and 1 <= value <= LARGEST_SIZE:
            return int(value)
    raise BadSize(f"Size {word!r}: {text!r} is not a whole number from 1 to {LARGEST_SIZE}.")


def parse_duration(text: str) -> float:
    """Parse `90s`, `5m`, `1h30m` or `300` into seconds.

    Raises BadBudget for any other text, for zero, and for more than 30 days.
    """
    parts = _SPAN.fullmatch(text.strip().lower())
    if not parts or not any(parts.groups()):
        raise BadBudget(f"{text!r} is not a time. Write it as 90s, 5m, 1h30m, or in seconds: 300.")
    hours, minutes, seconds = (float(part or 0) for part in parts.groups())
    total = hours * 3600 + minutes * 60 + seconds
    if not 0 < total <= LONGEST_SECONDS:
        raise BadBudget(f"The time {text!r} is not allowed: it must be more than zero and at most 30 days.")
    return total
