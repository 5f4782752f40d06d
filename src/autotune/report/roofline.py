"""The shortest time that an operation can take on a machine. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from autotune.model.catalogue import CATALOGUE, WorkUnit
from autotune.model.operation import Operation
from autotune.model.policy import CREDIBLE_L3_BYTES
from autotune.model.profile import Provenance


class Bound(StrEnum):
    """The resource that bounds an operation."""

    ARITHMETIC = "arithmetic"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Roofline:
    """The shortest time of an operation, and its bound."""

    seconds: float
    bound: Bound


def roofline(operation: Operation, made: Provenance, *, l3_bytes: int | None = None) -> Roofline | None:
    """Compute the roofline (Williams, Waterman and Patterson, CACM 52, 2009): the longer of the time of its arithmetic
    at the peak rate and the time in which memory moves its data once.

    Memory does not bound data that fit into the last cache. None where the bound is unknown: rates that were not
    measured, float32 arithmetic, and operations outside the catalogue.
    """
    kind = CATALOGUE.get(operation.name)
    if kind is None or not made.memory_bandwidth:
        return None
    cached = kind.bytes_of(operation) <= min(l3_bytes or 0, CREDIBLE_L3_BYTES)
    if kind.unit is WorkUnit.BYTES:
        seconds = kind.work_of(operation) / made.memory_bandwidth
        return None if cached else Roofline(seconds=seconds, bound=Bound.MEMORY)
    if not made.peak_flops or operation.dtype != "float64":
        return None
    arithmetic = kind.work_of(operation) / made.peak_flops
    memory = 0.0 if cached else kind.bytes_of(operation) / made.memory_bandwidth
    if arithmetic >= memory:
        return Roofline(seconds=arithmetic, bound=Bound.ARITHMETIC)
    return Roofline(seconds=memory, bound=Bound.MEMORY)
