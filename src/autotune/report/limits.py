"""How much of what the machine can do at most an operation reaches. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from autotune.model.catalogue import CATALOGUE, WorkUnit
from autotune.model.operation import Operation
from autotune.model.profile import Provenance


class Bound(StrEnum):
    """What an operation cannot be faster than."""

    ARITHMETIC = "arithmetic"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The least time that an operation can take, and why."""

    seconds: float
    bound: Bound


def limit(operation: Operation, made: Provenance) -> Limit | None:
    """The roofline (Williams, Waterman and Patterson, CACM 52, 2009): the longer of the time that its arithmetic
    takes at the peak rate and the time in which memory moves its data once.

    None where the rates were not measured, for float32 arithmetic, whose peak was not, and for what is not in
    the catalogue. Data that stay in caches need not be moved, so small sizes can be faster than this.
    """
    kind = CATALOGUE.get(operation.name)
    if kind is None or not made.memory_bandwidth:
        return None
    if kind.unit is WorkUnit.BYTES:
        return Limit(seconds=kind.work_of(operation) / made.memory_bandwidth, bound=Bound.MEMORY)
    if not made.peak_flops or operation.dtype != "float64":
        return None
    arithmetic = kind.work_of(operation) / made.peak_flops
    memory = kind.bytes_of(operation) / made.memory_bandwidth
    if arithmetic >= memory:
        return Limit(seconds=arithmetic, bound=Bound.ARITHMETIC)
    return Limit(seconds=memory, bound=Bound.MEMORY)
