"""What a workload is: the same piece of work, plain and tuned, with its check."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from autotune.model.configuration import Configuration
from autotune.model.operation import Operation


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One unit of work on inputs that are allocated and touched."""

    plain: Callable[[], object]
    """What a program without autotune does."""
    tuned: Callable[[Configuration], Callable[[], object]]
    """The same work as the runtime does it; BLAS threads and allocator are set around it."""
    check: Callable[[object], str | None]
    """What is wrong with a result, as a sentence; None if it is right."""
    close: Callable[[], None] = lambda: None
    """Gives back what the operating system would not: shared memory, files, processes."""


class Workload(Protocol):
    """Makes the work of an operation."""

    layouts: tuple[str, ...]
    """Memory orders of the inputs, "C" and "F"; pairs of rounds alternate between them."""

    def prepare(self, operation: Operation, layout: str, seed: int) -> Work:
        """Allocate, fill and touch the inputs."""
        ...
