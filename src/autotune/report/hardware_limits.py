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


CACHED_BYTES = 32 * 2**20
"""Of the last cache, what one program may count on: a cloud reports the whole processor's, and gives a share."""


def limit(operation: Operation, made: Provenance, *, l3_bytes: int | None = None) -> Limit | None:
    """The roofline (Williams, Waterman and Patterson, CACM 52, 2009): the longer of the time that its arithmetic
    takes at the peak rate and the time in which memory moves its data once.

    Data that fit into the last cache need not be moved: memory does not hold them back. None where nothing is
    known to: rates that were not measured, float32 arithmetic, whose peak was not, and what is not in the
    catalogue.
    """
    kind = CATALOGUE.get(operation.name)
    if kind is None or not made.memory_bandwidth:
        return None
    cached = kind.bytes_of(operation) <= min(l3_bytes or 0, CACHED_BYTES)
    if kind.unit is WorkUnit.BYTES:
        seconds = kind.work_of(operation) / made.memory_bandwidth
        return None if cached else Limit(seconds=seconds, bound=Bound.MEMORY)
    if not made.peak_flops or operation.dtype != "float64":
        return None
    arithmetic = kind.work_of(operation) / made.peak_flops
    memory = 0.0 if cached else kind.bytes_of(operation) / made.memory_bandwidth
    if arithmetic >= memory:
        return Limit(seconds=arithmetic, bound=Bound.ARITHMETIC)
    return Limit(seconds=memory, bound=Bound.MEMORY)
