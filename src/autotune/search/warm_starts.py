"""Warm starts from earlier profiles. Pure; a suggestion is measured and proved like any candidate."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from math import log
from typing import Any

from autotune.model.catalogue import CATALOGUE, Family
from autotune.model.configuration import DEFAULT, Configuration
from autotune.model.entry import Entry, Status
from autotune.model.interpolation import choose
from autotune.model.operation import Operation
from autotune.model.profile import Key, Profile
from autotune.profiles.profile_document import decode_profile, encode_profile

SUGGESTIONS = 3
"""For each size: a warm start should cost few trials."""
FULL = 0.9
"""Share of the CPUs above which a configuration was meant to use all of them."""


def warm_starts(profiles: Iterable[Profile]) -> list[Profile]:
    """Return what other profiles teach: their proved choices, and the other configurations measured with them.

    Of another size, dtype, allocation or machine; of the key only the number of CPUs matters.
    """
    taught = [
        Profile(
            key=Key(usable_cpus=profile.key.usable_cpus),
            entries=tuple(one for one in profile.entries if one.status is not Status.NOISY and _teaches(one)),
        )
        for profile in profiles
    ]
    return [one for one in taught if one.entries]


def encode_warm_starts(known: Sequence[Profile]) -> tuple[Any, ...]:
    """Return warm starts as JSON, for `--resume`: they decide what is tried."""
    return tuple(map(encode_profile, known))


def decode_warm_starts(documents: Sequence[Any]) -> list[Profile]:
    """Read the JSON of `encode_warm_starts`."""
    return [decode_profile(one) for one in documents]


def suggestions(known: Sequence[Profile], operation: Operation, usable_cpus: int) -> list[Configuration]:
    """Configurations to try first, the likeliest first; at most SUGGESTIONS different ones.

    `known` are the warm starts, of the nearest kin first. The same operation comes before another of its family, of it
    the same dtype. Operations of one family share their knobs; a user's function has no relatives but itself.
    """
    own = (
        chosen
        for profile in known
        for group in _groups(profile.entries, operation)
        for chosen in _carried(group, operation, profile.key.usable_cpus, usable_cpus)
    )
    return list(islice(dict.fromkeys([*own, *_of_relatives(known, operation, usable_cpus)]), SUGGESTIONS))


def proved(known: Sequence[Profile], operation: Operation, usable_cpus: int) -> list[Configuration]:
    """Return choices proved elsewhere for this operation, dtype and size, moved to so many CPUs."""
    return [
        moved
        for profile in known
        for one in profile.entries
        if one.status is Status.TUNED and one.operation == operation
        for moved in _moved(one.choice, profile.key.usable_cpus, usable_cpus)
    ]


def _teaches(entry: Entry) -> bool:
    return entry.status is Status.TUNED or bool(entry.alternatives)


def _groups(entries: Sequence[Entry], operation: Operation) -> Iterator[list[Entry]]:
    """The entries of the same operation, dtype by dtype, the operation's own first."""
    own = [
        one
        for one in entries
        if one.operation.name == operation.name and one.operation.size.keys() == operation.size.keys()
    ]
    for dtype in sorted({one.operation.dtype for one in own}, key=lambda dtype: dtype != operation.dtype):
        yield [one for one in own if one.operation.dtype == dtype]


def _carried(
    entries: Sequence[Entry], operation: Operation, theirs: int, ours: int
) -> Iterator[Configuration]:
    """From sizes measured with `theirs` CPUs to a size with `ours`.

    First what the rule says for the size if only what fits our CPUs is looked at, then what it says at all, then
    the choices of the nearest sizes.
    """
    for candidates in ([_within(one, ours) for one in entries], entries):
        found = choose(candidates, operation)
        if found is not None and not found.choice.is_default:
            yield from _moved(found.choice, theirs, ours)
    tuned = [one for one in entries if one.status is Status.TUNED]
    for one in sorted(tuned, key=lambda one: _distance(one.operation, operation)):
        yield from _moved(one.choice, theirs, ours)


def _within(entry: Entry, usable_cpus: int) -> Entry:
    """An entry without what needs more CPUs; if its choice does, with the best other configuration."""
    others = tuple(one for one in entry.alternatives if one.choice.cpus <= usable_cpus)
    if entry.choice.cpus <= usable_cpus:
        return replace(entry, alternatives=others)
    if not others:
        return replace(entry, status=Status.DEFAULT_KEPT, choice=DEFAULT, alternatives=())
    best = max(others, key=lambda one: one.speedup)
    evidence = replace(entry.evidence, speedup=best.speedup)
    return replace(entry, choice=best.choice, evidence=evidence, alternatives=others)


def _moved(chosen: Configuration, theirs: int, ours: int) -> Iterator[Configuration]:
    """From `theirs` CPUs to `ours`, on as many CPUs and on the same share of them.

    The optimum follows the work per thread, but some work fills whatever there is. Of two counts either stays as
    nearly as it can if none of the CPUs is to be left over.
    """
    for wanted in (chosen.cpus, round(chosen.cpus * ours / theirs)):
        total = max(1, ours if FULL * ours < wanted else wanted)
        if chosen.workers is None:
            yield replace(
                chosen,
                blas_threads=_scaled(chosen.blas_threads, total / chosen.cpus),
                openmp_threads=_scaled(chosen.openmp_threads, total / chosen.cpus),
            )
        elif chosen.blas_threads is None:
            yield replace(chosen, workers=total)
        else:
            for blas in (chosen.blas_threads, total / chosen.workers):
                part = _divisor(total, blas)
                yield replace(chosen, blas_threads=part, workers=total // part)


def _scaled(threads: int | None, factor: float) -> int | None:
    return None if threads is None else max(1, round(threads * factor))


def _divisor(total: int, wanted: float) -> int:
    """The divisor of `total` that is nearest by its logarithm."""
    divisors = (count for count in range(1, total + 1) if total % count == 0)
    return min(divisors, key=lambda count: (abs(log(count / wanted)), count))


def _of_relatives(
    known: Sequence[Profile], operation: Operation, usable_cpus: int
) -> Iterator[Configuration]:
    """Return choices proved for other operations of the family, nearest amount of work first."""
    row = CATALOGUE.get(operation.name)
    if row is None or row.family is Family.USER:
        return
    related = [
        (
            abs(log(other.work_of(one.operation) / row.work_of(operation))),
            str(one.operation),
            profile.key.usable_cpus,
            one.choice,
        )
        for profile in known
        for one in profile.entries
        if one.status is Status.TUNED
        and one.operation.name != operation.name
        and (other := CATALOGUE.get(one.operation.name)) is not None
        and other.family is row.family
    ]
    for _, _, theirs, chosen in sorted(related, key=lambda one: one[:2]):
        yield from _moved(chosen, theirs, usable_cpus)


def _distance(one: Operation, other: Operation) -> tuple[float, str]:
    sizes = other.size
    return sum(abs(log(value / sizes[name])) for name, value in one.sizes), str(one)
