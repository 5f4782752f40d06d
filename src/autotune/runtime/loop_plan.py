"""From which sizes on loops of ufuncs run on how many CPUs, by the entries of a profile. Pure."""

from collections.abc import Callable, Sequence
from itertools import pairwise

from autotune.intercept.array_loops import Range
from autotune.model.configuration import Configuration, Placement, clamp

MOST_RANGES = 16
"""Of one class of loops (`native/loops.h`)."""

Choose = Callable[[str, int], Configuration | None]
"""Return what a profile chose for an operation of so many elements; None if it does not speak for that size."""
Place = Callable[[Placement | None, int], int]
"""Return the core's number for the CPUs of so many workers."""


def loop_ranges(
    names: Sequence[str], sizes: Sequence[int], choose: Choose, place: Place, *, cpus: int
) -> list[Range]:
    """Return what a class of loops gets, by ascending size; empty if it stays NumPy's.

    Parameters
    ----------
    names : sequence of str
        Operations that all have to gain: the class's cheapest and dearest member, before them that of the layout. The
        choice is the first's.
    sizes : sequence of int
        Elements at which the first was measured, ascending.
    choose, place : callable
        What was chosen for a size; where workers run.
    cpus : int
        Threads that a loop may have.

    Notes
    -----
    A loop between two measured sizes is cut if it gained at both. A loop longer than the largest is computed in slices
    like those of the largest: it is as many loops of measured size in a row.

    """
    chosen = [_shared_choice(names, size, choose, cpus) for size in sizes]
    rows: list[Range] = []
    for (size, choice), (_, following) in pairwise([*zip(sizes, chosen, strict=True), (0, None)]):
        is_last = size == sizes[-1]
        if choice is None or (following is None and not is_last):
            row = Range(size, size, 1)
        else:
            workers = choice.workers or 1
            row = Range(
                size, choice.chunk or max(1, size // workers), workers, place(choice.placement, workers)
            )
        if not rows or row[1:] != rows[-1][1:]:
            rows.append(row)
    while rows and rows[0].workers == 1:
        del rows[0]
    return rows[:MOST_RANGES]


def _shared_choice(names: Sequence[str], size: int, choose: Choose, cpus: int) -> Configuration | None:
    """Return the first operation's choice, if all gained at this size; None: the class stays NumPy's."""
    choices = [choose(name, size) for name in names]
    if any(choice is None or (choice.workers or 1) < 2 for choice in choices) or cpus < 2:
        return None
    first = choices[0]
    assert first is not None
    return clamp(first, cpus)
