"""The entry that covers a size, measured or between measured sizes. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from math import ceil, exp, log

from autotune.model.configuration import DEFAULT, Configuration
from autotune.model.entry import Entry, Evidence, Status
from autotune.model.operation import Operation
from autotune.model.policy import TIE
from autotune.model.record import Record

SAME_TIME = log(1.25)
"""Log-ratio of the times per element at two sizes up to which they count as equal: caches hold neither array then."""


class SafeWay(Record):
    """The evidence on a way of working at one measured size."""

    log_ratio: float
    """Logarithm of its time over the default's."""
    chunk: int | None
    """At which that was."""
    proved: bool


def choose(entries: Sequence[Entry], operation: Operation) -> Entry | None:
    """Return the entry for an operation out of those of its name and dtype; None outside the measured range.

    A measured size has its own. A size in between lies between neighbours: the largest measured sizes that
    are nowhere larger, and the smallest that are nowhere smaller. It may take any way of working (a
    configuration without its chunk) that at every neighbour was proved, or measured to be no slower than the
    default there; of these the one whose time over the default's, between theirs by the logarithm of the
    sizes, is least. The optimum wanders with the size, so that it is often the best at neither neighbour. If
    there is no such way, the default. A size without neighbours on both sides is outside.

    Work on an array, element by element, does not change beyond the caches: above the largest measured size its choice
    holds, if the two largest decided sizes were proved faster in the same way and take as long per element.

    An undecided or noisy entry is no neighbour: it does not cut the interval that decided entries span. A size that was
    measured without a result is chosen for as a size in between, where it has decided neighbours.
    """
    comparable = [entry for entry in entries if entry.operation.size.keys() == operation.size.keys()]
    exact = next((entry for entry in comparable if entry.operation.size == operation.size), None)
    if exact is not None and not exact.is_silent:
        return exact
    settled = [entry for entry in comparable if not entry.is_silent]
    return _choose_between(settled, operation) or _choose_above(settled, operation) or exact


def _choose_between(entries: Sequence[Entry], operation: Operation) -> Entry | None:
    """Choose for a size from decided entries on both sides of it; None without them."""
    nearest = neighbours(entries, operation)
    return _between(nearest, operation) if nearest else None


def neighbours(entries: Sequence[Entry], operation: Operation) -> list[Entry]:
    """Return the neighbours of a size among decided entries, nearest first; none unless they lie on both sides."""
    nearest = sorted(entries, key=lambda entry: (size_distance(entry.operation, operation), str(entry.operation)))
    below = _frontier([entry for entry in nearest if entry.operation.is_within(operation)])
    above = _frontier([entry for entry in nearest if operation.is_within(entry.operation)])
    return [entry for entry in nearest if entry in below or entry in above] if below and above else []


def _choose_above(entries: Sequence[Entry], operation: Operation) -> Entry | None:
    """Choose for an array longer than any measured; None unless the work per element was constant at the end."""
    if operation.size.keys() != {"n"} or len(entries) < 2:
        return None
    from autotune.model.catalogue import OPEN_UPWARDS, row_of  # most programs ask for no size above

    row = row_of(operation.name)
    if row is None or row.family not in OPEN_UPWARDS:
        return None
    smaller, largest = sorted(entries, key=lambda entry: entry.operation.size["n"])[-2:]
    if not largest.operation.is_within(operation) or {smaller.status, largest.status} != {Status.TUNED}:
        return None
    before, after = smaller.evidence.default_seconds, largest.evidence.default_seconds
    if smaller.choice.without_chunk != largest.choice.without_chunk or not before or not after:
        return None
    sizes = smaller.operation.size["n"], largest.operation.size["n"]
    if abs(log((before / sizes[0]) / (after / sizes[1]))) > SAME_TIME:
        return None
    return Entry(
        operation=operation,
        status=Status.TUNED,
        reason=(
            f"Above the largest measured size, n={sizes[1]}: proved there and at n={sizes[0]}, with the same time per "
            "element."
        ),
        choice=largest.choice,
        evidence=Evidence(default_threads=largest.evidence.default_threads, expected_speedup=largest.evidence.speedup),
    )


def adjacent_sizes(operations: Sequence[Operation]) -> Iterator[tuple[Operation, Operation]]:
    """Yield the pairs of sizes, the first nowhere larger than the second, that have no third between them."""
    for small in operations:
        larger = [size for size in operations if size != small and small.is_within(size)]
        yield from (
            (small, size) for size in larger if not any(middle.is_within(size) for middle in larger if middle != size)
        )


def even_chunk(chunk: float, workers: int, whole: int) -> int:
    """Return the chunk near this one that gives every worker equally many slices of the whole.

    Four workers take as long for five slices as for eight. Near: slices per worker are rounded to the nearest
    number. A chunk larger than the whole is left alone.
    """
    if chunk >= whole:
        return round(chunk)
    turns = max(1, round(whole / (workers * chunk)))
    return ceil(whole / (workers * turns))


def _between(neighbours: Sequence[Entry], operation: Operation) -> Entry:
    """Choose the best way that is safe at all neighbours, which are given nearest first."""
    ways_at = [_safe_ways(entry) for entry in neighbours]
    closeness = [1 / size_distance(entry.operation, operation) for entry in neighbours]
    shares = [value / sum(closeness) for value in closeness]
    common = {way: [ways[way] for ways in ways_at] for way in ways_at[0] if all(way in ways for ways in ways_at)}
    expected = {way: _mean([size.log_ratio for size in sizes], shares) for way, sizes in common.items()}
    least = min(expected.values())
    equal = [way for way, ratio in expected.items() if ratio <= min(least + TIE, 0.0)]
    best = min(equal, key=lambda way: (-sum(size.proved for size in common[way]), way.cpus, expected[way]))
    if best.is_default:
        return Entry(
            operation=operation,
            status=Status.DEFAULT_KEPT,
            reason="Between measured sizes: no choice is known to be safe at all its neighbours.",
        )
    proved = sum(size.proved for size in common[best])
    others = "" if proved == len(neighbours) else ", at the others measured to be no slower"
    return Entry(
        operation=operation,
        status=Status.TUNED,
        reason=(
            f"Between measured sizes: at {proved} of its {len(neighbours)} neighbours proved{others}; "
            f"about {exp(-expected[best]):.2f} times as fast as the default."
        ),
        choice=best.replace(chunk=_chunk(best, common[best], shares, operation)),
        evidence=Evidence(
            default_threads=neighbours[0].evidence.default_threads, expected_speedup=exp(-expected[best])
        ),
    )


def _safe_ways(entry: Entry) -> Mapping[Configuration, SafeWay]:
    """Return all ways that are safe at a measured size: the default, and what a conclusive entry shows."""
    ways = {DEFAULT: SafeWay(0.0, None, proved=False)}
    if entry.status in {Status.NOISY, Status.FAILED}:
        return ways
    for count in entry.evidence.safe_threads:
        ways[Configuration(blas_threads=count)] = SafeWay(0.0, None, proved=False)
    for alternative in entry.alternatives:
        choice = alternative.choice
        ways[choice.without_chunk] = SafeWay(-log(alternative.speedup), choice.chunk, proved=False)
    if entry.status is Status.TUNED:
        ways[entry.choice.without_chunk] = SafeWay(-log(_speedup(entry)), entry.choice.chunk, proved=True)
    return ways


def _speedup(entry: Entry) -> float:
    """Return the speed-up of a tuned entry; its lower bound where the allocation here allows no more to be said."""
    evidence = entry.evidence
    return evidence.speedup or (evidence.interval[0] if evidence.interval else 1.0)


def _chunk(
    chosen: Configuration, sizes: Sequence[SafeWay], shares: Sequence[float], operation: Operation
) -> int | None:
    """Average the neighbours' chunks, and give every worker as many slices."""
    chunks = [size.chunk for size in sizes if size.chunk is not None]
    if len(chunks) < len(sizes):
        return chunks[0] if chunks else None
    size = operation.size
    whole = size.get("count") or max(size.values())
    return even_chunk(exp(_mean([log(chunk) for chunk in chunks], shares)), chosen.workers or 1, whole)


def _mean(values: Sequence[float], shares: Sequence[float]) -> float:
    return sum(value * share for value, share in zip(values, shares, strict=True))


def _frontier(nearest_first: Sequence[Entry]) -> list[Entry]:
    """Select the entries of one side that have no other entry between themselves and the operation.

    An entry in between is nearer, so it comes first.
    """
    frontier: list[Entry] = []
    for entry in nearest_first:
        own = entry.operation
        if not any(own.is_within(nearer.operation) or nearer.operation.is_within(own) for nearer in frontier):
            frontier.append(entry)
    return frontier


def size_distance(left: Operation, right: Operation) -> float:
    """Return the sum of the logarithms of the ratios of two operations' sizes, which have the same names."""
    sizes = right.size
    return sum(abs(log(value / sizes[name])) for name, value in left.sizes)
