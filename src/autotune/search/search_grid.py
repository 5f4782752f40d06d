"""A finite space of settings, of whatever knobs: the legal points of a grid."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, product
from math import isqrt, log2

import numpy as np
import numpy.typing as npt

LARGEST_COUNT = 4096
"""Larger numbers are sizes, whose factorisation is not worth its time."""
FEWEST_COUNTS = 5
"""Values that are no powers of two, below which factorisations tell nothing that the counts do not."""

Value = int | float | str
Point = tuple[Value, ...]
"""One value for each parameter, in the grid's order."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """Parameters with their values, and which combinations of them are legal. Compared by identity."""

    parameters: Mapping[str, tuple[Value, ...]]
    """Values in order; all numbers, or else the parameter is categorical."""
    points: tuple[Point, ...]
    """The legal combinations. Their positions in this tuple are how everything else names them."""

    @classmethod
    def of(cls, names: Sequence[str], points: Sequence[Point]) -> "Grid":
        """Return the grid of the legal points given. Raises ValueError when there are none."""
        if not points:
            raise ValueError("The space has no legal configuration.")
        columns = (sorted(set(column), key=_order) for column in zip(*points, strict=True))
        parameters = dict(zip(names, map(tuple, columns), strict=True))
        return cls(parameters=parameters, points=tuple(dict.fromkeys(points)))

    @classmethod
    def full(cls, parameters: Mapping[str, tuple[Value, ...]]) -> "Grid":
        """Return the grid on which every combination is legal."""
        return cls.of(tuple(parameters), list(product(*parameters.values())))

    @cached_property
    def index(self) -> Mapping[Point, int]:
        """Position of every legal point."""
        return {point: position for position, point in enumerate(self.points)}

    @cached_property
    def coordinates(self) -> npt.NDArray[np.float64]:
        """Points x parameters: numbers from 0 to 1, midway between their logarithm and their place in the list.

        Thread counts act by their ratios, so that 1 to 2 is as large a step as 32 to 64; but where each of 33
        to 64 can be had there is more to tell apart, and the best is more often there. On lists of powers of
        two both scales are one. Categories get their place, which only says whether two of them differ.
        """
        columns = [self._column(values) for values in self.parameters.values()]
        rows = [[column[value] for column, value in zip(columns, point, strict=True)] for point in self.points]
        return np.asarray(rows, dtype=np.float64).reshape(len(self.points), len(columns))

    @cached_property
    def categories(self) -> npt.NDArray[np.float64]:
        """Points x categorical parameters: places of the values, which only say whether two differ."""
        return self.coordinates[:, self.categorical]

    @cached_property
    def inputs(self) -> npt.NDArray[np.float64]:
        """Coordinates of the numbers, and for every two of them their mean: on a logarithmic scale, their product.

        Threads inside times workers around is what fills a machine; along it the optimum is a ridge that no
        scale of the two alone follows.
        """
        numbers = self.coordinates[:, ~self.categorical]
        pairs = combinations(range(numbers.shape[1]), 2)
        means = [(numbers[:, left] + numbers[:, right]) / 2 for left, right in pairs]
        return np.column_stack([numbers, *means])

    @cached_property
    def resources(self) -> npt.NDArray[np.float64]:
        """Points x resources: what may run out, such as memory and threads, in logarithms where all are positive.

        Numbers, and the products of any two. Where there are no numbers, the same for every point.
        """
        columns = [
            np.log([point[axis] for point in self.points]) if float(values[0]) > 0 else self.coordinates[:, axis]
            for axis, values in enumerate(self.parameters.values())
            if _numeric(values)
        ]
        columns += [left + right for left, right in combinations(columns, 2)]
        # products that are equal are equal after rounding too
        return np.column_stack(columns or [np.zeros(len(self.points))]).round(9)

    @cached_property
    def arithmetic(self) -> npt.NDArray[np.float64] | None:
        """Points x 4: features of the factorisation of the counts, about 0 to 1; None where there are no counts.

        Work is cut into equal parts where the count divides it, and threads form p x q grids: how often 2 and how
        often 3 divides the count, its largest prime factor, and the aspect ratio of its nearest two factors. With
        several parameters that are counts, the features of the one with the most values that are no powers of two.
        """
        columns = [
            (sum(not _is_power_of_two(value) for value in values), axis)
            for axis, values in enumerate(self.parameters.values())
            if all(isinstance(value, int) and 0 < value <= LARGEST_COUNT for value in values)
        ]
        odd, axis = max(columns, default=(0, 0))
        if odd < FEWEST_COUNTS:
            return None
        rows = {value: _factorisation(int(value)) for value in list(self.parameters.values())[axis]}
        return np.asarray([rows[point[axis]] for point in self.points])

    @cached_property
    def categorical(self) -> npt.NDArray[np.bool_]:
        """Which parameters are categories."""
        return np.asarray([not _numeric(values) for values in self.parameters.values()], dtype=bool)

    def neighbours(self, point: int) -> list[int]:
        """Return the legal points that differ from this one by one step of one parameter (any step of a category).

        Where the next value is not legal in combination, the nearest legal one beyond it counts.
        """
        origin = self.points[point]
        points: list[int] = []
        for axis, values in enumerate(self.parameters.values()):
            position = values.index(origin[axis])
            directions: tuple[tuple[Value, ...], ...]
            if _numeric(values):
                directions = (values[position + 1 :], values[:position][::-1])
            else:
                directions = tuple((value,) for value in values if value != origin[axis])
            for direction in directions:
                moved = ((*origin[:axis], value, *origin[axis + 1 :]) for value in direction)
                legal = (self.index[candidate] for candidate in moved if candidate in self.index)
                points.extend(position for position in [next(legal, None)] if position is not None)
        return points

    def corners(self) -> list[int]:
        """Return the legal points at which every number among the parameters has its smallest or largest value."""
        ends = [(values[0], values[-1]) if _numeric(values) else values for values in self.parameters.values()]
        return [self.index[point] for point in dict.fromkeys(product(*ends)) if point in self.index]

    @staticmethod
    def _column(values: tuple[Value, ...]) -> dict[Value, float]:
        if not _numeric(values):
            return {value: float(position) for position, value in enumerate(values)}
        numbers = [float(value) for value in values]
        scaled = [log2(number) for number in numbers] if numbers[0] > 0 else numbers
        span, last = scaled[-1] - scaled[0] or 1.0, len(values) - 1 or 1
        return {
            value: ((number - scaled[0]) / span + place / last) / 2
            for place, (value, number) in enumerate(zip(values, scaled, strict=True))
        }


def _numeric(values: Sequence[Value]) -> bool:
    return all(isinstance(value, (int, float)) for value in values)


def _order(value: Value) -> tuple[bool, float, str]:
    return (True, 0.0, value) if isinstance(value, str) else (False, float(value), "")


def _is_power_of_two(value: Value) -> bool:
    return isinstance(value, int) and value > 0 and value & (value - 1) == 0


def _factorisation(count: int) -> tuple[float, float, float, float]:
    """Return the valuations at 2 and 3, logarithm of the largest prime factor, logarithm of the aspect ratio."""
    factors = Counter(_prime_factors(count))
    near = next(divisor for divisor in range(isqrt(count), 0, -1) if count % divisor == 0)
    return (
        min(factors[2], 4) / 4,
        min(factors[3], 2) / 2,
        log2(max(factors, default=1)) / 8,
        log2(count / near**2) / 8,
    )


def _prime_factors(count: int) -> Iterator[int]:
    divisor = 2
    while divisor * divisor <= count:
        while count % divisor == 0:
            yield divisor
            count //= divisor
        divisor += 1
    if count > 1:
        yield count
