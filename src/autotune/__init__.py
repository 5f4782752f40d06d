"""Threads, workers and chunk sizes for NumPy, measured on this machine and proved faster than plain NumPy."""

TYPE_CHECKING = False  # type checkers read it as True; importing typing for it takes 3 ms
if TYPE_CHECKING:
    from typing import Self

    from autotune._version import __version__ as __version__
    from autotune.errors import AutotuneError as AutotuneError
    from autotune.runtime.apply import apply as apply
    from autotune.runtime.array_calls import fill as fill
    from autotune.runtime.array_calls import map_blocks as map_blocks
    from autotune.runtime.array_calls import random as random
    from autotune.runtime.array_calls import reduce_blocks as reduce_blocks
    from autotune.runtime.explain import explain as explain
    from autotune.runtime.lookup_configuration import config as config
    from autotune.runtime.lookup_configuration import usable_cpus as usable_cpus
    from autotune.runtime.naming import workload as workload
    from autotune.runtime.shared_arrays import attach as attach
    from autotune.runtime.shared_arrays import process_map as process_map
    from autotune.runtime.shared_arrays import shared as shared
    from autotune.runtime.task_executor import executor as executor
    from autotune.runtime.tuned import tuned as tuned
    from autotune.runtime.tuned import tuned_call as tuned_call
    from autotune.search.api import calibrate as calibrate

_NAMES = {
    "errors": ("AutotuneError",),
    "runtime.apply": ("apply",),
    "runtime.array_calls": ("fill", "map_blocks", "random", "reduce_blocks"),
    "runtime.explain": ("explain",),
    "runtime.lookup_configuration": ("config", "usable_cpus"),
    "runtime.naming": ("workload",),
    "runtime.shared_arrays": ("attach", "process_map", "shared"),
    "runtime.task_executor": ("executor",),
    "runtime.tuned": ("tuned", "tuned_call"),
    "search.api": ("calibrate",),
}
_HOMES = {name: home for home, names in _NAMES.items() for name in names}
"""The module of each public name. It is loaded when it is first used: importing autotune costs next to
nothing."""
_UNLISTED = {"__version__": "_version", "load_ipython_extension": "cli.notebook"}


def __getattr__(name: str) -> object:
    home = _UNLISTED.get(name) or _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'autotune' has no attribute {name!r}")
    try:
        from importlib import import_module

        value: object = getattr(import_module(f"autotune.{home}"), name)
    except (ImportError, OSError) as error:
        if name == "apply":
            return lambda *, strict=False, why=error, **_: _NotApplied(why, strict=strict)
        from autotune.errors import MissingPackage  # autotune.calibrate without the extra

        missing = MissingPackage.of_import(error) if isinstance(error, ModuleNotFoundError) else None
        raise missing or error from None
    globals()[name] = value
    return value


class _NotApplied:
    """The outcome of apply() where autotune cannot be loaded: a process may not read Python's files after setuid, say.

    Nothing is applied, and the program runs on. Raises the error if `strict`.
    """

    blas_threads = None
    in_force = False

    def __init__(self, error: Exception, *, strict: bool) -> None:
        if strict:
            raise error
        self.why = f"{type(error).__name__}: {error}"

    def restore(self) -> None:
        """Do nothing, since nothing was changed."""

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, *_: object) -> None: ...

    def __str__(self) -> str:
        return f"NumPy runs as it would without autotune: {self.why}"


def __dir__() -> list[str]:
    return sorted([*_HOMES, "__version__"])
