"""Warm starts from earlier profiles. Pure; a suggestion is measured and proved like any candidate."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from math import log

from autotune.model.catalogue import CATALOGUE, Family
from autotune.model.configuration import DEFAULT, Configuration
from autotune.model.entry import Entry, Status
from autotune.model.interpolation import choose, size_distance
from autotune.model.operation import Operation
from autotune.model.profile import Key, Profile

SUGGESTIONS = 3
"""For each size: a warm start should cost few trials."""
FULL = 0.9
"""Share of the CPUs above which a configuration was meant to use all of them."""


def warm_starts(profiles: Iterable[Profile]) -> list[Profile]:
    """Return what other profiles teach: their proved choices, and the other configurations measured with them.

    Of another size, dtype, allocation or machine; of the key only the number of CPUs matters.
    """

    def teaches(entry: Entry) -> bool:
        return entry.status is Status.TUNED or (bool(entry.alternatives) and entry.status is not Status.NOISY)

    taught = (
        Profile(key=Key(usable_cpus=each.key.usable_cpus), entries=tuple(filter(teaches, each.entries)))
        for each in profiles
    )
    return [profile for profile in taught if profile.entries]


def suggestions(profiles: Sequence[Profile], operation: Operation, usable_cpus: int) -> list[Configuration]:
    """Return the configurations to try first, the likeliest first; at most SUGGESTIONS different ones.

    `profiles` are the warm starts, of the most similar machines first. The same operation comes before another of its
    family, of it the same dtype. Operations of one family share their knobs; a user's function has only itself.
    """
    own = (
        chosen
        for profile in profiles
        for group in _groups(profile.entries, operation)
        for chosen in _carry(group, operation, profile.key.usable_cpus, usable_cpus)
    )
    return list(islice(dict.fromkeys([*own, *_of_relatives(profiles, operation, usable_cpus)]), SUGGESTIONS))


def choices_proved(profiles: Sequence[Profile], operation: Operation, usable_cpus: int) -> list[Configuration]:
    """Return choices proved elsewhere for this operation, dtype and size, converted to `usable_cpus`."""
    return [
        moved
        for profile in profiles
        for entry in profile.entries
        if entry.status is Status.TUNED and entry.operation == operation
        for moved in _move(entry.choice, profile.key.usable_cpus, usable_cpus)
    ]


def _groups(entries: Sequence[Entry], operation: Operation) -> Iterator[list[Entry]]:
    """Yield the entries of the same operation, dtype by dtype, the operation's own first."""
    own = [
        entry
        for entry in entries
        if entry.operation.name == operation.name and entry.operation.size.keys() == operation.size.keys()
    ]
    for dtype in sorted({entry.operation.dtype for entry in own}, key=lambda each: (each != operation.dtype, each)):
        yield [entry for entry in own if entry.operation.dtype == dtype]


def _carry(entries: Sequence[Entry], operation: Operation, old_cpus: int, new_cpus: int) -> Iterator[Configuration]:
    """Carry choices from sizes measured with `old_cpus` CPUs to a size with `new_cpus`.

    First what the rule says for the size if only what fits the new CPUs is looked at, then what it says at all, then
    the choices of the nearest sizes.
    """
    for candidates in ([_within(entry, new_cpus) for entry in entries], entries):
        entry = choose(candidates, operation)
        if entry is not None and not entry.choice.is_default:
            yield from _move(entry.choice, old_cpus, new_cpus)
    tuned = [entry for entry in entries if entry.status is Status.TUNED]
    nearest = sorted(tuned, key=lambda each: (size_distance(each.operation, operation), str(each.operation)))
    for entry in nearest:
        yield from _move(entry.choice, old_cpus, new_cpus)


def _within(entry: Entry, usable_cpus: int) -> Entry:
    """Return an entry without what needs more CPUs; if its choice does, with the best other configuration."""
    fitting = tuple(way for way in entry.alternatives if way.choice.cpus <= usable_cpus)
    if entry.choice.cpus <= usable_cpus:
        return replace(entry, alternatives=fitting)
    if not fitting:
        return replace(entry, status=Status.DEFAULT_KEPT, choice=DEFAULT, alternatives=())
    best = max(fitting, key=lambda way: way.speedup)
    evidence = replace(entry.evidence, speedup=best.speedup)
    return replace(entry, choice=best.choice, evidence=evidence, alternatives=fitting)


def _move(chosen: Configuration, old_cpus: int, new_cpus: int) -> Iterator[Configuration]:
    """Move a choice from `old_cpus` CPUs to `new_cpus`, on as many CPUs and on the same share of them.

    The optimum follows the work per thread, but some work fills whatever there is. Of two counts either stays as
    nearly as it can if none of the CPUs is to be left over.
    """
    for wanted in (chosen.cpus, round(chosen.cpus * new_cpus / old_cpus)):
        total = max(1, new_cpus if FULL * new_cpus < wanted else wanted)
        if chosen.workers is None:
            yield replace(
                chosen,
                blas_threads=_scale(chosen.blas_threads, total / chosen.cpus),
                openmp_threads=_scale(chosen.openmp_threads, total / chosen.cpus),
            )
        elif chosen.blas_threads is None:
            yield replace(chosen, workers=total)
        else:
            for blas in (chosen.blas_threads, total / chosen.workers):
                part = _divisor(total, blas)
                yield replace(chosen, blas_threads=part, workers=total // part)


def _scale(threads: int | None, factor: float) -> int | None:
    return None if threads is None else max(1, round(threads * factor))


def _divisor(total: int, wanted: float) -> int:
    """Return the divisor of `total` that is nearest by its logarithm."""
    divisors = (count for count in range(1, total + 1) if total % count == 0)
    return min(divisors, key=lambda count: (abs(log(count / wanted)), count))


def _of_relatives(profiles: Sequence[Profile], operation: Operation, usable_cpus: int) -> Iterator[Configuration]:
    """Return choices proved for other operations of the family, nearest amount of work first."""
    row = CATALOGUE.get(operation.name)
    if row is None or row.family is Family.USER:
        return
    related = [
        (
            abs(log(kind.work_of(entry.operation) / row.work_of(operation))),
            str(entry.operation),
            profile.key.usable_cpus,
            entry.choice,
        )
        for profile in profiles
        for entry in profile.entries
        if entry.status is Status.TUNED
        and entry.operation.name != operation.name
        and (kind := CATALOGUE.get(entry.operation.name)) is not None
        and kind.family is row.family
    ]
    for _, _, old_cpus, chosen in sorted(related, key=lambda row: row[:2]):
        yield from _move(chosen, old_cpus, usable_cpus)
