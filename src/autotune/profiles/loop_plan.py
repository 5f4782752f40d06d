"""From which sizes on loops of ufuncs run on how many CPUs, by the entries of profiles. Pure."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from itertools import pairwise

from autotune.intercept.array_loops import loop_names
from autotune.intercept.operations import LOOP_KINDS, MOST_RANGES, Layout, Range
from autotune.model.configuration import Configuration, clamp
from autotune.model.operation import DTYPES, REAL_DTYPES
from autotune.profiles.compiled_copy import LoopPlan

Choose = Callable[[str, str, int], Configuration | None]
"""Return the choice of profiles for an operation, dtype and number of elements; None: they do not cover it."""
Measured = Callable[[str, str], Sequence[int]]
"""Return the elements at which an operation was measured with a dtype."""


def loop_plans(choose: Choose, measured: Measured, *, cpus: int) -> list[LoopPlan]:
    """Return the plans of all classes of loops that are cut.

    A complex type whose class was not measured has the plan of float64.
    """
    plans: dict[tuple[str, str, int], list[Range]] = {}
    for dtype in DTYPES:
        for kind in LOOP_KINDS:
            for layout in Layout.ALL:
                names = loop_names(kind, layout)
                own = measured_dtype(names, dtype, measured)
                sizes = sorted(measured(names[0], own))
                plans[kind, dtype, layout] = loop_ranges(names, sizes, partial(_of_dtype, choose, own), cpus=cpus)
    return [LoopPlan(*key, tuple(ranges)) for key, ranges in plans.items() if ranges]


def measured_dtype(names: Iterable[str], dtype: str, measured: Callable[[str, str], Collection[object]]) -> str:
    """Return the dtype whose entries decide about loops: float64 for a complex type of which nothing was measured."""
    is_own = dtype in REAL_DTYPES or any(measured(name, dtype) for name in names)
    return dtype if is_own else "float64"


def _of_dtype(choose: Choose, dtype: str, name: str, size: int) -> Configuration | None:
    return choose(name, dtype, size)


def planned_range(plans: Iterable[LoopPlan], kind: str, dtype: str, layout: int, elements: int) -> Range | None:
    """Return the setting of a loop as the C core looks it up; None: it stays NumPy's."""
    ranges = (plan.ranges for plan in plans if (plan.kind, plan.dtype, plan.layout) == (kind, dtype, layout))
    rows = [row for row in next(ranges, ()) if row.elements <= elements]
    return rows[-1] if rows and rows[-1].workers > 1 else None


def loop_ranges(
    names: Sequence[str], sizes: Sequence[int], choose: Callable[[str, int], Configuration | None], *, cpus: int
) -> list[Range]:
    """Return what a class of loops gets, by ascending size; empty if it stays NumPy's.

    `names` are the operations that all have to gain: the class's cheapest and dearest member, before them that of the
    layout; the choice is the first's. `sizes` are the elements at which the first was measured, ascending; `cpus` the
    threads that a loop may have.

    A loop between two measured sizes is cut if it gained at both. A loop longer than the largest is computed in slices
    like those of the largest: it is as many loops of measured size in a row.
    """
    choices = [_shared_choice(names, size, choose, cpus) for size in sizes]
    rows = list(_rows(sizes, choices))
    changes = [*rows[:1], *(row for before, row in pairwise(rows) if row.replace(elements=before.elements) != before)]
    while changes and changes[0].workers == 1:
        del changes[0]
    return changes[:MOST_RANGES]


def _rows(sizes: Sequence[int], choices: Sequence[Configuration | None]) -> Iterator[Range]:
    """Yield the setting from each measured size on; one worker where a loop stays NumPy's."""
    following = [*choices[1:], choices[-1]] if choices else []
    for size, choice, after in zip(sizes, choices, following, strict=True):
        if choice is None or after is None:
            yield Range(size, size, 1)
        else:
            workers = choice.workers or 1
            yield Range(size, choice.chunk or max(1, size // workers), workers, str(choice.placement or ""))


def _shared_choice(
    names: Sequence[str], size: int, choose: Callable[[str, int], Configuration | None], cpus: int
) -> Configuration | None:
    """Return the first operation's choice, if all gained at this size; None: the class stays NumPy's."""
    choices = [choose(name, size) for name in names]
    if any(choice is None or (choice.workers or 1) < 2 for choice in choices) or cpus < 2:
        return None
    first = choices[0]
    assert first is not None
    return clamp(first, cpus)
