"""As fast as this machine allows: measured configurations of threads, workers and chunks for NumPy."""

TYPE_CHECKING = False  # type checkers read it as True; importing typing for it takes 3 ms
if TYPE_CHECKING:
    from autotune.errors import AutotuneError as AutotuneError
    from autotune.runtime.apply import apply as apply
    from autotune.runtime.blocks import fill as fill
    from autotune.runtime.blocks import map_blocks as map_blocks
    from autotune.runtime.blocks import random as random
    from autotune.runtime.blocks import reduce_blocks as reduce_blocks
    from autotune.runtime.config import config as config
    from autotune.runtime.executor import executor as executor
    from autotune.runtime.explain import explain as explain
    from autotune.runtime.sharing import attach as attach
    from autotune.runtime.sharing import process_map as process_map
    from autotune.runtime.sharing import shared as shared
    from autotune.runtime.tuned import tuned as tuned
    from autotune.runtime.workload import workload as workload
    from autotune.search.notebook import calibrate as calibrate

__version__ = "0.1.0"

_HOMES = {
    "AutotuneError": "errors",
    "apply": "runtime.apply",
    "attach": "runtime.sharing",
    "calibrate": "search.notebook",
    "config": "runtime.config",
    "executor": "runtime.executor",
    "explain": "runtime.explain",
    "fill": "runtime.blocks",
    "map_blocks": "runtime.blocks",
    "process_map": "runtime.sharing",
    "random": "runtime.blocks",
    "reduce_blocks": "runtime.blocks",
    "shared": "runtime.sharing",
    "tuned": "runtime.tuned",
    "workload": "runtime.workload",
}
"""Where each public name lives. It is loaded when it is first used: importing autotune costs next to
nothing."""


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'autotune' has no attribute {name!r}")
    from importlib import import_module

    found: object = getattr(import_module(f"autotune.{home}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted([*_HOMES, "__version__"])
