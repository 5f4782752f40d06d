"""A finite space of settings, of whatever knobs: the legal points of a grid."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, product
from math import log2

import numpy as np
import numpy.typing as npt

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
        """The grid of the legal points given. Raises ValueError when there are none."""
        if not points:
            raise ValueError("The space has no legal configuration.")
        columns = (sorted(set(column), key=_order) for column in zip(*points, strict=True))
        parameters = dict(zip(names, map(tuple, columns), strict=True))
        return cls(parameters=parameters, points=tuple(dict.fromkeys(points)))

    @classmethod
    def full(cls, parameters: Mapping[str, tuple[Value, ...]]) -> "Grid":
        """The grid on which every combination is legal."""
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
        rows = [
            [column[value] for column, value in zip(columns, point, strict=True)] for point in self.points
        ]
        return np.asarray(rows, dtype=np.float64).reshape(len(self.points), len(columns))

    @cached_property
    def features(self) -> npt.NDArray[np.float64]:
        """Coordinates, and for every two numbers their mean: on a logarithmic scale, their product.

        Threads inside times workers around is what fills a machine; along it the optimum is a ridge that no
        scale of the two alone follows.
        """
        numbers = np.flatnonzero(~self.categorical)
        means = [
            (self.coordinates[:, one] + self.coordinates[:, other]) / 2
            for one, other in combinations(numbers, 2)
        ]
        return np.column_stack([self.coordinates, *means])

    @cached_property
    def categorical(self) -> npt.NDArray[np.bool_]:
        """Which parameters are categories."""
        return np.asarray([not _numeric(values) for values in self.parameters.values()], dtype=bool)

    @cached_property
    def categorical_features(self) -> npt.NDArray[np.bool_]:
        """Which features are categories."""
        return np.pad(self.categorical, (0, self.features.shape[1] - len(self.categorical)))

    def neighbours(self, point: int) -> list[int]:
        """Legal points that differ from this one by one step of one parameter (any step of a category).

        Where the next value is not legal in combination, the nearest legal one beyond it counts.
        """
        here = self.points[point]
        found: list[int] = []
        for axis, values in enumerate(self.parameters.values()):
            position = values.index(here[axis])
            directions: tuple[tuple[Value, ...], ...]
            if _numeric(values):
                directions = (values[position + 1 :], values[:position][::-1])
            else:
                directions = tuple((value,) for value in values if value != here[axis])
            for direction in directions:
                moved = ((*here[:axis], value, *here[axis + 1 :]) for value in direction)
                legal = (self.index[candidate] for candidate in moved if candidate in self.index)
                found.extend(position for position in [next(legal, None)] if position is not None)
        return found

    def corners(self) -> list[int]:
        """Legal points at which every parameter that is a number has its smallest or largest value."""
        ends = [
            (values[0], values[-1]) if _numeric(values) else values for values in self.parameters.values()
        ]
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
