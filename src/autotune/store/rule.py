"""Which tuning speaks for a size, measured or between measured sizes. Pure."""

from collections.abc import Sequence
from dataclasses import replace
from math import inf, log, log2

from autotune.model.configuration import Configuration, Method
from autotune.model.operation import Operation
from autotune.model.tuning import Status, Tuning

COPYING = (Method.ARGUMENT, Method.PIPE, Method.QUEUE, Method.MANAGER)


def choose(tunings: Sequence[Tuning], operation: Operation) -> Tuning | None:
    """The tuning for an operation out of those of its name and dtype; None outside the measured range.

    A measured size has its own. A size in between lies between neighbours: the largest measured sizes that
    are nowhere larger, and the smallest that are nowhere smaller. It takes counts between those of the nearest
    on either side, by the logarithm of the sizes; where that is not safe at all neighbours, the choice of the
    nearest one that is, and if there is none, the default. A size without neighbours on both sides is outside.
    """
    comparable = [tuning for tuning in tunings if tuning.operation.size.keys() == operation.size.keys()]
    for tuning in comparable:
        if tuning.operation.size == operation.size:
            return tuning
    nearest_first = sorted(
        comparable, key=lambda one: (_distance(one.operation, operation), str(one.operation))
    )
    below = _frontier([one for one in nearest_first if _within(one.operation, operation)])
    above = _frontier([one for one in nearest_first if _within(operation, one.operation)])
    if not below or not above:
        return None
    neighbours = [one for one in nearest_first if one in below or one in above]
    near, far = neighbours[0], (above if neighbours[0] in below else below)[0]
    between = _between(near, far, operation)
    if all(_safe(between, other) for other in neighbours):
        reason = f"Between measured sizes: counts between those for {near.operation} and {far.operation}."
        return replace(near, operation=operation, choice=between, reason=reason)
    for near in neighbours:
        if not near.choice.is_default and all(_safe(near.choice, other) for other in neighbours):
            reason = f"Between measured sizes: as for {near.operation}, and safe at its other neighbours."
            return replace(near, operation=operation, reason=reason)
    return Tuning(
        operation=operation,
        status=Status.DEFAULT_KEPT,
        reason="Between measured sizes: no choice is known to be safe at all its neighbours.",
    )


def _between(near: Tuning, far: Tuning, operation: Operation) -> Configuration:
    """The nearer choice with its counts moved towards the farther one's; chunks stay powers of two."""
    one, other = near.choice, far.choice
    apart = _distance(near.operation, operation), _distance(far.operation, operation)
    share = apart[0] / sum(apart)

    def moved(here: int | None, there: int | None) -> float | None:
        return here and there and here * (there / here) ** share

    chunk = moved(one.chunk, other.chunk)
    return replace(
        one,
        blas_threads=_rounded(moved(one.blas_threads, other.blas_threads)),
        workers=_rounded(moved(one.workers, other.workers)),
        chunk=one.chunk if chunk is None or one.chunk == other.chunk else 2 ** round(log2(chunk)),
    )


def _rounded(count: float | None) -> int | None:
    return None if count is None else round(count)


def _frontier(nearest_first: Sequence[Tuning]) -> list[Tuning]:
    """Those on one side of the operation that have no other between themselves and it.

    Such another is nearer, so it was met before: of two on one side that are ordered, the one between is.
    """
    frontier: list[Tuning] = []
    for one in nearest_first:
        if not any(_ordered(one.operation, other.operation) for other in frontier):
            frontier.append(one)
    return frontier


def _ordered(one: Operation, other: Operation) -> bool:
    return _within(one, other) or _within(other, one)


def _within(small: Operation, large: Operation) -> bool:
    """Is no size of the first larger than the second's?"""
    sizes = large.size
    return all(value <= sizes[name] for name, value in small.sizes)


def _distance(one: Operation, other: Operation) -> float:
    sizes = other.size
    return sum(abs(log(value / sizes[name])) for name, value in one.sizes)


def _safe(choice: Configuration, neighbour: Tuning) -> bool:
    """Is this choice no slower than the default there, by what was measured?

    A time grows at most in proportion to a count that is made smaller or larger. So where a choice was proved to
    take half of the default's time, one with up to twice or half its threads is still no slower.
    """
    gain = log(neighbour.ratio_high) if neighbour.status is Status.TUNED and neighbour.ratio_high else 0.0
    if gain + _apart(choice, neighbour.choice) < 0.0:
        return True
    return (
        choice.blas_threads in neighbour.safe_threads
        and Configuration(blas_threads=choice.blas_threads) == choice
    )


def _apart(one: Configuration, other: Configuration) -> float:
    """Sum of the logarithms of the ratios of their counts; infinite if they do not set the same knobs.

    Two ways of sharing an array's pages count as a factor of 2, a way that copies it as no relative.

    The chunk is left aside: its curve is flat from two to eight chunks a worker, whatever the size.
    """
    pairs = [(one.blas_threads, other.blas_threads), (one.workers, other.workers)]
    if one.allocator != other.allocator or (one.method in COPYING) != (other.method in COPYING):
        return inf
    if any((left is None) != (right is None) for left, right in pairs):
        return inf
    ways = log(2) if one.method != other.method else 0.0
    return ways + sum(abs(log(left / right)) for left, right in pairs if left and right)
