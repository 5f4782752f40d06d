"""Workload: the same piece of work, plain and tuned, with its check."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from autotune.model.configuration import Configuration
from autotune.model.operation import Operation

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One unit of work on inputs that are allocated and touched."""

    plain: Callable[[], object]
    """Run the work as a program without autotune does."""
    tuned: Callable[[Configuration], Callable[[], object]]
    """The same work as the runtime does it; BLAS threads and allocator are set around it."""
    check: Callable[[object], str | None]
    """Describe the fault of a result, as a sentence; None if it is right. A result that is written into an array
    of the work's own is spoilt by its check, so that no later call passes with these numbers."""
    share: float = 1.0
    """Part of the operation's work that one call does; its time divided by this is the operation's time."""
    once: Callable[[Configuration], float] = lambda _: 0.0
    """Seconds that the whole operation costs once under this configuration, whatever part of it a call does: the
    start of processes, as it was when `tuned` prepared them. Added to the operation's time."""
    close: Callable[[], None] = lambda: None
    """Gives back what the operating system would not: shared memory, files, processes."""


class Workload(Protocol):
    """Makes the work of an operation."""

    @property
    def layouts(self) -> tuple[str, ...]:
        """Forms of the inputs, such as memory orders "C" and "F"; pairs of rounds alternate between them."""
        ...

    def prepare(self, operation: Operation, layout: str, seed: int) -> Work:
        """Allocate, fill and touch the inputs."""
        ...


@dataclass(frozen=True, slots=True)
class Recipe:
    """A Workload of the catalogue."""

    make: Callable[[Operation, str, "np.random.Generator"], Work]
    layouts: tuple[str, ...] = ("C",)

    def prepare(self, operation: Operation, layout: str, seed: int) -> Work:
        """Allocate, fill and touch the inputs; the same seed makes the same ones."""
        from numpy.random import default_rng  # this module is imported before the environment is settled

        return self.make(operation, layout, default_rng(seed))
