"""Puts a Configuration into force for the code within a `with`, in trials and in programs alike."""

from typing import TYPE_CHECKING

from autotune.controls import blas
from autotune.model.configuration import Configuration, clamp

if TYPE_CHECKING:
    from autotune.controls.allocator import Retained


class ConfigurationScope:
    """Scope of a `with` under a configuration, clamped to the usable CPUs; afterwards all is as before.

    Sets BLAS threads, the threads of other pools and the allocator, by the rules of `blas`, `thread_pools` and
    `allocator.Retained`. Workers, chunk, method and placement belong to the code that cuts the work up; the `with`
    gives the clamped Configuration to take them from. The object serves many `with` blocks of one thread, nested ones
    too. Entering and leaving costs 4 us together. Entering raises UnsupportedPlatform where memory cannot be retained.
    """

    __slots__ = ("_configuration", "_undo")

    def __init__(self, configuration: Configuration, *, usable_cpus: int) -> None:
        self._configuration = clamp(configuration, usable_cpus)
        self._undo: list[tuple[blas.ThreadLimit | Retained | None, ...]] = []

    def __enter__(self) -> Configuration:
        retained = None
        if self._configuration.allocator == "retain":
            from autotune.controls.allocator import Retained

            retained = Retained()
            retained.__enter__()
        pools = None
        if self._configuration.openmp_threads is not None:
            from autotune.controls import thread_pools

            pools = thread_pools.limit(self._configuration.openmp_threads)
            pools.__enter__()
        limit = blas.limit(self._configuration.blas_threads)
        limit.__enter__()
        self._undo.append((limit, pools, retained))
        return self._configuration

    def __exit__(self, *error: object) -> None:
        for scope in self._undo.pop():
            if scope is not None:
                scope.__exit__(*error)
