"""What earlier profiles suggest to try first. Pure; a suggestion is measured and proved like anything else."""

from collections.abc import Iterable, Sequence
from itertools import islice
from math import log
from typing import Any

from autotune.model.catalogue import CATALOGUE, Family
from autotune.model.configuration import Configuration, configuration
from autotune.model.operation import Operation
from autotune.model.profile import Profile
from autotune.model.tuning import Status

SUGGESTIONS = 3
"""For each size: a warm start should cost few trials."""

Choice = tuple[Operation, Configuration]
"""A configuration that was proved to be faster than the default somewhere."""


def choices(profiles: Iterable[Profile]) -> list[Choice]:
    """All that was proved, in whatever profiles there are: another size, dtype, allocation or machine."""
    return [
        (one.operation, one.choice)
        for profile in profiles
        for one in profile.tunings
        if one.status is Status.TUNED
    ]


def written(known: Sequence[Choice]) -> list[Any]:
    """Choices as JSON, for whoever resumes: they decide what is tried."""
    return [
        [one.name, one.dtype, [list(size) for size in one.sizes], chosen.as_dict()] for one, chosen in known
    ]


def read_choices(lines: Sequence[Any]) -> list[Choice]:
    """What `written` wrote."""
    return [
        (
            Operation(name=name, dtype=dtype, sizes=tuple((key, value) for key, value in sizes)),
            configuration(knobs),
        )
        for name, dtype, sizes, knobs in lines
    ]


def suggestions(known: Sequence[Choice], operation: Operation) -> list[Configuration]:
    """Choices to try first, the closest relative's first; at most SUGGESTIONS different ones.

    The same operation comes before another of its family, then the nearest size by the logarithms of its
    sizes, and of equal sizes the same dtype. Operations of one family share their knobs; a user's function
    has no relatives but itself.
    """
    related = [choice for choice in known if _related(choice[0], operation)]
    related.sort(key=lambda choice: _distance(choice[0], operation))
    return list(islice(dict.fromkeys(chosen for _, chosen in related), SUGGESTIONS))


def _related(one: Operation, other: Operation) -> bool:
    return one.name == other.name or (_family(one) is not None and _family(one) is _family(other))


def _family(operation: Operation) -> Family | None:
    row = CATALOGUE.get(operation.name)
    return None if row is None else row.family


def _distance(one: Operation, other: Operation) -> tuple[bool, float, bool, str]:
    """Sorts relatives, nearest first; its text puts equals into one order."""
    sizes = other.size
    apart = sum(abs(log(value / sizes[name])) for name, value in one.sizes if name in sizes)
    return one.name != other.name, apart, one.dtype != other.dtype, str(one)
